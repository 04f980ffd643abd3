//! Pixels to latents and back, by either kind of autoencoder.

#[cfg(test)]
pub(in crate::diffusion) mod testing;
mod tiles;
mod tiny_vae;
mod vae;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};

use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;
use crate::diffusion::weights::KeyMap;

pub use tiles::{Slices, Tile};
pub use tiny_vae::{AutoencoderTiny, AutoencoderTinyConfig, AutoencoderTinyKeys, TinyActivation, is_taesd, write_taesd};
pub use vae::{AutoencoderKl, AutoencoderKlConfig, AutoencoderKlKeys, Posterior};

/// An autoencoder as the pipeline uses it: latents here are the denoiser's, that is, the encoder's times
/// [`scaling_factor`](Self::scaling_factor).
///
/// Its layers compute in the type of its weights; images, latents and the distribution of latents are of 32 bits in any case.
///
/// Should be created using [`AutoencoderConfig`].
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a pipeline holds one, and burn has no modules in boxes")]
pub enum Autoencoder {
    /// `diffusers.AutoencoderKL`.
    Kl(AutoencoderKl),
    /// `diffusers.AutoencoderTiny`.
    Tiny(AutoencoderTiny),
}

impl Autoencoder {
    /// Latents of `images`, to be denoised or learnt from.
    ///
    /// Where the encoder gives a distribution, `noise` (standard normal, of the latents' shape) decides what is drawn from it;
    /// without it the result is the most probable latents. [`AutoencoderTiny`] gives latents, and `noise` has no influence.
    ///
    /// # Shapes
    /// - images: `[B, C, H, W]` in `[-1, 1]`, each side at least [`factor`](Self::factor)
    /// - output: `[B, latent_channels, H / factor, W / factor]`; sides that are not a multiple are rounded down by
    ///   [`AutoencoderKl`], up by [`AutoencoderTiny`]
    pub fn to_latents(&self, images: Tensor<4>, noise: Option<Tensor<4>>, slices: &Slices) -> Tensor<4> {
        let images = images.cast(FloatDType::F32);
        let latents = match self {
            Self::Kl(vae) => {
                let posterior = vae.encode_sliced(images, slices);
                match noise {
                    Some(noise) => posterior.sample(noise),
                    None => posterior.mode(),
                }
            }
            Self::Tiny(vae) => vae.encode_sliced(images, slices),
        };
        latents * self.scaling_factor()
    }

    /// Images of latents that [`to_latents`](Self::to_latents) or a denoiser gave.
    ///
    /// # Shapes
    /// - latents: `[B, latent_channels, H, W]`
    /// - output: `[B, C, factor * H, factor * W]`, about `[-1, 1]`; not clamped
    pub fn from_latents(&self, latents: Tensor<4>, slices: &Slices) -> Tensor<4> {
        let latents = latents.cast(FloatDType::F32) / self.scaling_factor();
        match self {
            Self::Kl(vae) => vae.decode_sliced(latents, slices),
            Self::Tiny(vae) => vae.decode_sliced(latents, slices),
        }
    }

    /// Factor from the encoder's latents to the denoiser's.
    #[must_use]
    pub fn scaling_factor(&self) -> f64 {
        match self {
            Self::Kl(vae) => vae.config().scaling_factor,
            Self::Tiny(vae) => vae.config().scaling_factor,
        }
    }

    /// Channels of a latent.
    #[must_use]
    pub fn latent_channels(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.config().latent_channels,
            Self::Tiny(vae) => vae.config().latent_channels,
        }
    }

    /// Channels of the images: encoded, decoded.
    #[must_use]
    pub fn image_channels(&self) -> [usize; 2] {
        match self {
            Self::Kl(vae) => [vae.config().in_channels, vae.config().out_channels],
            Self::Tiny(vae) => [vae.config().in_channels, vae.config().out_channels],
        }
    }

    /// Pixels along the side of a latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        match self {
            Self::Kl(vae) => vae.config().factor(),
            Self::Tiny(vae) => vae.config().factor(),
        }
    }

    /// The tile that diffusers uses for this autoencoder.
    #[must_use]
    pub fn default_tile(&self) -> Tile {
        match self {
            Self::Kl(vae) => vae.config().default_tile(),
            Self::Tiny(vae) => vae.config().default_tile(),
        }
    }

    /// Names of its tensors in files.
    #[must_use]
    pub fn keys(&self) -> &'static dyn KeyMap {
        match self {
            Self::Kl(_) => &AutoencoderKlKeys,
            Self::Tiny(_) => &AutoencoderTinyKeys,
        }
    }
}

