//! Settings of a training run.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};
use serde::{Deserialize, Serialize};

use super::adamw::{AdamW, AdamWConfig};
use super::augmentation::Augmentation;
use super::precision::Precision;
use super::schedule::LearningRateSchedule;
use crate::SettingError;
use crate::loss::Reduction;

/// How a classifier is trained. Every key of the `[training]` table of a run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps. The unit of training length: epochs of arms with different mixtures differ, steps do not.
    pub steps: usize,
    /// Images per optimiser step.
    pub batch_size: usize,
    /// Micro-batches that a step is cut into to save memory. Gradients are those of the whole batch; batch-norm statistics are
    /// those of the micro-batch.
    pub accumulation: usize,
    /// Steps between two validations; each validation is followed by a checkpoint.
    pub eval_every: usize,
    /// Validations without improvement after which training stops; 0 trains to the end.
    pub patience: usize,
    /// How the best checkpoint is chosen, always on real validation images.
    pub select: Selection,
    /// Optimiser.
    pub optimizer: OptimizerKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Weight decay: decoupled for AdamW, L2 for Adam.
    pub weight_decay: f32,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: usize,
    /// Learning rate after the warm-up.
    pub schedule: LearningRateSchedule,
    /// Largest global gradient norm; 0 disables clipping.
    pub clip_norm: f32,
    /// Probability that a step leaves the last residual branch out for an image, growing evenly from 0 at the first one (Huang et al., arXiv
    /// 1603.09382); of ConvNeXt and of vision transformers, which have two in each layer. Other networks have none.
    #[serde(skip_serializing_if = "is_usual_depth")]
    pub stochastic_depth: f64,
    /// What the network computes in: `fp32`, or `bf16`, which keeps activations in half the memory. Weights, their gradients' sums and the
    /// optimiser are of 32 bits either way.
    #[serde(skip_serializing_if = "Precision::is_fp32")]
    pub precision: Precision,
    /// How the loss is averaged.
    pub reduction: Reduction,
    /// Weight the positive term of each finding by negatives / positives of the real training rows, at most 20.
    pub pos_weight: bool,
    /// torchxrayvision's task weights: rare findings count more.
    pub task_weights: bool,
    /// Classical augmentation of every training image, real or synthetic.
    pub augmentation: Augmentation,
    /// Images per forward pass in validation and prediction.
    pub eval_batch_size: usize,
    /// Threads that load images ahead of the trainer.
    pub workers: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 2_000,
            batch_size: 32,
            accumulation: 1,
            eval_every: 100,
            patience: 0,
            select: Selection::MacroAuroc,
            optimizer: OptimizerKind::AdamW,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            warmup_steps: 50,
            schedule: LearningRateSchedule::Cosine,
            clip_norm: 1.0,
            stochastic_depth: USUAL_DEPTH,
            precision: Precision::Fp32,
            reduction: Reduction::Mean,
            pos_weight: false,
            task_weights: false,
            augmentation: Augmentation::default(),
            eval_batch_size: 64,
            workers: 1,
        }
    }
}

/// torchvision's for ConvNeXt-Tiny.
const USUAL_DEPTH: f64 = 0.1;

/// Left out of what is written: records of runs from before the key are those of today.
fn is_usual_depth(rate: &f64) -> bool {
    *rate == USUAL_DEPTH
}

/// Far above what anybody means, and low enough that products of them can be counted and that nothing is allocated for a number alone.
const MOST_STEPS: usize = 1_000_000_000;
const MOST_IMAGES: usize = 65_536;
const MOST_WORKERS: usize = 256;

/// How the best checkpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Highest macro AUROC on validation.
    MacroAuroc,
    /// Lowest loss on validation.
    Loss,
    /// The last step, whatever validation says.
    Last,
}

/// Optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101).
    AdamW,
    /// L2 penalty in the gradient (Kingma & Ba, arXiv 1412.6980).
    Adam,
    /// Adam with the running maximum of the second moment (Reddi et al.); torchxrayvision's choice.
    Amsgrad,
}

