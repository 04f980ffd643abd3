//! Settings of a training run.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, ModuleOptimizer};
use serde::{Deserialize, Serialize};

use super::adamw::AdamW;
use crate::{Augmentation, ClassifierError, Reduction};
use roentgen_kernels::AdamWNumbers;

/// How a classifier is trained. Every key of the `[training]` table of a run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Optimiser steps. The unit of training length: epochs of arms with different mixtures differ, steps do not.
    pub steps: usize,
    /// Images an optimiser step.
    pub batch_size: usize,
    /// Micro-batches that a step is cut into to save memory. Gradients are those of the whole batch; batch-norm statistics are
    /// those of the micro-batch.
    pub accumulation: usize,
    /// Steps between two validations; each validation is followed by a checkpoint.
    pub eval_every: usize,
    /// Validations without improvement after which training stops; 0 trains to the end.
    pub patience: usize,
    /// What the best checkpoint is chosen by, always on real validation images.
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
    pub schedule: LrShape,
    /// Largest global gradient norm; 0 does not clip.
    pub clip_norm: f32,
    /// How the loss is averaged.
    pub reduction: Reduction,
    /// Weigh the positive term of each finding by negatives / positives of the real training rows, at most 20.
    pub pos_weight: bool,
    /// torchxrayvision's task weights: rare findings count more.
    pub task_weights: bool,
    /// Classical augmentation of every training image, real or synthetic.
    pub augmentation: Augmentation,
    /// Images a forward pass in validation and prediction.
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
            schedule: LrShape::Cosine,
            clip_norm: 1.0,
            reduction: Reduction::Mean,
            pos_weight: false,
            task_weights: false,
            augmentation: Augmentation::default(),
            eval_batch_size: 64,
            workers: 1,
        }
    }
}

/// What the best checkpoint is chosen by.
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

/// Learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LrShape {
    /// Half a cosine down to 0 at the last step.
    Cosine,
    /// The peak throughout.
    Constant,
}

impl TrainConfig {
    /// Refuses settings that can't be meant.
    ///
    /// # Errors
    /// [`ClassifierError::Setting`] names the first key out of its range.
    pub fn validate(&self) -> Result<(), ClassifierError> {
        let check = |ok: bool, key, value: String, expected| {
            if ok { Ok(()) } else { Err(ClassifierError::Setting { key, value, expected }) }
        };
        check(self.steps > 0, "steps", self.steps.to_string(), "at least 1")?;
        check(self.batch_size > 0, "batch_size", self.batch_size.to_string(), "at least 1")?;
        check(
            self.accumulation > 0 && self.batch_size.is_multiple_of(self.accumulation.max(1)),
            "accumulation",
            self.accumulation.to_string(),
            "a divisor of batch_size",
        )?;
        check(self.eval_every > 0, "eval_every", self.eval_every.to_string(), "at least 1")?;
        check(self.eval_batch_size > 0, "eval_batch_size", self.eval_batch_size.to_string(), "at least 1")?;
        check(self.workers > 0, "workers", self.workers.to_string(), "at least 1")?;
        let rate = self.learning_rate;
        check(rate > 0.0 && rate <= 1.0, "learning_rate", rate.to_string(), "a number in (0, 1]")?;
        let decay = self.weight_decay;
        check((0.0..1.0).contains(&decay), "weight_decay", decay.to_string(), "a number in [0, 1)")?;
        let clip = self.clip_norm;
        check(clip >= 0.0 && clip.is_finite(), "clip_norm", clip.to_string(), "0 (off) or a positive number")
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
                AdamW(AdamWNumbers { betas: [0.9, 0.999], epsilon: EPSILON.into(), weight_decay: self.weight_decay.into() })
                    .into()
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
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let bad = TrainConfig { learning_rate: -1.0, ..TrainConfig::default() };
        assert_eq!(bad.validate().unwrap_err().to_string(), "learning_rate is -1, expected a number in (0, 1]");
        let bad = TrainConfig { batch_size: 10, accumulation: 3, ..TrainConfig::default() };
        assert!(bad.validate().unwrap_err().to_string().starts_with("accumulation is 3"));
        TrainConfig::default().validate().unwrap();
    }

    #[test]
    fn the_last_round_may_be_shorter() {
        assert_eq!(TrainConfig { steps: 250, eval_every: 100, ..TrainConfig::default() }.rounds(), 3);
    }
}
