use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::dataset::tests::{dataset, record};
use crate::record::Vocabulary;
use crate::supply::fake::{Fake, request, requests};
use crate::supply::{CacheOptions, SampleCache, SupplyMode, Synthesizer};

struct Bench {
    _folder: tempfile::TempDir,
    cache: Arc<SampleCache>,
    fake: Arc<Fake>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(SampleCache::open(folder.path(), CacheOptions::default()).unwrap());
        Self { _folder: folder, cache, fake: Arc::default() }
    }

    fn set_of(&self, mode: SupplyMode, requests: Vec<SampleRequest>) -> SyntheticDataset {
        let supply = Supply::new(mode, self.fake.clone(), Some(Arc::clone(&self.cache))).unwrap();
        SyntheticDataset::new(requests.into(), supply, Preprocess::new(4), &HashSet::new()).unwrap()
    }

    fn set(&self, mode: SupplyMode, n: usize) -> SyntheticDataset {
        self.set_of(mode, requests(n))
    }
}

fn fill(set: &SyntheticDataset) -> Result<FillProgress, AugmentError> {
    set.fill(NonZeroUsize::new(4).unwrap(), |_| {})
}

/// The cause of an error that came through burn's [`DatasetError`].
fn cause(error: &DatasetError) -> &AugmentError {
    std::error::Error::source(error).and_then(|source| source.downcast_ref()).unwrap()
}

#[test]
fn all_misses_of_a_batch_are_one_call() {
    let bench = Bench::new();
    let set = bench.set(SupplyMode::CacheThenGenerate, 10);
    set.get_many(vec![2, 5]).unwrap();
    set.get_many(vec![5, 1, 9, 1, 2, 7]).unwrap();
    assert_eq!(bench.fake.calls(), [2, 3]);
    set.get_many((0..10).collect()).unwrap();
    assert_eq!(bench.fake.calls(), [2, 3, 5]);
}

#[test]
fn equal_requests_are_made_once() {
    let bench = Bench::new();
    let set = bench.set_of(SupplyMode::OnDemand, vec![request(3), request(1), request(3)]);
    let samples = set.get_many(vec![0, 1, 2]).unwrap();
    assert_eq!(samples[0].image, samples[2].image);
    assert_ne!(samples[0].image, samples[1].image);
    assert_eq!(bench.fake.calls(), [2]);
}

#[test]
fn filling_is_resumable_and_done_once() {
    let bench = Bench::new();
    let set = bench.set(SupplyMode::CacheThenGenerate, 11);
    set.get_many(vec![0, 10]).unwrap();
    bench.fake.fails.store(true, Ordering::SeqCst);
    assert!(matches!(fill(&set), Err(AugmentError::Synthesis { requests: 4, .. })));
    bench.fake.fails.store(false, Ordering::SeqCst);
    let mut seen = Vec::new();
    let last = set.fill(NonZeroUsize::new(4).unwrap(), |progress| seen.push((progress.done, progress.generated))).unwrap();
    assert_eq!(seen, [(2, 0), (6, 4), (10, 8), (11, 9)]);
    assert_eq!(last, FillProgress { done: 11, total: 11, generated: 9 });
    assert_eq!(fill(&set).unwrap().generated, 0);
    // One more, in a batch as large as a number can be.
    let more = bench.set(SupplyMode::CacheThenGenerate, 12).fill(NonZeroUsize::MAX, |_| {}).unwrap();
    assert_eq!((more.done, more.generated), (12, 1));
    assert_eq!(bench.fake.made(), 12);
}

#[test]
fn a_miss_in_cached_mode_says_how_to_fill() {
    let bench = Bench::new();
    let whole = bench.set(SupplyMode::CacheThenGenerate, 5);
    whole.get_many(vec![0, 1, 4]).unwrap();
    let cached = bench.set(SupplyMode::Cached, 5);
    assert!(cached.get(4).is_ok());
    let error = cached.get_many(vec![1, 3]).unwrap_err();
    assert!(matches!(cause(&error), AugmentError::NotInCache { missing: 2, total: 5, first: 3, .. }), "{error}");
    assert!(error.to_string().contains("cache-then-generate"), "{error}");
    assert_eq!(bench.fake.calls(), [3]);
    assert!(matches!(fill(&cached), Err(AugmentError::SupplyLacks { supply: SupplyMode::Cached, .. })));
    assert!(Supply::new(SupplyMode::Cached, bench.fake.clone(), None).is_err());
}

