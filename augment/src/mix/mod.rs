//! Real and synthetic images in one dataset.

mod epoch_plan;
mod mixture;
mod prefetch;
mod schedule;
mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn_core::data::dataset::{Dataset, DatasetError};

use crate::AugmentError;
use crate::dataset::TrainSet;
use crate::record::CxrSample;
use crate::supply::SyntheticDataset;

pub use epoch_plan::{EpochPlan, Slot};
pub use mixture::{Balance, EpochCounts, MAX_EPOCH, MixMode, Mixture};
pub use prefetch::{BatchStream, Prefetch};
pub use schedule::{Phase, Schedule};
pub use stream::{MixedStream, StreamItem};

/// Epoch plans that a dataset keeps: the batch at the end of an epoch needs two, prefetching workers no more.
const PLANS: usize = 3;

/// Real and synthetic images in a stated mixture.
///
/// [`MixedDataset::epoch`] gives the burn [`Dataset`] of one epoch; item `i` of it is a function of (seed, epoch, `i`) alone.
/// [`MixedStream`] runs through the epochs in batches. Clones share everything.
#[derive(Clone, Debug)]
pub struct MixedDataset {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    real: TrainSet,
    synthetic: Option<SyntheticDataset>,
    plan: EpochPlan,
    plans: Mutex<BTreeMap<usize, Arc<[Slot]>>>,
}

