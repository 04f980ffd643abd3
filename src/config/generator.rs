//! The `[generator]` table, and in it `[generator.diffusion]`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use roentgen_augment::AugmentError;
use roentgen_augment::record::{Finding, by_finding};
use roentgen_augment::request::LabelPlan;
use roentgen_augment::text::PromptSettings;
use serde::{Deserialize, Serialize};

use super::limits::{MOST_BATCH, MOST_CACHE_MIB, MOST_GUIDANCE, MOST_PIXELS, MOST_SAMPLES, MOST_SAMPLING_STEPS, within};
use super::{ArmConfig, ConfigError, ImagesConfig};
use crate::device::DeviceChoice;
use crate::diffusion::pipeline::{PipelineSource, ROENTGEN_GUIDANCE, ROENTGEN_STEPS, SamplingPreset};
use crate::diffusion::samplers::SamplerKind;

pub use roentgen_augment::supply::SupplyMode;

/// Side of the smallest image that a phantom can be drawn on.
const LEAST_PIXELS: usize = 8;

/// What makes synthetic images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorConfig {
    /// Kind of generator.
    pub kind: GeneratorKind,
    /// Side of its images in pixels; that of `[preprocess]` if absent.
    #[serde(default)]
    pub size: Option<usize>,
    /// What is asked for.
    #[serde(default)]
    pub plan: PlanConfig,
    /// Seed of the requests: the order of training rows, and the noise.
    #[serde(default)]
    pub seed: u64,
    /// How prompts are made from training rows; read by `kind = "diffusion"` alone.
    #[serde(default)]
    pub prompts: PromptSettings,
    /// `cached` (a missing sample is an error), `on-demand` (nothing is kept), or `cache-then-generate`.
    #[serde(default)]
    pub supply: SupplyMode,
    /// Folder of the sample cache; `cache` in the run folder if absent.
    #[serde(default)]
    pub cache: Option<PathBuf>,
    /// Largest size of the cache in MiB; no bound if absent.
    #[serde(default)]
    pub cache_mib: Option<u64>,
    /// The checkpoint and how it samples; for `kind = "diffusion"` only.
    #[serde(default)]
    pub diffusion: Option<DiffusionConfig>,
    /// Images that exist already; for `kind = "images"` only.
    #[serde(default)]
    pub images: Option<ImagesConfig>,
}

impl GeneratorConfig {
    /// Images made at a time.
    #[must_use]
    pub fn batch(&self) -> NonZeroUsize {
        const DRAWN: NonZeroUsize = NonZeroUsize::new(32).expect("32 is not 0");
        self.diffusion.as_ref().map_or(DRAWN, |diffusion| diffusion.batch_size)
    }

    /// The labels that an arm draws from.
    #[must_use]
    pub fn labels(&self, arm: &ArmConfig) -> LabelPlan {
        match &self.plan {
            _ if arm.balanced_requests => LabelPlan::Balanced,
            PlanConfig::Balanced => LabelPlan::Balanced,
            PlanConfig::Counts(counts) => LabelPlan::Counts(counts.clone()),
            PlanConfig::Prevalence | PlanConfig::Prompts(_) => LabelPlan::Prevalence,
        }
    }

    /// What the comparison report must state about it.
    #[must_use]
    pub fn caveat(&self) -> String {
        let diffusion = self.diffusion.as_ref().and_then(|diffusion| diffusion.trained_on.as_ref());
        let images = self.images.as_ref().and_then(|images| images.trained_on.as_ref());
        match (diffusion, images) {
            (Some(trained_on), _) => {
                format!("Synthetic images come from a {}. It was trained on {trained_on}", self.kind.title())
            }
            (_, Some(trained_on)) => {
                format!("Synthetic images were made elsewhere. Their generator was trained on {trained_on}")
            }
            (None, None) => self.kind.caveat().to_owned(),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        within("generator.size", self.size.unwrap_or(LEAST_PIXELS), LEAST_PIXELS..=MOST_PIXELS)?;
        within("generator.cache_mib", self.cache_mib.unwrap_or(0), 0..=MOST_CACHE_MIB)?;
        if let PlanConfig::Counts(counts) = &self.plan {
            let mut total = 0usize;
            for (finding, count) in counts {
                within(format!("generator.plan.counts.{finding}"), *count, 0..=MOST_SAMPLES)?;
                total = total.saturating_add(*count);
            }
            within("generator.plan.counts", total, 1..=MOST_SAMPLES)?;
        }
        self.validate_images()?;
        match (self.kind, &self.diffusion) {
            (GeneratorKind::Diffusion, None) => {
                let expected = "a [generator.diffusion] table that names the pipeline";
                Err(ConfigError::value("generator.kind", "diffusion", expected))
            }
            (GeneratorKind::Diffusion, Some(diffusion)) => {
                self.prompts.validate().map_err(|error| match error {
                    AugmentError::BadSetting { key, found, expected } => {
                        ConfigError::value(format!("generator.{key}"), found, expected)
                    }
                    other => ConfigError::value("generator.prompts", other, "valid settings"),
                })?;
                diffusion.validate()
            }
            (_, None) if self.prompts != PromptSettings::default() => Err(ConfigError::value(
                "generator.prompts",
                "set",
                "nothing, or kind = \"diffusion\", which alone reads prompts",
            )),
            (_, None) => Ok(()),
            (_, Some(_)) => Err(ConfigError::value("generator.diffusion", "set", "nothing, or kind = \"diffusion\"")),
        }
    }

    /// Refuses images without their kind, the kind without images, and settings of how images are made.
    fn validate_images(&self) -> Result<(), ConfigError> {
        let images = match (self.kind, &self.images) {
            (GeneratorKind::Images, Some(images)) => images,
            (GeneratorKind::Images, None) => {
                let expected = "images = { from = \"PATH\" } beside it, which says where they are";
                return Err(ConfigError::value("generator.kind", "images", expected));
            }
            (_, Some(_)) => return Err(ConfigError::value("generator.images", "set", "nothing, or kind = \"images\"")),
            (_, None) => return Ok(()),
        };
        let of_making = [
            (self.size.is_some(), "size"),
            (self.supply != SupplyMode::default(), "supply"),
            (self.cache.is_some(), "cache"),
            (self.cache_mib.is_some(), "cache_mib"),
            (matches!(self.plan, PlanConfig::Prompts(_)), "plan.prompts"),
        ];
        if let Some((_, key)) = of_making.into_iter().find(|(set, _)| *set) {
            let expected = "nothing: with kind = \"images\" nothing is made, and images are read where they are";
            return Err(ConfigError::value(format!("generator.{key}"), "set", expected));
        }
        images.validate()
    }
}

/// Which samples are requested. Labels come from training rows or from a table, never from held-out rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanConfig {
    /// The training rows in turn, one replica after the other: every finding as often as in the training rows.
    #[default]
    Prevalence,
    /// Every finding equally often: more replicas of the rows with rare ones.
    Balanced,
    /// This many images of each finding; `"No Finding"` means rows without any.
    Counts(#[serde(deserialize_with = "by_finding")] BTreeMap<Finding, usize>),
    /// The rows of a table of prompts in turn.
    Prompts(PathBuf),
}

/// Kinds of generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratorKind {
    /// The analytic chest phantom, drawn as faithfully as possible.
    Phantom,
    /// The analytic chest phantom as a deliberately less faithful simulator.
    ShiftedPhantom,
    /// A Stable Diffusion checkpoint, see [`DiffusionConfig`].
    Diffusion,
    /// Nothing: the images exist already, see [`ImagesConfig`].
    Images,
}

