//! Euler's method: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 2 without churn.
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_euler_discrete.py`.

use burn::tensor::Tensor;
use serde_json::json;

use super::noise_schedule::{Level, NoiseSchedule};
use super::prediction::{Mix, Prediction};
use super::sigmas::{SigmaSpacing, Sigmas, at_timesteps, timestep_of};
use super::spacing::{Spacing, Timesteps};
use super::{Sampler, combine};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Options of `EulerDiscreteScheduler`.
#[derive(Clone, Debug)]
pub(super) struct EulerConfig {
    timesteps: Timesteps,
    prediction: Prediction,
    pub(super) sigmas: SigmaSpacing,
}

impl EulerConfig {
    pub(super) fn take(options: &mut Options, timesteps: Timesteps, prediction: Prediction) -> Result<Self, DiffusionError> {
        options.neutral("interpolation_type", &[json!("linear")])?;
        options.neutral("timestep_type", &[json!("discrete")])?;
        Ok(Self { timesteps, prediction, sigmas: SigmaSpacing::take(options)? })
    }

    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize) -> Euler {
        let timesteps = self.timesteps.fractional(schedule.len(), steps);
        let mut sigmas = at_timesteps(schedule, timesteps, &self.sigmas);
        if self.sigmas.karras {
            let table = schedule.ratios();
            // Unlike DPM-Solver and UniPC, between the ratios of the timesteps, not of the whole schedule.
            let count = sigmas.timesteps.len();
            let ratios = self.sigmas.karras([sigmas.ratios[count - 1], sigmas.ratios[0]], count);
            sigmas.timesteps = ratios.iter().map(|ratio| timestep_of(&table, *ratio)).collect();
            sigmas.ratios.splice(..count, ratios);
        }
        Euler { prediction: self.prediction, init_noise_sigma: init_noise_sigma(self.timesteps.spacing, &sigmas), sigmas }
    }
}

/// With leading spacing a run starts below the last timestep, where a sample is not noise alone: its variance is that of both.
pub(super) fn init_noise_sigma(spacing: Spacing, sigmas: &Sigmas) -> f64 {
    match spacing {
        Spacing::Linspace | Spacing::Trailing => sigmas.max(),
        Spacing::Leading => sigmas.max().hypot(1.0),
    }
}

#[derive(Debug)]
pub(super) struct Euler {
    prediction: Prediction,
    sigmas: Sigmas,
    init_noise_sigma: f64,
}

/// A step from ratio `from` to ratio `to`. Samples are `clean + ratio * noise`, that is, not scaled to unit variance.
pub(super) fn step(prediction: Prediction, [from, to]: [f64; 2], sample: Tensor<4>, output: Tensor<4>) -> Tensor<4> {
    let level = Level::of_ratio(from);
    let clean = prediction.clean(level);
    let clean = Mix { sample: clean.sample * level.alpha, output: clean.output };
    let kept = to / from;
    clean.times(1.0 - kept).plus(Mix { sample: kept, output: 0.0 }).of(sample, output)
}

/// What the network sees: unit variance.
pub(super) fn scale_model_input(sample: Tensor<4>, ratio: f64) -> Tensor<4> {
    sample.mul_scalar(Level::of_ratio(ratio).alpha)
}

impl Sampler for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.sigmas.timesteps
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(&self.sigmas.ratios)
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn scale_model_input(&self, sample: Tensor<4>, i: usize) -> Tensor<4> {
        scale_model_input(sample, self.sigmas.ratios[i])
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, _noise: Option<Tensor<4>>) -> Tensor<4> {
        step(self.prediction, [self.sigmas.ratios[i], self.sigmas.ratios[i + 1]], sample, model_output)
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, i: usize) -> Tensor<4> {
        combine([(1.0, original), (self.sigmas.ratios[i], noise)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::SamplerKind;
    use super::super::testing::{Run, check};

    /// Computed with diffusers 0.42.1.
    #[test]
    fn runs_end_where_the_reference_ends() {
        let bounded = json!({
            "use_karras_sigmas": true, "sigma_min": 0.1, "sigma_max": 9.0, "timestep_spacing": "leading",
            "prediction_type": "sample", "final_sigmas_type": "sigma_min",
        });
        let zero = json!({"prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": true});
        check(
            SamplerKind::Euler,
            &[
                Run::of(json!({}), [169.4608, 0.168582]),
                Run::of(json!({"use_karras_sigmas": true}), [160.3038, 0.159472]),
                Run::of(bounded, [609.8985, 0.606734]),
                Run { begin: 8, ..Run::of(json!({}), [347.7541, 0.404839]) },
                Run::of(zero, [50.57, 0.050308]),
            ],
        );
    }
}
