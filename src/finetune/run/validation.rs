//! The loss on held-out images, on noise and timesteps that are the same each time.

use super::codes::Coder;
use super::error::RunError;
use super::metrics::BinnedLoss;
use super::sample::SampleMaker;
use crate::finetune::{Trainee, Which};

/// A fixed set of samples: every image once in each range of timesteps.
#[derive(Clone, Debug)]
pub struct Validation {
    samples: SampleMaker,
    bins: usize,
    timesteps: usize,
    batch: usize,
}

impl Validation {
    /// Samples of `samples`' pairs in `bins` ranges of `timesteps`, `batch` at a time.
    #[must_use]
    pub fn new(samples: SampleMaker, bins: usize, timesteps: usize, batch: usize) -> Self {
        Self { samples, bins: bins.min(timesteps), timesteps, batch }
    }

    /// The loss of these weights.
    ///
    /// # Errors
    /// [`RunError::Image`] and [`RunError::Finetune`].
    pub fn loss(&self, coder: &Coder<'_>, which: Which) -> Result<BinnedLoss, RunError> {
        let images = self.samples.pairs().pairs().len();
        let mut bins = Vec::with_capacity(self.bins);
        for bin in 0..self.bins {
            let range = [bin, bin + 1].map(|edge| edge * self.timesteps / self.bins);
            let mut sum = 0.0;
            for first in (0..images).step_by(self.batch) {
                let pairs = first..images.min(first + self.batch);
                let number = |pair| (bin * images + pair) as u64;
                let made = pairs.map(|pair| self.samples.make(number(pair), pair, Some(range)));
                let batch = coder.batch(made.collect::<Result<Vec<_>, _>>()?)?;
                sum += losses(coder.trainee, &batch, which)?;
            }
            bins.push(sum / images as f64);
        }
        Ok(BinnedLoss { mean: bins.iter().sum::<f64>() / bins.len() as f64, bins })
    }
}

fn losses(trainee: &Trainee, batch: &crate::finetune::TrainBatch, which: Which) -> Result<f64, RunError> {
    Ok(trainee.losses(batch, which)?.into_iter().map(f64::from).sum())
}
