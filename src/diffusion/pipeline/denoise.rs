//! The loop from noise to latents, with classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6).

use std::ops::ControlFlow;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::diffusion::DiffusionError;
use crate::diffusion::samplers::Sampler;
use crate::diffusion::unet::UNet;

/// A completed step.
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

/// The input of the loop.
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
        // One copy to the device for all steps; no step waits for it, nor is it waited for.
        let times: Vec<f32> = timesteps.iter().map(|timestep| *timestep as f32).collect();
        let times = Tensor::<1>::from_floats(&times[..], &device);
        for (i, timestep) in timesteps.iter().enumerate().skip(self.begin) {
            let input = self.sampler.scale_model_input(latents.clone(), i).cast(self.dtype);
            let input = if self.guidance.is_some() { Tensor::cat(vec![input.clone(), input], 0) } else { input };
            let output =
                self.unet.forward(input, times.clone().narrow(0, i, 1), self.states.clone(), None).cast(FloatDType::F32);
            let output = match self.guidance {
                Some((scale, rescale)) => guide(output, scale, rescale),
                None => output,
            };
            let noise = self.sampler.needs_noise(i).then(|| next_noise(noises, [channels, height, width], &device));
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

/// Refuses latents that are not finite, naming the first image concerned.
fn check_finite(latents: &Tensor<4>, step: usize) -> Result<(), DiffusionError> {
    let each = latents.dims()[1..].iter().product::<usize>();
    let values = latents.to_data().convert::<f32>();
    let values = values.as_slice::<f32>().expect("the data was converted");
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(DiffusionError::NonFiniteImage { image: position / each, step }),
        None => Ok(()),
    }
}

/// `unconditional + scale (conditional - unconditional)` of a doubled batch `[2B, C, H, W]`, unconditional rows first, optionally
/// rescaled.
///
/// `rescale` in [0, 1] mixes in the prediction with the standard deviation of the conditional one (Lin et al. 2023, arXiv 2305.08891,
/// section 3.4; diffusers 0.42.1, `rescale_noise_cfg`).
fn guide(doubled: Tensor<4>, scale: f64, rescale: f64) -> Tensor<4> {
    let batch = doubled.dims()[0] / 2;
    let unconditional = doubled.clone().narrow(0, 0, batch);
    let conditional = doubled.narrow(0, batch, batch);
    let guided = unconditional.clone() + (conditional.clone() - unconditional) * scale;
    if rescale == 0.0 {
        return guided;
    }
    let ratio: Tensor<4> = deviation(conditional) / deviation(guided.clone());
    guided * (ratio * rescale + (1.0 - rescale))
}

/// Standard deviation of each image `[B, 1, 1, 1]`, with Bessel's correction as `torch.std`.
fn deviation(x: Tensor<4>) -> Tensor<4> {
    let batch = x.dims()[0];
    x.flatten::<2>(1, 3).var(1).sqrt().reshape([batch, 1, 1, 1])
}

/// Standard normal noise of one image, a function of its seed alone: the same on every device and in every batch.
///
/// The numbers are not those of `torch.Generator`: to compare with diffusers, pass it the latents.
#[derive(Clone, Debug)]
pub(super) struct ImageNoise(ChaCha8Rng);

impl ImageNoise {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn draw(&mut self, count: usize, into: &mut Vec<f32>) {
        into.extend(StandardNormal.sample_iter(&mut self.0).take(count).map(|value: f32| value));
    }
}

/// The next noise `[B, C, H, W]` of a batch, one generator per image.
pub(super) fn next_noise(noises: &mut [ImageNoise], [channels, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let each = channels * height * width;
    let mut values = Vec::with_capacity(noises.len() * each);
    noises.iter_mut().for_each(|noise| noise.draw(each, &mut values));
    Tensor::from_data(TensorData::new(values, [noises.len(), channels, height, width]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / 2, 1, 1, 2]), &Device::flex())
    }

    #[test]
    fn scale_goes_from_unconditional_to_conditional_and_beyond() {
        for (scale, expected) in [(0.0, [1.0f32, 2.0]), (1.0, [3.0, -2.0]), (4.0, [9.0, -14.0])] {
            let guided = guide(tensor(&[1.0, 2.0, 3.0, -2.0]), scale, 0.0);
            assert_eq!(guided.into_data().try_to_vec::<f32>().unwrap(), expected);
        }
    }

    #[test]
    fn full_rescale_keeps_the_conditional_deviation() {
        let guided = guide(tensor(&[1.0, 2.0, 3.0, -2.0]), 4.0, 1.0);
        let difference: f32 = guided.clone().narrow(3, 0, 1).sub(guided.narrow(3, 1, 1)).into_scalar();
        assert!((difference - 5.0).abs() < 1e-5, "{difference}");
    }

    #[test]
    fn depends_on_the_seed_alone() {
        let device = Device::flex();
        let noise = |seeds: &[u64]| {
            let mut noises: Vec<_> = seeds.iter().map(|seed| ImageNoise::new(*seed)).collect();
            let first = next_noise(&mut noises, [4, 3, 2], &device);
            Tensor::cat(vec![first, next_noise(&mut noises, [4, 3, 2], &device)], 1)
        };
        let batch = noise(&[5, 6, 5]);
        assert_eq!(batch.clone().narrow(0, 1, 1).into_data(), noise(&[6]).into_data());
        assert_eq!(batch.clone().narrow(0, 0, 1).into_data(), batch.clone().narrow(0, 2, 1).into_data());
        assert_ne!(batch.clone().narrow(0, 0, 1).into_data(), batch.narrow(0, 1, 1).into_data());
    }

    #[test]
    fn is_standard_normal() {
        let values = next_noise(&mut [ImageNoise::new(1)], [4, 64, 64], &Device::flex());
        let values = values.flatten::<1>(0, 3);
        let (mean, variance): (f32, f32) = (values.clone().mean().into_scalar(), values.var(0).into_scalar());
        // Three standard errors of 16,384 draws.
        assert!(mean.abs() < 3.0 / 128.0 && (variance - 1.0).abs() < 3.0 * 2f32.sqrt() / 128.0, "{mean} {variance}");
    }
}
