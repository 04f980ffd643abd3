//! All settings that the results of training depend on.

use burn::tensor::{Device, FloatDType};
use roentgen_classifier::SettingError;
use roentgen_classifier::training::{AdamWConfig, EmaConfig, Precision};
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use super::objective::{Objective, ReconstructionObjective};
use super::strategy::Strategy;
use crate::diffusion::Part;

/// Settings of a [`Trainee`](super::Trainee). Two trainings with equal settings, start and batches are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct TraineeSettings {
    /// Which parts train.
    pub strategy: Strategy,
    /// The denoiser's loss.
    pub objective: Objective,
    /// The autoencoder's loss.
    pub reconstruction: ReconstructionObjective,
    /// The optimiser.
    pub adamw: AdamWConfig,
    /// Learning rates, before the schedule's factor.
    pub learning_rates: LearningRates,
    /// Gradients with a larger norm, over all parts together, are scaled down to this; `None` disables clipping.
    pub max_grad_norm: Option<f64>,
    /// Moving average of the weights; `None` keeps none.
    pub ema: Option<EmaConfig>,
    /// Compute type of text encoder and U-Net: F32 or BF16. Weights that train, moments and averages are F32 either way; the
    /// autoencoder computes in F32.
    pub dtype: FloatDType,
    /// Recompute memory-bound activations in the backward pass instead of keeping them: less memory, more time, equal results.
    pub gradient_checkpointing: bool,
    /// Seed of the initial weights of adapters.
    pub seed: u64,
}

/// Learning rate of each part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRates {
    /// Of the U-Net, or its adapters.
    pub unet: f64,
    /// Of the text encoder, or its adapters.
    pub text_encoder: f64,
    /// Of the text projection.
    pub text_projection: f64,
    /// Of the autoencoder.
    pub vae: f64,
}

impl LearningRates {
    /// One rate for all parts.
    #[must_use]
    pub const fn uniform(rate: f64) -> Self {
        Self { unet: rate, text_encoder: rate, text_projection: rate, vae: rate }
    }

    /// That of `part`.
    #[must_use]
    pub const fn of(&self, part: Part) -> f64 {
        match part {
            Part::Unet => self.unet,
            Part::TextEncoder => self.text_encoder,
            Part::TextProjection => self.text_projection,
            Part::Vae => self.vae,
        }
    }
}

impl Default for LearningRates {
    /// RoentGen's.
    fn default() -> Self {
        Self::uniform(5e-5)
    }
}

impl TraineeSettings {
    /// RoentGen's settings where they are known, diffusers' defaults elsewhere: AdamW, 5e-5, clipping at 1, no average, F32.
    #[must_use]
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            objective: Objective::default(),
            reconstruction: ReconstructionObjective::default(),
            adamw: AdamWConfig::default(),
            learning_rates: LearningRates::default(),
            max_grad_norm: Some(1.0),
            ema: None,
            dtype: FloatDType::F32,
            gradient_checkpointing: false,
            seed: 0,
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] names the setting and its range.
    pub fn check(&self) -> Result<(), FinetuneError> {
        self.strategy.check()?;
        self.objective.check()?;
        self.reconstruction.check()?;
        self.adamw.check()?;
        self.ema.iter().try_for_each(EmaConfig::check)?;
        let LearningRates { unet, text_encoder, text_projection, vae } = self.learning_rates;
        for (key, rate) in [
            ("learning_rates.unet", unet),
            ("learning_rates.text_encoder", text_encoder),
            ("learning_rates.text_projection", text_projection),
            ("learning_rates.vae", vae),
        ] {
            within(key, rate, rate.is_finite() && rate >= 0.0, "a number of at least 0")?;
        }
        if let Some(norm) = self.max_grad_norm {
            within("max_grad_norm", norm, norm > 0.0, "a number above 0")?;
        }
        if matches!(self.dtype, FloatDType::F32 | FloatDType::BF16) {
            return Ok(());
        }
        // Gradients below 6e-8 vanish in F16 and there is no gradient scaler.
        Err(FinetuneError::Setting(SettingError {
            key: "dtype",
            value: format!("{:?}", self.dtype),
            expected: "f32 or bf16".to_owned(),
        }))
    }

    /// Refuses a device that lacks the compute type.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] with what to write instead.
    pub fn check_device(&self, device: &Device) -> Result<(), FinetuneError> {
        let precision = if self.dtype == FloatDType::F32 { Precision::Fp32 } else { Precision::Bf16 };
        Ok(precision.check("precision", device)?)
    }
}

/// Refuses `value` unless it is `good`.
pub(super) fn within(key: &'static str, value: f64, good: bool, expected: &str) -> Result<(), FinetuneError> {
    Ok(SettingError::unless(good, key, value, expected)?)
}
