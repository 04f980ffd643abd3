//! The steps of a run: the training timesteps that are visited, and their noise-to-signal ratios.
//!
//! Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", table 2; arithmetic and rounding are numpy's, as
//! timesteps are compared exactly. Reference: diffusers 0.42.1, `set_timesteps` of the Euler, DPM-Solver and UniPC schedulers.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::noise_schedule::{Level, MOST_TIMESTEPS, NoiseSchedule};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Spacing {
    /// From 0 to the last, both included.
    Linspace,
    /// Whole strides from 0 (`steps_offset`) upwards; misses the noisiest timesteps.
    Leading,
    /// Fractional strides from the last downwards; misses 0.
    Trailing,
}

/// The spacing of a scheduler file.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Timesteps {
    pub(super) spacing: Spacing,
    /// Added to every timestep with leading spacing.
    offset: usize,
}

impl Timesteps {
    pub(super) fn take(options: &mut Options, default: Spacing) -> Result<Self, DiffusionError> {
        Ok(Self {
            spacing: options.take_or("timestep_spacing", default)?,
            offset: options.within("steps_offset", 0, 0..=MOST_TIMESTEPS)?,
        })
    }

    /// `steps` whole timesteps, descending, as DDPM, DDIM and PNDM choose them.
    pub(super) fn whole(&self, train: usize, steps: usize) -> Result<Vec<i64>, DiffusionError> {
        let timesteps: Vec<_> = self.fractional(train, steps).iter().map(|t| t.round_ties_even() as i64).collect();
        // The reference fails later, at a table's end.
        if timesteps[0] >= train as i64 {
            let (first, offset) = (timesteps[0], self.offset);
            let why = format!("steps_offset {offset} makes the first timestep {first}, which is not below {train}");
            return Err(refuse_steps(steps, &format!("fewer: {why}")));
        }
        Ok(timesteps)
    }

    /// `steps` timesteps, descending, as Euler's samplers choose them.
    pub(super) fn fractional(&self, train: usize, steps: usize) -> Vec<f64> {
        match self.spacing {
            Spacing::Linspace => linspace(train - 1, steps),
            Spacing::Leading => self.leading(train / steps, 0..steps),
            Spacing::Trailing => trailing(train, train, steps),
        }
    }

    /// `steps` whole timesteps, descending, below `last`: as DPM-Solver and UniPC choose them, which leave out 0.
    pub(super) fn without_zero(&self, train: usize, last: usize, steps: usize) -> Result<Vec<f64>, DiffusionError> {
        let mut timesteps = match self.spacing {
            Spacing::Linspace => linspace(last.max(1) - 1, steps + 1),
            Spacing::Leading if last / (steps + 1) == 0 => {
                return Err(refuse_steps(steps, &format!("fewer than {last} with leading spacing")));
            }
            Spacing::Leading => self.leading(last / (steps + 1), 0..steps + 1),
            Spacing::Trailing => return Ok(trailing(train, last, steps)),
        };
        timesteps.pop();
        Ok(timesteps.into_iter().map(f64::round_ties_even).collect())
    }

    fn leading(&self, stride: usize, range: std::ops::Range<usize>) -> Vec<f64> {
        range.rev().map(|i| (i * stride + self.offset) as f64).collect()
    }
}

/// `numpy.linspace(0, end, count)`, descending.
fn linspace(end: usize, count: usize) -> Vec<f64> {
    let step = end as f64 / (count.max(2) - 1) as f64;
    let last = if count > 1 { end as f64 } else { 0.0 };
    std::iter::once(last).chain((0..count - 1).rev().map(|i| i as f64 * step)).collect()
}

/// `numpy.arange(last, 0, -train / steps)`, rounded, less one.
fn trailing(train: usize, last: usize, steps: usize) -> Vec<f64> {
    let (start, stride) = (last as f64, train as f64 / steps as f64);
    let count = (start / stride).ceil() as usize;
    // numpy repeats the difference of the first two values.
    let difference = (start - stride) - start;
    // Where the quotient rounds up, numpy goes one stride too far and the reference ends at timestep -1; here it ends before.
    (0..count).map(|i| (start + i as f64 * difference).round_ties_even() - 1.0).filter(|t| *t >= 0.0).collect()
}

