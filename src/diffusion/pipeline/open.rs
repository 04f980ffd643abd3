//! A checkpoint folder into a pipeline.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use roentgen_augment::Fingerprint;

use super::{Part, StableDiffusion};
use crate::diffusion::checkpoint::ModelIndex;
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::text_projection::{TEXT_PROJECTION, TextProjectionConfig, TextProjectionKeys};
use crate::diffusion::weights::{Loaded, Stem, load};
use crate::diffusion::{
    Autoencoder, AutoencoderConfig, DiffusionError, TextEncoder, TextEncoderConfig, TextEncoderModel, Tokenizer, UNetConfig,
};

/// Where and in which precision a pipeline computes.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The compute device.
    pub device: Device,
    /// Compute type of text encoder and U-Net: F32, or F16 or BF16 on a GPU. The autoencoder, whose activations overflow F16, and the
    /// sampler compute in F32.
    pub dtype: FloatDType,
    /// Keep each network on the host between its uses: less memory on the device, more copying.
    pub offload: bool,
}

impl OpenOptions {
    /// F32 on `device`, everything resident.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), dtype: FloatDType::F32, offload: false }
    }
}

impl StableDiffusion {
    /// Loads a folder in diffusers' layout. All configurations are read and compared before any weight.
    ///
    /// `opened` is told the name of each part once its weights are there.
    ///
    /// # Errors
    /// [`DiffusionError::OtherModel`] for other folders; [`DiffusionError::Mismatch`] if two parts don't fit, naming both values;
    /// [`DiffusionError::UnknownOption`] and [`DiffusionError::Option`] for configurations that are not computed here; errors of
    /// [`load`].
    pub fn open(folder: &Path, options: &OpenOptions, mut opened: impl FnMut(&str)) -> Result<Self, DiffusionError> {
        let index = ModelIndex::read(folder)?;
        let config = |component: &str| index.component(component).join("config.json");
        let tokenizer = Tokenizer::open(&index.component("tokenizer"))?;
        let text_encoder = TextEncoderConfig::read(&config("text_encoder"))?;
        let unet = UNetConfig::read(&config("unet"))?;
        let vae = AutoencoderConfig::read(&config("vae"))?;
        let scheduler = SchedulerConfig::read(&index.component("scheduler").join("scheduler_config.json"))?.for_pipeline()?;
        let projection = TextProjectionConfig::find(folder)?;
        let device = Device::flex();
        check_fit(folder, &tokenizer, &text_encoder.init(&device), projection, &unet, &vae.init(&device))?;

        let home = if options.offload { Device::flex() } else { options.device.clone() };
        let mut digests = Vec::new();
        let mut part = |name: &str, digest: Fingerprint| {
            digests.push(digest);
            opened(name);
        };
        let text = text_encoder.load(&index.component("text_encoder"), options.dtype, &home)?;
        part("text encoder", text.digest);
        let text_encoder = Part::new(text, text_encoder);
        let projection = match projection {
            Some(config) => {
                let folder = folder.join(TEXT_PROJECTION);
                let loaded = load(config.init(&home), &folder, Stem::Diffusers, &TextProjectionKeys, options.dtype)?;
                part("text projection", loaded.digest);
                Some(Part::new(loaded, config))
            }
            None => None,
        };
        let loaded = load(unet.init(&home), &index.component("unet"), Stem::Diffusers, &unet.keys(), options.dtype)?;
        part("U-Net", loaded.digest);
        let unet = Part::new(loaded, unet);
        let model = vae.init(&home);
        let keys = model.keys();
        let loaded = load(model, &index.component("vae"), Stem::Diffusers, keys, FloatDType::F32)?;
        part("autoencoder", loaded.digest);
        let vae = Part::new(loaded, vae);

        let texts = texts(&index)?;
        let mut parts: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
        parts.extend(texts.iter().filter(|(path, _)| !path.ends_with("model_index.json")).map(|(_, text)| text.as_slice()));
        let dtype = format!("{:?}", options.dtype);
        parts.push(dtype.as_bytes());
        Ok(Self {
            folder: folder.to_owned(),
            tokenizer,
            text_encoder,
            projection,
            unet,
            vae,
            scheduler,
            device: options.device.clone(),
            dtype: options.dtype,
            fingerprint: Fingerprint::of(&parts),
            texts,
        })
    }
}

impl<M, C> Part<M, C> {
    fn new(loaded: Loaded<M>, config: C) -> Self {
        Self { model: loaded.model, config, stored: loaded.stored }
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
fn texts(index: &ModelIndex) -> Result<Vec<(PathBuf, Vec<u8>)>, DiffusionError> {
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
