//! UniPC, multistep: Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework", arXiv 2302.04867.
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_unipc_multistep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::noise_schedule::NoiseSchedule;
use super::prediction::{Limit, Prediction};
use super::steps::{LastSigma, SigmaSpacing, Sigmas, Timesteps, at_timesteps, timestep_of};
use super::{Sampler, combine};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// The function B of the paper's section 3.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum SolverType {
    /// `h`.
    Bh1,
    /// `exp(h) - 1`. The reference reads the types of DPM-Solver and DEIS files so.
    #[serde(alias = "midpoint", alias = "heun", alias = "logrho")]
    Bh2,
}

/// Options of `UniPCMultistepScheduler`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct UniPcConfig {
    timesteps: Timesteps,
    prediction: Prediction,
    pub(super) sigmas: SigmaSpacing,
    limit: Limit,
    predict_x0: bool,
    solver_type: SolverType,
    order: usize,
    lower_order_final: bool,
    /// Steps whose result is not corrected.
    disable_corrector: Vec<usize>,
}

impl UniPcConfig {
    pub(super) fn take(options: &mut Options, timesteps: Timesteps, prediction: Prediction) -> Result<Self, DiffusionError> {
        options.neutral("solver_p", &[])?;
        let config = Self {
            timesteps,
            prediction,
            sigmas: SigmaSpacing::take(options)?,
            limit: Limit::threshold(options)?,
            predict_x0: options.take_or("predict_x0", true)?,
            solver_type: options.take_or("solver_type", SolverType::Bh2)?,
            order: options.take_or("solver_order", 2)?,
            lower_order_final: options.take_or("lower_order_final", true)?,
            disable_corrector: options.take_or("disable_corrector", Vec::new())?,
        };
        if !(1..=16).contains(&config.order) {
            return Err(options.refuse("solver_order", &config.order.to_string(), "1 to 16"));
        }
        let last_is_infinite = config.sigmas.last == LastSigma::Zero;
        if last_is_infinite && !config.lower_order_final && config.order > 1 {
            let expected = "true, or final_sigmas_type \"sigma_min\": the last of these steps is infinite";
            return Err(options.refuse("lower_order_final", "false", expected));
        }
        if last_is_infinite && !config.predict_x0 {
            let expected = "true, or final_sigmas_type \"sigma_min\": the last of these steps is infinite";
            return Err(options.refuse("predict_x0", "false", expected));
        }
        Ok(config)
    }

    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize) -> Result<UniPc, DiffusionError> {
        let sigmas = if self.sigmas.karras {
            let table = schedule.ratios();
            let mut ratios = self.sigmas.karras([table[0], table[table.len() - 1]], steps);
            let timesteps = ratios.iter().map(|ratio| timestep_of(&table, *ratio).round_ties_even()).collect();
            ratios.push(match self.sigmas.last {
                LastSigma::Zero => 0.0,
                // Karras' own last, not the schedule's.
                LastSigma::SigmaMin => ratios[steps - 1],
            });
            Sigmas { timesteps, ratios }
        } else {
            let timesteps = self.timesteps.without_zero(schedule.len(), schedule.len(), steps)?;
            at_timesteps(schedule, timesteps, &self.sigmas)
        };
        Ok(UniPc { config: self.clone(), sigmas, outputs: VecDeque::new(), last: None })
    }
}

#[derive(Debug)]
pub(super) struct UniPc {
    config: UniPcConfig,
    sigmas: Sigmas,
    /// Converted outputs, the newest first.
    outputs: VecDeque<Tensor<4>>,
    /// The sample that the last step started from, and its order.
    last: Option<(Tensor<4>, usize)>,
}

/// Factors of a step.
#[derive(Debug)]
struct Factors {
    sample: f64,
    /// Of the converted outputs up to the start of the step, the newest first.
    outputs: Vec<f64>,
    /// Of the output at the end of the step (corrector).
    end: f64,
}

impl UniPc {
    /// Equations (3), (8) and (9) of the paper, as factors of the outputs instead of their differences, for the step from ratio `from` to
    /// the next.
    fn factors(&self, from: usize, order: usize, corrects: bool) -> Factors {
        let (start, end) = (self.sigmas.level(from), self.sigmas.level(from + 1));
        let h = end.lambda() - start.lambda();
        let mut factors = Factors { sample: 1.0, outputs: vec![0.0; order], end: 0.0 };
        if h == 0.0 {
            // Karras' last ratio comes twice; the differences below would be 0/0.
            return factors;
        }
        let (hh, scale) = if self.config.predict_x0 { (-h, end.alpha) } else { (h, end.sigma) };
        let first = hh.exp_m1();
        factors.sample = if self.config.predict_x0 { end.sigma / start.sigma } else { end.alpha / start.alpha };
        factors.outputs[0] = -scale * first;
        let b = match self.config.solver_type {
            SolverType::Bh1 => hh,
            SolverType::Bh2 => first,
        };
        let positions: Vec<f64> =
            (1..order).map(|back| (self.sigmas.level(from - back).lambda() - start.lambda()) / h).chain([1.0]).collect();
        let weights = match (corrects, order) {
            (false, 1) => Vec::new(),
            // The paper's appendix F sets these two instead of solving for them.
            (false, 2) | (true, 1) => vec![0.5],
            (false, _) => weights(&positions[..order - 1], hh, b),
            (true, _) => weights(&positions, hh, b),
        };
        for (back, (weight, position)) in weights.iter().zip(&positions).enumerate() {
            let factor = -scale * b * weight / position;
            factors.outputs[0] -= factor;
            match factors.outputs.get_mut(back + 1) {
                Some(output) => *output += factor,
                None => factors.end = factor,
            }
        }
        factors
    }

