//! A checkpoint folder: its configurations, and loading a pipeline from them.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use roentgen_augment::digest::Fingerprint;

use super::model_index::ModelIndex;
use super::picture::Depth;
use super::settings::{ROENTGEN_GUIDANCE, ROENTGEN_STEPS, Settings};
use super::source::PipelineSource;
use super::{Part, StableDiffusion};
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::{Autoencoder, AutoencoderConfig};
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::text::{
    TEXT_PROJECTION, TextEncoder, TextEncoderConfig, TextEncoderModel, TextProjectionConfig, TextProjectionKeys, Tokenizer,
};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::{Loaded, load};

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
    /// Reads a pipeline's configurations and vocabulary.
    ///
    /// # Errors
    /// [`DiffusionError::OtherModel`] for other folders; [`DiffusionError::Setting`] for a variant that no component has; [`DiffusionError::Mismatch`] if two parts don't fit, naming both values;
    /// [`DiffusionError::UnknownOption`] and [`DiffusionError::Option`] for configurations that are not computed here.
    pub fn read(source: impl Into<PipelineSource>) -> Result<Self, DiffusionError> {
        let index = ModelIndex::read(&source.into())?;
        index.folders.check_variant()?;
        Self::of(index)
    }

    /// [`read`](Self::read) of a folder whose index is known, and may not be written yet.
    pub(crate) fn of(index: ModelIndex) -> Result<Self, DiffusionError> {
        let folder = index.folders.root();
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
        let tokenizer = tokenizer.beside(encoder.vocabulary_size());
        Ok(Self { index, tokenizer, text_encoder, projection, unet, vae, scheduler, factor, layers })
    }

    /// Reads the weights; `opened` is told the name of each part once they are there.
    ///
    /// # Errors
    /// Those of [`weights::load`](crate::diffusion::weights::load).
    pub fn load(self, options: &OpenOptions, opened: impl FnMut(&str)) -> Result<StableDiffusion, DiffusionError> {
        StableDiffusion::load(self, options, |_| false, opened)
    }

    /// What is doubtful in the choice of its weights and in its vocabulary.
    ///
    /// # Errors
    /// Those of [`Choice::of`](crate::diffusion::weights::Choice::of).
    pub fn notes(&self) -> Result<Vec<String>, DiffusionError> {
        Ok(self.index.folders.notes()?.into_iter().chain(self.tokenizer.spare_tokens()).collect())
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

    /// Makes `side` pixels the size of its images, from now on and in what [`StableDiffusion::save`] writes: it is trained at that size.
    pub(crate) fn train_at(&mut self, side: usize) {
        self.unet.sample_size = Some([side / self.factor; 2]);
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

/// Refuses parts that don't fit together; does not read weights.
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
             the U-Net was trained with, or put a {TEXT_PROJECTION} between them and train it (`text_projection = true` in [model] of a \
             run file of `finetune`; `roentgen dev text-projection` for a folder)",
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
    let rows = tokenizer.needed_rows()?;
    if rows > text.vocabulary_size() {
        return mismatch(format!(
            "the tokenizer's largest id is {}, the text encoder embeds {} ids: they are of different models",
            rows - 1,
            text.vocabulary_size()
        ));
    }
    Ok(())
}

/// Components with a `config.json`.
const CONFIGURED: [&str; 3] = ["text_encoder", "unet", "vae"];

/// The folder's configurations and vocabularies, which an export repeats byte for byte.
pub(in crate::diffusion) fn texts(index: &ModelIndex) -> Result<Vec<(PathBuf, Vec<u8>)>, DiffusionError> {
    let mut paths = vec![PathBuf::from("model_index.json"), PathBuf::from("scheduler/scheduler_config.json")];
    paths.extend(CONFIGURED.map(|component| Path::new(component).join("config.json")));
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
        let file = match path.parent().and_then(Path::to_str).filter(|component| CONFIGURED.contains(component)) {
            Some(component) => index.component(component).join("config.json"),
            None => index.folders.root().join(&path),
        };
        std::fs::read(&file).map(|bytes| (path, bytes)).map_err(io(&file))
    };
    paths.into_iter().map(read).collect()
}

impl Checkpoint {
    /// The folder it was read from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.index.folders.root()
    }

    /// Pixels along the side of a latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        self.factor
    }

    /// Channels of a latent.
    #[must_use]
    pub fn latent_channels(&self) -> usize {
        match &self.vae {
            AutoencoderConfig::Kl(config) => config.latent_channels,
            AutoencoderConfig::Tiny(config) => config.latent_channels,
        }
    }

    /// Whether its autoencoder gives a distribution, of which latents are drawn.
    #[must_use]
    pub fn draws_latents(&self) -> bool {
        matches!(self.vae, AutoencoderConfig::Kl(_))
    }

    /// Length of its noise schedule.
    #[must_use]
    pub fn timesteps(&self) -> usize {
        self.scheduler.noise_schedule().len()
    }

    /// Tokens of a text, begin and end included, before it is cut.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub fn count_tokens(&self, text: &str) -> Result<usize, DiffusionError> {
        self.tokenizer.count(text)
    }
}

