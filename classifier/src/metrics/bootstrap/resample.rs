//! Resamples of patients with replacement, and summaries of replicates.

use std::collections::HashMap;
use std::hash::Hash;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Which rows belong to the same patient. Images of one patient are not independent cases, so a bootstrap draws patients and takes
/// all rows of each.
#[derive(Clone, Debug)]
pub struct Patients {
    patient_of_row: Vec<u32>,
    count: u32,
}

impl Patients {
    /// Numbers the patients in the order in which they first appear; `ids` has one entry per row.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` patients.
    #[must_use]
    pub fn new<P: Eq + Hash>(ids: &[P]) -> Self {
        let mut numbers = HashMap::new();
        let patient_of_row = ids
            .iter()
            .map(|id| {
                let next = u32::try_from(numbers.len()).expect("fewer than 2^32 patients");
                *numbers.entry(id).or_insert(next)
            })
            .collect();
        let count = u32::try_from(numbers.len()).expect("fewer than 2^32 patients");
        Self { patient_of_row, count }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.patient_of_row.len()
    }

    /// Number of different patients.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// How often each row occurs in a resample: as many patients as there are, drawn with replacement, each with all its rows.
    ///
    /// A function of `(seed, replicate)` alone: every replicate has its own stream of the generator, so replicates can be made in
    /// any order and on any number of threads.
    #[must_use]
    pub fn weights(&self, seed: u64, replicate: u64) -> Vec<u32> {
        self.rows_of(&drawn(self.count, seed, replicate))
    }

    /// Each row's number, from how often each patient was drawn.
    pub(super) fn rows_of(&self, drawn: &[u32]) -> Vec<u32> {
        self.patient_of_row.iter().map(|&patient| drawn[patient as usize]).collect()
    }
}

/// How often each of `count` things was drawn in `count` draws with replacement, from its own stream of the generator.
pub(super) fn drawn(count: u32, seed: u64, stream: u64) -> Vec<u32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    let mut drawn = vec![0_u32; count as usize];
    for _ in 0..count {
        drawn[generator.random_range(0..count) as usize] += 1;
    }
    drawn
}

/// A range that holds the estimated quantity with 95 % confidence, or with the confidence that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
}

/// Mean, spread and percentile interval of bootstrap replicates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Replicates in which the statistic was defined: the basis of the other figures.
    pub valid: usize,
    /// Replicates in which it was not (a class was not drawn); left out.
    pub undefined: usize,
    /// Mean; `None` without valid replicates.
    pub mean: Option<f64>,
    /// Standard deviation with divisor `valid - 1`: the bootstrap standard error. `None` below two valid replicates.
    pub standard_deviation: Option<f64>,
    /// Percentile interval from the 2.5 % to the 97.5 % point (Efron & Tibshirani 1993, section 13.3); `None` without valid
    /// replicates.
    pub interval: Option<Interval>,
}

impl Summary {
    /// Summarises replicates, NaN being an undefined one.
    #[must_use]
    pub fn new(replicates: &[f64]) -> Self {
        let mut sorted: Vec<f64> = replicates.iter().copied().filter(|value| !value.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let valid = sorted.len();
        let mean = (valid > 0).then(|| sorted.iter().sum::<f64>() / valid as f64);
        let standard_deviation = mean.filter(|_| valid > 1).map(|mean| {
            let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (valid - 1) as f64).sqrt()
        });
        let interval = (valid > 0).then(|| Interval { lower: percentile(&sorted, 0.025), upper: percentile(&sorted, 0.975) });
        Self { valid, undefined: replicates.len() - valid, mean, standard_deviation, interval }
    }
}

/// Percentile of rising values by linear interpolation, as `numpy.percentile` by default (Hyndman & Fan 1996, type 7).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

