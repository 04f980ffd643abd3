//! Which of the training timesteps are visited.
//!
//! Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", table 2; arithmetic and rounding are numpy's, as
//! timesteps are compared exactly.

use serde::Deserialize;

use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub(super) struct Timesteps {
    pub(super) spacing: Spacing,
    /// Added to every timestep with leading spacing.
    offset: usize,
}

impl Timesteps {
    pub(super) fn take(options: &mut Options, default: Spacing) -> Result<Self, DiffusionError> {
        Ok(Self { spacing: options.take_or("timestep_spacing", default)?, offset: options.take_or("steps_offset", 0)? })
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

/// The error of a number of steps that can't be.
pub(super) fn refuse_steps(steps: usize, expected: &str) -> DiffusionError {
    DiffusionError::Setting { key: "steps", value: steps.to_string(), expected: expected.to_owned() }
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
}
