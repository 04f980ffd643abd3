//! DPM-Solver and DPM-Solver++, multistep: Lu et al. 2022, arXiv 2206.00927 and 2211.01095.
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_dpmsolver_multistep.py`.

use std::collections::VecDeque;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::noise_schedule::NoiseSchedule;
use super::prediction::{Limit, Prediction};
use super::steps::{LastSigma, SigmaSpacing, Sigmas, Timesteps, at_timesteps, timestep_of};
use super::{Sampler, combine, fresh};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Which equation is solved.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
enum Algorithm {
    /// The ordinary equation in the noise.
    #[serde(rename = "dpmsolver")]
    Noise,
    /// The ordinary equation in the clean sample. The reference reads a DEIS file so.
    #[serde(rename = "dpmsolver++", alias = "deis")]
    Clean,
    /// The stochastic equation in the noise.
    #[serde(rename = "sde-dpmsolver")]
    StochasticNoise,
    /// The stochastic equation in the clean sample.
    #[serde(rename = "sde-dpmsolver++")]
    StochasticClean,
}

impl Algorithm {
    fn is_clean(self) -> bool {
        matches!(self, Self::Clean | Self::StochasticClean)
    }

    fn is_stochastic(self) -> bool {
        matches!(self, Self::StochasticNoise | Self::StochasticClean)
    }
}

/// The second-order rule.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum SolverType {
    /// The reference reads the types of DEIS and UniPC files so.
    #[serde(alias = "logrho", alias = "bh1", alias = "bh2")]
    Midpoint,
    Heun,
}

/// Options of `DPMSolverMultistepScheduler`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct DpmSolverConfig {
    timesteps: Timesteps,
    prediction: Prediction,
    pub(super) sigmas: SigmaSpacing,
    limit: Limit,
    algorithm: Algorithm,
    solver_type: SolverType,
    order: usize,
    lower_order_final: bool,
    euler_at_final: bool,
    /// Minus infinity, which JSON has no number for, where nothing is cut.
    #[serde(serialize_with = "as_text")]
    lambda_min: f64,
    /// Timesteps of Karras' ratios are cut to whole numbers with cosine betas, rounded with others. The cut can differ by one from the
    /// reference's, where f32 tables decide it.
    cuts_timesteps: bool,
}

fn as_text<S: serde::Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

impl DpmSolverConfig {
    pub(super) fn take(options: &mut Options, timesteps: Timesteps, prediction: Prediction) -> Result<Self, DiffusionError> {
        let fixed = ["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"];
        options.neutral("variance_type", &fixed.map(|name| json!(name)))?;
        let config = Self {
            timesteps,
            prediction,
            sigmas: SigmaSpacing::take(options)?,
            limit: Limit::threshold(options)?,
            algorithm: options.take_or("algorithm_type", Algorithm::Clean)?,
            solver_type: options.take_or("solver_type", SolverType::Midpoint)?,
            order: options.take_or("solver_order", 2)?,
            lower_order_final: options.take_or("lower_order_final", true)?,
            euler_at_final: options.take_or("euler_at_final", false)?,
            lambda_min: lambda_min(options)?,
            cuts_timesteps: options.peek("beta_schedule").and_then(Value::as_str) == Some("squaredcos_cap_v2"),
        };
        let highest = if config.algorithm == Algorithm::StochasticNoise { 2 } else { 3 };
        if !(1..=highest).contains(&config.order) {
            let expected = format!("1 to {highest} with this algorithm_type");
            return Err(options.refuse("solver_order", &config.order.to_string(), &expected));
        }
        if !config.algorithm.is_clean() && config.sigmas.last == LastSigma::Zero {
            return Err(options.refuse("final_sigmas_type", "\"zero\"", "\"sigma_min\" with an algorithm_type without ++"));
        }
        Ok(config)
    }

    pub(super) fn init(&self, schedule: &NoiseSchedule, steps: usize) -> Result<DpmSolver, DiffusionError> {
        let table = schedule.ratios();
        let last = table.partition_point(|ratio| -ratio.ln() >= self.lambda_min);
        if last == 0 {
            let expected = format!("at most {}, the schedule's first", -table[0].ln());
            let value = self.lambda_min.to_string();
            return Err(DiffusionError::Setting { key: "lambda_min_clipped", value, expected });
        }
        let sigmas = if self.sigmas.karras {
            let mut ratios = self.sigmas.karras([table[0], table[table.len() - 1]], steps);
            let whole = if self.cuts_timesteps { f64::trunc } else { f64::round_ties_even };
            let timesteps = ratios.iter().map(|ratio| whole(timestep_of(&table, *ratio))).collect();
            ratios.push(self.sigmas.end(&table));
            Sigmas { timesteps, ratios }
        } else {
            at_timesteps(schedule, self.timesteps.without_zero(schedule.len(), last, steps)?, &self.sigmas)
        };
        Ok(DpmSolver { config: self.clone(), sigmas, outputs: VecDeque::new() })
    }
}

/// Takes `lambda_min_clipped`: a number or minus infinity.
fn lambda_min(options: &mut Options) -> Result<f64, DiffusionError> {
    match options.take::<Value>("lambda_min_clipped")? {
        None => Ok(f64::NEG_INFINITY),
        Some(Value::String(text)) if text == "-Infinity" => Ok(f64::NEG_INFINITY),
        Some(value) => {
            value.as_f64().ok_or_else(|| options.refuse("lambda_min_clipped", &value.to_string(), "a number or -Infinity"))
        }
    }
}

#[derive(Debug)]
pub(super) struct DpmSolver {
    config: DpmSolverConfig,
    sigmas: Sigmas,
    /// Converted outputs, the newest first.
    outputs: VecDeque<Tensor<4>>,
}

/// Factors of a step.
#[derive(Debug)]
struct Factors {
    sample: f64,
    /// Of the converted outputs, the newest first.
    outputs: [f64; 3],
    noise: f64,
}

impl DpmSolver {
    /// The clean sample or the noise, whichever the equation is in.
    fn convert(&self, output: Tensor<4>, i: usize, sample: Tensor<4>) -> Tensor<4> {
        let Self { config, sigmas, .. } = self;
        let level = sigmas.level(i);
        let clean = config.prediction.clean(level);
        if config.algorithm.is_clean() {
            return config.limit.apply(clean.of(sample, output));
        }
        if config.limit == Limit::Unlimited {
            return config.prediction.noise(level).of(sample, output);
        }
        let limited = config.limit.apply(clean.of(sample.clone(), output));
        combine([(1.0 / level.sigma, sample), (-level.alpha / level.sigma, limited)])
    }

    /// Order of step `i`, given how many outputs there are.
    fn order(&self, i: usize) -> usize {
        let steps = self.sigmas.timesteps.len();
        let lowers = self.config.lower_order_final && steps < 15;
        let ends_first_order = lowers || self.config.euler_at_final || self.config.sigmas.last == LastSigma::Zero;
        let highest = match steps - i {
            1 if ends_first_order => 1,
            2 if lowers => 2,
            _ => 3,
        };
        highest.min(self.outputs.len())
    }

    /// Equations (8), (11) and (12) of DPM-Solver++ and their relatives, as factors of the outputs instead of their differences.
    fn factors(&self, i: usize, order: usize) -> Factors {
        let (from, to) = (self.sigmas.level(i), self.sigmas.level(i + 1));
        let lambda = |back: usize| self.sigmas.level(i - back).lambda();
        let h = to.lambda() - from.lambda();
        if h == 0.0 {
            // Karras' last ratio can be that of timestep 0, where the differences below are 0/0.
            return Factors { sample: 1.0, outputs: [0.0; 3], noise: 0.0 };
        }
        let midpoint = self.config.solver_type == SolverType::Midpoint && order == 2;
        // Factors of the value and of its first and second difference quotient.
        let (sample, [value, first, second], noise) = match self.config.algorithm {
            Algorithm::Clean => {
                let e = (-h).exp_m1();
                let first = if midpoint { -0.5 * e } else { e / h + 1.0 };
                (to.sigma / from.sigma, [-e, first, 0.5 - (e + h) / (h * h)].map(|f| to.alpha * f), 0.0)
            }
            Algorithm::Noise => {
                let e = h.exp_m1();
                let first = if midpoint { -0.5 * e } else { 1.0 - e / h };
                (to.alpha / from.alpha, [-e, first, 0.5 - (e - h) / (h * h)].map(|f| to.sigma * f), 0.0)
            }
            Algorithm::StochasticClean => {
                let e = -(-2.0 * h).exp_m1();
                let first = if midpoint { 0.5 * e } else { 1.0 - e / (2.0 * h) };
                let second = (e - 2.0 * h) / (2.0 * h).powi(2) - 0.5;
                let sample = to.sigma / from.sigma * (-h).exp();
                (sample, [e, first, second].map(|f| to.alpha * f), to.sigma * e.sqrt())
            }
            Algorithm::StochasticNoise => {
                let e = h.exp_m1();
                let first = if midpoint { -e } else { 2.0 * (1.0 - e / h) };
                let noise = to.sigma * (2.0 * h).exp_m1().sqrt();
                (to.alpha / from.alpha, [-2.0 * e, first, 0.0].map(|f| to.sigma * f), noise)
            }
        };
        let outputs = match order {
            1 => [value, 0.0, 0.0],
            2 => {
                let quotient = first * h / (from.lambda() - lambda(1));
                [value + quotient, -quotient, 0.0]
            }
            _ => {
                let (r0, r1) = ((from.lambda() - lambda(1)) / h, (lambda(1) - lambda(2)) / h);
                let curvature = (first * r0 + second) / (r0 + r1);
                let (newer, older) = ((first + curvature) / r0, -curvature / r1);
                [value + newer, older - newer, -older]
            }
        };
        Factors { sample, outputs, noise }
    }
}

impl Sampler for DpmSolver {
    fn timesteps(&self) -> &[f64] {
        &self.sigmas.timesteps
    }

    fn sigmas(&self) -> Option<&[f64]> {
        Some(&self.sigmas.ratios)
    }

    fn needs_noise(&self, i: usize) -> bool {
        self.config.algorithm.is_stochastic() && self.sigmas.ratios[i + 1] > 0.0
    }

    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<4> {
        let converted = self.convert(model_output, i, sample.clone());
        self.outputs.push_front(converted);
        self.outputs.truncate(self.config.order);
        let factors = self.factors(i, self.order(i));
        let outputs = factors.outputs.into_iter().zip(self.outputs.iter().cloned());
        let noise = self.needs_noise(i).then(|| (factors.noise, fresh(noise, i)));
        combine([(factors.sample, sample)].into_iter().chain(outputs).chain(noise))
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
        check(
            SamplerKind::DpmSolver,
            &[
                Run::of(json!({}), [185.0113, 0.184051]),
                Run::of(json!({"use_karras_sigmas": true}), [226.1858, 0.225012]),
                Run::of(json!({"prediction_type": "v_prediction"}), [75.662, 0.075269]),
                Run::of(json!({"solver_order": 1}), [169.9294, 0.169048]),
                Run::of(json!({"solver_order": 3}), [187.5937, 0.18662]),
                Run::of(json!({"solver_type": "heun"}), [186.7469, 0.185778]),
                Run::of(json!({"lambda_min_clipped": -1.5}), [195.493, 0.194479]),
                Run { begin: 5, ..Run::of(json!({}), [232.3384, 0.341778]) },
                Run {
                    steps: 16,
                    ..Run::of(json!({"solver_order": 3, "final_sigmas_type": "sigma_min"}), [153.0936, 0.152299])
                },
                Run::of(
                    json!({"final_sigmas_type": "sigma_min", "lower_order_final": false, "euler_at_final": true}),
                    [187.5533, 0.18658],
                ),
                // The last ratio comes twice.
                Run::of(
                    json!({"use_karras_sigmas": true, "final_sigmas_type": "sigma_min", "lower_order_final": false}),
                    [226.1745, 0.225001],
                ),
            ],
        );
    }

    /// Computed with diffusers 0.42.1, its random noise replaced by the one given here.
    #[test]
    fn other_algorithms_end_where_the_reference_ends() {
        let last = "sigma_min";
        check(
            SamplerKind::DpmSolver,
            &[
                Run::of(
                    json!({"algorithm_type": "dpmsolver", "final_sigmas_type": last, "solver_order": 3}),
                    [186.0469, 0.185082],
                ),
                Run::of(
                    json!({"algorithm_type": "dpmsolver", "final_sigmas_type": last, "solver_type": "heun",
                        "prediction_type": "v_prediction", "thresholding": true}),
                    [69.9437, 0.069581],
                ),
                Run::of(json!({"algorithm_type": "sde-dpmsolver", "final_sigmas_type": last}), [490.7005, 0.777291]),
                Run::of(
                    json!({"algorithm_type": "sde-dpmsolver", "final_sigmas_type": last, "solver_type": "heun"}),
                    [401.5894, 0.658173],
                ),
                Run::of(json!({"algorithm_type": "sde-dpmsolver++"}), [397.1699, 0.638674]),
                Run::of(json!({"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"}), [408.1867, 0.656416]),
                Run::of(json!({"algorithm_type": "sde-dpmsolver++", "solver_order": 3}), [396.2402, 0.637195]),
            ],
        );
    }
}
