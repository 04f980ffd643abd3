//! Euler's method: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 2 without churn;
//! and with fresh noise, a step beyond the target and noise up to it (k-diffusion's `sample_euler_ancestral`).
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_euler_discrete.py` and `scheduling_euler_ancestral_discrete.py`.

use burn::tensor::Tensor;
use serde::Serialize;
use serde_json::json;

use super::noise_schedule::{Level, NoiseSchedule};
use super::prediction::{Mix, Prediction};
use super::steps::{SigmaSpacing, Sigmas, Spacing, Timesteps, at_timesteps, interpolate, timestep_of};
use super::{Sampler, combine, fresh};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Options of `EulerDiscreteScheduler`.
#[derive(Clone, Debug, Serialize)]
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
fn init_noise_sigma(spacing: Spacing, sigmas: &Sigmas) -> f64 {
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
fn step(prediction: Prediction, [from, to]: [f64; 2], sample: Tensor<4>, output: Tensor<4>) -> Tensor<4> {
    let level = Level::of_ratio(from);
    let clean = prediction.clean(level);
    let clean = Mix { sample: clean.sample * level.alpha, output: clean.output };
    let kept = to / from;
    clean.times(1.0 - kept).plus(Mix { sample: kept, output: 0.0 }).of(sample, output)
}

/// What the network sees: unit variance.
fn scale_model_input(sample: Tensor<4>, ratio: f64) -> Tensor<4> {
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

/// Options of `EulerAncestralDiscreteScheduler`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct EulerAncestralConfig {
    pub(super) timesteps: Timesteps,
    pub(super) prediction: Prediction,
}

impl EulerAncestralConfig {
    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize) -> EulerAncestral {
        let timesteps = self.timesteps.fractional(schedule.len(), steps);
        let table = schedule.ratios();
        let ratios = timesteps.iter().map(|t| interpolate(&table, *t)).chain([0.0]).collect();
        let sigmas = Sigmas { timesteps, ratios };
        let init_noise_sigma = init_noise_sigma(self.timesteps.spacing, &sigmas);
        EulerAncestral { prediction: self.prediction, sigmas, init_noise_sigma }
    }
}

#[derive(Debug)]
pub(super) struct EulerAncestral {
    prediction: Prediction,
    sigmas: Sigmas,
    init_noise_sigma: f64,
}

impl Sampler for EulerAncestral {
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

    fn needs_noise(&self, i: usize) -> bool {
        self.sigmas.ratios[i + 1] > 0.0
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<4> {
        let (from, to) = (self.sigmas.ratios[i], self.sigmas.ratios[i + 1]);
        let up = to * (1.0 - (to / from).powi(2)).max(0.0).sqrt();
        let down = (to.powi(2) - up.powi(2)).max(0.0).sqrt();
        let stepped = step(self.prediction, [from, down], sample, model_output);
        if self.needs_noise(i) { stepped + fresh(noise, i).mul_scalar(up) } else { stepped }
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, i: usize) -> Tensor<4> {
        combine([(1.0, original), (self.sigmas.ratios[i], noise)])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::list::SamplerKind;
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

    /// Computed with diffusers 0.42.1, its random noise replaced by the one given here.
    #[test]
    fn ancestral_runs_end_where_the_reference_ends() {
        let leading = json!({"prediction_type": "v_prediction", "timestep_spacing": "leading"});
        check(
            SamplerKind::EulerAncestral,
            &[
                Run::of(json!({}), [331.6251, 0.533125]),
                Run::of(leading, [159.5101, 0.256639]),
                Run { begin: 7, ..Run::of(json!({}), [315.4336, 0.430801]) },
            ],
        );
    }
}
