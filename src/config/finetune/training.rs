//! The `[optimizer]` and `[schedule]` tables, and the precision.

use roentgen_classifier::training::{AdamWConfig, LearningRateSchedule};
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::finetune::LearningRates;

/// The `[optimizer]` table: AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate of every part that has none of its own.
    pub learning_rate: f64,
    /// Of the U-Net or its adapters.
    pub unet_learning_rate: Option<f64>,
    /// Of the text encoder or its adapters.
    pub text_encoder_learning_rate: Option<f64>,
    /// Of the layer between a text encoder and a U-Net of different widths.
    pub text_projection_learning_rate: Option<f64>,
    /// Of the autoencoder.
    pub vae_learning_rate: Option<f64>,
    /// Decay rates of the first and the second moment.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay; biases and norms decay too, as in PyTorch.
    pub weight_decay: f64,
    /// Largest norm of all gradients together; 0 does not clip.
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
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.steps == 0 {
            return Err(ConfigError::value("schedule.steps", 0, "at least 1"));
        }
        if self.warmup_steps >= self.steps {
            return Err(ConfigError::value("schedule.warmup_steps", self.warmup_steps, "fewer than schedule.steps"));
        }
        Ok(())
    }

    /// What learning rates are multiplied by at step `step`, from 0; `base` is the highest of them.
    #[must_use]
    pub fn factor(&self, step: u64, base: f64) -> f64 {
        self.shape.factor(step, self.warmup_steps, self.steps, base)
    }
}

/// Compute type of text encoder and U-Net.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// Brain floats, for GPUs: half the memory of activations, about twice the speed.
    Bf16,
}
