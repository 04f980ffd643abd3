//! What a checkpoint's configurations say to those who train on it.

use std::path::Path;

use super::Checkpoint;
use crate::diffusion::{AutoencoderConfig, DiffusionError};

impl Checkpoint {
    /// The folder it was read from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.index.folder
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
