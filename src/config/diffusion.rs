//! The `[generator.diffusion]` table.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::device::DeviceChoice;
use crate::diffusion::pipeline::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS, SamplingPreset};
use crate::diffusion::samplers::SamplerKind;

/// A Stable Diffusion checkpoint as the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys")]
pub struct DiffusionConfig {
    /// Folder in diffusers' layout.
    pub pipeline: PathBuf,
    /// A name of [`SAMPLERS`](crate::diffusion::samplers::SAMPLERS); the folder's own if absent.
    pub sampler: Option<String>,
    /// Sampling steps.
    pub steps: usize,
    /// Classifier-free guidance scale.
    pub guidance: f64,
    /// What to stay away from.
    pub negative_prompt: String,
    /// Images made at a time.
    pub batch_size: NonZeroUsize,
    /// Where it generates: `auto`, `cpu` or `cuda:N`. The classifier trains on the command line's `--device`.
    pub device: String,
    /// What the checkpoint was trained on, in words for the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
}

/// The keys as they are written: a preset stands for sampler, steps and guidance, which can be set beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    pipeline: PathBuf,
    preset: Option<SamplingPreset>,
    sampler: Option<String>,
    steps: Option<usize>,
    guidance: Option<f64>,
    #[serde(default)]
    negative_prompt: String,
    #[serde(default = "default_batch_size")]
    batch_size: NonZeroUsize,
    #[serde(default = "default_device")]
    device: String,
    trained_on: Option<String>,
}

impl From<Keys> for DiffusionConfig {
    fn from(keys: Keys) -> Self {
        let Keys { pipeline, preset, sampler, steps, guidance, negative_prompt, batch_size, device, trained_on } = keys;
        Self {
            pipeline,
            sampler: sampler.or_else(|| preset.map(|preset| preset.sampler().to_string())),
            steps: steps.or(preset.map(SamplingPreset::steps)).unwrap_or(ROENTGEN_STEPS),
            guidance: guidance.or(preset.map(SamplingPreset::guidance_scale)).unwrap_or(ROENTGEN_GUIDANCE),
            negative_prompt,
            batch_size,
            device,
            trained_on,
        }
    }
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
        let parse = |name: &String| name.parse().map_err(|_| ConfigError::value(key("sampler"), name, SamplerKind::names()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(keys: &str) -> Result<DiffusionConfig, toml::de::Error> {
        toml::from_str(&format!("pipeline = \"p\"\n{keys}"))
    }

    fn sampling(keys: &str) -> (Option<String>, usize, f64) {
        let config = parse(keys).unwrap();
        (config.sampler, config.steps, config.guidance)
    }

    #[test]
    fn a_preset_stands_for_what_is_not_set_beside_it() {
        assert_eq!(sampling(""), (None, 75, 4.0));
        assert_eq!(sampling("preset = \"roentgen-v2\""), (Some("pndm".into()), 75, 3.0));
        assert_eq!(sampling("preset = \"fast\"\nsteps = 20"), (Some("dpm++2m".into()), 20, 4.0));
        assert_eq!(sampling("preset = \"draft\"\nsampler = \"ddim\"\nguidance = 2.0"), (Some("ddim".into()), 10, 2.0));
    }

    #[test]
    fn what_is_written_out_names_the_values_and_is_read_back() {
        let config = parse("preset = \"fast\"").unwrap();
        let written = toml::to_string(&config).unwrap();
        assert!(written.contains("dpm++2m") && !written.contains("preset"), "{written}");
        assert_eq!(toml::from_str::<DiffusionConfig>(&written).unwrap(), config);
    }

    #[test]
    fn unknown_keys_and_presets_are_refused_by_name() {
        assert!(parse("step = 3").unwrap_err().to_string().contains("step"));
        let message = parse("preset = \"quick\"").unwrap_err().to_string();
        assert!(message.contains("quick") && message.contains("roentgen-v1"), "{message}");
    }
}
