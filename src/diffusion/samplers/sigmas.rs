//! Noise-to-signal ratios at the timesteps of a run.
//!
//! Reference: diffusers 0.42.1, `set_timesteps` of the Euler, DPM-Solver and UniPC schedulers.

use serde::Deserialize;
use serde_json::json;

use super::noise_schedule::{Level, NoiseSchedule};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// How the ratios of a run are chosen.
#[derive(Clone, Debug)]
pub(super) struct SigmaSpacing {
    /// Karras et al. 2022, "Elucidating the Design Space", equation (5), with rho 7, instead of the timesteps' own ratios.
    pub(super) karras: bool,
    /// Ends of Karras' spacing in place of the schedule's.
    ends: [Option<f64>; 2],
    /// What the last step goes to.
    pub(super) last: LastSigma,
}

/// What the last step goes to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
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
