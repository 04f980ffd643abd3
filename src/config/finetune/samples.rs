//! The `[samples]` table.

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::diffusion::pipeline::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS};
use crate::diffusion::samplers::SamplerKind;

/// A sheet of pictures of fixed prompts and seeds, to see what the model has learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Steps between two sheets; 0 for none. The last step has one too.
    pub every: u64,
    /// One a row; those of the first four validation images if absent.
    pub prompts: Vec<String>,
    /// Pictures a prompt, in columns: seeds 0, 1, …
    pub count: usize,
    /// A name of [`SAMPLERS`](crate::diffusion::samplers::SAMPLERS); the pipeline's own if absent.
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
        let check = |good: bool, key: &str, value: String, expected: &str| {
            if good { Ok(()) } else { Err(ConfigError::value(key, value, expected)) }
        };
        check(self.every == 0 || self.count > 0, "samples.count", self.count.to_string(), "at least 1")?;
        check(self.steps > 0, "samples.steps", self.steps.to_string(), "at least 1")?;
        let guidance = self.guidance;
        check(
            guidance.is_finite() && guidance >= 0.0,
            "samples.guidance",
            guidance.to_string(),
            "0 or more (1 and below: none)",
        )?;
        self.kind().map(|_| ())
    }

    /// The sampler, if one is named.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown one.
    pub fn kind(&self) -> Result<Option<SamplerKind>, ConfigError> {
        let parse = |name: &String| name.parse().map_err(|_| ConfigError::value("samples.sampler", name, SamplerKind::names()));
        self.sampler.as_ref().map(parse).transpose()
    }
}
