//! Every random number of a run, each a function of the seed and of what it is for.
//!
//! Nothing is drawn in sequence: sample `n` of a run (counted over all steps) has its own streams, so that a run cut anywhere goes on
//! with the same numbers, whatever the number of threads, micro-batches or devices.

use rand::distr::{Distribution, Uniform};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use roentgen_augment::digest::Fingerprint;

/// What a stream of random numbers is for.
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
    /// The offset noise, one value a channel.
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

#[cfg(test)]
mod tests {
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
}
