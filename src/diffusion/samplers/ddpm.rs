//! DDPM: Ho et al. 2020, "Denoising Diffusion Probabilistic Models".
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_ddpm.py`.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::noise_schedule::NoiseSchedule;
use super::prediction::{Limit, Mix, Prediction};
use super::steps::Timesteps;
use super::{Sampler, fresh};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Variance of the noise that a step adds. The learned ones need a network with twice the channels; `fixed_large_log` is the square
/// root of a logarithm in the reference, which is no number.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
enum Variance {
    /// That of the posterior; `fixed_small_log` takes the root by way of the logarithm.
    #[serde(rename = "fixed_small", alias = "fixed_small_log")]
    Small,
    /// The step's beta.
    #[serde(rename = "fixed_large")]
    Large,
}

/// Options of `DDPMScheduler`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DdpmConfig {
    timesteps: Timesteps,
    prediction: Prediction,
    limit: Limit,
    variance: Variance,
}

impl DdpmConfig {
    /// Whether nothing keeps the estimate of the clean sample within bounds.
    pub(super) fn is_unlimited(&self) -> bool {
        self.limit == Limit::Unlimited
    }

    pub(super) fn take(options: &mut Options, timesteps: Timesteps, prediction: Prediction) -> Result<Self, DiffusionError> {
        Ok(Self {
            timesteps,
            prediction,
            limit: Limit::take(options)?,
            variance: options.take_or("variance_type", Variance::Small)?,
        })
    }

    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize) -> Result<Ddpm, DiffusionError> {
        let whole = self.timesteps.whole(schedule.len(), steps)?;
        Ok(Ddpm {
            config: self.clone(),
            timesteps: whole.iter().map(|t| *t as f64).collect(),
            whole,
            schedule: schedule.clone(),
        })
    }
}

#[derive(Debug)]
pub(super) struct Ddpm {
    config: DdpmConfig,
    timesteps: Vec<f64>,
    whole: Vec<i64>,
    schedule: NoiseSchedule,
}

impl Sampler for Ddpm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.whole[i] > 0
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<4> {
        let here = self.schedule.level(self.whole[i], 1.0);
        let next = self.schedule.level(self.whole.get(i + 1).copied().unwrap_or(-1), 1.0);
        let alpha = (here.alpha / next.alpha).powi(2);
        let (beta, noise_here, noise_next) = (1.0 - alpha, here.sigma.powi(2), next.sigma.powi(2));
        // Equation (7).
        let rest = Mix { sample: alpha.sqrt() * noise_next / noise_here, output: 0.0 };
        let weight = next.alpha * beta / noise_here;
        let mean = self.config.limit.step(self.config.prediction.clean(here), weight, rest, [sample, model_output]);
        if !self.needs_noise(i) {
            return mean;
        }
        let variance = match self.config.variance {
            Variance::Small => (noise_next / noise_here * beta).max(1e-20),
            Variance::Large => beta,
        };
        mean + fresh(noise, i).mul_scalar(variance.sqrt())
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, i: usize) -> Tensor<4> {
        self.schedule.level(self.whole[i], 1.0).mix(original, noise)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::list::SamplerKind;
    use super::super::testing::{Run, check};

    /// Computed with diffusers 0.42.1, its random noise replaced by the one given here.
    #[test]
    fn runs_end_where_the_reference_ends() {
        let large =
            json!({"variance_type": "fixed_large", "prediction_type": "v_prediction", "clip_sample": false, "steps_offset": 1});
        check(
            SamplerKind::Ddpm,
            &[
                Run::of(json!({}), [354.7376, 0.569444]),
                Run::of(json!({"variance_type": "fixed_small_log"}), [354.7376, 0.569444]),
                Run::of(large, [358.5413, 0.576952]),
                Run { begin: 6, ..Run::of(json!({"clip_sample_range": 0.5}), [302.1215, 0.475824]) },
            ],
        );
    }
}
