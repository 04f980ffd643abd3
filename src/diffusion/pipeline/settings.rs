//! How images are sampled, by name or one by one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::json;

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

/// Of the meaning of [`Settings::canonical`].
const CANONICAL_VERSION: u32 = 1;

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

    /// A text that differs wherever images would: part of the key of every cached sample.
    ///
    /// It names each setting by itself and is the same for every build, so that samples made by an older build are found again. Raise
    /// [`CANONICAL_VERSION`] when equal settings make other images than before.
    pub(crate) fn canonical(&self) -> String {
        // No `..`: a new setting has to be entered here, or samples made with its other values would be served.
        let Self { scheduler, steps, guidance_scale, guidance_rescale, size, clip_skip, depth, tiled } = self;
        let bits = match depth {
            Depth::Eight => 8,
            Depth::Sixteen => 16,
        };
        let settings = json!({
            "version": CANONICAL_VERSION,
            "scheduler": scheduler.canonical(),
            "steps": steps,
            "guidance_scale": guidance_scale,
            "guidance_rescale": guidance_rescale,
            "size": size,
            "clip_skip": clip_skip,
            "bits": bits,
            "tiled": tiled,
        });
        // Keys are sorted, which a test pins.
        settings.to_string()
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
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn settings(scheduler: SchedulerConfig) -> Settings {
        Settings {
            scheduler,
            steps: ROENTGEN_STEPS,
            guidance_scale: ROENTGEN_GUIDANCE,
            guidance_rescale: 0.0,
            size: [512, 512],
            clip_skip: 0,
            depth: Depth::Eight,
            tiled: false,
        }
    }

    /// The keys of all cached samples change with this text. If they must, raise the version; if not, mend the code.
    #[test]
    fn the_text_of_settings_is_the_same_for_every_build() {
        let expected = concat!(
            r#"{"bits":8,"clip_skip":0,"guidance_rescale":0.0,"guidance_scale":4.0,"scheduler":{"eta":0.0,"noise_schedule":"#,
            r#""5987523a441cb2b7a1ce42d89d240a65c1045fe88dc313a75f39575703048801","options":{"prediction":"epsilon","#,
            r#""set_alpha_to_one":false,"skip_prk_steps":true,"timesteps":{"offset":1,"spacing":"leading"}},"#,
            r#""prediction":"epsilon","sampler":"pndm"},"size":[512,512],"steps":75,"tiled":false,"version":1}"#,
        );
        assert_eq!(settings(SchedulerConfig::roentgen()).canonical(), expected);

        // Another order of options, notes, and options that this sampler hasn't.
        let same = r#"{"skip_prk_steps": true, "steps_offset": 1, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
            "beta_end": 0.012, "use_karras_sigmas": true, "_diffusers_version": "0.42.1", "_class_name": "PNDMScheduler"}"#;
        let same = SchedulerConfig::parse(same, Path::new("elsewhere.json")).unwrap();
        assert_eq!(settings(same).canonical(), expected);
    }

    #[test]
    fn the_text_differs_wherever_images_would() {
        let of = |options: &str| {
            let text = format!(r#"{{"beta_start": 0.00085, {options}}}"#);
            SchedulerConfig::parse(&text, Path::new("scheduler_config.json")).unwrap()
        };
        let class = |name: &str, options: &str| of(&format!(r#""_class_name": "{name}Scheduler"{options}"#));
        let base = || settings(SchedulerConfig::roentgen());
        let dpm = |options: &str| settings(class("DPMSolverMultistep", options));
        let mut all = vec![
            base(),
            Settings { steps: 74, ..base() },
            Settings { guidance_scale: 4.0 + f64::EPSILON * 4.0, ..base() },
            Settings { guidance_rescale: 0.5, ..base() },
            Settings { size: [512, 256], ..base() },
            Settings { size: [256, 512], ..base() },
            Settings { clip_skip: 1, ..base() },
            Settings { depth: Depth::Sixteen, ..base() },
            Settings { tiled: true, ..base() },
            dpm(""),
            dpm(r#", "lambda_min_clipped": -5.1"#),
            dpm(r#", "solver_order": 3"#),
            dpm(r#", "solver_type": "heun""#),
            dpm(r#", "algorithm_type": "sde-dpmsolver++""#),
            dpm(r#", "euler_at_final": true"#),
            dpm(r#", "thresholding": true"#),
            dpm(r#", "thresholding": true, "sample_max_value": 2.0"#),
            dpm(r#", "final_sigmas_type": "sigma_min""#),
            dpm(r#", "prediction_type": "v_prediction""#),
            dpm(r#", "timestep_spacing": "trailing""#),
            dpm(r#", "trained_betas": [0.5, 0.25], "num_train_timesteps": 2"#),
            dpm(r#", "trained_betas": [0.25, 0.5], "num_train_timesteps": 2"#),
            dpm(r#", "rescale_betas_zero_snr": true"#),
            settings(class("DDIM", "")),
            settings(class("DDIM", "").with_eta(0.5).unwrap()),
            settings(class("DDIM", r#", "clip_sample": false"#)),
            settings(class("DDIM", r#", "clip_sample_range": 2.0"#)),
            settings(class("DDIM", r#", "set_alpha_to_one": false"#)),
            settings(class("DDPM", "")),
            settings(class("DDPM", r#", "variance_type": "fixed_large""#)),
            settings(class("UniPCMultistep", r#", "disable_corrector": [0]"#)),
            settings(class("UniPCMultistep", r#", "solver_type": "bh1""#)),
        ];
        for kind in [SamplerKind::Euler, SamplerKind::EulerAncestral, SamplerKind::UniPc] {
            all.push(settings(SchedulerConfig::roentgen().with_kind(kind).unwrap()));
        }
        for kind in [SamplerKind::Euler, SamplerKind::DpmSolver, SamplerKind::UniPc] {
            all.push(settings(SchedulerConfig::roentgen().with_kind(kind).unwrap().with_karras_sigmas(true).unwrap()));
        }
        let texts: BTreeSet<String> = all.iter().map(Settings::canonical).collect();
        assert_eq!(texts.len(), all.len());
    }

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
