//! A checkpoint folder before its weights are read.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::settings::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS, Settings};
use super::{Depth, OpenOptions, StableDiffusion};
use crate::diffusion::checkpoint::ModelIndex;
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::text_projection::{TEXT_PROJECTION, TextProjectionConfig};
use crate::diffusion::{
    Autoencoder, AutoencoderConfig, DiffusionError, TextEncoder, TextEncoderConfig, TextEncoderModel, Tokenizer, UNetConfig,
};

/// A folder in diffusers' layout whose configurations are read and fit together. No weight is read: settings can be checked before
/// gigabytes are loaded.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) index: ModelIndex,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) text_encoder: TextEncoderConfig,
    /// Between a text encoder and a U-Net of different widths.
    pub(crate) projection: Option<TextProjectionConfig>,
    pub(crate) unet: UNetConfig,
    pub(crate) vae: AutoencoderConfig,
    pub(crate) scheduler: SchedulerConfig,
    /// Pixels along the side of a latent.
    pub(super) factor: usize,
    /// Of the text encoder.
    layers: usize,
}

impl Checkpoint {
    /// Reads a folder's configurations and vocabulary.
    ///
    /// # Errors
    /// [`DiffusionError::OtherModel`] for other folders; [`DiffusionError::Mismatch`] if two parts don't fit, naming both values;
    /// [`DiffusionError::UnknownOption`] and [`DiffusionError::Option`] for configurations that are not computed here.
    pub fn read(folder: &Path) -> Result<Self, DiffusionError> {
        Self::of(ModelIndex::read(folder)?)
    }

    /// [`read`](Self::read) of a folder whose index is known, and may not be written yet.
    pub(crate) fn of(index: ModelIndex) -> Result<Self, DiffusionError> {
        let folder = &index.folder;
        let config = |component: &str| index.component(component).join("config.json");
        let tokenizer = Tokenizer::open(&index.component("tokenizer"))?;
        let text_encoder = TextEncoderConfig::read(&config("text_encoder"))?;
        let unet = UNetConfig::read(&config("unet"))?;
        let vae = AutoencoderConfig::read(&config("vae"))?;
        let scheduler = SchedulerConfig::read(&index.component("scheduler").join("scheduler_config.json"))?.for_pipeline()?;
        let projection = TextProjectionConfig::find(folder)?;
        // Networks whose weights are never used are never made.
        let device = Device::flex();
        let (encoder, autoencoder) = (text_encoder.init(&device), vae.init(&device));
        check_fit(folder, &tokenizer, &encoder, projection, &unet, &autoencoder)?;
        let (layers, factor) = (encoder.layers(), autoencoder.factor());
        Ok(Self { index, tokenizer, text_encoder, projection, unet, vae, scheduler, factor, layers })
    }

    /// Reads the weights; `opened` is told the name of each part once they are there.
    ///
    /// # Errors
    /// Those of [`weights::load`](crate::diffusion::weights::load).
    pub fn load(self, options: &OpenOptions, opened: impl FnMut(&str)) -> Result<StableDiffusion, DiffusionError> {
        StableDiffusion::load(self, options, |_| false, opened)
    }

    /// The tokenizer of its text encoder.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// RoentGen's steps and guidance with this folder's scheduler and native size.
    #[must_use]
    pub fn settings(&self) -> Settings {
        // diffusers' default of a configuration without one.
        const SAMPLE_SIZE: usize = 64;
        let latents = self.unet.sample_size.unwrap_or([SAMPLE_SIZE, SAMPLE_SIZE]);
        Settings {
            scheduler: self.scheduler.clone(),
            steps: ROENTGEN_STEPS,
            guidance_scale: ROENTGEN_GUIDANCE,
            guidance_rescale: 0.0,
            size: latents.map(|side| side * self.factor),
            clip_skip: 0,
            depth: Depth::default(),
            tiled: false,
        }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] names the setting and its range.
    pub fn check(&self, settings: &Settings) -> Result<(), DiffusionError> {
        settings.check(self.factor)?;
        if settings.clip_skip > self.layers {
            let (value, expected) =
                (settings.clip_skip.to_string(), format!("at most {}, the text encoder's layers", self.layers));
            return Err(DiffusionError::Setting { key: "clip_skip", value, expected });
        }
        settings.scheduler.sampler(settings.steps).map(|_| ())
    }
}

/// Refuses parts that don't fit together; reads no weight.
pub(in crate::diffusion) fn check_fit(
    folder: &Path,
    tokenizer: &Tokenizer,
    text: &TextEncoderModel,
    projection: Option<TextProjectionConfig>,
    unet: &UNetConfig,
    vae: &Autoencoder,
) -> Result<(), DiffusionError> {
    let mismatch = |message: String| Err(DiffusionError::Mismatch { path: folder.to_owned(), message });
    if let Some(projection) = projection.filter(|projection| projection.in_features != text.width()) {
        return mismatch(format!(
            "the text encoder's states are {} wide, the text projection takes {}",
            text.width(),
            projection.in_features
        ));
    }
    let width = projection.map_or(text.width(), |projection| projection.out_features);
    if width != unet.cross_attention_dim {
        return mismatch(format!(
            "the text states are {width} wide, the U-Net's cross-attention takes {} (cross_attention_dim): use the text encoder that \
             the U-Net was trained with, or put a {TEXT_PROJECTION} between them (`roentgen dev text-projection`)",
            unet.cross_attention_dim
        ));
    }
    let latent = vae.latent_channels();
    if unet.in_channels != latent || unet.out_channels != latent {
        let hint = if unet.in_channels == 9 { " (9 channels in: an inpainting checkpoint, which needs a mask)" } else { "" };
        return mismatch(format!(
            "the U-Net takes {} and gives {} channels, the autoencoder's latents have {latent}{hint}",
            unet.in_channels, unet.out_channels
        ));
    }
    if vae.image_channels() != [3, 3] {
        let [encoded, decoded] = vae.image_channels();
        return mismatch(format!("the autoencoder encodes {encoded} and decodes {decoded} channels, expected 3 and 3"));
    }
    if tokenizer.vocabulary_size() > text.vocabulary_size() {
        return mismatch(format!(
            "the tokenizer's largest id is {}, the text encoder embeds {} ids: they are of different models",
            tokenizer.vocabulary_size() - 1,
            text.vocabulary_size()
        ));
    }
    Ok(())
}

/// The folder's configurations and vocabularies, which an export repeats byte for byte.
pub(super) fn texts(index: &ModelIndex) -> Result<Vec<(PathBuf, Vec<u8>)>, DiffusionError> {
    let mut paths = vec![PathBuf::from("model_index.json"), PathBuf::from("scheduler/scheduler_config.json")];
    paths.extend(["text_encoder", "unet", "vae"].map(|component| Path::new(component).join("config.json")));
    let tokenizer = index.component("tokenizer");
    let io = |path: &Path| {
        let path = path.to_owned();
        |source| DiffusionError::Io { action: "read", path, source }
    };
    let mut vocabulary = Vec::new();
    for entry in std::fs::read_dir(&tokenizer).map_err(io(&tokenizer))? {
        let entry = entry.map_err(io(&tokenizer))?;
        if entry.path().is_file() {
            vocabulary.push(Path::new("tokenizer").join(entry.file_name()));
        }
    }
    vocabulary.sort();
    paths.append(&mut vocabulary);
    let read = |path: PathBuf| {
        let file = index.folder.join(&path);
        std::fs::read(&file).map(|bytes| (path, bytes)).map_err(io(&file))
    };
    paths.into_iter().map(read).collect()
}
