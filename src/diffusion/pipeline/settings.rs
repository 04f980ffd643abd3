//! How images are sampled, by name or one by one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ImageRequest;
use super::picture::Depth;
use crate::diffusion::DiffusionError;
use crate::diffusion::samplers::{SamplerKind, SchedulerConfig};

/// Everything but the prompts and seeds that decides what a pipeline paints.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sampler and its noise schedule.
    pub scheduler: SchedulerConfig,
    /// Sampling steps, 1 or more.
    pub steps: usize,
    /// Classifier-free guidance scale, 0 or more. At 1 and below there is none and each step is half the work, as in diffusers.
    pub guidance_scale: f64,
    /// How much of the guided prediction is rescaled to the deviation of the conditional one, in [0, 1]; for models of
    /// zero-terminal-SNR schedules.
    pub guidance_rescale: f64,
    /// Height and width in pixels, multiples of the autoencoder's factor (8).
    pub size: [usize; 2],
    /// Last layers of the text encoder to leave out.
    pub clip_skip: usize,
    /// Bits of a sample in the images.
    pub depth: Depth,
    /// Decode in overlapping tiles: less memory for images larger than the model's own size, with blended seams.
    pub tiled: bool,
}

/// RoentGen's published sampling (Chambon et al. 2022, arXiv 2211.12737, section 2): PNDM, 75 steps, guidance scale 4.
pub const ROENTGEN_STEPS: usize = 75;

/// As [`ROENTGEN_STEPS`].
pub const ROENTGEN_GUIDANCE: f64 = 4.0;

impl Settings {
    /// Checks the ranges; `factor` is the autoencoder's.
    pub(super) fn check(&self, factor: usize) -> Result<(), DiffusionError> {
        let wrong =
            |key, value: String, expected: &str| Err(DiffusionError::Setting { key, value, expected: expected.to_owned() });
        if self.steps == 0 {
            return wrong("steps", self.steps.to_string(), "1 or more");
        }
        if !(self.guidance_scale.is_finite() && self.guidance_scale >= 0.0) {
            return wrong("guidance", self.guidance_scale.to_string(), "0 or more (1 and below switch it off)");
        }
        if !(0.0..=1.0).contains(&self.guidance_rescale) {
            return wrong("guidance_rescale", self.guidance_rescale.to_string(), "between 0 and 1");
        }
        let [height, width] = self.size;
        if let Some(side) = [height, width].into_iter().find(|side| *side == 0 || side % factor != 0) {
            let (below, above) = (side / factor * factor, side.div_ceil(factor).max(1) * factor);
            let near = if below == 0 { format!("{above}") } else { format!("{below} or {above}") };
            return wrong("size", side.to_string(), &format!("a multiple of {factor} pixels, such as {near}"));
        }
        Ok(())
    }

    /// U-Net evaluations an image: PNDM has one more than steps.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for steps that the sampler can't take.
    pub fn evaluations(&self) -> Result<usize, DiffusionError> {
        Ok(self.scheduler.sampler(self.steps)?.timesteps().len())
    }

    /// The texts that the U-Net reads for `requests`, in the order of its rows: with guidance the negative prompts first.
    pub(crate) fn texts<'a>(&self, requests: &'a [ImageRequest]) -> Vec<&'a str> {
        let prompts = requests.iter().map(|request| request.prompt.as_str());
        match self.is_guided() {
            true => requests.iter().map(|request| request.negative_prompt.as_str()).chain(prompts).collect(),
            false => prompts.collect(),
        }
    }

    /// A text that differs wherever images would.
    pub(crate) fn canonical(&self) -> String {
        format!("{self:?}")
    }

    /// Whether the U-Net computes two rows an image.
    #[must_use]
    pub fn is_guided(&self) -> bool {
        self.guidance_scale > 1.0
    }
}

/// Sampler, steps and guidance scale under one name; each can be set beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplingPreset {
    /// `roentgen-v1`: PNDM, 75 steps, guidance 4 (Chambon et al. 2022, arXiv 2211.12737, section 2).
    RoentgenV1,
    /// `roentgen-v2`: PNDM, 75 steps, guidance 3 (sampling code of StanfordMIMI/RoentGen-v2, arXiv 2508.16783).
    RoentgenV2,
    /// `fast`: DPM-Solver++(2M), 25 steps, guidance 4; a third of the work. Ours: the 15 to 20 steps of Lu et al. (2022, arXiv
    /// 2211.01095) with a margin.
    Fast,
    /// `draft`: UniPC, 10 steps, guidance 4; to look at prompts, not to train on. Ours: the steps of Zhao et al. (2023, arXiv
    /// 2302.04867).
    Draft,
}

impl SamplingPreset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::RoentgenV1, Self::RoentgenV2, Self::Fast, Self::Draft];

    /// The sampler.
    #[must_use]
    pub const fn sampler(self) -> SamplerKind {
        match self {
            Self::RoentgenV1 | Self::RoentgenV2 => SamplerKind::Pndm,
            Self::Fast => SamplerKind::DpmSolver,
            Self::Draft => SamplerKind::UniPc,
        }
    }

    /// Sampling steps.
    #[must_use]
    pub const fn steps(self) -> usize {
        match self {
            Self::RoentgenV1 | Self::RoentgenV2 => ROENTGEN_STEPS,
            Self::Fast => 25,
            Self::Draft => 10,
        }
    }

    /// Classifier-free guidance scale.
    #[must_use]
    pub const fn guidance_scale(self) -> f64 {
        match self {
            Self::RoentgenV2 => 3.0,
            Self::RoentgenV1 | Self::Fast | Self::Draft => ROENTGEN_GUIDANCE,
        }
    }
}

impl fmt::Display for SamplingPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoentgenV1 => "roentgen-v1",
            Self::RoentgenV2 => "roentgen-v2",
            Self::Fast => "fast",
            Self::Draft => "draft",
        })
    }
}

impl FromStr for SamplingPreset {
    type Err = DiffusionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|preset| preset.to_string() == name).ok_or_else(|| DiffusionError::Setting {
            key: "preset",
            value: name.to_owned(),
            expected: Self::ALL.map(|preset| preset.to_string()).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_run_files() {
        for preset in SamplingPreset::ALL {
            assert_eq!(preset.to_string().parse::<SamplingPreset>().unwrap(), preset);
            assert_eq!(serde_json::to_value(preset).unwrap(), preset.to_string());
        }
        let message = "quick".parse::<SamplingPreset>().unwrap_err().to_string();
        assert_eq!(message, "preset is quick, expected roentgen-v1, roentgen-v2, fast, draft");
    }
}