    fn combination(&self, factors: &Factors, sample: Tensor<4>) -> Tensor<4> {
        combine([(factors.sample, sample)].into_iter().chain(factors.outputs.iter().copied().zip(self.outputs.iter().cloned())))
    }

    /// The clean sample or the noise.
    fn convert(&self, output: Tensor<4>, i: usize, sample: Tensor<4>) -> Tensor<4> {
        let level = self.sigmas.level(i);
        if self.config.predict_x0 {
            self.config.limit.apply(self.config.prediction.clean(level).of(sample, output))
        } else {
            self.config.prediction.noise(level).of(sample, output)
        }
    }
}

/// Weights of the differences at these positions: the solution of a Vandermonde system, equation (8) of the paper.
fn weights(positions: &[f64], h: f64, b: f64) -> Vec<f64> {
    let mut phi = h.exp_m1() / h - 1.0;
    let mut factorial = 1.0;
    let rows = (0..positions.len()).map(|power| {
        let mut row: Vec<f64> = positions.iter().map(|position| position.powi(power as i32)).collect();
        row.push(phi * factorial / b);
        factorial *= (power + 2) as f64;
        phi = phi / h - 1.0 / factorial;
        row
    });
    solve(rows.collect())
}

/// Gaussian elimination with pivots; the last column is the right-hand side.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let count = rows.len();
    for column in 0..count {
        let pivot = (column..count)
            .max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))
            .expect("a column has rows");
        rows.swap(column, pivot);
        let pivot = rows[column].clone();
        for row in rows.iter_mut().enumerate().filter(|(i, _)| *i != column).map(|(_, row)| row) {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[count] / row[i]).collect()
}

impl Sampler for UniPc {
    fn timesteps(&self) -> &[f64] {
        &self.sigmas.timesteps
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(&self.sigmas.ratios)
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, _noise: Option<Tensor<4>>) -> Tensor<4> {
        let converted = self.convert(model_output, i, sample.clone());
        let sample = match self.last.take() {
            Some((last, order)) if i > 0 && !self.config.disable_corrector.contains(&(i - 1)) => {
                let factors = self.factors(i - 1, order, true);
                self.combination(&factors, last) + converted.clone().mul_scalar(factors.end)
            }
            _ => sample,
        };
        self.outputs.push_front(converted);
        self.outputs.truncate(self.config.order);
        let remaining = self.sigmas.timesteps.len() - i;
        let highest = if self.config.lower_order_final { remaining } else { self.config.order };
        let order = highest.min(self.outputs.len());
        self.last = Some((sample.clone(), order));
        self.combination(&self.factors(i, order, false), sample)
    }

    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, i: usize) -> Tensor<4> {
        self.sigmas.level(i).mix(original, noise)
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
        let last = "sigma_min";
        check(
            SamplerKind::UniPc,
            &[
                Run::of(json!({}), [186.762, 0.185793]),
                Run::of(json!({"use_karras_sigmas": true}), [230.1784, 0.228984]),
                Run::of(json!({"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": last}), [193.6001, 0.192596]),
                Run::of(json!({"solver_order": 4}), [187.5165, 0.186544]),
                Run::of(json!({"disable_corrector": [0, 1, 4], "solver_order": 3}), [187.4087, 0.186436]),
                Run::of(
                    json!({"predict_x0": false, "final_sigmas_type": last, "prediction_type": "v_prediction"}),
                    [71.2132, 0.070844],
                ),
                // With the reference's tables in f64; those in f32 make 89.0763 of it.
                Run::of(json!({"lower_order_final": false, "final_sigmas_type": last, "solver_order": 3}), [89.0696, 0.088608]),
                // The last ratio comes twice.
                Run::of(
                    json!({"use_karras_sigmas": true, "final_sigmas_type": last, "solver_order": 1, "lower_order_final": false}),
                    [169.5979, 0.168718],
                ),
                Run { begin: 5, ..Run::of(json!({}), [234.8088, 0.345412]) },
            ],
        );
    }

    #[test]
    fn small_systems_are_solved() {
        // x + 2y = 5 and 3x + 4y = 11 by hand; the first pivot is not on the diagonal.
        let solution = super::solve(vec![vec![1.0, 2.0, 5.0], vec![3.0, 4.0, 11.0]]);
        assert!((solution[0] - 1.0).abs() < 1e-12 && (solution[1] - 2.0).abs() < 1e-12, "{solution:?}");
    }
}
