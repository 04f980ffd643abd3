//! From the description of a generator to the generator, for `generate` and for studies.

use std::path::PathBuf;

use burn::tensor::Device;
use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;

use super::synthesizer::DiffusionSynthesizer;
use crate::adapters::{AdapterError, add_all};
use crate::config::{ConfigError, DiffusionConfig};
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::{Checkpoint, OpenOptions, Settings, Start, initial_pixels};
use crate::memory::MemoryError;

/// Why there is no generator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningError {
    /// The checkpoint, or a setting that does not go with it.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// A LoRA or an embedding.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The start image.
    #[error(transparent)]
    Image(#[from] AugmentError),
    /// The start image can't be read.
    #[error("cannot read {}", path.display())]
    Start {
        /// The image.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A generator whose configurations are read and fit together, and whose weights are not.
#[derive(Debug)]
pub struct Opening<'a> {
    config: &'a DiffusionConfig,
    checkpoint: Checkpoint,
    settings: Settings,
}

impl<'a> Opening<'a> {
    /// Reads the checkpoint's configurations; images of `size` (height, width), or of the model's own.
    ///
    /// # Errors
    /// [`OpeningError::Diffusion`], [`OpeningError::Config`].
    pub fn new(config: &'a DiffusionConfig, size: Option<[usize; 2]>) -> Result<Self, OpeningError> {
        let checkpoint = Checkpoint::read(config.source())?;
        let defaults = checkpoint.settings();
        let mut scheduler = defaults.scheduler;
        if let Some(kind) = config.sampler()? {
            scheduler = scheduler.with_kind(kind)?;
        }
        if config.karras {
            scheduler = scheduler.with_karras_sigmas(true)?;
        }
        if config.eta != 0.0 {
            scheduler = scheduler.with_eta(config.eta)?;
        }
        let settings = Settings {
            scheduler,
            steps: config.steps,
            guidance_scale: config.guidance,
            guidance_rescale: config.guidance_rescale,
            size: size.unwrap_or(defaults.size),
            depth: config.depth(),
            tiled: config.tiled,
            clip_skip: defaults.clip_skip,
        };
        checkpoint.check(&settings)?;
        Ok(Self { config, checkpoint, settings })
    }

    /// Which of its weights are others than the plain ones, a sentence each.
    ///
    /// # Errors
    /// [`DiffusionError`] for folders that can't be read.
    pub fn notes(&self) -> Result<Vec<String>, DiffusionError> {
        self.checkpoint.notes()
    }

    /// How it will sample.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Refuses a batch of images that `machine` bytes of the host can't hold; `computes` says whether the networks compute there too, and
    /// `keys` names the settings that make it less.
    ///
    /// # Errors
    /// [`MemoryError`] with the estimate.
    pub fn check_memory(&self, computes: bool, machine: Option<u64>, keys: &'static str) -> Result<(), MemoryError> {
        self.checkpoint.check_memory(&self.settings, self.config.batch_size.get(), computes, machine, keys)
    }

    /// Reads the weights and changes them by the adapters; `opened` is told the name of each part once it is there. A compute type that
    /// the device lacks is refused.
    ///
    /// # Errors
    /// [`OpeningError`].
    pub fn open(self, device: &Device, opened: impl FnMut(&str)) -> Result<DiffusionSynthesizer, OpeningError> {
        let Self { config, checkpoint, settings } = self;
        if let Some(expected) = config.dtype.instead_on(device) {
            return Err(DiffusionError::Setting { key: "dtype", value: config.dtype.to_string(), expected }.into());
        }
        // A start image that can't be read is known before gigabytes are loaded.
        let start = start(config, &settings, device)?;
        let options = OpenOptions { device: device.clone(), dtype: config.dtype.into(), offload: config.offload };
        let pipeline = add_all(checkpoint.load(&options, opened)?, &config.lora, &config.embedding)?;
        let synthesizer = DiffusionSynthesizer::new(pipeline, settings, config.negative_prompt.clone(), config.batch_size);
        Ok(match start {
            Some((start, digest)) => synthesizer.with_start(start, digest),
            None => synthesizer,
        })
    }
}

/// The start image and its digest.
fn start(config: &DiffusionConfig, settings: &Settings, device: &Device) -> Result<Option<(Start, Fingerprint)>, OpeningError> {
    let Some(path) = &config.init_image else { return Ok(None) };
    let bytes = std::fs::read(path).map_err(|source| OpeningError::Start { path: path.clone(), source })?;
    let digest = Fingerprint::of(&[&bytes, &config.strength.to_le_bytes()]);
    let pixels = initial_pixels(path, settings.size, device)?;
    Ok(Some((Start::Picture { pixels, strength: config.strength }, digest)))
}