/// The error of an invalid number of steps.
pub(super) fn refuse_steps(steps: usize, expected: &str) -> DiffusionError {
    DiffusionError::Setting { key: "steps", value: steps.to_string(), expected: expected.to_owned() }
}

/// How the ratios of a run are chosen.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SigmaSpacing {
    /// Karras et al. 2022, "Elucidating the Design Space", equation (5), with rho 7, instead of the timesteps' own ratios.
    pub(super) karras: bool,
    /// Ends of Karras' spacing, instead of the schedule's.
    ends: [Option<f64>; 2],
    /// The level after the last step.
    pub(super) last: LastSigma,
}

/// The level after the last step.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LastSigma {
    Zero,
    /// The ratio of timestep 0.
    SigmaMin,
}

impl SigmaSpacing {
    pub(super) fn take(options: &mut Options) -> Result<Self, DiffusionError> {
        for key in ["use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas", "use_lu_lambdas", "use_dynamic_shifting"] {
            options.neutral(key, &[json!(false)])?;
        }
        options.neutral("shift_terminal", &[])?;
        options.without_influence(&["flow_shift", "time_shift_type"]);
        let mut ends = [None::<f64>; 2];
        for (end, key) in ends.iter_mut().zip(["sigma_min", "sigma_max"]) {
            *end = options.take(key)?;
            if let Some(sigma) = end.filter(|sigma| *sigma <= 0.0) {
                return Err(options.refuse(key, &sigma.to_string(), "a number above 0"));
            }
        }
        Ok(Self {
            karras: options.take_or("use_karras_sigmas", false)?,
            ends,
            last: options.take_or("final_sigmas_type", LastSigma::Zero)?,
        })
    }

    /// `count` ratios by Karras' rule, descending from the second to the first of `ends` unless the file names others.
    pub(super) fn karras(&self, ends: [f64; 2], count: usize) -> Vec<f64> {
        const RHO: f64 = 7.0;
        let min = self.ends[0].unwrap_or(ends[0]).powf(1.0 / RHO);
        let max = self.ends[1].unwrap_or(ends[1]).powf(1.0 / RHO);
        let step = 1.0 / (count.max(2) - 1) as f64;
        (0..count).map(|i| (max + i as f64 * step * (min - max)).powf(RHO)).collect()
    }

    /// The ratio after the last step.
    pub(super) fn end(&self, ratios: &[f64]) -> f64 {
        match self.last {
            LastSigma::Zero => 0.0,
            LastSigma::SigmaMin => ratios[0],
        }
    }
}

/// Timesteps and ratios of a run; one ratio more.
#[derive(Clone, Debug)]
pub(super) struct Sigmas {
    pub(super) timesteps: Vec<f64>,
    pub(super) ratios: Vec<f64>,
}

impl Sigmas {
    /// The level at which step `i` begins; that after the last step for `i` past the end.
    pub(super) fn level(&self, i: usize) -> Level {
        Level::of_ratio(self.ratios[i])
    }

    pub(super) fn max(&self) -> f64 {
        self.ratios.iter().copied().fold(0.0, f64::max)
    }
}

/// A schedule's ratio at a fractional timestep: linear between neighbours, constant outside.
pub(super) fn interpolate(ratios: &[f64], timestep: f64) -> f64 {
    let last = ratios.len() - 1;
    let below = (timestep.max(0.0) as usize).min(last);
    let above = (below + 1).min(last);
    ratios[below] + (timestep - below as f64).clamp(0.0, 1.0) * (ratios[above] - ratios[below])
}

/// The fractional timestep of a ratio: linear in the logarithm between neighbours, clamped to the schedule.
pub(super) fn timestep_of(ratios: &[f64], ratio: f64) -> f64 {
    if ratios.len() == 1 {
        return 0.0;
    }
    let below = ratios.partition_point(|r| *r <= ratio).saturating_sub(1).min(ratios.len() - 2);
    let [low, high, log] = [ratios[below], ratios[below + 1], ratio.max(1e-10)].map(f64::ln);
    below as f64 + ((log - low) / (high - low)).clamp(0.0, 1.0)
}

