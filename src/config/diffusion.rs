//! A checkpoint and how it samples: `[generator.diffusion]` of a run file, and the flags of `generate`.
//!
//! There is one list of settings, [`DiffusionKeys`]. The command line fills all of it in, so a flag without a key does not compile.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use super::limits::{MOST_BATCH, MOST_ENTRIES, MOST_GUIDANCE, MOST_SAMPLING_STEPS, within};
use super::{ConfigError, resolve};
use crate::adapters::{EmbeddingChoice, LoraChoice, adapter_places};
use crate::device::DeviceChoice;
use crate::diffusion::pipeline::{Depth, PipelineSource, ROENTGEN_GUIDANCE, ROENTGEN_STEPS, SamplingPreset};
use crate::diffusion::samplers::SamplerKind;
use crate::hub::{Asked, Place, Want, Wanted};

/// A Stable Diffusion checkpoint as the generator.
///
/// What few runs set is not written where it has its default: records of earlier versions have no such keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "DiffusionKeys")]
pub struct DiffusionConfig {
    /// Folder in diffusers' layout, or a name on the hub.
    pub pipeline: Place,
    /// Variant of its weights that is read where a component has it, such as `fp16`; the plain files if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Folder of another U-Net, as of a training script's `checkpoint-N`, or a name on the hub; the pipeline's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unet: Option<Place>,
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
    /// The device that generates: `auto`, `cpu`, or a GPU such as `cuda:N` or `wgpu:N`. The classifier trains on the command line's `--device`.
    pub device: String,
    /// What the checkpoint was trained on, as text for the comparison report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<String>,
    /// Low-rank adapters that are merged into the weights: `FILE` or `FILE:SCALE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<LoraChoice>,
    /// Files of textual inversion: `FILE` or `TOKEN=FILE`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub embedding: Vec<EmbeddingChoice>,
    /// How much of a guided prediction is rescaled, between 0 and 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub guidance_rescale: f64,
    /// Karras's noise levels.
    #[serde(skip_serializing_if = "is_off")]
    pub karras: bool,
    /// Noise added in DDIM's steps, between 0 and 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub eta: f64,
    /// A radiograph that every image starts from instead of noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_image: Option<PathBuf>,
    /// How much of the start image is changed: above 0, at most 1.
    #[serde(skip_serializing_if = "is_usual_strength")]
    pub strength: f64,
    /// Bits of a pixel, 8 or 16.
    #[serde(skip_serializing_if = "is_eight")]
    pub bits: u8,
    /// Compute type of text encoder and U-Net, and of the autoencoder if it is `bf16`; `f16` is for GPUs.
    #[serde(skip_serializing_if = "ComputeType::is_default")]
    pub dtype: ComputeType,
    /// Keep each network in host memory between its uses.
    #[serde(skip_serializing_if = "is_off")]
    pub offload: bool,
    /// Decode in overlapping tiles.
    #[serde(skip_serializing_if = "is_off")]
    pub tiled: bool,
}

/// How much of a start image is changed unless something else is said: diffusers' default.
pub const USUAL_STRENGTH: f64 = 0.8;

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

fn is_off(value: &bool) -> bool {
    !*value
}

fn is_usual_strength(value: &f64) -> bool {
    *value == USUAL_STRENGTH
}

fn is_eight(value: &u8) -> bool {
    *value == 8
}

/// The keys as written: a preset sets sampler, steps and guidance, and a value beside it takes precedence.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described in DiffusionConfig")]
pub struct DiffusionKeys {
    pub pipeline: Place,
    pub variant: Option<String>,
    pub unet: Option<Place>,
    pub preset: Option<SamplingPreset>,
    pub sampler: Option<String>,
    pub steps: Option<usize>,
    pub guidance: Option<f64>,
    #[serde(default)]
    pub negative_prompt: String,
    #[serde(default = "default_batch_size")]
    pub batch_size: NonZeroUsize,
    #[serde(default = "default_device")]
    pub device: String,
    pub trained_on: Option<String>,
    #[serde(default)]
    pub lora: Vec<LoraChoice>,
    #[serde(default)]
    pub embedding: Vec<EmbeddingChoice>,
    #[serde(default)]
    pub guidance_rescale: f64,
    #[serde(default)]
    pub karras: bool,
    #[serde(default)]
    pub eta: f64,
    pub init_image: Option<PathBuf>,
    pub strength: Option<f64>,
    pub bits: Option<u8>,
    #[serde(default)]
    pub dtype: ComputeType,
    #[serde(default)]
    pub offload: bool,
    #[serde(default)]
    pub tiled: bool,
}

