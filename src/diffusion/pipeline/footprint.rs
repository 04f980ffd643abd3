//! The least memory that images take, known before weights are loaded.

use super::checkpoint::Checkpoint;
use super::settings::Settings;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::memory::{Estimate, MemoryError};

impl Checkpoint {
    /// Refuses `batch` images at a time that `machine` bytes of the host can't hold; `computes` says whether the networks compute there
    /// too, and `keys` names the settings that make it less.
    ///
    /// # Errors
    /// [`MemoryError`] with the estimate.
    pub fn check_memory(
        &self,
        settings: &Settings,
        batch: usize,
        computes: bool,
        machine: Option<u64>,
        keys: &'static str,
    ) -> Result<(), MemoryError> {
        let [height, width] = settings.size;
        let images = Estimate::new(keys).with("the images of a batch", &[batch, 3, height, width]);
        if !computes {
            return images.check(machine);
        }
        // Of the first level on the way down, what the first convolution and each residual block make waits for the way up.
        let highest = self.unet.levels[0];
        let rows = if settings.is_guided() { 2 * batch } else { batch };
        let [rows_of_latents, columns] = [height / self.factor, width / self.factor];
        let skips = [rows, highest.layers + 1, highest.channels, rows_of_latents, columns];
        Estimate::new(keys).with("feature maps of the U-Net's first level", &skips).check(machine)?;
        // The last convolutions of the decoder read and write feature maps of the whole image, or of a tile.
        let (channels, tile) = match &self.vae {
            AutoencoderConfig::Kl(config) => (config.block_out_channels[0], config.default_tile()),
            AutoencoderConfig::Tiny(config) => (config.width, config.default_tile()),
        };
        let side = |pixels: usize| if settings.tiled { pixels.min(tile.pixels(self.factor)) } else { pixels };
        images.with("the autoencoder's last feature maps", &[2, channels, side(height), side(width)]).check(machine)
    }
}
