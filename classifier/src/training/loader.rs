//! The loaders of burn-train's loop: rounds of optimiser steps, and the validation set as one item.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use roentgen_augment::batch::CxrBatcher;
use roentgen_augment::image::{Pixels, Signed};
use roentgen_augment::mix::{BatchStream, MixedStream, Prefetch, StreamItem};

use super::trainee::{HeldOutBatches, StepBatch};
use super::{Augmentation, TrainConfig};

/// Time that the trainer waited for data.
#[derive(Clone, Debug, Default)]
pub struct WaitClock(Arc<AtomicU64>);

impl WaitClock {
    fn add(&self, waited: Duration) {
        self.0.fetch_add(waited.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The time since it was last taken.
    #[must_use]
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.0.swap(0, Ordering::Relaxed))
    }
}

/// One round of training steps for each call of `iter`.
#[derive(Clone)]
pub struct RoundLoader {
    stream: MixedStream,
    batcher: CxrBatcher,
    config: Arc<TrainConfig>,
    seed: u64,
    device: Device,
    next_round: Arc<AtomicUsize>,
    clock: WaitClock,
}

impl RoundLoader {
    /// Rounds of `config`, the first call of `iter` giving round `first_round` (from 0).
    #[must_use]
    pub fn new(
        stream: MixedStream,
        batcher: CxrBatcher,
        config: &TrainConfig,
        seed: u64,
        device: Device,
        first_round: usize,
    ) -> Self {
        Self {
            stream,
            batcher,
            config: Arc::new(config.clone()),
            seed,
            device,
            next_round: Arc::new(AtomicUsize::new(first_round)),
            clock: WaitClock::default(),
        }
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> WaitClock {
        self.clock.clone()
    }
}

impl DataLoader<StepBatch> for RoundLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<StepBatch> + 'a> {
        let first = self.next_round.fetch_add(1, Ordering::Relaxed) * self.config.eval_every;
        let steps = self.config.steps.saturating_sub(first).min(self.config.eval_every);
        let workers = self.config.workers;
        // Twice the workers: each can work ahead while its last batch waits to be taken.
        let prefetch = Prefetch { workers, in_flight: workers.saturating_mul(2) };
        let samples = self.stream.prefetch(first as u64..(first + steps) as u64, prefetch);
        Box::new(RoundIterator { loader: self, samples, first, done: 0, steps })
    }

    fn num_items(&self) -> usize {
        self.config.eval_every
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<StepBatch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<StepBatch>> {
        Arc::new(self.clone())
    }
}

struct RoundIterator<'a> {
    loader: &'a RoundLoader,
    samples: BatchStream<Vec<StreamItem>, DatasetError>,
    first: usize,
    done: usize,
    steps: usize,
}

impl Iterator for RoundIterator<'_> {
    type Item = Result<StepBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.steps {
            return None;
        }
        let asked = Instant::now();
        let samples = self.samples.next()?;
        self.loader.clock.add(asked.elapsed());
        self.done += 1;
        Some(samples.map(|samples| {
            let config = &self.loader.config;
            let size = samples.len().div_ceil(config.accumulation);
            let micro = samples.chunks(size).map(|chunk| {
                let images = augmented(chunk, &config.augmentation, self.loader.seed);
                let records = chunk.iter().map(|item| item.sample.record.clone()).collect();
                config.precision.of_images(self.loader.batcher.stack(&images, records, &self.loader.device))
            });
            StepBatch { step: self.first + self.done, micro: micro.collect() }
        }))
    }
}

impl DataLoaderIterator<StepBatch> for RoundIterator<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.steps, Some("steps".to_owned()))
    }
}

fn augmented(items: &[StreamItem], augmentation: &Augmentation, seed: u64) -> Vec<Pixels<Signed>> {
    items.iter().map(|item| augmentation.apply(&item.sample.image, seed, item.position)).collect()
}

/// The whole validation set as one item.
#[derive(Clone)]
pub struct WholeSetLoader(Arc<HeldOutBatches>);

impl WholeSetLoader {
    /// A loader of `set`, whose batches are on the training device without autodiff.
    #[must_use]
    pub fn new(set: HeldOutBatches) -> Self {
        Self(Arc::new(set))
    }
}

impl DataLoader<HeldOutBatches> for WholeSetLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<HeldOutBatches> + 'a> {
        Box::new(WholeSetIterator(Some((*self.0).clone())))
    }

    fn num_items(&self) -> usize {
        1
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<HeldOutBatches>> {
        Arc::new(self.clone())
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<HeldOutBatches>> {
        Arc::new(self.clone())
    }
}

struct WholeSetIterator(Option<HeldOutBatches>);

impl Iterator for WholeSetIterator {
    type Item = Result<HeldOutBatches, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl DataLoaderIterator<HeldOutBatches> for WholeSetIterator {
    fn progress(&self) -> Progress {
        Progress::new(usize::from(self.0.is_none()), 1, Some("sets".to_owned()))
    }
}