/// Architecture of an [`Autoencoder`].
#[derive(Clone, Debug, PartialEq)]
pub enum AutoencoderConfig {
    /// `diffusers.AutoencoderKL`.
    Kl(AutoencoderKlConfig),
    /// `diffusers.AutoencoderTiny`.
    Tiny(AutoencoderTinyConfig),
}

impl AutoencoderConfig {
    /// Reads a `config.json`; its `_class_name` decides, [`AutoencoderKl`] where there is none.
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

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;

    use super::testing::{draw, fill};
    use super::*;

    fn read(text: &str) -> Autoencoder {
        let model = AutoencoderConfig::parse(text, Path::new("config.json")).unwrap().init(&Device::flex());
        let keys = model.keys();
        fill(model, keys)
    }

    fn kl() -> Autoencoder {
        read(
            r#"{"block_out_channels": [4, 4], "norm_num_groups": 2, "scaling_factor": 0.25, "latent_channels": 2,
                "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
                "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"], "out_channels": 1}"#,
        )
    }

    fn tiny() -> Autoencoder {
        read(
            r#"{"_class_name": "AutoencoderTiny", "encoder_block_out_channels": [4, 4], "decoder_block_out_channels": [4, 4],
                "num_encoder_blocks": [1, 1], "num_decoder_blocks": [1, 1], "latent_channels": 2, "scaling_factor": 4.0,
                "in_channels": 3, "out_channels": 1}"#,
        )
    }

    fn assert_close(a: Tensor<4>, b: Tensor<4>) {
        a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-5));
    }

    #[test]
    fn latents_are_scaled_both_ways() {
        let (images, noise, whole) = (draw("image", [2, 3, 6, 8], 1.0), draw("noise", [2, 2, 3, 4], 1.0), Slices::default());
        let latents = draw("latents", [2, 2, 3, 4], 1.0);
        for vae in [kl(), tiny()] {
            let (unscaled, drawn, decoded) = match &vae {
                Autoencoder::Kl(kl) => {
                    let posterior = kl.encode(images.clone());
                    (posterior.mode(), posterior.sample(noise.clone()), kl.decode(latents.clone()))
                }
                Autoencoder::Tiny(tiny) => {
                    (tiny.encode(images.clone()), tiny.encode(images.clone()), tiny.decode(latents.clone()))
                }
            };
            let scale = vae.scaling_factor();
            assert_close(vae.to_latents(images.clone(), None, &whole), unscaled * scale);
            assert_close(vae.to_latents(images.clone(), Some(noise.clone()), &whole), drawn * scale);
            assert_close(vae.from_latents(latents.clone() * scale, &whole), decoded);
        }
    }

    #[test]
    fn the_class_decides() {
        let (kl, tiny) = (kl(), tiny());
        assert!(matches!(kl, Autoencoder::Kl(_)) && matches!(tiny, Autoencoder::Tiny(_)));
        for (vae, scale) in [(kl, 0.25), (tiny, 4.0)] {
            assert_eq!(vae.scaling_factor(), scale);
            assert_eq!((vae.latent_channels(), vae.factor(), vae.image_channels()), (2, 2, [3, 1]));
        }
        let other = AutoencoderConfig::parse(r#"{"_class_name": "AutoencoderKLWan"}"#, Path::new("config.json"));
        assert!(matches!(other, Err(crate::diffusion::DiffusionError::OtherModel { .. })));
    }
}
