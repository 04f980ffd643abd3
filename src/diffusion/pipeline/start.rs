//! What the first step starts from.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use roentgen_augment::AugmentError;
use roentgen_augment::image::{Filter, GrayImage, Signed};

use super::StableDiffusion;
use super::denoise::{ImageNoise, next_noise};
use super::settings::Settings;
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::Slices;
use crate::diffusion::samplers::Sampler;

/// What an image starts from.
#[derive(Clone, Debug, Default)]
pub enum Start {
    /// Noise of the request's seed.
    #[default]
    Noise,
    /// Noise that is given: `[B, C, H/8, W/8]`, of unit variance.
    Latents(Tensor<4>),
    /// A picture, changed as much as `strength` says (diffusers' image-to-image pipeline).
    Picture {
        /// `[1, 3, H, W]` in [-1, 1], of the settings' size.
        pixels: Tensor<4>,
        /// In (0, 1]: the part of the steps that is taken. At 1 little of the picture is left.
        strength: f64,
    },
}

impl StableDiffusion {
    /// Latents before the first step, and that step's position.
    pub(super) fn begin(
        &self,
        start: &Start,
        noises: &mut [ImageNoise],
        settings: &Settings,
        sampler: &dyn Sampler,
    ) -> Result<(Tensor<4>, usize), DiffusionError> {
        let vae = &self.vae.model;
        let [height, width] = settings.size.map(|side| side / vae.factor());
        let shape = [vae.latent_channels(), height, width];
        match start {
            Start::Noise => Ok((next_noise(noises, shape, &self.device) * sampler.init_noise_sigma(), 0)),
            Start::Latents(latents) => {
                let expected = [noises.len(), shape[0], height, width];
                if latents.dims() != expected {
                    let (value, expected) = (format!("{:?}", latents.dims()), format!("shape {expected:?}"));
                    return Err(DiffusionError::Setting { key: "latents", value, expected });
                }
                Ok((latents.clone().to_device(&self.device) * sampler.init_noise_sigma(), 0))
            }
            Start::Picture { pixels, strength } => self.begin_at(pixels, *strength, shape, noises, settings, sampler),
        }
    }

    /// The latents of a picture, noised to where the first of the remaining steps expects them.
    fn begin_at(
        &self,
        pixels: &Tensor<4>,
        strength: f64,
        shape: [usize; 3],
        noises: &mut [ImageNoise],
        settings: &Settings,
        sampler: &dyn Sampler,
    ) -> Result<(Tensor<4>, usize), DiffusionError> {
        if !(strength > 0.0 && strength <= 1.0) {
            let expected = "more than 0, at most 1".to_owned();
            return Err(DiffusionError::Setting { key: "strength", value: strength.to_string(), expected });
        }
        let [height, width] = settings.size;
        if pixels.dims() != [1, 3, height, width] {
            let expected = format!("a picture of {width}x{height} pixels in three channels");
            return Err(DiffusionError::Setting { key: "init_image", value: format!("{:?}", pixels.dims()), expected });
        }
        let steps = ((settings.steps as f64 * strength) as usize).min(settings.steps);
        // A sampler may evaluate the U-Net more often than it was asked for steps (PNDM's second timestep comes twice).
        let begin = (settings.steps - steps).min(sampler.timesteps().len() - 1);
        let vae = self.vae.on(&self.device);
        let draw = next_noise(noises, shape, &self.device);
        let batch = noises.len();
        let pixels = pixels.clone().to_device(&self.device);
        let slices = Slices { one_by_one: true, tile: None };
        let latents = vae.to_latents(pixels.expand([batch, 3, height, width]), Some(draw), &slices);
        let noise = next_noise(noises, shape, &self.device);
        Ok((sampler.add_noise(latents, noise, begin), begin))
    }
}

/// A radiograph file as a [`Start::Picture`]'s pixels `[1, 3, H, W]`: gray in three channels, scaled to `size` with Pillow's Lanczos
/// filter as diffusers' `VaeImageProcessor` scales it (the aspect ratio is lost).
///
/// # Errors
/// [`AugmentError`] if the file is no readable image.
pub fn initial_pixels(path: &Path, [height, width]: [usize; 2], device: &Device) -> Result<Tensor<4>, AugmentError> {
    let pixels = GrayImage::open(path)?.resize(width, height, Filter::Lanczos).to_pixels::<Signed>();
    let values = pixels.values().to_vec();
    Ok(Tensor::<4>::from_data(TensorData::new(values, [1, 1, height, width]), device).repeat_dim(1, 3))
}
