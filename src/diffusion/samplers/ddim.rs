//! DDIM: Song et al. 2021, "Denoising Diffusion Implicit Models".
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_ddim.py`.

use burn::tensor::Tensor;
use serde::Serialize;

use super::noise_schedule::NoiseSchedule;
use super::prediction::{Limit, Prediction};
use super::steps::Timesteps;
use super::{Sampler, fresh};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Options of `DDIMScheduler`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DdimConfig {
    timesteps: Timesteps,
    prediction: Prediction,
    limit: Limit,
    set_alpha_to_one: bool,
}

impl DdimConfig {
    /// Whether nothing keeps the estimate of the clean sample within bounds.
    pub(super) fn is_unlimited(&self) -> bool {
        self.limit == Limit::Unlimited
    }

    pub(super) fn take(options: &mut Options, timesteps: Timesteps, prediction: Prediction) -> Result<Self, DiffusionError> {
        Ok(Self {
            timesteps,
            prediction,
            limit: Limit::take(options)?,
            set_alpha_to_one: options.take_or("set_alpha_to_one", true)?,
        })
    }

    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize, eta: f64) -> Result<Ddim, DiffusionError> {
        let whole = self.timesteps.whole(schedule.len(), steps)?;
        Ok(Ddim {
            config: self.clone(),
            eta,
            timesteps: whole.iter().map(|t| *t as f64).collect(),
            whole,
            stride: (schedule.len() / steps) as i64,
            end: if self.set_alpha_to_one { 1.0 } else { schedule.alphas_cumprod()[0] },
            schedule: schedule.clone(),
        })
    }
}

#[derive(Debug)]
pub(super) struct Ddim {
    config: DdimConfig,
    /// Share of DDPM's noise: 0 is deterministic.
    eta: f64,
    timesteps: Vec<f64>,
    whole: Vec<i64>,
    /// A step goes this far down, which is not to the next timestep with linspace spacing.
    stride: i64,
    /// The product that the last step goes to.
    end: f64,
    schedule: NoiseSchedule,
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn needs_noise(&self, _i: usize) -> bool {
        self.eta > 0.0
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<4> {
        let here = self.schedule.level(self.whole[i], self.end);
        let next = self.schedule.level(self.whole[i] - self.stride, self.end);
        // Equations (16) and (12).
        let variance = (next.sigma / here.sigma).powi(2) * (1.0 - (here.alpha / next.alpha).powi(2));
        let variance = self.eta.powi(2) * variance.max(0.0);
        let direction = (next.sigma.powi(2) - variance).max(0.0).sqrt();
        let prediction = self.config.prediction;
        let rest = prediction.noise(here).times(direction);
        let mean = self.config.limit.step(prediction.clean(here), next.alpha, rest, [sample, model_output]);
        if self.needs_noise(i) { mean + fresh(noise, i).mul_scalar(variance.sqrt()) } else { mean }
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, i: usize) -> Tensor<4> {
        self.schedule.level(self.whole[i], self.end).mix(original, noise)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::list::SamplerKind;
    use super::super::testing::{Run, check};

    /// The first five are in diffusers' `test_scheduler_ddim.py`; the others were computed with diffusers 0.42.1 in the same way.
    #[test]
    fn runs_end_where_the_reference_ends() {
        check(
            SamplerKind::Ddim,
            &[
                Run::of(json!({}), [172.0067, 0.171114]),
                Run::of(json!({"prediction_type": "v_prediction"}), [52.5302, 0.052258]),
                Run::of(json!({"set_alpha_to_one": true, "beta_start": 0.01}), [149.8294, 0.149052]),
                Run::of(json!({"set_alpha_to_one": false, "beta_start": 0.01}), [149.0784, 0.148305]),
                Run { begin: 8, ..Run::of(json!({}), [354.5418, 0.408259]) },
                Run { eta: 0.7, ..Run::of(json!({}), [469.4488, 0.742545]) },
                Run {
                    steps: 7,
                    ..Run::of(
                        json!({"prediction_type": "sample", "clip_sample": false, "timestep_spacing": "trailing"}),
                        [651.1728, 0.647794],
                    )
                },
            ],
        );
    }
}
