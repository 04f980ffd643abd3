//! PNDM: Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds".
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_pndm.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;
use serde::Serialize;

use super::noise_schedule::NoiseSchedule;
use super::prediction::{Mix, Prediction};
use super::steps::{Timesteps, refuse_steps};
use super::{Sampler, combine};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Options of `PNDMScheduler`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct PndmConfig {
    timesteps: Timesteps,
    prediction: Prediction,
    set_alpha_to_one: bool,
    skip_prk_steps: bool,
}

impl PndmConfig {
    pub(super) fn take(options: &mut Options, timesteps: Timesteps, prediction: Prediction) -> Result<Self, DiffusionError> {
        Ok(Self {
            timesteps,
            prediction,
            set_alpha_to_one: options.take_or("set_alpha_to_one", false)?,
            skip_prk_steps: options.take_or("skip_prk_steps", false)?,
        })
    }

    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize) -> Result<Pndm, DiffusionError> {
        let whole = self.timesteps.whole(schedule.len(), steps)?;
        let stride = (schedule.len() / steps) as i64;
        let (whole, warm_up) = if self.skip_prk_steps {
            (second_twice(&whole), 0)
        } else if whole.len() < 4 {
            return Err(refuse_steps(steps, "4 or more with the Runge-Kutta warm-up (skip_prk_steps false)"));
        } else {
            with_warm_up(&whole, stride / 2)
        };
        Ok(Pndm {
            prediction: self.prediction,
            timesteps: whole.iter().map(|t| *t as f64).collect(),
            whole,
            warm_up,
            stride,
            end: if self.set_alpha_to_one { 1.0 } else { schedule.alphas_cumprod()[0] },
            schedule: schedule.clone(),
            calls: 0,
            outputs: VecDeque::new(),
            start: None,
            sum: None,
        })
    }
}

/// The second timestep twice: the first step is taken again with the mean of both slopes.
fn second_twice(whole: &[i64]) -> Vec<i64> {
    let second = whole.get(1).copied();
    whole.iter().copied().take(2).chain(second).chain(whole.iter().copied().skip(2)).collect()
}

/// Four evaluations for each of the first three strides: at its start, twice in its middle and at its end. Then the multistep part,
/// from the fourth timestep on. The second number is the length of the warm-up.
fn with_warm_up(whole: &[i64], half: i64) -> (Vec<i64>, usize) {
    let warm_up = (0..3).flat_map(|i| {
        let (from, to) = (whole[i], whole[i + 1]);
        [from, to + half, to + half, to]
    });
    (warm_up.chain(whole[3..].iter().copied()).collect(), 12)
}

#[derive(Debug)]
pub(super) struct Pndm {
    prediction: Prediction,
    timesteps: Vec<f64>,
    whole: Vec<i64>,
    /// Number of Runge-Kutta evaluations at the start.
    warm_up: usize,
    stride: i64,
    /// The product that the last step goes to.
    end: f64,
    schedule: NoiseSchedule,
    /// The method starts up over its first calls, wherever in the list they are (image to image).
    calls: usize,
    /// Earlier outputs, the newest first.
    outputs: VecDeque<Tensor<4>>,
    /// The sample that the stride in progress started from.
    start: Option<Tensor<4>>,
    /// Weighted outputs of the Runge-Kutta stride in progress.
    sum: Option<Tensor<4>>,
}

impl Pndm {
    /// Runge-Kutta, equation (13) of the paper: weights 1/6, 1/3, 1/3, 1/6.
    fn runge_kutta(&mut self, output: Tensor<4>, i: usize, sample: Tensor<4>) -> Tensor<4> {
        let stage = self.calls % 4;
        let to = self.whole[i] - [self.stride / 2, 0][stage % 2];
        let from = self.whole[self.calls - stage];
        let weighted = output.clone().mul_scalar([1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0][stage]);
        let sum = match self.sum.take() {
            Some(sum) => sum + weighted,
            None => weighted,
        };
        if stage == 0 {
            self.remember(output.clone());
            self.start = Some(sample);
        }
        let start = self.start.clone().expect("stage 0 left its sample");
        if stage == 3 {
            self.start = None;
            return self.transfer([from, to], start, sum);
        }
        self.sum = Some(sum);
        self.transfer([from, to], start, output)
    }

    /// Adams-Bashforth of order up to four, equation (12) of the paper.
    fn multistep(&mut self, output: Tensor<4>, i: usize, sample: Tensor<4>) -> Tensor<4> {
        let (here, next) = (self.whole[i], self.whole[i] - self.stride);
        if self.calls == 1 && self.warm_up == 0 {
            let first = self.outputs.front().expect("the first call left its output").clone();
            let start = self.start.take().expect("the first call left its sample");
            return self.transfer([here + self.stride, here], start, combine([(0.5, output), (0.5, first)]));
        }
        self.remember(output);
        let weights: &[f64] = match self.outputs.len() {
            1 => {
                self.start = Some(sample.clone());
                &[1.0]
            }
            2 => &[3.0 / 2.0, -1.0 / 2.0],
            3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let slope = combine(weights.iter().copied().zip(self.outputs.iter().cloned()));
        self.transfer([here, next], sample, slope)
    }

    fn remember(&mut self, output: Tensor<4>) {
        self.outputs.push_front(output);
        self.outputs.truncate(4);
    }

    /// Equation (11) of the paper: DDIM's step with a given slope.
    fn transfer(&self, [from, to]: [i64; 2], sample: Tensor<4>, slope: Tensor<4>) -> Tensor<4> {
        let (here, there) = (self.schedule.level(from, self.end), self.schedule.level(to, self.end));
        let ratio = there.alpha / here.alpha;
        let factor = (there.alpha.powi(2) - here.alpha.powi(2))
            / (here.alpha.powi(2) * there.sigma + here.alpha * here.sigma * there.alpha);
        let noise = self.prediction.noise(here).times(-factor);
        noise.plus(Mix { sample: ratio, output: 0.0 }).of(sample, slope)
    }
}

impl Sampler for Pndm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, _noise: Option<Tensor<4>>) -> Tensor<4> {
        let result = if self.calls < self.warm_up {
            self.runge_kutta(model_output, i, sample)
        } else {
            self.multistep(model_output, i, sample)
        };
        self.calls += 1;
        result
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

    /// The first two are in diffusers' `test_scheduler_pndm.py`; the others were computed with diffusers 0.42.1 in the same way.
    #[test]
    fn runs_end_where_the_reference_ends() {
        check(
            SamplerKind::Pndm,
            &[
                Run::of(json!({}), [198.1318, 0.197104]),
                Run::of(json!({"prediction_type": "v_prediction"}), [67.3986, 0.067049]),
                Run { steps: 4, ..Run::of(json!({}), [239.2798, 0.238038]) },
                Run::of(json!({"skip_prk_steps": true, "steps_offset": 1}), [198.9697, 0.197937]),
                Run::of(json!({"skip_prk_steps": true, "set_alpha_to_one": true}), [200.5681, 0.199528]),
                Run { begin: 4, ..Run::of(json!({"skip_prk_steps": true}), [235.1089, 0.358232]) },
                Run { steps: 1, ..Run::of(json!({"skip_prk_steps": true}), [383.5, 0.38151]) },
            ],
        );
    }
}