impl GeneratorKind {
    /// Name for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Phantom => "analytic chest phantom",
            Self::ShiftedPhantom => "shifted simulator (phantom, less faithful)",
            Self::Diffusion => "latent diffusion model",
            Self::Images => "images made elsewhere",
        }
    }

    /// What the comparison report must state about it if the run file does not state more.
    fn caveat(self) -> &'static str {
        match self {
            Self::Phantom => {
                "Synthetic images come from the analytic chest phantom, not from a generative model: they are a control."
            }
            Self::ShiftedPhantom => {
                "Synthetic images come from a shifted simulator: the analytic chest phantom made deliberately less faithful. \
                 They stand in for a generative model; nothing here says anything about one."
            }
            Self::Diffusion => {
                "Only its makers know what the checkpoint was trained on, and whether held-out patients are in that data."
            }
            Self::Images => {
                "Synthetic images were made elsewhere. Only the makers of their generator know what it was trained on, and whether \
                 held-out patients are in that data."
            }
        }
    }
}

/// A Stable Diffusion checkpoint as the generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Keys")]
pub struct DiffusionConfig {
    /// Folder in diffusers' layout.
    pub pipeline: PathBuf,
    /// Variant of its weights that is read where a component has it, such as `fp16`; the plain files if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Folder of another U-Net, as of a training script's `checkpoint-N`; the pipeline's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unet: Option<PathBuf>,
    /// `ddpm`, `ddim`, `pndm`, `euler`, `euler-a`, `dpm++2m` or `unipc`; the folder's own if absent.
    pub sampler: Option<String>,
    /// Sampling steps.
    pub steps: usize,
    /// Classifier-free guidance scale.
    pub guidance: f64,
    /// What the images should not show.
    pub negative_prompt: String,
    /// Images made at a time.
    pub batch_size: NonZeroUsize,
    /// The device that generates: `auto`, `cpu` or `cuda:N`. The classifier trains on the command line's `--device`.
    pub device: String,
    /// What the checkpoint was trained on, as text for the comparison report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
}

/// The keys as written: a preset sets sampler, steps and guidance, and a value beside it takes precedence.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    pipeline: PathBuf,
    variant: Option<String>,
    unet: Option<PathBuf>,
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
        let Keys { pipeline, variant, unet, preset, sampler, steps, guidance, negative_prompt, batch_size, device, trained_on } =
            keys;
        Self {
            pipeline,
            variant,
            unet,
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
    /// The chosen weights.
    #[must_use]
    pub fn source(&self) -> PipelineSource {
        PipelineSource { folder: self.pipeline.clone(), variant: self.variant.clone(), unet: self.unet.clone() }
    }

    /// The chosen sampler.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown name.
    pub fn sampler(&self) -> Result<Option<SamplerKind>, ConfigError> {
        sampler_named(&key("sampler"), self.sampler.as_deref())
    }

    /// The chosen device.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown name.
    pub fn device(&self) -> Result<DeviceChoice, ConfigError> {
        self.device.parse().map_err(|_| ConfigError::value(key("device"), &self.device, DeviceChoice::NAMES))
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.sampler()?;
        self.device()?;
        within(key("steps"), self.steps, 1..=MOST_SAMPLING_STEPS)?;
        within(key("guidance"), self.guidance, 0.0..=MOST_GUIDANCE)?;
        within(key("batch_size"), self.batch_size.get(), 1..=MOST_BATCH)
    }
}

/// The sampler of that name, if one is named.
pub(crate) fn sampler_named(key: &str, name: Option<&str>) -> Result<Option<SamplerKind>, ConfigError> {
    let parse = |name: &str| name.parse().map_err(|_| ConfigError::value(key, name, SamplerKind::names()));
    name.map(parse).transpose()
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
