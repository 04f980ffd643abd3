//! Every random number of a run, each a function of the seed and of what it is for; and the order of the rows.
//!
//! Nothing is drawn in sequence: sample `n` of a run (counted over all steps) has its own streams, so that an interrupted run
//! continues with the same numbers, whatever the number of threads, micro-batches or devices.

use std::sync::{Arc, Mutex, PoisonError};

use rand::distr::{Distribution, Uniform};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use roentgen_augment::digest::Fingerprint;

use crate::config::ConfigError;

/// The purpose of a stream of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The order of the rows in an epoch.
    Order,
    /// The timestep of a sample.
    Timestep,
    /// The noise that is added to its latents.
    Noise,
    /// The draw from the autoencoder's posterior.
    Posterior,
    /// The offset noise, one value per channel.
    Offset,
    /// Whether its text is dropped.
    Dropout,
}

/// The random numbers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Randomness {
    seed: u64,
    /// Training and validation draw from different streams.
    domain: &'static str,
}

impl Randomness {
    /// Those of training.
    #[must_use]
    pub fn training(seed: u64) -> Self {
        Self { seed, domain: "finetune training 1" }
    }

    /// Those of validation: the same at every validation.
    #[must_use]
    pub fn validation(seed: u64) -> Self {
        Self { seed, domain: "finetune validation 1" }
    }

    fn stream(&self, purpose: Purpose, index: u64) -> ChaCha8Rng {
        let purpose = format!("{purpose:?}");
        let parts = [self.domain.as_bytes(), purpose.as_bytes(), &self.seed.to_le_bytes(), &index.to_le_bytes()];
        ChaCha8Rng::from_seed(Fingerprint::of(&parts).0)
    }

    /// The order of `rows` rows in an epoch.
    #[must_use]
    pub fn order(&self, epoch: u64, rows: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut self.stream(Purpose::Order, epoch));
        order
    }

    /// Standard normal numbers of sample `index`.
    #[must_use]
    pub fn normal(&self, purpose: Purpose, index: u64, count: usize) -> Vec<f32> {
        StandardNormal.sample_iter(self.stream(purpose, index)).take(count).collect()
    }

    /// The timestep of sample `index`, uniform over `0..timesteps`.
    ///
    /// # Panics
    /// If there is no timestep.
    #[must_use]
    pub fn timestep(&self, index: u64, timesteps: usize) -> usize {
        let uniform = Uniform::new(0, timesteps).expect("a schedule has timesteps");
        uniform.sample(&mut self.stream(Purpose::Timestep, index))
    }

    /// Whether the text of sample `index` is dropped, which happens with that probability.
    #[must_use]
    pub fn drops(&self, index: u64, probability: f64) -> bool {
        let mut stream: ChaCha8Rng = self.stream(Purpose::Dropout, index);
        unit(&mut stream) < probability
    }
}

/// Uniform in [0, 1).
fn unit(rng: &mut impl Rng) -> f64 {
    rng.random::<f64>()
}

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
    /// The last epochs used: a batch needs at most two.
    epochs: Arc<Mutex<Vec<EpochOrder>>>,
}

impl Order {
    /// `steps` steps of `batch` samples over `rows` rows.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if that is more samples than can be counted.
    ///
    /// # Panics
    /// If there are no rows, or no samples in a batch.
    pub fn new(random: Randomness, rows: usize, batch: usize, steps: u64) -> Result<Self, ConfigError> {
        assert!(rows > 0 && batch > 0, "{rows} rows in batches of {batch}");
        if steps.checked_mul(batch as u64).is_none() {
            return Err(ConfigError::value("schedule.steps", steps, format!("at most {}", u64::MAX / batch as u64)));
        }
        Ok(Self { random, rows, batch, epochs: Arc::default() })
    }

    /// The samples of optimiser step `step`, from 0 and below the number of steps.
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

    #[test]
    fn every_epoch_visits_every_row_once_in_another_order() {
        let random = Randomness::training(7);
        let (first, second) = (random.order(0, 50), random.order(1, 50));
        assert_ne!(first, second);
        for mut order in [first.clone(), second] {
            order.sort_unstable();
            assert_eq!(order, (0..50).collect::<Vec<_>>());
        }
        assert_eq!(first, Randomness::training(7).order(0, 50));
        assert_ne!(first, Randomness::training(8).order(0, 50));
    }

    #[test]
    fn streams_do_not_share_numbers() {
        let random = Randomness::training(1);
        let noise = random.normal(Purpose::Noise, 3, 4);
        assert_eq!(random.normal(Purpose::Noise, 3, 8)[..4], noise[..]);
        for other in [
            random.normal(Purpose::Posterior, 3, 4),
            random.normal(Purpose::Noise, 4, 4),
            Randomness::validation(1).normal(Purpose::Noise, 3, 4),
        ] {
            assert_ne!(other, noise);
        }
    }

    #[test]
    fn timesteps_and_dropout_have_their_frequencies() {
        const DRAWS: u64 = 4_000;
        let random = Randomness::training(2);
        let mean = (0..DRAWS).map(|i| random.timestep(i, 1_000) as f64).sum::<f64>() / DRAWS as f64;
        // Four standard errors of a uniform distribution over 0..1000.
        assert!((mean - 499.5).abs() < 4.0 * 288.7 / (DRAWS as f64).sqrt(), "{mean}");
        let dropped = (0..DRAWS).filter(|i| random.drops(*i, 0.1)).count() as f64 / DRAWS as f64;
        assert!((dropped - 0.1).abs() < 4.0 * 0.3 / (DRAWS as f64).sqrt(), "{dropped}");
        assert!((0..100).all(|i| !random.drops(i, 0.0) && random.drops(i, 1.0)));
    }

    #[test]
    fn more_samples_than_can_be_counted_are_refused() {
        let order = |batch, steps| Order::new(Randomness::training(1), 3, batch, steps);
        let last = order(16, u64::MAX / 16).unwrap().step(u64::MAX / 16 - 1);
        assert_eq!((last.len(), last[15].number), (16, u64::MAX - 16));
        let error = order(16, u64::MAX / 16 + 1).unwrap_err().to_string();
        assert!(error.contains("schedule.steps") && error.contains("at most"), "{error}");
    }

    proptest! {
        #[test]
        fn steps_are_a_function_of_their_number(rows in 1usize..40, batch in 1usize..20, seed: u64, from in 0u64..50) {
            let order = || Order::new(Randomness::training(seed), rows, batch, 1_000).unwrap();
            let all: Vec<_> = { let order = order(); (0..from + 5).map(|step| order.step(step)).collect() };
            let cut = order();
            for step in from..from + 5 {
                prop_assert_eq!(&cut.step(step), &all[step as usize]);
            }
        }

        #[test]
        fn every_epoch_is_whole(rows in 1usize..40, batch in 1usize..20, seed: u64) {
            let order = Order::new(Randomness::training(seed), rows, batch, 1_000).unwrap();
            let samples: Vec<_> = (0..(3 * rows) as u64).flat_map(|step| order.step(step)).take(3 * rows).collect();
            for epoch in samples.chunks(rows) {
                let mut seen: Vec<_> = epoch.iter().map(|sample| sample.row).collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..rows).collect::<Vec<_>>());
            }
        }
    }
}
