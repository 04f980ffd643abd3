//! `generate`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use roentgen::adapters::{EmbeddingChoice, LoraChoice};
use roentgen::config::limits::{MOST_BATCH, MOST_GUIDANCE, MOST_PIXELS, MOST_SAMPLES};
use roentgen::config::{ComputeType, ConfigError, DiffusionConfig, DiffusionKeys, USUAL_STRENGTH};
use roentgen::diffusion::pipeline::SamplingPreset;
use roentgen::diffusion::samplers::{SAMPLERS, SamplerKind};
use roentgen::generate::Shard;
use roentgen::generate::store::StorePlace;
use roentgen::hub::Place;

use super::{Common, compute_types, embedding, lora, place};

/// The names of samplers, each with what it is.
fn samplers() -> impl TypedValueParser<Value = SamplerKind> {
    let values = SAMPLERS.map(|entry| PossibleValue::new(entry.name).help(entry.title));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<SamplerKind>())
}

/// `generate`.
#[derive(Args, Debug)]
#[command(
    after_help = "Defaults are RoentGen's published setting: 75 steps of the folder's own sampler (PNDM), guidance 4.\n\n\
    roentgen generate --pipeline roentgen-v1 --prompt \"Big right-sided pleural effusion\" --count 4 --out runs/effusion\n\
    roentgen generate --pipeline roentgen-v1 --prompts prompts.csv --batch-size 4 --out runs/set\n\
    roentgen generate --pipeline stanfordmimi/roentgen-v2 --preset roentgen-v2 --prompt \"Normal chest\" --out runs/v2   # from the hub"
)]
pub struct GenerateArgs {
    /// Checkpoint folder in diffusers' layout, with model_index.json in it; or its name on the Hugging Face hub, owner/name or
    /// owner/name@revision, which is looked up in the cache (HF_HOME) and downloaded if it is not there
    #[arg(long, value_name = "FOLDER|NAME", required_unless_present = "merge", value_parser = place())]
    pub pipeline: Option<Place>,
    /// Read the weights of this variant where a component has it: fp16 for diffusion_pytorch_model.fp16.safetensors. The plain files
    /// if absent, whatever lies beside them; `roentgen inspect` lists the files
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Take the U-Net of this folder: a unet or unet_ema folder, or a checkpoint-N folder of a training script that holds one; or its
    /// name on the hub, owner/name:unet
    #[arg(long, value_name = "FOLDER|NAME", value_parser = place())]
    pub unet: Option<Place>,
    /// Text to generate from; tokens beyond 77 are cut
    #[arg(long, required_unless_present = "prompts", conflicts_with = "prompts")]
    pub prompt: Option<String>,
    /// CSV with a column `prompt` (or `report`) and optionally seed, age, sex, view, patient_id, source_id and findings, which
    /// go into the manifest as the images' labels
    #[arg(long)]
    pub prompts: Option<PathBuf>,
    /// A column of the table to ignore; may be given several times. Any column that is neither known nor a finding is refused
    #[arg(long, value_name = "NAME", requires = "prompts")]
    pub extra_column: Vec<String>,
    /// A column of the table that is a finding outside the public vocabularies; may be given several times
    #[arg(long, value_name = "NAME", requires = "prompts")]
    pub custom_finding: Vec<String>,
    /// What the images should not show
    #[arg(long, default_value = "")]
    pub negative_prompt: String,
    /// Images per prompt
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    pub count: u32,
    /// Seed of the first image; the others count on from it
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Sampler, steps and guidance by one name: roentgen-v1 (pndm, 75, 4), roentgen-v2 (pndm, 75, 3), fast (dpm++2m, 25, 4: a
    /// third of the time) or draft (unipc, 10, 4: for trying prompts)
    #[arg(long)]
    pub preset: Option<SamplingPreset>,
    /// How latents are denoised; the preset's or the folder's own sampler if absent
    #[arg(long, value_parser = samplers())]
    pub sampler: Option<SamplerKind>,
    /// Karras's noise levels
    #[arg(long, help = format!("Karras's noise levels, with the sampler {}", SamplerKind::names_with_karras()))]
    pub karras: bool,
    /// Noise added in DDIM's steps: 0 for none, 1 for as much as in DDPM's
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub eta: f64,
    /// Sampling steps; the preset's or 75 if absent
    #[arg(long, allow_negative_numbers = true)]
    pub steps: Option<usize>,
    /// Classifier-free guidance scale; 1 and below disable guidance and halve the work; the preset's or 4 if absent
    #[arg(long, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
    /// Between 0 and 1: rescale guided predictions, for models trained with zero-terminal-SNR schedules
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub guidance_rescale: f64,
    /// Side in pixels, or WIDTHxHEIGHT, multiples of 8; the model's own if absent
    #[arg(long)]
    pub size: Option<ImageSize>,
    /// Start from this radiograph instead of noise
    #[arg(long, value_name = "IMAGE")]
    pub init_image: Option<PathBuf>,
    /// How much of the start image is changed: above 0, at most 1
    #[arg(long, default_value_t = USUAL_STRENGTH, requires = "init_image", allow_negative_numbers = true)]
    pub strength: f64,
    /// Adapters to merge into the weights, with a scale of 1 unless one is given: a LoRA file of kohya's scripts or diffusers, or a
    /// folder of diffusers or peft, or a name on the hub, owner/name or owner/name:FILE; may be given several times
    #[arg(long, value_name = "FILE[:SCALE]", value_parser = lora())]
    pub lora: Vec<LoraChoice>,
    /// Textual inversion: a file of diffusers or AUTOMATIC1111, whose token then stands for its vectors in prompts; TOKEN=FILE gives it
    /// another token, or one to a file without. Or a name on the hub. May be given several times
    #[arg(long, value_name = "[TOKEN=]FILE", value_parser = embedding())]
    pub embedding: Vec<EmbeddingChoice>,
    /// Images made at a time: faster on a GPU, more memory
    #[arg(long, default_value = "1", allow_negative_numbers = true)]
    pub batch_size: NonZeroUsize,
    /// Bit depth of the PNGs, 8 or 16
    #[arg(long, default_value = "8", value_parser = PossibleValuesParser::new(["8", "16"]).try_map(|bits| bits.parse::<u8>()))]
    pub bits: u8,
    /// Compute type of text encoder and U-Net, and with bf16 of the autoencoder: bf16 takes half the memory, and is faster on GPUs and on
    /// CPUs with AMX; f16 is for GPUs alone
    #[arg(long, default_value_t, value_parser = compute_types(&ComputeType::ALL))]
    pub dtype: ComputeType,
    /// Keep each network in host memory between its uses: for small GPUs
    #[arg(long)]
    pub offload: bool,
    /// Decode in overlapping tiles: for images much larger than the model's own size
    #[arg(long)]
    pub tiled: bool,
    /// Make one part of the images, such as 3/8: the third of eight. Parts are independent, and each can be repeated; --merge
    /// writes the manifest
    #[arg(long, default_value_t = Shard::WHOLE)]
    pub shard: Shard,
    /// Write the manifest from the images of all parts, and make none; give the same prompts and count
    #[arg(long, conflicts_with = "shard")]
    pub merge: bool,
    /// Folder to write, or s3://, gs:// or az:// with a build for it: 000000.png, … and manifest.csv; an interrupted run found
    /// there is continued, another run is refused
    #[arg(long)]
    pub out: StorePlace,
    #[command(flatten)]
    pub common: Common,
}

impl GenerateArgs {
    /// The generator, as a run file describes it.
    #[must_use]
    pub fn generator(&self, pipeline: Place) -> DiffusionConfig {
        // No `..`: what a command line can say, a run file can say.
        DiffusionConfig::from(DiffusionKeys {
            pipeline,
            variant: self.variant.clone(),
            unet: self.unet.clone(),
            preset: self.preset,
            sampler: self.sampler.map(|sampler| sampler.to_string()),
            steps: self.steps,
            guidance: self.guidance,
            negative_prompt: self.negative_prompt.clone(),
            batch_size: self.batch_size,
            device: self.common.device.to_string(),
            trained_on: None,
            lora: self.lora.clone(),
            embedding: self.embedding.clone(),
            guidance_rescale: self.guidance_rescale,
            karras: self.karras,
            eta: self.eta,
            init_image: self.init_image.clone(),
            strength: Some(self.strength),
            bits: Some(self.bits),
            dtype: self.dtype,
            offload: self.offload,
            tiled: self.tiled,
        })
    }