/// Where and in which precision a pipeline computes.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The compute device.
    pub device: Device,
    /// Compute type of text encoder and U-Net: F32, BF16, or on a GPU F16. The sampler computes in F32, and so does the autoencoder beside
    /// F16, which its activations overflow; beside BF16 it computes in that.
    pub dtype: FloatDType,
    /// Keep each network on the host between its uses: less memory on the device, more copying.
    pub offload: bool,
}

/// What the autoencoder computes in beside a text encoder and a U-Net of type `dtype`: its activations overflow F16, and BF16 has the
/// range of F32.
#[must_use]
pub fn autoencoder_type(dtype: FloatDType) -> FloatDType {
    if dtype == FloatDType::BF16 { dtype } else { FloatDType::F32 }
}

impl OpenOptions {
    /// F32 on `device`, everything resident.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { device: device.clone(), dtype: FloatDType::F32, offload: false }
    }
}

impl StableDiffusion {
    /// Reads and loads a folder: [`Checkpoint::read`], then [`Checkpoint::load`].
    ///
    /// # Errors
    /// Those of both.
    pub fn open(
        source: impl Into<PipelineSource>,
        options: &OpenOptions,
        opened: impl FnMut(&str),
    ) -> Result<Self, DiffusionError> {
        Checkpoint::read(source)?.load(options, opened)
    }

    /// [`Checkpoint::load`], but that components named by `wide` are read in F32 whatever the compute type.
    pub(crate) fn load(
        checkpoint: Checkpoint,
        options: &OpenOptions,
        wide: impl Fn(&str) -> bool,
        mut opened: impl FnMut(&str),
    ) -> Result<Self, DiffusionError> {
        let dtype = |component: &str| if wide(component) { FloatDType::F32 } else { options.dtype };
        let Checkpoint { index, text_encoder, projection, unet, vae, .. } = &checkpoint;
        let home = if options.offload { Device::flex() } else { options.device.clone() };
        let mut digests = Vec::new();
        let mut part = |name: &str, digest: Fingerprint| {
            digests.push(digest);
            opened(name);
        };
        let loaded = text_encoder.load(index.folders.weights("text_encoder").0, dtype("text_encoder"), &home)?;
        part("text encoder", loaded.digest);
        let text_encoder = Part::from(loaded);
        let projection = match projection {
            Some(config) => {
                let (folder, stem) = index.folders.weights(TEXT_PROJECTION);
                let loaded = load(config.init(&home), folder, stem, &TextProjectionKeys, dtype(TEXT_PROJECTION))?;
                part("text projection", loaded.digest);
                Some(Part::from(loaded))
            }
            None => None,
        };
        let (folder, stem) = index.folders.weights("unet");
        let loaded = load(unet.init(&home), folder, stem, &unet.keys(), dtype("unet"))?;
        part("U-Net", loaded.digest);
        let unet = Part::from(loaded);
        let model = vae.init(&home);
        let keys = model.keys();
        let (folder, stem) = index.folders.weights("vae");
        let of_autoencoder = if wide("vae") { FloatDType::F32 } else { autoencoder_type(options.dtype) };
        let loaded = load(model, folder, stem, keys, of_autoencoder)?;
        part("autoencoder", loaded.digest);
        let vae = Part::from(loaded);

        let texts = texts(index)?;
        let mut parts: Vec<&[u8]> = digests.iter().map(|digest| digest.0.as_slice()).collect();
        parts.extend(texts.iter().filter(|(path, _)| !path.ends_with("model_index.json")).map(|(_, text)| text.as_slice()));
        let dtype = format!("{:?}", options.dtype);
        parts.push(dtype.as_bytes());
        // Of pipelines whose autoencoder computes in F32 the digest is that of earlier versions.
        if of_autoencoder != FloatDType::F32 {
            parts.push(b"autoencoder, too");
        }
        let fingerprint = Fingerprint::of(&parts);
        let (device, dtype) = (options.device.clone(), options.dtype);
        let adapters = Vec::new();
        Ok(Self { checkpoint, text_encoder, projection, unet, vae, device, dtype, fingerprint, adapters, texts })
    }
}

impl<M> From<Loaded<M>> for Part<M> {
    fn from(loaded: Loaded<M>) -> Self {
        Self { model: loaded.model, stored: loaded.stored }
    }
}
