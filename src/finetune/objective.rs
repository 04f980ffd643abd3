//! Losses: of the denoiser's prediction, and of an autoencoder's images.
//!
//! Reference: diffusers 0.42.1, `examples/text_to_image/train_text_to_image.py` and `training_utils.py` (`compute_snr`). Every
//! coefficient is that of the samplers' [`NoiseSchedule`], so that training and sampling can't differ.

use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use super::settings::within;
use crate::diffusion::autoencoder::{Autoencoder, Slices};
use crate::diffusion::samplers::{NoiseSchedule, Prediction};

/// The denoiser's loss: the mean over samples of weight times mean squared error.
///
/// What the denoiser predicts is the `prediction_type` of the pipeline's scheduler, by which it is sampled as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// The γ of min-SNR weights, 5 in the paper; `None` weights all timesteps equally.
    ///
    /// Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy", equation (8) and section 3.4.
    pub snr_gamma: Option<f64>,
    /// Strength of noise that is the same for all pixels of a channel, 0 for none; about 0.1 lets a model learn very dark and
    /// very bright images (N. Guttenberg 2023, "Diffusion with Offset Noise").
    pub noise_offset: f64,
}

/// Noised latents and the denoiser's target for them, both `[B, C, H, W]`.
pub(super) struct Task {
    pub(super) sample: Tensor<4>,
    pub(super) target: Tensor<4>,
}

impl Objective {
    /// Refuses numbers out of range.
    pub(super) fn check(&self) -> Result<(), FinetuneError> {
        if let Some(gamma) = self.snr_gamma {
            within("objective.snr_gamma", gamma, gamma > 0.0 && gamma.is_finite(), "a number above 0; 5 in the paper")?;
        }
        let offset = self.noise_offset;
        within("objective.noise_offset", offset, (0.0..=1.0).contains(&offset), "a number from 0 to 1; about 0.1 is usual")
    }

    /// The denoiser's task for clean `latents`; all tensors are `[B, C, H, W]`, the offset noise `[B, C, 1, 1]`.
    pub(super) fn task(
        &self,
        prediction: Prediction,
        schedule: &NoiseSchedule,
        latents: Tensor<4>,
        noise: Tensor<4>,
        offset_noise: Option<Tensor<4>>,
        timesteps: &[usize],
    ) -> Task {
        let noise = match offset_noise {
            Some(offset) if self.noise_offset != 0.0 => noise + offset * self.noise_offset,
            _ => noise,
        };
        let sample = schedule.add_noise(latents.clone(), noise.clone(), timesteps);
        let target = match prediction {
            Prediction::Epsilon => noise,
            Prediction::Velocity => schedule.velocity(latents, noise, timesteps),
            Prediction::Sample => latents,
        };
        Task { sample, target }
    }

    /// The weight of a sample at `timestep`.
    #[must_use]
    pub fn weight(&self, prediction: Prediction, schedule: &NoiseSchedule, timestep: usize) -> f64 {
        let Some(gamma) = self.snr_gamma else { return 1.0 };
        let snr = schedule.snr(timestep);
        let least = snr.min(gamma);
        match prediction {
            // Without any signal, the limit of the quotient; the reference divides 0 by 0.
            Prediction::Epsilon if snr == 0.0 => 1.0,
            Prediction::Epsilon => least / snr,
            Prediction::Velocity => least / (snr + 1.0),
            Prediction::Sample => least,
        }
    }

    /// Weighted losses, `[B]` in F32 whatever the type of the prediction.
    pub(super) fn losses(
        &self,
        prediction: Prediction,
        schedule: &NoiseSchedule,
        predicted: Tensor<4>,
        target: Tensor<4>,
        timesteps: &[usize],
    ) -> Tensor<1> {
        let error = predicted.cast(FloatDType::F32) - target;
        let losses: Tensor<1> = error.square().flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1);
        let weights: Vec<f64> = timesteps.iter().map(|t| self.weight(prediction, schedule, *t)).collect();
        if self.snr_gamma.is_none() {
            return losses;
        }
        let device = losses.device();
        let count = weights.len();
        losses * Tensor::from_data(TensorData::new(weights, [count]), (&device, DType::F32))
    }
}

/// The distance of an image from its original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Mean absolute difference: sharper.
    #[default]
    L1,
    /// Mean squared difference.
    L2,
}

/// Reconstruction loss plus `kl_weight` times the divergence of the latents from a standard normal distribution, both means per
/// sample: the loss of Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", appendix G, without
/// its perceptual and adversarial terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconstructionObjective {
    /// Between the image and its reconstruction, a mean over pixels.
    pub distance: Distance,
    /// Weight of the divergence in nats, divided by the image's number of values like the reconstruction; 1e-6 is Stable
    /// Diffusion's. An autoencoder that gives latents has none.
    pub kl_weight: f64,
}

impl Default for ReconstructionObjective {
    fn default() -> Self {
        Self { distance: Distance::L1, kl_weight: 1e-6 }
    }
}

impl ReconstructionObjective {
    /// Refuses numbers out of range.
    pub(super) fn check(&self) -> Result<(), FinetuneError> {
        let weight = self.kl_weight;
        within("reconstruction.kl_weight", weight, weight.is_finite() && weight >= 0.0, "a number of at least 0")
    }