/// The schedule's ratios at whole or fractional timesteps, and the one after the last step.
pub(super) fn at_timesteps(schedule: &NoiseSchedule, timesteps: Vec<f64>, spacing: &SigmaSpacing) -> Sigmas {
    let table = schedule.ratios();
    let mut ratios: Vec<f64> = timesteps.iter().map(|t| interpolate(&table, *t)).collect();
    ratios.push(spacing.end(&table));
    Sigmas { timesteps, ratios }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timesteps(spacing: Spacing, offset: usize) -> Timesteps {
        Timesteps { spacing, offset }
    }

    /// `set_timesteps` of diffusers 0.42.1: DDIM, Euler and DPM-Solver with 1000 training timesteps.
    #[test]
    fn lists_are_those_of_the_reference() {
        let cases = [
            (Spacing::Linspace, vec![999, 666, 333, 0], vec![999.0, 749.0, 500.0, 250.0]),
            (Spacing::Leading, vec![751, 501, 251, 1], vec![801.0, 601.0, 401.0, 201.0]),
            (Spacing::Trailing, vec![999, 749, 499, 249], vec![999.0, 749.0, 499.0, 249.0]),
        ];
        for (spacing, whole, without_zero) in cases {
            let timesteps = timesteps(spacing, 1);
            assert_eq!(timesteps.whole(1000, 4).unwrap(), whole, "{spacing:?}");
            assert_eq!(timesteps.without_zero(1000, 1000, 4).unwrap(), without_zero, "{spacing:?}");
        }
        // 999 / 6 = 166.5: Euler keeps the fraction, DDIM rounds half to even.
        assert_eq!(timesteps(Spacing::Linspace, 0).fractional(1000, 7)[5], 166.5);
        assert_eq!(timesteps(Spacing::Linspace, 0).whole(1000, 7).unwrap()[3..6], [500, 333, 166]);
        assert_eq!(timesteps(Spacing::Linspace, 0).whole(1000, 1).unwrap(), [0]);
    }

    #[test]
    fn trailing_never_leaves_the_schedule() {
        // 1000 / (1000 / 61) is above 61 in f64: the reference has a 62nd timestep, -1.
        for steps in 1..=1000 {
            let list = timesteps(Spacing::Trailing, 0).whole(1000, steps).unwrap();
            assert_eq!((list.len(), list[0]), (steps, 999));
            assert!(list[steps - 1] >= 0, "{steps}");
        }
    }

    const RATIOS: [f64; 4] = [0.1, 0.2, 0.8, 1.6];

    #[test]
    fn ratios_between_timesteps_are_linear() {
        let at = |t| interpolate(&RATIOS, t);
        assert_eq!([at(0.0), at(1.0), at(1.5), at(3.0), at(9.0)], [0.1, 0.2, 0.5, 1.6, 1.6]);
    }

    #[test]
    fn timesteps_between_ratios_are_linear_in_the_logarithm() {
        // The geometric mean of neighbours is half way; outside the schedule its ends count.
        for (ratio, timestep) in [(0.1, 0.0), (0.4, 1.5), (1.6, 3.0), (5.0, 3.0), (0.01, 0.0), (0.0, 0.0)] {
            assert!((timestep_of(&RATIOS, ratio) - timestep).abs() < 1e-12, "{ratio}");
        }
        assert_eq!(timestep_of(&[0.5], 0.5), 0.0);
    }

    #[test]
    fn karras_ratios_are_evenly_spaced_in_their_seventh_root() {
        let mut spacing = SigmaSpacing { karras: true, ends: [None; 2], last: LastSigma::Zero };
        let near = |got: Vec<f64>, want: [f64; 3]| assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-9), "{got:?}");
        // Roots 3, 2 and 1.
        near(spacing.karras([1.0, 2187.0], 3), [2187.0, 128.0, 1.0]);
        spacing.ends = [Some(1.0), Some(2187.0)];
        near(spacing.karras([0.1, 9.0], 3), [2187.0, 128.0, 1.0]);
        assert_eq!(spacing.karras([0.1, 9.0], 1).len(), 1);
    }
}
