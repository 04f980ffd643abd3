//! From a training set and a generator to its synthetic images, in one step.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::TrainSet;
use crate::request::{LabelPlan, RequestPlan};
use crate::supply::{CacheOptions, SampleCache, Supply, Synthesizer, SyntheticDataset};
use crate::text::{PromptedRow, template_prompts};

/// The synthetic images to be made for a training set; see [`SyntheticDataset::for_training`].
pub struct SyntheticBuilder<'a> {
    train: &'a TrainSet,
    synthesizer: Arc<dyn Synthesizer>,
    prompts: Option<Vec<PromptedRow>>,
    amount: Amount,
    seed: u64,
    cache: Option<(PathBuf, CacheOptions)>,
}

enum Amount {
    Replicas(u32),
    Labels(LabelPlan, usize),
}

impl SyntheticDataset {
    /// The synthetic images of a training set: one per row, made on demand and sized as the real ones, unless the builder has
    /// other settings. Requests are made from the rows of `train` alone, so no image descends from a held-out patient.
    #[must_use]
    pub fn for_training(train: &TrainSet, generator: impl Synthesizer + 'static) -> SyntheticBuilder<'_> {
        let (synthesizer, amount) = (Arc::new(generator), Amount::Replicas(1));
        SyntheticBuilder { train, synthesizer, prompts: None, amount, seed: 0, cache: None }
    }
}

impl SyntheticBuilder<'_> {
    /// `k` images per row: see [`RequestPlan::replicas`].
    #[must_use]
    pub fn replicas(self, k: u32) -> Self {
        Self { amount: Amount::Replicas(k), ..self }
    }

    /// `n` images with labels by a plan, or as many as the plan counts: see [`RequestPlan::of_labels`].
    #[must_use]
    pub fn labels(self, plan: LabelPlan, n: usize) -> Self {
        Self { amount: Amount::Labels(plan, n), ..self }
    }

    /// Prompts of the training rows, for a generator that reads text; template text unless set. Only these rows are requested.
    #[must_use]
    pub fn prompts(self, rows: Vec<PromptedRow>) -> Self {
        Self { prompts: Some(rows), ..self }
    }

    /// Another seed gives other noise (0 unless set).
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Keep every image in the cache in `folder`, and make only what is missing there.
    #[must_use]
    pub fn cached(self, folder: impl AsRef<Path>) -> Self {
        Self { cache: Some((folder.as_ref().to_owned(), CacheOptions::default())), ..self }
    }

    /// Makes the requests, and opens the cache if there is one. No image is made yet.
    ///
    /// # Errors
    /// As [`RequestPlan::new`], [`RequestPlan::of_labels`], [`SampleCache::open`] and [`SyntheticDataset::new`].
    pub fn build(self) -> Result<SyntheticDataset, AugmentError> {
        let data = self.train.data();
        let vocabulary = data.vocabulary();
        let records = || data.rows().iter().map(|row| Arc::clone(&row.record)).collect::<Vec<_>>();
        let prompts = self.prompts.unwrap_or_else(|| template_prompts(&records(), vocabulary));
        let plan = RequestPlan::new(&prompts, vocabulary)?.with_seed(self.seed);
        let requests = match self.amount {
            Amount::Replicas(k) => plan.replicas(k)?,
            Amount::Labels(labels, n) => plan.of_labels(&labels, n)?,
        };
        let synthesizer = self.synthesizer;
        let supply = match self.cache {
            None => Supply::OnDemand { synthesizer },
            Some((folder, options)) => {
                Supply::CacheThenGenerate { cache: Arc::new(SampleCache::open(folder, options)?), synthesizer }
            }
        };
        SyntheticDataset::new(requests.into(), supply, *data.preprocess(), self.train.held_out_patients())
    }
}

#[cfg(test)]
mod tests {
    use burn_core::data::dataset::Dataset;

    use super::*;
    use crate::dataset::tests::{record, train_set};
    use crate::supply::fake::Fake;

    #[test]
    fn a_training_set_is_answered_row_by_row() {
        let train = train_set((0..3).map(|i| record(&format!("{i}.png"), &format!("p{i}"), None)).collect());
        let (folder, fake) = (tempfile::tempdir().unwrap(), Arc::new(Fake::default()));
        let of = |k| SyntheticDataset::for_training(&train, Arc::clone(&fake)).replicas(k).seed(5);
        let (one, two) = (of(1).build().unwrap(), of(2).cached(folder.path()).build().unwrap());
        assert_eq!((one.len(), two.len()), (3, 6));
        for row in 0..3 {
            assert_eq!(one.records()[row].patient_id, train.data().record(row).patient_id);
            assert_eq!(one.get(row).unwrap().image, two.get(2 * row).unwrap().image);
        }
        let made = fake.made();
        assert_eq!(two.get(4).unwrap().image.width(), 2);
        assert_eq!(fake.made(), made, "the cache has it");
        let balanced = of(1).labels(LabelPlan::Balanced, 5).build().unwrap();
        assert_eq!(balanced.len(), 5);
    }

    #[test]
    fn prompts_of_a_held_out_patient_are_refused() {
        let train = train_set(vec![record("a.png", "p", None)]);
        let stranger = Arc::new(record("b.png", "held out test", None));
        let prompts = template_prompts(&[stranger], train.data().vocabulary());
        let error = SyntheticDataset::for_training(&train, Fake::default()).prompts(prompts).build().unwrap_err();
        assert!(matches!(error, AugmentError::HeldOutPatient { .. }), "{error}");
    }
}
