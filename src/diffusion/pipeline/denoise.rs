//! The loop from noise to latents.

use std::ops::ControlFlow;

use burn::tensor::{FloatDType, Tensor};

use super::guidance::guide;
use super::noise::{self, ImageNoise};
use crate::diffusion::samplers::Sampler;
use crate::diffusion::{DiffusionError, UNet};

/// A step that was just taken.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Steps of the whole run.
    pub total: usize,
    /// The timestep the U-Net saw, in the unit of training timesteps.
    pub timestep: f64,
    /// The latents after it `[B, C, H, W]`.
    pub latents: &'a Tensor<4>,
}

/// What goes into the loop.
pub(super) struct Denoise<'a> {
    pub(super) unet: &'a UNet,
    pub(super) sampler: Box<dyn Sampler>,
    /// Text states `[B, L, D]`, or `[2B, L, D]` with guidance: those of the negative prompts first.
    pub(super) states: Tensor<3>,
    /// Scale and rescale.
    pub(super) guidance: Option<(f64, f64)>,
    /// The U-Net's compute type; the sampler computes in F32.
    pub(super) dtype: FloatDType,
    /// First step to take, by position in the sampler's timesteps.
    pub(super) begin: usize,
}

impl Denoise<'_> {
    /// Runs the loop on `latents` `[B, C, H, W]`; `noises` are the batch's generators, of which stochastic samplers draw.
    pub(super) fn run(
        mut self,
        mut latents: Tensor<4>,
        noises: &mut [ImageNoise],
        watch: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Result<Tensor<4>, DiffusionError> {
        let device = latents.device();
        let [_, channels, height, width] = latents.dims();
        let timesteps = self.sampler.timesteps().to_vec();
        for (i, timestep) in timesteps.iter().enumerate().skip(self.begin) {
            let input = self.sampler.scale_model_input(latents.clone(), i).cast(self.dtype);
            let input = if self.guidance.is_some() { Tensor::cat(vec![input.clone(), input], 0) } else { input };
            let time = Tensor::<1>::from_floats([*timestep as f32], &device);
            let output = self.unet.forward(input, time, self.states.clone(), None).cast(FloatDType::F32);
            let output = match self.guidance {
                Some((scale, rescale)) => guide(output, scale, rescale),
                None => output,
            };
            let noise = self.sampler.needs_noise(i).then(|| noise::next(noises, [channels, height, width], &device));
            latents = self.sampler.step(output, i, latents, noise);
            let number = i + 1 - self.begin;
            let step = Step { number, total: timesteps.len() - self.begin, timestep: *timestep, latents: &latents };
            if watch(&step).is_break() {
                return Err(DiffusionError::Stopped { step: number });
            }
        }
        check_finite(&latents, timesteps.len() - self.begin)?;
        Ok(latents)
    }
}

/// Refuses latents that are no numbers, naming the first image concerned.
fn check_finite(latents: &Tensor<4>, step: usize) -> Result<(), DiffusionError> {
    let each = latents.dims()[1..].iter().product::<usize>();
    let values = latents.to_data().convert::<f32>();
    let values = values.as_slice::<f32>().expect("the data was converted");
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(DiffusionError::NonFiniteImage { image: position / each, step }),
        None => Ok(()),
    }
}