impl TrainConfig {
    /// Refuses invalid settings.
    ///
    /// # Errors
    /// [`SettingError`] names the first key out of its range.
    pub fn validate(&self) -> Result<(), SettingError> {
        let within = |key, value, least, most| {
            let expected = format!("at least {least} and at most {most}");
            SettingError::unless((least..=most).contains(&value), key, value, &expected)
        };
        within("steps", self.steps, 1, MOST_STEPS)?;
        within("batch_size", self.batch_size, 1, MOST_IMAGES)?;
        SettingError::unless(
            self.accumulation > 0 && self.batch_size.is_multiple_of(self.accumulation),
            "accumulation",
            self.accumulation,
            "a divisor of batch_size",
        )?;
        SettingError::unless(self.eval_every > 0, "eval_every", self.eval_every, "at least 1")?;
        within("eval_batch_size", self.eval_batch_size, 1, MOST_IMAGES)?;
        within("workers", self.workers, 1, MOST_WORKERS)?;
        let rate = self.learning_rate;
        SettingError::unless(rate > 0.0 && rate <= 1.0, "learning_rate", rate, "a number in (0, 1]")?;
        let decay = self.weight_decay;
        SettingError::unless((0.0..1.0).contains(&decay), "weight_decay", decay, "a number in [0, 1)")?;
        let depth = self.stochastic_depth;
        SettingError::unless((0.0..1.0).contains(&depth), "stochastic_depth", depth, "a number in [0, 1)")?;
        let clip = self.clip_norm;
        if let LearningRateSchedule::LinearTo { end } = self.schedule {
            SettingError::unless(
                (0.0..=rate).contains(&end),
                "schedule.linear-to.end",
                end,
                "a number from 0 to learning_rate",
            )?;
        }
        SettingError::unless(clip >= 0.0 && clip.is_finite(), "clip_norm", clip, "0 (off) or a positive number")
    }

    /// Validations in the whole run; the last round may be shorter.
    #[must_use]
    pub fn rounds(&self) -> usize {
        self.steps.div_ceil(self.eval_every)
    }

    /// The optimiser, with torch's epsilon of 1e-8.
    #[must_use]
    pub fn optimizer(&self) -> ModuleOptimizer {
        const EPSILON: f32 = 1e-8;
        match self.optimizer {
            OptimizerKind::AdamW => {
                let decay = self.weight_decay.into();
                AdamW(AdamWConfig { epsilon: EPSILON.into(), weight_decay: decay, ..AdamWConfig::default() }).into()
            }
            OptimizerKind::Adam | OptimizerKind::Amsgrad => AdamConfig::new()
                .with_epsilon(EPSILON)
                .with_amsgrad(self.optimizer == OptimizerKind::Amsgrad)
                .with_weight_decay((self.weight_decay > 0.0).then(|| WeightDecayConfig::new(self.weight_decay)))
                .init(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::WarmupSchedule;
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let bad = TrainConfig { learning_rate: -1.0, ..TrainConfig::default() };
        assert_eq!(bad.validate().unwrap_err().to_string(), "learning_rate is -1, expected a number in (0, 1]");
        let bad = TrainConfig { batch_size: 10, accumulation: 3, ..TrainConfig::default() };
        assert!(bad.validate().unwrap_err().to_string().starts_with("accumulation is 3"));
        TrainConfig::default().validate().unwrap();
    }

    /// Every count at its extremes is either refused by its name or harmless.
    #[test]
    fn counts_near_the_largest_integer_are_refused_or_harmless() {
        type Setter = fn(&mut TrainConfig, usize);
        let set: [(&str, Setter); 8] = [
            ("steps", |config, n| config.steps = n),
            ("batch_size", |config, n| config.batch_size = n),
            ("accumulation", |config, n| config.accumulation = n),
            ("eval_every", |config, n| config.eval_every = n),
            ("patience", |config, n| config.patience = n),
            ("warmup_steps", |config, n| config.warmup_steps = n),
            ("eval_batch_size", |config, n| config.eval_batch_size = n),
            ("workers", |config, n| config.workers = n),
        ];
        for (key, set) in set {
            for n in [0, 1, usize::MAX / 2, usize::MAX - 1, usize::MAX] {
                let mut config = TrainConfig::default();
                set(&mut config, n);
                match config.validate() {
                    Err(error) => assert_eq!((error.key, error.value), (key, n.to_string())),
                    Ok(()) => {
                        assert!((1..=config.steps).contains(&config.rounds()), "{key} = {n}");
                        assert!(config.steps.checked_mul(config.batch_size).is_some(), "{key} = {n}");
                        let schedule = WarmupSchedule::new(&config);
                        for step in [1, config.steps as u64, u64::MAX] {
                            let rate = schedule.rate(step);
                            assert!((0.0..=config.learning_rate).contains(&rate), "{key} = {n}: {rate} at {step}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_round_may_be_shorter() {
        assert_eq!(TrainConfig { steps: 250, eval_every: 100, ..TrainConfig::default() }.rounds(), 3);
    }
}