impl From<DiffusionKeys> for DiffusionConfig {
    fn from(keys: DiffusionKeys) -> Self {
        let preset = keys.preset;
        Self {
            pipeline: keys.pipeline,
            variant: keys.variant,
            unet: keys.unet,
            sampler: keys.sampler.or_else(|| preset.map(|preset| preset.sampler().to_string())),
            steps: keys.steps.or(preset.map(SamplingPreset::steps)).unwrap_or(ROENTGEN_STEPS),
            guidance: keys.guidance.or(preset.map(SamplingPreset::guidance_scale)).unwrap_or(ROENTGEN_GUIDANCE),
            negative_prompt: keys.negative_prompt,
            batch_size: keys.batch_size,
            device: keys.device,
            trained_on: keys.trained_on,
            lora: keys.lora,
            embedding: keys.embedding,
            guidance_rescale: keys.guidance_rescale,
            karras: keys.karras,
            eta: keys.eta,
            init_image: keys.init_image,
            strength: keys.strength.unwrap_or(USUAL_STRENGTH),
            bits: keys.bits.unwrap_or(8),
            dtype: keys.dtype,
            offload: keys.offload,
            tiled: keys.tiled,
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
        let unet = self.unet.as_ref().map(Place::path);
        PipelineSource { folder: self.pipeline.path(), variant: self.variant.clone(), unet }
    }

    /// Every place of a checkpoint or an adapter in it; a key is its name after `prefix`, such as `--`.
    pub fn checkpoints(&mut self, prefix: &str) -> Vec<Asked<'_>> {
        let Self { pipeline, variant, unet, lora, embedding, .. } = self;
        let key = |name: &str| format!("{prefix}{name}");
        let replaced = if unet.is_some() { vec!["unet"] } else { Vec::new() };
        let wanted = Wanted { want: Want::Pipeline, variant: variant.clone(), replaced };
        let pipeline = Asked { key: key("pipeline"), place: pipeline, wanted };
        let unet = unet.iter_mut().map(|place| {
            let wanted = Wanted { variant: variant.clone(), ..Want::OtherUNet.into() };
            Asked { key: key("unet"), place, wanted }
        });
        let adapters = adapter_places(prefix, lora, embedding);
        [pipeline].into_iter().chain(unet).chain(adapters).collect()
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

    /// Bits of a pixel.
    #[must_use]
    pub fn depth(&self) -> Depth {
        if self.bits == 16 { Depth::Sixteen } else { Depth::Eight }
    }

    /// Takes relative paths from the run file's `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(path) = &mut self.init_image {
            *path = resolve(folder, path);
        }
        for Asked { place, .. } in self.checkpoints("") {
            *place = place.clone().resolved(|path| resolve(folder, path));
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.sampler()?;
        if self.dtype == ComputeType::F16 && self.device()?.is_host() {
            return Err(ConfigError::value(key("dtype"), self.dtype, ComputeType::ON_HOST));
        }
        self.device()?;
        within(key("steps"), self.steps, 1..=MOST_SAMPLING_STEPS)?;
        within(key("guidance"), self.guidance, 0.0..=MOST_GUIDANCE)?;
        within(key("batch_size"), self.batch_size.get(), 1..=MOST_BATCH)?;
        within(key("guidance_rescale"), self.guidance_rescale, 0.0..=1.0)?;
        within(key("eta"), self.eta, 0.0..=1.0)?;
        for (name, count) in [("lora", self.lora.len()), ("embedding", self.embedding.len())] {
            within(format!("{} (entries)", key(name)), count, 0..=MOST_ENTRIES)?;
        }
        self.lora.iter().try_for_each(|lora| within(key("lora"), lora.scale, -MOST_GUIDANCE..=MOST_GUIDANCE))?;
        if !(self.strength > 0.0 && self.strength <= 1.0) {
            return Err(ConfigError::value(key("strength"), self.strength, "more than 0 and at most 1"));
        }
        if self.strength != USUAL_STRENGTH && self.init_image.is_none() {
            return Err(ConfigError::value(key("strength"), self.strength, "an init_image beside it, which it is about"));
        }
        match self.bits {
            8 | 16 => Ok(()),
            bits => Err(ConfigError::value(key("bits"), bits, "8 or 16")),
        }
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

/// Type of the weights in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeType {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats.
    F16,
    /// Brain floats.
    Bf16,
}

impl ComputeType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// What to give on the CPU in place of half precision, which no kernel there computes; brain floats take as much memory.
    pub(crate) const ON_HOST: &str = "bf16 or f32 on the CPU (f16 is for GPUs)";

