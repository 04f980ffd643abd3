//! The tables of the run file that no other module owns: `[optimizer]`, `[schedule]`, `[validation]`, `[samples]`.

use roentgen_classifier::training::{AdamWConfig, LearningRateSchedule};
use serde::{Deserialize, Serialize};

use crate::config::limits::{MOST_GUIDANCE, MOST_LEARNING_RATE, MOST_SAMPLES, MOST_SAMPLING_STEPS, MOST_STEPS, within};
use crate::config::{ConfigError, sampler_named};
use crate::diffusion::pipeline::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS};
use crate::diffusion::samplers::SamplerKind;
use crate::finetune::LearningRates;

/// Pictures of one prompt on a sample sheet.
const MOST_PICTURES: usize = 256;

/// Prompts of a sample sheet.
const MOST_PROMPTS: usize = 256;

/// The `[optimizer]` table: AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate of every part without its own.
    pub learning_rate: f64,
    /// Peak learning rate of the U-Net or its adapters.
    pub unet_learning_rate: Option<f64>,
    /// Peak learning rate of the text encoder or its adapters.
    pub text_encoder_learning_rate: Option<f64>,
    /// Peak learning rate of the layer between a text encoder and a U-Net of different widths.
    pub text_projection_learning_rate: Option<f64>,
    /// Peak learning rate of the autoencoder.
    pub vae_learning_rate: Option<f64>,
    /// Decay rates of the first and the second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay; biases and norms decay too, as in PyTorch.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; 0 disables clipping.
    pub clip_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        let AdamWConfig { betas, epsilon, weight_decay } = AdamWConfig::default();
        Self {
            learning_rate: LearningRates::default().unet,
            unet_learning_rate: None,
            text_encoder_learning_rate: None,
            text_projection_learning_rate: None,
            vae_learning_rate: None,
            betas,
            epsilon,
            weight_decay,
            clip_norm: 1.0,
        }
    }
}

impl OptimizerConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let rates = [
            ("learning_rate", Some(self.learning_rate)),
            ("unet_learning_rate", self.unet_learning_rate),
            ("text_encoder_learning_rate", self.text_encoder_learning_rate),
            ("text_projection_learning_rate", self.text_projection_learning_rate),
            ("vae_learning_rate", self.vae_learning_rate),
        ];
        for (key, rate) in rates {
            within(format!("optimizer.{key}"), rate.unwrap_or(0.0), 0.0..=MOST_LEARNING_RATE)?;
        }
        within("optimizer.epsilon", self.epsilon, 1e-30..=1.0)?;
        within("optimizer.weight_decay", self.weight_decay, 0.0..=MOST_LEARNING_RATE)?;
        // No clipping is asked for by 0 alone.
        within("optimizer.clip_norm", self.clip_norm, 0.0..=1e12)
    }

    pub(super) fn adamw(&self) -> AdamWConfig {
        AdamWConfig { betas: self.betas, epsilon: self.epsilon, weight_decay: self.weight_decay }
    }

    pub(super) fn learning_rates(&self) -> LearningRates {
        let rate = |own: Option<f64>| own.unwrap_or(self.learning_rate);
        LearningRates {
            unet: rate(self.unet_learning_rate),
            text_encoder: rate(self.text_encoder_learning_rate),
            text_projection: rate(self.text_projection_learning_rate),
            vae: rate(self.vae_learning_rate),
        }
    }
}

/// The `[schedule]` table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Optimiser steps of the whole run.
    pub steps: u64,
    /// Steps of linear warm-up from 0.
    pub warmup_steps: u64,
    /// After the warm-up: `constant`, `linear` or `cosine` to 0 after the last step, or `{ linear-to = { end = 1e-7 } }`.
    pub shape: LearningRateSchedule,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { steps: 1_000, warmup_steps: 0, shape: LearningRateSchedule::Constant }
    }
}

