//! The `[generator.diffusion]` table.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::device::DeviceChoice;
use crate::diffusion::samplers::SamplerKind;
use crate::diffusion::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS};

/// A Stable Diffusion checkpoint as the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffusionConfig {
    /// Folder in diffusers' layout.
    pub pipeline: PathBuf,
    /// `ddpm`, `ddim`, `pndm`, `euler`, `euler-a`, `dpm++2m` or `unipc`; the folder's own if absent.
    #[serde(default)]
    pub sampler: Option<String>,
    /// Sampling steps.
    #[serde(default = "default_steps")]
    pub steps: usize,
    /// Classifier-free guidance scale.
    #[serde(default = "default_guidance")]
    pub guidance: f64,
    /// What to stay away from.
    #[serde(default)]
    pub negative_prompt: String,
    /// Images made at a time.
    #[serde(default = "default_batch_size")]
    pub batch_size: NonZeroUsize,
    /// Where it generates: `auto`, `cpu` or `cuda:N`. The classifier trains on the command line's `--device`.
    #[serde(default = "default_device")]
    pub device: String,
    /// What the checkpoint was trained on, in words for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
}

fn default_steps() -> usize {
    ROENTGEN_STEPS
}

fn default_guidance() -> f64 {
    ROENTGEN_GUIDANCE
}

fn default_batch_size() -> NonZeroUsize {
    NonZeroUsize::MIN
}

fn default_device() -> String {
    DeviceChoice::default().to_string()
}

impl DiffusionConfig {
    /// The sampler that was asked for.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown name.
    pub fn sampler(&self) -> Result<Option<SamplerKind>, ConfigError> {
        let known = || SamplerKind::ALL.map(|kind| kind.to_string()).join(", ");
        let parse = |name: &String| name.parse().map_err(|_| ConfigError::value(key("sampler"), name, known()));
        self.sampler.as_ref().map(parse).transpose()
    }

    /// The device that was asked for.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown name.
    pub fn device(&self) -> Result<DeviceChoice, ConfigError> {
        self.device.parse().map_err(|_| ConfigError::value(key("device"), &self.device, "auto, cpu, cuda or cuda:N"))
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.sampler()?;
        self.device()?;
        if self.steps == 0 {
            return Err(ConfigError::value(key("steps"), self.steps, "1 or more"));
        }
        if !(self.guidance.is_finite() && self.guidance >= 0.0) {
            return Err(ConfigError::value(key("guidance"), self.guidance, "0 or more"));
        }
        Ok(())
    }
}

fn key(name: &str) -> String {
    format!("generator.diffusion.{name}")
}
