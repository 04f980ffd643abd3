//! Drawing patients with replacement.

use std::collections::HashMap;
use std::hash::Hash;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

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
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(replicate);
        let mut drawn = vec![0_u32; self.count()];
        for _ in 0..self.count {
            drawn[generator.random_range(0..self.count) as usize] += 1;
        }
        self.patient_of_row.iter().map(|&patient| drawn[patient as usize]).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

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
}
