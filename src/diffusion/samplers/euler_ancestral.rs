//! Euler's method with fresh noise: a step beyond the target and noise up to it (k-diffusion's `sample_euler_ancestral`).
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_euler_ancestral_discrete.py`.

use burn::tensor::Tensor;

use super::noise_schedule::NoiseSchedule;
use super::prediction::Prediction;
use super::sigmas::{Sigmas, interpolate};
use super::spacing::Timesteps;
use super::{Sampler, combine, euler, fresh};

/// Options of `EulerAncestralDiscreteScheduler`.
#[derive(Clone, Debug)]
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
        let init_noise_sigma = euler::init_noise_sigma(self.timesteps.spacing, &sigmas);
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
        euler::scale_model_input(sample, self.sigmas.ratios[i])
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.sigmas.ratios[i + 1] > 0.0
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<4> {
        let (from, to) = (self.sigmas.ratios[i], self.sigmas.ratios[i + 1]);
        let up = to * (1.0 - (to / from).powi(2)).max(0.0).sqrt();
        let down = (to.powi(2) - up.powi(2)).max(0.0).sqrt();
        let stepped = euler::step(self.prediction, [from, down], sample, model_output);
        if self.needs_noise(i) { stepped + fresh(noise, i).mul_scalar(up) } else { stepped }
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

    /// Computed with diffusers 0.42.1, its random noise replaced by the one given here.
    #[test]
    fn runs_end_where_the_reference_ends() {
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
