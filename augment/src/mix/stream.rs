//! Batches over epochs, by step.

use std::num::NonZeroUsize;
use std::ops::Range;

use burn_core::data::dataset::DatasetError;

use crate::mix::{BatchStream, MixedDataset, Prefetch};
use crate::record::CxrSample;

/// A sample with its place in the stream.
#[derive(Clone, Debug)]
pub struct StreamItem {
    /// Place in the endless sequence of epochs: with the run's seed, it seeds whatever is random about the sample's use.
    pub position: u64,
    /// The sample.
    pub sample: CxrSample,
}

/// Batches of an endless sequence: epochs 0, 1, 2, … one after the other, cut every `batch_size` images.
///
/// Batch `t` covers positions `t * batch_size` to `(t + 1) * batch_size`, and so may reach into the next epoch: every batch is
/// full, and arms whose epochs differ in length can train for equally many optimiser steps. It is a function of `t` alone, so
/// a run that starts again at step `t` sees what it would have seen.
#[derive(Clone, Debug)]
pub struct MixedStream {
    dataset: MixedDataset,
    batch_size: u64,
}

impl MixedStream {
    /// Batches of `batch_size` images.
    #[must_use]
    pub fn new(dataset: MixedDataset, batch_size: NonZeroUsize) -> Self {
        Self { dataset, batch_size: batch_size.get() as u64 }
    }

    /// The dataset.
    #[must_use]
    pub fn dataset(&self) -> &MixedDataset {
        &self.dataset
    }

    /// Batch `step`. Its synthetic samples that are not in the cache are generated in one call.
    ///
    /// # Errors
    /// If a sample can't be read or made.
    pub fn batch(&self, step: u64) -> Result<Vec<StreamItem>, DatasetError> {
        let start = step.saturating_mul(self.batch_size);
        let slots = self.dataset.slots(start, start.saturating_add(self.batch_size));
        let samples = self.dataset.load(&slots)?;
        Ok((start..).zip(samples).map(|(position, sample)| StreamItem { position, sample }).collect())
    }

    /// The batches of `steps`, made ahead by other threads: reading and generating overlap with training.
    #[must_use]
    pub fn prefetch(&self, steps: Range<u64>, prefetch: Prefetch) -> BatchStream<Vec<StreamItem>, DatasetError> {
        let stream = self.clone();
        BatchStream::new(steps, prefetch, move |step| stream.batch(step))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use burn_core::data::dataset::Dataset;
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::tests::{record, train_set};
    use crate::image::Preprocess;
    use crate::mix::{MixMode, Mixture, Phase};
    use crate::supply::fake::{Fake, requests};
    use crate::supply::{CacheOptions, SampleCache, Supply, SupplyMode, SyntheticDataset};

    /// What a trainer sees of a batch.
    type Seen = Vec<(u64, String, Vec<f32>)>;

    fn seen(items: Vec<StreamItem>) -> Seen {
        items.into_iter().map(|i| (i.position, i.sample.record.id.clone(), i.sample.image.values().to_vec())).collect()
    }

    fn mixture() -> Mixture {
        Mixture::scheduled(vec![
            Phase { epochs: 1, mode: MixMode::Synthetic { size: 9 } },
            Phase { epochs: 2, mode: MixMode::Replace { fraction: 0.5 } },
            Phase { epochs: 1, mode: MixMode::Add { synthetic_per_real: 0.6 } },
        ])
    }

    fn stream(supply: Supply, seed: u64) -> MixedStream {
        let real = train_set((0..7).map(|i| record(&format!("real {i}"), "", None)).collect());
        let synthetic = SyntheticDataset::new(requests(5).into(), supply, Preprocess::new(2), &HashSet::new()).unwrap();
        let dataset = MixedDataset::new(real, Some(synthetic), mixture(), seed).unwrap();
        MixedStream::new(dataset, NonZeroUsize::new(4).unwrap())
    }

    fn on_demand(fake: &Arc<Fake>) -> Supply {
        Supply::OnDemand { synthesizer: fake.clone() }
    }

    #[test]
    fn batches_are_the_epochs_end_to_end() {
        let stream = stream(on_demand(&Arc::default()), 3);
        let by_epoch: Vec<_> = (0..5)
            .flat_map(|epoch| {
                let epoch = stream.dataset().epoch(epoch);
                (0..epoch.len()).map(move |i| epoch.get(i).unwrap().record.id.clone())
            })
            .collect();
        let by_step: Vec<_> = (0..10).flat_map(|step| seen(stream.batch(step).unwrap())).collect();
        for (position, (at, id, _)) in by_step.iter().enumerate() {
            assert_eq!((*at, id), (position as u64, &by_epoch[position]));
        }
    }

    #[test]
    fn a_batch_across_epochs_is_still_one_call() {
        let fake = Arc::new(Fake::default());
        let stream = stream(on_demand(&fake), 0);
        stream.batch(2).unwrap();
        assert_eq!(fake.calls().len(), 1);
    }

    #[test]
    fn the_failure_of_a_generator_comes_at_its_step() {
        let fake = Arc::new(Fake::default());
        fake.fails.store(true, std::sync::atomic::Ordering::SeqCst);
        let mut batches = stream(on_demand(&fake), 0).prefetch(0..3, Prefetch::default());
        assert!(batches.next().unwrap().unwrap_err().to_string().contains("`fake` made none of"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn a_step_is_the_same_whatever_the_workers_order_and_cache(seed: u64, workers in 0usize..5, first in 0u64..9, warm in 0u64..9) {
            let fake = Arc::new(Fake::default());
            let plain = stream(on_demand(&fake), seed);
            let expected: Vec<Seen> = (0..12).map(|step| seen(plain.batch(step).unwrap())).collect();

            let folder = tempfile::tempdir().unwrap();
            let cache = Arc::new(SampleCache::open(folder.path(), CacheOptions::default()).unwrap());
            let of = |mode| stream(Supply::new(mode, fake.clone(), Some(Arc::clone(&cache))).unwrap(), seed);
            let kept = of(SupplyMode::CacheThenGenerate);
            kept.batch(warm).unwrap();
            let prefetch = Prefetch { workers, in_flight: 3 };
            for (step, batch) in (first..12).zip(kept.prefetch(first..12, prefetch)) {
                prop_assert_eq!(&seen(batch.unwrap()), &expected[step as usize]);
            }
            kept.dataset().synthetic().unwrap().fill(NonZeroUsize::MIN, |_| {}).unwrap();
            let cached = of(SupplyMode::Cached);
            for step in (0..12).rev() {
                prop_assert_eq!(&seen(cached.batch(step).unwrap()), &expected[step as usize]);
            }
        }
    }
}