    /// Height and width of the images, if they are given.
    #[must_use]
    pub fn image_size(&self) -> Option<[usize; 2]> {
        self.size.map(|ImageSize { width, height }| [height, width])
    }

    /// Refuses numbers that no set of images needs. Limits that depend on the checkpoint, such as the number of steps, are
    /// checked with it.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the flag, its value and the bound.
    pub fn check(&self) -> Result<(), ConfigError> {
        most("--count", f64::from(self.count), MOST_SAMPLES as f64)?;
        most("--batch-size", self.batch_size.get() as f64, MOST_BATCH as f64)?;
        most("--guidance", self.guidance.unwrap_or(0.0), MOST_GUIDANCE)?;
        if let Some(ImageSize { width, height }) = self.size {
            most("--size", width.max(height) as f64, MOST_PIXELS as f64)?;
        }
        check_scales(&self.lora)
    }

    /// Refuses more images than a set may have, and seeds past the last one, of `prompts` rows.
    ///
    /// # Errors
    /// [`ConfigError::Value`] with the flag, its value and the bound.
    pub fn check_rows(&self, prompts: usize) -> Result<(), ConfigError> {
        let images = prompts.saturating_mul(self.count as usize);
        if images > MOST_SAMPLES {
            let value = format!("{} of each of {prompts} prompts", self.count);
            return Err(ConfigError::flag("--count", value, format!("at most {MOST_SAMPLES} images in all")));
        }
        match self.seed.checked_add(images as u64) {
            Some(_) => Ok(()),
            None => {
                let expected = format!("at most {}: the seeds of {images} images count on from it", u64::MAX - images as u64);
                Err(ConfigError::flag("--seed", self.seed, expected))
            }
        }
    }
}

/// Refuses scales of adapters that none needs.
pub(super) fn check_scales(loras: &[LoraChoice]) -> Result<(), ConfigError> {
    loras.iter().try_for_each(|lora| most("--lora, its scale without the sign,", lora.scale.abs(), MOST_GUIDANCE))
}

/// NaN is left to what reads the value, which names it.
fn most(flag: &str, value: f64, most: f64) -> Result<(), ConfigError> {
    if value <= most || value.is_nan() { Ok(()) } else { Err(ConfigError::flag(flag, value, format!("at most {most}"))) }
}

/// `512` or `WIDTHxHEIGHT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (width, height) = text.split_once('x').unwrap_or((text, text));
        match (width.parse(), height.parse()) {
            (Ok(width), Ok(height)) => Ok(Self { width, height }),
            _ => Err("expected a side such as 512, or WIDTHxHEIGHT".to_owned()),
        }
    }
}
