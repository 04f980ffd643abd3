//! Architecture of an [`Autoencoder`], whichever it is.

use std::path::Path;

use burn::tensor::Device;

use super::Autoencoder;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;
use crate::diffusion::tiny_vae::AutoencoderTinyConfig;
use crate::diffusion::vae::AutoencoderKlConfig;

/// Architecture of an [`Autoencoder`].
#[derive(Clone, Debug, PartialEq)]
pub enum AutoencoderConfig {
    /// `diffusers.AutoencoderKL`.
    Kl(AutoencoderKlConfig),
    /// `diffusers.AutoencoderTiny`.
    Tiny(AutoencoderTinyConfig),
}

impl AutoencoderConfig {
    /// Reads a `config.json`; its `_class_name` decides, [`AutoencoderKl`](crate::diffusion::AutoencoderKl) where there is none.
    ///
    /// # Errors
    /// [`DiffusionError::Io`]; otherwise those of [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        Self::from_options(Options::read(path)?)
    }

    /// Reads the text of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// Those of [`AutoencoderKlConfig::parse`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        Self::from_options(Options::parse(text, path)?)
    }

    fn from_options(options: Options) -> Result<Self, DiffusionError> {
        match options.peek("_class_name").is_some_and(|class| class == AutoencoderTinyConfig::CLASS) {
            true => AutoencoderTinyConfig::from_options(options).map(Self::Tiny),
            false => AutoencoderKlConfig::from_options(options).map(Self::Kl),
        }
    }

    /// Its class in diffusers.
    #[must_use]
    pub fn class_name(&self) -> &'static str {
        match self {
            Self::Kl(_) => "AutoencoderKL",
            Self::Tiny(_) => AutoencoderTinyConfig::CLASS,
        }
    }

    /// A model of this shape; its weights are drawn when first used, unless they are loaded before.
    #[must_use]
    pub fn init(&self, device: &Device) -> Autoencoder {
        match self {
            Self::Kl(config) => Autoencoder::Kl(config.init(device)),
            Self::Tiny(config) => Autoencoder::Tiny(config.init(device)),
        }
    }
}