#[test]
fn a_generator_that_returns_too_few_is_caught() {
    let bench = Bench::new();
    bench.fake.withholds.store(1, Ordering::SeqCst);
    let error = bench.set(SupplyMode::CacheThenGenerate, 3).get_many(vec![0, 1, 2]).unwrap_err();
    assert!(matches!(cause(&error), AugmentError::SynthesizerCount { expected: 3, found: 2, .. }), "{error}");
    assert_eq!(bench.cache.count().unwrap(), 0);
}

#[test]
fn rows_say_what_the_samples_are() {
    let set = Bench::new().set(SupplyMode::OnDemand, 2);
    let record = &set.records()[1];
    assert_eq!(record.patient_id, Some(PatientId::new("p1")));
    assert_eq!((record.split, &record.labels), (Some(Split::Train), &request(1).labels));
    let Origin::Synthetic(provenance) = &record.origin else { panic!("a real record") };
    assert_eq!((&provenance.request, &*provenance.model), (&request(1), "fake"));
}

#[test]
fn descendants_of_held_out_patients_are_refused() {
    let fake: Arc<dyn Synthesizer> = Arc::new(Fake::default());
    let held_out = HashSet::from([PatientId::new("p2")]);
    let supply = Supply::OnDemand { synthesizer: fake };
    let error = SyntheticDataset::new(requests(4).into(), supply, Preprocess::new(4), &held_out).unwrap_err();
    assert!(matches!(&error, AugmentError::HeldOutPatient { index: 2, patient, .. } if patient.as_str() == "p2"), "{error}");
}

#[test]
fn a_set_of_images_is_checked_too() {
    let row = |id: &str, patient: &str, request| CxrRecord {
        origin: Origin::Synthetic(Box::new(Provenance::new(request, "fake"))),
        ..record(id, patient, None)
    };
    let held_out = HashSet::from([PatientId::new("p7")]);
    let check = |rows| SyntheticDataset::from_images(dataset(rows).unwrap(), &held_out);
    let set = check(vec![row("a", "p1", request(1)), row("b", "", request(2))]).unwrap();
    assert_eq!(set.get_many(vec![1, 0]).unwrap()[0].record.id, "b");
    // By the row's patient, and by the patient of the request behind it.
    for rows in [row("b", "p7", request(2)), row("b", "p2", request(7))] {
        let error = check(vec![row("a", "p1", request(1)), rows]).unwrap_err();
        assert!(matches!(error, AugmentError::HeldOutPatient { index: 1, .. }), "{error}");
    }
    let error = check(vec![record("a", "p1", None)]).unwrap_err();
    assert!(matches!(error, AugmentError::NotSynthetic { index: 0, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_supply_gives_the_same(batches in prop::collection::vec(prop::collection::vec(0usize..8, 1..6), 1..5), warm in prop::collection::vec(0usize..8, 0..5)) {
        let bench = Bench::new();
        let on_demand = bench.set(SupplyMode::OnDemand, 8);
        let generated = bench.set(SupplyMode::CacheThenGenerate, 8);
        generated.get_many(warm).unwrap();
        let pictures = |set: &SyntheticDataset| -> Vec<_> {
            batches.iter().flat_map(|batch| set.get_many(batch.clone()).unwrap()).map(|s| (s.image.values().to_vec(), s.record.id.clone())).collect()
        };
        let expected: Vec<_> = batches.iter().flatten().map(|&index| {
            let image = Preprocess::new(4).apply(&Fake::image(&request(index)));
            (image.values().to_vec(), on_demand.records()[index].id.clone())
        }).collect();
        prop_assert_eq!(&pictures(&on_demand), &expected);
        prop_assert_eq!(&pictures(&generated), &expected);
        fill(&generated).unwrap();
        prop_assert_eq!(&pictures(&bench.set(SupplyMode::Cached, 8)), &expected);
        prop_assert_eq!(bench.cache.report().written, 8);
    }
}

#[test]
fn samples_are_a_data_set_of_their_images() {
    let bench = Bench::new();
    let set = bench.set_of(SupplyMode::CacheThenGenerate, vec![request(3), request(1), request(3), request(2)]);
    let vocabulary = Arc::new(Vocabulary::parse(["Mass", "Edema"]).unwrap());
    let data = set.to_data("made", &vocabulary, 2).unwrap();
    let ids: Vec<&str> = data.rows().iter().map(|row| row.record.id.as_str()).collect();
    assert_eq!(ids, [set.records()[0].id.as_str(), set.records()[1].id.as_str()]);
    assert_eq!(set.to_data("made", &vocabulary, 9).unwrap().rows().len(), 3, "equal requests have one sample");
    // The image as it was made, not as a picture of the set.
    assert_eq!(data.decode(1).unwrap(), Fake::image(&request(1)));
}