impl ScheduleConfig {
    pub(super) fn validate(&self, optimizer: &OptimizerConfig) -> Result<(), ConfigError> {
        within("schedule.steps", self.steps, 1..=MOST_STEPS)?;
        if self.warmup_steps >= self.steps {
            return Err(ConfigError::value("schedule.warmup_steps", self.warmup_steps, "fewer than schedule.steps"));
        }
        if let LearningRateSchedule::LinearTo { end } = self.shape {
            // The end is computed as a share of a rate, so none may be 0 or lower.
            let LearningRates { unet, text_encoder, text_projection, vae } = optimizer.learning_rates();
            let lowest = unet.min(text_encoder).min(text_projection).min(vae);
            if !(0.0..=lowest).contains(&end) || lowest == 0.0 {
                let expected = format!("at least 0 and at most {lowest}, the lowest learning rate, which must be above 0");
                return Err(ConfigError::value("schedule.shape.linear-to.end", end, expected));
            }
        }
        Ok(())
    }

    /// The factor of the learning rates at step `step`, from 0; `base` is the highest of them.
    #[must_use]
    pub fn factor(&self, step: u64, base: f64) -> f64 {
        self.shape.factor(step, self.warmup_steps, self.steps, base)
    }
}

/// The loss on the validation split, on noise and timesteps that are the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationConfig {
    /// Steps between validations; 0 for none. The last step is validated too.
    pub every: u64,
    /// Number of images, the first of the split; all if there are fewer.
    pub images: usize,
    /// Equal ranges of timesteps, each with its own mean: a model can get better where noise is strong and worse where it is weak.
    /// Every image has one timestep in each.
    pub bins: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { every: 500, images: 64, bins: 5 }
    }
}

impl ValidationConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        /// Timesteps of the shortest schedules in use.
        const MOST: usize = 100;
        within("validation.every", self.every, 0..=MOST_STEPS)?;
        within("validation.bins", self.bins, 1..=MOST)?;
        within("validation.images", self.images, 0..=MOST_SAMPLES)?;
        if self.images == 0 && self.every > 0 {
            let expected = "at least 1 (validation.every = 0 disables validation)";
            return Err(ConfigError::value("validation.images", 0, expected));
        }
        Ok(())
    }
}

/// A sheet of images of fixed prompts and seeds, to see what the model has learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Steps between sheets; 0 for none. The last step has one too.
    pub every: u64,
    /// One prompt per row; those of the first four validation images if absent.
    pub prompts: Vec<String>,
    /// Images per prompt, in columns: seeds 0, 1, …
    pub count: usize,
    /// `ddpm`, `ddim`, `pndm`, `euler`, `euler-a`, `dpm++2m` or `unipc`; the pipeline's own if absent.
    pub sampler: Option<String>,
    /// Sampling steps.
    pub steps: usize,
    /// Classifier-free guidance scale.
    pub guidance: f64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { every: 500, prompts: Vec::new(), count: 4, sampler: None, steps: ROENTGEN_STEPS, guidance: ROENTGEN_GUIDANCE }
    }
}

impl SampleConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("samples.every", self.every, 0..=MOST_STEPS)?;
        if self.prompts.len() > MOST_PROMPTS {
            let value = format!("a list of {}", self.prompts.len());
            return Err(ConfigError::value("samples.prompts", value, format!("at most {MOST_PROMPTS} prompts")));
        }
        within("samples.count", self.count, usize::from(self.every > 0)..=MOST_PICTURES)?;
        within("samples.steps", self.steps, 1..=MOST_SAMPLING_STEPS)?;
        within("samples.guidance", self.guidance, 0.0..=MOST_GUIDANCE)?;
        self.kind().map(|_| ())
    }

    /// The sampler, if one is named.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown one.
    pub fn kind(&self) -> Result<Option<SamplerKind>, ConfigError> {
        sampler_named("samples.sampler", self.sampler.as_deref())
    }
}
