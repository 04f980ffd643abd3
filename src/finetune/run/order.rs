//! Which rows a step trains on.

use std::sync::{Arc, Mutex, PoisonError};

use super::random::Randomness;

/// One sample of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number in the run, from 0: what its random numbers depend on.
    pub number: u64,
    /// Its row in the training set.
    pub row: usize,
}

/// The number of an epoch, and its rows in order.
type EpochOrder = (u64, Arc<[usize]>);

/// The rows of every step: epochs in a new order each, one after the other, so that a batch may hold the end of one and the start of
/// the next and no row is left out.
#[derive(Clone, Debug)]
pub struct Order {
    random: Randomness,
    rows: usize,
    batch: usize,
    /// The last epochs asked for: a batch needs two at most.
    epochs: Arc<Mutex<Vec<EpochOrder>>>,
}

impl Order {
    /// Steps of `batch` samples over `rows` rows.
    ///
    /// # Panics
    /// If either is 0.
    #[must_use]
    pub fn new(random: Randomness, rows: usize, batch: usize) -> Self {
        assert!(rows > 0 && batch > 0, "{rows} rows in batches of {batch}");
        Self { random, rows, batch, epochs: Arc::default() }
    }

    /// The samples of optimiser step `step`, from 0.
    #[must_use]
    pub fn step(&self, step: u64) -> Vec<Sample> {
        let first = step * self.batch as u64;
        (first..first + self.batch as u64).map(|number| Sample { number, row: self.row(number) }).collect()
    }

    fn row(&self, number: u64) -> usize {
        let (epoch, place) = (number / self.rows as u64, (number % self.rows as u64) as usize);
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = epochs.iter().find(|(known, _)| *known == epoch) {
            return order[place];
        }
        let order: Arc<[usize]> = self.random.order(epoch, self.rows).into();
        if epochs.len() > 3 {
            epochs.remove(0);
        }
        epochs.push((epoch, Arc::clone(&order)));
        order[place]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn steps_are_a_function_of_their_number(rows in 1usize..40, batch in 1usize..20, seed: u64, from in 0u64..50) {
            let order = || Order::new(Randomness::training(seed), rows, batch);
            let all: Vec<_> = { let order = order(); (0..from + 5).map(|step| order.step(step)).collect() };
            let cut = order();
            for step in from..from + 5 {
                prop_assert_eq!(&cut.step(step), &all[step as usize]);
            }
        }

        #[test]
        fn every_epoch_is_whole(rows in 1usize..40, batch in 1usize..20, seed: u64) {
            let order = Order::new(Randomness::training(seed), rows, batch);
            let samples: Vec<_> = (0..(3 * rows) as u64).flat_map(|step| order.step(step)).take(3 * rows).collect();
            for epoch in samples.chunks(rows) {
                let mut seen: Vec<_> = epoch.iter().map(|sample| sample.row).collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..rows).collect::<Vec<_>>());
            }
        }
    }
}