    /// As in run files and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// Refuses a device that does not compute in this type; `key` names the setting.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with what to give instead.
    pub fn check(self, key: impl Into<String>, device: &Device) -> Result<(), ConfigError> {
        self.instead_on(device).map_or(Ok(()), |expected| Err(ConfigError::value(key, self, expected)))
    }

    /// What to give in place of this type on a device that does not compute in it.
    pub(crate) fn instead_on(self, device: &Device) -> Option<String> {
        if self == Self::F16 && *device == Device::flex() {
            return Some(Self::ON_HOST.to_owned());
        }
        let lacks = !device.supports_dtype(FloatDType::from(self));
        lacks.then(|| {
            format!("f32 on this device, which does not compute in {self} (`roentgen devices` shows what it has), or bf16 or f32 on the CPU")
        })
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for ComputeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ComputeType {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| ConfigError::value("dtype", name, Self::ALL.map(Self::name).join(", ")))
    }
}

impl From<ComputeType> for FloatDType {
    fn from(dtype: ComputeType) -> Self {
        match dtype {
            ComputeType::F32 => Self::F32,
            ComputeType::F16 => Self::F16,
            ComputeType::Bf16 => Self::BF16,
        }
    }
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
    fn what_few_runs_set_is_written_where_it_is_set_and_read_back() {
        let plain = toml::to_string(&parse("").unwrap()).unwrap();
        assert!(!["lora", "karras", "strength", "bits", "dtype"].iter().any(|key| plain.contains(key)), "{plain}");
        let keys = "lora = [\"a.safetensors:0.5\", \"b\"]\nembedding = [\"<x>=x.bin\"]\nguidance_rescale = 0.7\nkarras = true\neta = 0.0\n\
                    init_image = \"i.png\"\nstrength = 0.5\nbits = 16\ndtype = \"bf16\"\noffload = true\ntiled = true";
        let config = parse(keys).unwrap();
        config.validate().unwrap();
        let written = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<DiffusionConfig>(&written).unwrap(), config, "{written}");
        assert_eq!((config.lora[0].scale, config.lora[1].scale), (0.5, 1.0));
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_their_key() {
        for (keys, said) in [
            ("guidance_rescale = 1.5", "generator.diffusion.guidance_rescale is 1.5"),
            ("eta = -1.0", "generator.diffusion.eta is -1"),
            ("lora = [\"a:1e9\"]", "generator.diffusion.lora is 1000000000"),
            ("init_image = \"i.png\"\nstrength = 0.0", "generator.diffusion.strength is 0"),
            ("strength = 0.5", "generator.diffusion.strength is 0.5, expected an init_image"),
            ("bits = 12", "generator.diffusion.bits is 12, expected 8 or 16"),
            ("dtype = \"f16\"\ndevice = \"cpu\"", "generator.diffusion.dtype is f16, expected bf16 or f32 on the CPU"),
        ] {
            let message = parse(keys).unwrap().validate().unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
        assert!(parse("lora = [\"a:nan\"]").unwrap_err().to_string().contains("not a finite number"));
        assert!(parse("dtype = \"f64\"").unwrap_err().to_string().contains("f64"));
    }

    #[test]
    fn unknown_keys_and_presets_are_refused_by_name() {
        assert!(parse("step = 3").unwrap_err().to_string().contains("step"));
        let message = parse("preset = \"quick\"").unwrap_err().to_string();
        assert!(message.contains("quick") && message.contains("roentgen-v1"), "{message}");
    }
}