impl MixedDataset {
    /// Mixes real training images with synthetic ones, in orders that `seed` decides. Without `synthetic`, the mixture may ask for
    /// none.
    ///
    /// Checks again, against the patients that the split holds out, that no synthetic image descends from one of them. Validation
    /// and test can't be mixed:
    ///
    /// ```compile_fail,E0308
    /// # use roentgen_augment::{AugmentError, dataset::Splits, mix::{MixedDataset, Mixture}};
    /// # fn mix(splits: Splits) -> Result<MixedDataset, AugmentError> {
    /// MixedDataset::new(splits.test().clone(), None, Mixture::default(), 0) // a `HeldOut` is no `TrainSet`
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AugmentError::HeldOutPatient`]; [`AugmentError::BadMixture`] for an invalid ratio; [`AugmentError::NothingToMix`] if
    /// a phase needs images of a kind that does not exist.
    pub fn new(real: TrainSet, synthetic: Option<SyntheticDataset>, mixture: Mixture, seed: u64) -> Result<Self, AugmentError> {
        if let Some(synthetic) = &synthetic {
            synthetic.check_held_out(real.held_out_patients())?;
        }
        let pool = synthetic.as_ref().map_or(&[][..], SyntheticDataset::records);
        let plan = EpochPlan::new(&mixture, seed, real.len(), pool)?;
        Ok(Self { shared: Arc::new(Shared { real, synthetic, plan, plans: Mutex::default() }) })
    }

    /// The images of an epoch, counted from 0, in their order.
    #[must_use]
    pub fn epoch(&self, epoch: usize) -> MixedEpoch {
        MixedEpoch { shared: Arc::clone(&self.shared), slots: self.shared.slots(epoch) }
    }

    /// How many images of each kind an epoch has.
    #[must_use]
    pub fn counts(&self, epoch: usize) -> EpochCounts {
        self.shared.plan.counts(epoch)
    }

    /// The real part.
    #[must_use]
    pub fn real(&self) -> &TrainSet {
        &self.shared.real
    }

    /// The synthetic part.
    #[must_use]
    pub fn synthetic(&self) -> Option<&SyntheticDataset> {
        self.shared.synthetic.as_ref()
    }

    /// The slots at positions `start..end` of the endless sequence of epochs 0, 1, 2, ….
    pub(crate) fn slots(&self, start: u64, end: u64) -> Vec<Slot> {
        let mut slots = Vec::new();
        let mut position = start;
        while position < end {
            let (epoch, first) = self.shared.plan.locate(position);
            let plan = self.shared.slots(epoch);
            let last = plan.len().min(first.saturating_add((end - position) as usize));
            slots.extend_from_slice(&plan[first..last]);
            position += (last - first) as u64;
        }
        slots
    }

    /// The samples of slots, in their order: one call for the real ones, one for the synthetic ones.
    pub(crate) fn load(&self, slots: &[Slot]) -> Result<Vec<CxrSample>, DatasetError> {
        self.shared.load(slots)
    }
}

impl Shared {
    fn slots(&self, epoch: usize) -> Arc<[Slot]> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slots) = plans.get(&epoch) {
            return Arc::clone(slots);
        }
        let slots: Arc<[Slot]> = self.plan.epoch(epoch).into();
        if plans.len() == PLANS {
            // Epochs only increase, so the lowest is no longer needed.
            plans.pop_first();
        }
        plans.insert(epoch, Arc::clone(&slots));
        slots
    }
}

impl Shared {
    fn load(&self, slots: &[Slot]) -> Result<Vec<CxrSample>, DatasetError> {
        let mut real = Vec::new();
        let mut synthetic = Vec::new();
        for slot in slots {
            match *slot {
                Slot::Real(index) => real.push(index),
                Slot::Synthetic(index) => synthetic.push(index),
            }
        }
        let mut real = if real.is_empty() { Vec::new() } else { self.real.get_many(real)? }.into_iter();
        let mut synthetic = match &self.synthetic {
            Some(set) if !synthetic.is_empty() => set.get_many(synthetic)?,
            _ => Vec::new(),
        }
        .into_iter();
        let next = |slot: &Slot| match slot {
            Slot::Real(_) => real.next(),
            Slot::Synthetic(_) => synthetic.next(),
        };
        Ok(slots.iter().map(next).map(|sample| sample.expect("a dataset returns one item per index")).collect())
    }
}

/// One epoch of a [`MixedDataset`].
#[derive(Clone, Debug)]
pub struct MixedEpoch {
    shared: Arc<Shared>,
    slots: Arc<[Slot]>,
}

impl MixedEpoch {
    /// What is where.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

impl Dataset<CxrSample> for MixedEpoch {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        Ok(self.shared.load(&self.slots[index..=index])?.remove(0))
    }

    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<CxrSample>, DatasetError> {
        let slots: Vec<Slot> = indexes.into_iter().map(|index| self.slots[index]).collect();
        self.shared.load(&slots)
    }

    fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::tests::{dataset, record, synthetic as made_of, train_set};
    use crate::dataset::{SplitPlan, Splits};
    use crate::image::Preprocess;
    use crate::mix::MixMode;
    use crate::record::{PatientId, Split, Vocabulary};
    use crate::request::{LabelPlan, RequestPlan};
    use crate::supply::fake::{Fake, requests};
    use crate::supply::{Descendants, ImagePool, PoolOptions, Supply};
    use crate::text::template_prompts;

    fn synthetic(n: usize) -> (Arc<Fake>, SyntheticDataset) {
        let fake = Arc::new(Fake::default());
        let supply = Supply::OnDemand { synthesizer: fake.clone() };
        (fake, SyntheticDataset::new(requests(n).into(), supply, Preprocess::new(2), &HashSet::new()).unwrap())
    }

    fn real(n: usize) -> TrainSet {
        train_set((0..n).map(|i| record(&format!("real {i}"), "", None)).collect())
    }

    fn mixed(mode: MixMode, seed: u64) -> MixedDataset {
        MixedDataset::new(real(9), Some(synthetic(6).1), Mixture::new(mode), seed).unwrap()
    }

    fn ids(epoch: &MixedEpoch, indexes: impl IntoIterator<Item = usize>) -> Vec<String> {
        epoch.get_many(indexes.into_iter().collect()).unwrap().iter().map(|sample| sample.record.id.clone()).collect()
    }

    #[test]
    fn a_batch_is_one_call_to_the_generator() {
        let (fake, synthetic) = synthetic(6);
        let set = MixedDataset::new(real(8), Some(synthetic), Mixture::add(0.5), 0).unwrap();
        assert_eq!(ids(&set.epoch(0), 0..12).len(), 12);
        assert_eq!(fake.calls(), [4]);
    }

    #[test]
    fn without_synthetic_images_a_mixture_may_not_ask_for_any() {
        let mix = |mode| MixedDataset::new(real(4), None, Mixture::new(mode), 0);
        assert_eq!(mix(MixMode::RealOnly).unwrap().epoch(0).len(), 4);
        let error = mix(MixMode::Replace { fraction: 0.5 }).unwrap_err();
        assert!(matches!(error, AugmentError::NothingToMix { kind: "synthetic", .. }), "{error}");
    }

    #[test]
    fn the_pure_synthetic_epoch_has_no_real_image() {
        let epoch = mixed(MixMode::Synthetic { size: 20 }, 1).epoch(2);
        assert_eq!(epoch.len(), 20);
        let samples = epoch.get_many((0..20).collect()).unwrap();
        assert!(samples.iter().all(|sample| sample.record.origin.is_synthetic()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn an_item_depends_on_seed_epoch_and_index_alone(seed: u64, epoch in 0usize..6, order in Just((0..14).collect::<Vec<usize>>()).prop_shuffle()) {
            let mode = MixMode::Add { synthetic_per_real: 0.6 };
            let expected = ids(&mixed(mode, seed).epoch(epoch), 0..14);
            let other = mixed(mode, seed);
            // Other epochs first, then single items, in another order.
            let _ = (other.epoch(epoch + 1), other.epoch(0));
            for index in order {
                prop_assert_eq!(&other.epoch(epoch).get(index).unwrap().record.id, &expected[index]);
            }
        }

        #[test]
        fn whatever_the_table_radiographs_are_real_and_samples_are_not(made in prop::collection::vec(any::<bool>(), 20..60), mode in 0usize..3, seed: u64) {
            let splits = [Split::Train, Split::Valid, Split::Test];
            // Of each split at least one row is real.
            let is_made = |i: usize| made[i] && i > 2;
            let row = |i: usize| match is_made(i) {
                true => made_of(record(&format!("{i}"), &format!("p{}", 3 * (i / 3)), Some(Split::Train))),
                false => record(&format!("{i}"), &format!("p{i}"), Some(splits[i % 3])),
            };
            let rows = (0..made.len()).map(row).collect();
            let splits = Splits::new(&dataset(rows).unwrap(), &SplitPlan::column()).unwrap();
            let options = PoolOptions { splits: &splits, descendants: Descendants::Refuse, model: None };
            let pool = splits.synthetic().map(|rows| SyntheticDataset::from_pool(&ImagePool::new(rows, &options).unwrap()));
            let mode = match (mode, &pool) {
                (0, _) | (_, None) => MixMode::RealOnly,
                (1, _) => MixMode::Replace { fraction: 0.5 },
                _ => MixMode::Add { synthetic_per_real: 0.7 },
            };
            let mixed = MixedDataset::new(splits.train().clone(), pool, Mixture::new(mode), seed).unwrap();
            for epoch in 0..3 {
                let items = mixed.epoch(epoch);
                let samples = items.get_many((0..items.len()).collect()).unwrap();
                let synthetic = samples.iter().filter(|sample| sample.record.origin.is_synthetic()).count();
                let counts = mixed.counts(epoch);
                prop_assert_eq!((samples.len() - synthetic, synthetic), (counts.real, counts.synthetic));
                let real = (0..made.len()).filter(|i| !is_made(*i) && i % 3 == 0).count();
                prop_assert_eq!(counts.len(), mode.counts(real).len());
            }
        }

        #[test]
        fn no_held_out_patient_ever_trains(split_seed: u64, leak in 0usize..40, plan in 0usize..4) {
            // Two images per patient; requests are made from training rows, and one more from any row.
            let records = (0..40).map(|i| record(&format!("{i}.png"), &format!("p{}", i / 2), None)).collect();
            let data = dataset(records).unwrap();
            let split = SplitPlan { valid: 0.25, test: 0.25, seed: split_seed, ..SplitPlan::default() };
            let Ok(splits) = Splits::new(&data, &split) else { return Ok(()) };
            let held_out = splits.held_out_patients();
            let rows: Vec<_> = splits.train().data().rows().iter().map(|row| Arc::clone(&row.record)).collect();
            let vocabulary = Vocabulary::parse(["Effusion", "Mass"]).unwrap();
            let rows = template_prompts(&rows, &vocabulary);
            let planned = RequestPlan::new(&rows, &vocabulary).unwrap().with_seed(split_seed);
            let counts = LabelPlan::Counts([(vocabulary.findings()[0], 30)].into_iter().collect());
            let mut requests = match plan {
                0 => planned.replicas(3).unwrap(),
                1 => planned.of_labels(&LabelPlan::Prevalence, 30).unwrap(),
                2 => planned.of_labels(&LabelPlan::Balanced, 30).unwrap(),
                _ => planned.of_labels(&counts, 0).unwrap(),
            };
            let set = |requests: &[_], held_out: &HashSet<PatientId>| {
                let supply = Supply::OnDemand { synthesizer: Arc::new(Fake::default()) };
                SyntheticDataset::new(requests.into(), supply, Preprocess::new(2), held_out)
            };
            let mix = |synthetic| MixedDataset::new(splits.train().clone(), Some(synthetic), Mixture::add(2.0), 1);
            let epoch = mix(set(&requests, held_out).unwrap()).unwrap().epoch(0);
            for sample in epoch.get_many((0..epoch.len()).collect()).unwrap() {
                prop_assert!(!held_out.contains(sample.record.patient_id.as_ref().unwrap()));
            }

            let any: Vec<_> = data.rows().iter().map(|row| Arc::clone(&row.record)).collect();
            let leaked = RequestPlan::new(&template_prompts(&any[leak..=leak], &vocabulary), &vocabulary).unwrap().replicas(1).unwrap();
            let is_held_out = held_out.contains(any[leak].patient_id.as_ref().unwrap());
            requests.extend(leaked);
            prop_assert_eq!(set(&requests, held_out).is_err(), is_held_out);
            // Even a set that was not checked against anybody is refused where it would train.
            prop_assert_eq!(mix(set(&requests, &HashSet::new()).unwrap()).is_err(), is_held_out);
        }
    }
}