/// Two-sided p-value for "the difference is 0" from bootstrap replicates of the difference:
///
/// `p = min(1, 2 · (1 + min(#{d ≤ 0}, #{d ≥ 0})) / (1 + B))`
///
/// over the `B` valid replicates: twice the smaller tail beyond 0, which inverts the percentile interval, with the observed sample
/// counted as one more replicate so that p is never 0 (Davison & Hinkley 1997, eq. 4.11). The smallest value is `2 / (B + 1)`.
/// `None` without valid replicates.
pub(super) fn bootstrap_p(differences: &[f64]) -> Option<f64> {
    let count = |test: fn(&f64) -> bool| differences.iter().filter(|value| test(value)).count();
    let valid = count(|value| !value.is_nan());
    let tail = count(|value| *value <= 0.0).min(count(|value| *value >= 0.0));
    (valid > 0).then(|| (2.0 * (tail + 1) as f64 / (valid + 1) as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::close;

    #[test]
    fn replicates_differ_and_repeat() {
        let patients = Patients::new(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        assert_eq!(patients.weights(7, 3), patients.weights(7, 3));
        assert_ne!(patients.weights(7, 3), patients.weights(7, 4));
        assert_ne!(patients.weights(7, 3), patients.weights(8, 3));
        assert!(Patients::new::<u32>(&[]).weights(0, 0).is_empty());
    }

    #[test]
    fn every_patient_is_drawn_equally_often() {
        let patients = Patients::new(&[0, 1, 2, 3, 4]);
        let mut totals = [0_u32; 5];
        for replicate in 0..2000 {
            for (total, weight) in totals.iter_mut().zip(patients.weights(0, replicate)) {
                *total += weight;
            }
        }
        // 10,000 draws of five: 2000 each with a binomial standard deviation of 40; five of those for a fixed seed.
        assert!(totals.iter().all(|total| total.abs_diff(2000) < 200), "{totals:?}");
    }

    proptest! {
        #[test]
        fn patients_stay_whole(ids in prop::collection::vec(0_u8..12, 1..60), seed in any::<u64>(), replicate in any::<u64>()) {
            let patients = Patients::new(&ids);
            let weights = patients.weights(seed, replicate);
            let mut drawn = HashMap::new();
            for (id, weight) in ids.iter().zip(weights) {
                prop_assert_eq!(*drawn.entry(id).or_insert(weight), weight);
            }
            prop_assert_eq!(drawn.len(), patients.count());
            prop_assert_eq!(drawn.values().sum::<u32>() as usize, patients.count());
        }
    }

    #[test]
    fn percentiles_interpolate_as_numpy() {
        // Type 7 on 0..=10: the p-percentile is 10·p.
        let values: Vec<f64> = (0..=10).map(f64::from).collect();
        for share in [0.0, 0.025, 0.5, 0.975, 1.0] {
            assert!(close(percentile(&values, share), 10.0 * share));
        }
        assert_eq!(percentile(&[3.0], 0.975), 3.0);
    }

    #[test]
    fn undefined_replicates_are_counted_and_left_out() {
        let summary = Summary::new(&[2.0, f64::NAN, 4.0, f64::NAN, 6.0]);
        // By hand: mean of 2, 4, 6 and their standard deviation with divisor 2.
        assert_eq!((summary.valid, summary.undefined, summary.mean), (3, 2, Some(4.0)));
        assert_eq!(summary.standard_deviation, Some(2.0));
        let one = Summary::new(&[0.5]);
        assert_eq!((one.standard_deviation, one.interval), (None, Some(Interval { lower: 0.5, upper: 0.5 })));
        let none = Summary::new(&[f64::NAN]);
        assert_eq!((none.undefined, none.mean, none.interval), (1, None, None));
    }

    #[test]
    fn p_by_hand() {
        // 19 replicates above 0: 2 · (1 + 0) / 20.
        assert_eq!(bootstrap_p(&[0.1; 19]), Some(0.1));
        // The same mirrored, and with an undefined one, which does not count.
        let mut mirrored = vec![-0.1; 19];
        mirrored.push(f64::NAN);
        assert_eq!(bootstrap_p(&mirrored), Some(0.1));
        // Replicates at 0 are in both tails; p stays at most 1.
        assert_eq!(bootstrap_p(&[0.0; 9]), Some(1.0));
        assert_eq!(bootstrap_p(&[f64::NAN]), None);
    }
}