    /// Losses `[B]` of `pixels` `[B, 3, H, W]`, through latents drawn by `noise` or, without it, through the most probable ones.
    pub(super) fn losses(&self, vae: &Autoencoder, pixels: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<1> {
        let [_, channels, height, width] = pixels.dims();
        let (latents, divergence) = match vae {
            Autoencoder::Kl(kl) => {
                let posterior = kl.encode(pixels.clone());
                let divergence = posterior.kl();
                let latents = match noise {
                    Some(noise) => posterior.sample(noise),
                    None => posterior.mode(),
                };
                (latents * vae.scaling_factor(), Some(divergence))
            }
            Autoencoder::Tiny(_) => (vae.to_latents(pixels.clone(), None, &Slices::default()), None),
        };
        let images = vae.from_latents(latents, &Slices::default());
        let [_, _, made_height, made_width] = images.dims();
        // An autoencoder crops or pads sides that are not a multiple of its factor.
        let [height, width] = [height.min(made_height), width.min(made_width)];
        let part = |image: Tensor<4>| image.narrow(2, 0, height).narrow(3, 0, width);
        let difference = part(images) - part(pixels);
        let distance = match self.distance {
            Distance::L1 => difference.abs(),
            Distance::L2 => difference.square(),
        };
        let reconstruction: Tensor<1> = distance.flatten::<2>(1, 3).mean_dim(1).squeeze_dim(1);
        match divergence {
            Some(divergence) if self.kl_weight > 0.0 => {
                reconstruction + divergence * (self.kl_weight / (channels * height * width) as f64)
            }
            _ => reconstruction,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::testing::noise;
    use super::*;
    use crate::diffusion::samplers::SchedulerConfig;

    const ALL: [Prediction; 3] = [Prediction::Epsilon, Prediction::Velocity, Prediction::Sample];

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    #[test]
    fn weights_are_those_of_the_reference() {
        // Two timesteps of SNR 9 and 1: alphas_cumprod 0.9 and 0.5.
        let text = r#"{"_class_name": "DDPMScheduler", "num_train_timesteps": 2, "trained_betas": [0.1, 0.4444444444444444]}"#;
        let scheduler = SchedulerConfig::parse(text, Path::new("scheduler_config.json")).unwrap();
        let weight = |gamma, prediction, timestep| {
            Objective { snr_gamma: gamma, noise_offset: 0.0 }.weight(prediction, scheduler.noise_schedule(), timestep)
        };
        // By hand: min(9, 5) / 9, min(9, 5) / 10, min(9, 5); min(1, 5) / 1, min(1, 5) / 2, min(1, 5).
        let expected = [[5.0 / 9.0, 0.5, 5.0], [1.0, 0.5, 1.0]];
        for (timestep, row) in expected.iter().enumerate() {
            for (prediction, expected) in ALL.into_iter().zip(row) {
                assert!((weight(Some(5.0), prediction, timestep) - expected).abs() < 1e-12, "{prediction} at {timestep}");
                assert_eq!(weight(None, prediction, timestep), 1.0);
            }
        }
    }

    #[test]
    fn a_timestep_without_signal_counts_once() {
        let text = r#"{"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true}"#;
        let scheduler = SchedulerConfig::parse(text, Path::new("scheduler_config.json")).unwrap();
        let objective = Objective { snr_gamma: Some(5.0), noise_offset: 0.0 };
        let weights = ALL.map(|prediction| objective.weight(prediction, scheduler.noise_schedule(), 999));
        assert_eq!(weights, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn offset_noise_is_part_of_the_noise() {
        let scheduler = SchedulerConfig::roentgen();
        let objective = Objective { snr_gamma: None, noise_offset: 0.5 };
        let (latents, unit, offset) = (noise::<4>(1, [1, 2, 2, 2]), noise::<4>(2, [1, 2, 2, 2]), noise::<4>(3, [1, 2, 1, 1]));
        let task = |objective: Objective, noise: Tensor<4>, offset| {
            let schedule = scheduler.noise_schedule();
            let Task { sample, target } = objective.task(Prediction::Epsilon, schedule, latents.clone(), noise, offset, &[400]);
            (floats(sample), floats(target))
        };
        let shifted = unit.clone() + offset.clone() * 0.5;
        assert_eq!(task(objective, unit, Some(offset)), task(Objective::default(), shifted, None));
    }

    proptest! {
        /// Shares the samplers' coefficients: what the network should say leads a sampler to the clean latents, at any timestep.
        #[test]
        fn a_perfect_prediction_has_no_loss(seed in 0u64..100, timestep in 0usize..1000, gamma in prop::option::of(0.5f64..10.0)) {
            let scheduler = SchedulerConfig::roentgen();
            let objective = Objective { snr_gamma: gamma, noise_offset: 0.0 };
            let schedule = scheduler.noise_schedule();
            let shape = [2, 1, 2, 2];
            for prediction in ALL {
                let task = objective.task(prediction, schedule, noise(seed, shape), noise(seed + 1, shape), None, &[timestep; 2]);
                let losses = objective.losses(prediction, schedule, task.target.clone(), task.target.clone(), &[timestep; 2]);
                prop_assert_eq!(floats(losses), vec![0.0, 0.0]);
                // By hand: one more in every value is a squared error of 1.
                let losses = floats(objective.losses(prediction, schedule, task.target.clone() + 1.0, task.target, &[timestep; 2]));
                let weight = objective.weight(prediction, schedule, timestep) as f32;
                prop_assert!((losses[0] - weight).abs() < 1e-5 * weight.max(1.0), "{} {weight}", losses[0]);
            }
        }
    }
}
