//! Factors of the learning rate over a training.

use serde::{Deserialize, Serialize};

/// How the learning rate goes, as a factor of its base. All begin with a linear warm-up from 0.
///
/// Reference: diffusers 0.42.1, `optimization.py` (`get_scheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRateSchedule {
    /// Stays at the base (`constant_with_warmup`).
    #[default]
    Constant,
    /// Falls in a straight line to 0 at the last step (`linear`).
    Linear,
    /// Falls along half a cosine to 0 (`cosine`).
    Cosine,
    /// Falls in a straight line to this rate, and stays there (`polynomial` with power 1, whose default is 1e-7).
    LinearTo {
        /// The rate at the end, in the unit of the base.
        end: f64,
    },
}

impl LearningRateSchedule {
    /// The factor at `step` (from 0) of `total`, with `base` the rate that it is a factor of.
    ///
    /// The first of `warmup` steps has 0: with a warm-up, the first step changes nothing.
    #[must_use]
    pub fn factor(self, step: u64, warmup: u64, total: u64, base: f64) -> f64 {
        let [at, warmup, total] = [step, warmup, total].map(|count| count as f64);
        if at < warmup {
            return at / warmup;
        }
        let progress = (at - warmup) / (total - warmup).max(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - progress).max(0.0),
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::LinearTo { end } if at > total => end / base,
            Self::LinearTo { end } => ((base - end) * (1.0 - progress) + end) / base,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [LearningRateSchedule; 4] = [
        LearningRateSchedule::Constant,
        LearningRateSchedule::Linear,
        LearningRateSchedule::Cosine,
        LearningRateSchedule::LinearTo { end: 1e-7 },
    ];

    proptest! {
        #[test]
        fn factors_rise_then_fall_within_0_and_1(warmup in 0u64..50, more in 1u64..200) {
            let total = warmup + more;
            for schedule in ALL {
                let factors: Vec<f64> = (0..=total).map(|step| schedule.factor(step, warmup, total, 5e-5)).collect();
                prop_assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor)), "{schedule:?} {factors:?}");
                let (rise, fall) = factors.split_at(warmup as usize);
                prop_assert!(rise.is_sorted() && fall.is_sorted_by(|a, b| a >= b), "{schedule:?} {factors:?}");
                prop_assert_eq!(fall[0], 1.0);
            }
        }
    }
}
