use std::collections::HashSet;
use std::num::{NonZeroU32, NonZeroUsize};

use burn_core::data::dataset::Dataset;
use proptest::prelude::*;

use super::*;
use crate::dataset::SplitPlan;
use crate::dataset::tests::{dataset, record, synthetic};
use crate::digest::Fingerprint;
use crate::gate::{Candidate, Fault, Gate, Judge, JudgeError, Verdict, VerdictLedger};
use crate::image::{ImageArray, Preprocess};
use crate::record::{Finding, Label, Vocabulary};
use crate::request::LabelPlan;
use crate::supply::SyntheticDataset;

/// `a/1.png` of patient p1 trains, `b/2.png` of p2 validates, `c/3.png` of p3 and `c/4.png` of nobody test.
fn splits() -> Splits {
    let row = |id, patient, split| record(id, patient, Some(split));
    let rows = vec![
        row("a/1.png", "p1", Split::Train),
        row("b/2.png", "p2", Split::Valid),
        row("c/3.png", "p3", Split::Test),
        row("c/4.png", "", Split::Test),
    ];
    Splits::new(&dataset(rows).unwrap().with_preprocess(Preprocess::new(3)), &SplitPlan::column()).unwrap()
}

/// A synthetic row with a source that is named by image, patient or both.
fn of_source(id: &str, source: &str, patient: &str) -> CxrRecord {
    let mut record = synthetic(record(id, patient, None));
    if let Origin::Synthetic(provenance) = &mut record.origin {
        let patient_id = PatientId::new(if patient.is_empty() { source } else { patient });
        provenance.request.source = (!source.is_empty() || !patient.is_empty()).then(|| RequestSource {
            id: source.to_owned(),
            patient_id,
            fold: None,
        });
    }
    record
}

fn pool(records: Vec<CxrRecord>, descendants: Descendants) -> Result<ImagePool, AugmentError> {
    let splits = splits();
    ImagePool::new(&dataset(records).unwrap(), &PoolOptions { splits: &splits, descendants, model: Some("painter") })
}

fn ids(pool: &ImagePool) -> Vec<&str> {
    pool.data().rows().iter().map(|row| row.record.id.as_str()).collect()
}

#[test]
fn rows_of_another_tool_become_synthetic_ones_of_the_study() {
    let vocabulary = Arc::new(Vocabulary::parse(["Hernia", "Mass"]).unwrap());
    let mut rows = vec![record("x.png", "", None), record("y.png", "p1", Some(Split::Test))];
    rows[0].labels = vec![Label::Positive, Label::Negative];
    rows[1].report = Some("A mass.".to_owned());
    let source = Arc::new(ImageArray::new("made", 2, 2, vec![7; 8]));
    let made = CxrDataset::from_records("made", vocabulary, rows, source).unwrap();
    let splits = splits();
    let options = PoolOptions { splits: &splits, descendants: Descendants::Refuse, model: Some("painter") };
    let pool = ImagePool::new(&made, &options).unwrap();
    // The study's findings in its order: the Effusion is unknown, the Hernia is left out.
    assert_eq!(pool.data().record(0).labels, [Label::Missing, Label::Negative]);
    assert_eq!(pool.request(0).labels, pool.data().record(0).labels);
    assert_eq!(pool.request(1).prompt, "A mass.");
    assert!(pool.data().rows().iter().all(|row| row.record.split == Some(Split::Train)));
    assert_eq!(pool.models().into_iter().collect::<Vec<_>>(), ["painter"]);
    assert_eq!(pool.notes().len(), 2, "{:?}", pool.notes());
    assert_eq!(pool.notes()[0], "made has no labels of Effusion; they are taken as unknown");
    assert!(pool.notes()[1].starts_with("1 of 2 images of made name no patient and no source"), "{:?}", pool.notes());
    let set = SyntheticDataset::from_pool(&pool);
    assert_eq!(set.get_many(vec![1, 0]).unwrap()[1].image.width(), 3, "the study's size");
    // Without a common finding there is nothing to learn.
    let hernias = made.with_vocabulary(Vocabulary::parse(["Hernia"]).unwrap()).unwrap();
    let error = ImagePool::new(&hernias, &options).unwrap_err().to_string();
    assert_eq!(error, "made has no labels of Effusion, Mass; requested: Effusion, Mass; available: Hernia");
}

#[test]
fn of_a_mixed_table_only_the_synthetic_rows_are_a_pool() {
    let pool = pool(vec![record("r.png", "p1", None), of_source("s.png", "", "p1")], Descendants::Refuse).unwrap();
    assert_eq!(ids(&pool), ["s.png"]);
    assert_eq!(pool.notes(), ["1 rows of test are not marked as synthetic and are not in the pool"]);
    assert_eq!(pool.models().into_iter().collect::<Vec<_>>(), ["fake"], "the row's own");
}

#[test]
fn descendants_of_held_out_images_are_found_by_every_name() {
    let held_out = [
        ("patient", of_source("s.png", "", "p2"), "p2"),
        ("image of a patient", of_source("s.png", "b/2.png", ""), "p2"),
        ("image in another folder", of_source("s.png", "elsewhere\\3.jpg", ""), "p3"),
        ("image and another patient", of_source("s.png", "c/3.png", "p1"), "p3"),
        ("image of nobody", of_source("s.png", "4", ""), "c/4.png"),
        ("row without provenance", record("s.png", "p3", None), "p3"),
    ];
    for (what, row, patient) in held_out {
        let error = pool(vec![row.clone()], Descendants::Refuse).unwrap_err();
        let AugmentError::Descendants { images: 1, total: 1, image, patient: found, .. } = &error else {
            panic!("{what}: {error}")
        };
        assert_eq!((image.as_str(), found.as_str()), ("s.png", patient), "{what}");
        assert!(error.to_string().contains("held_out = \"drop\""), "{error}");
        // Alone in its pool, it leaves nothing.
        assert!(matches!(pool(vec![row.clone()], Descendants::Drop), Err(AugmentError::EmptyDataset { .. })), "{what}");
    }
    let mixed = vec![of_source("x.png", "b/2.png", ""), of_source("y.png", "1", "p1"), of_source("z.png", "3", "")];
    let kept = pool(mixed, Descendants::Drop).unwrap();
    assert_eq!(ids(&kept), ["y.png"]);
    assert_eq!(kept.notes(), ["2 of 3 images of test descend from patients of validation or test and are not in the pool"]);
}

/// Labels of two findings from the digits of `i`: both, one, the other or none.
fn labelled(n: usize) -> Vec<CxrRecord> {
    let label = |positive| if positive { Label::Positive } else { Label::Negative };
    let row = |i: usize| {
        let mut row = of_source(&format!("{i}.png"), "", "p1");
        row.labels = vec![label(i % 2 == 1), label(i % 10 == 9)];
        row
    };
    (0..n).map(row).collect()
}

#[test]
fn plans_choose_without_repeating() {
    let pool = pool(labelled(60), Descendants::Refuse).unwrap();
    let counts = |counts: &[(&str, usize)]| {
        LabelPlan::Counts(counts.iter().map(|(name, count)| (Finding::parse(name).unwrap(), *count)).collect())
    };
    let shown = |pool: &ImagePool, column: usize| {
        pool.data().rows().iter().filter(|row| row.record.labels[column] == Label::Positive).count()
    };
    let balanced = pool.choose(&LabelPlan::Balanced, 15, 1).unwrap();
    // Five for each finding and five for none; every mass comes with an effusion.
    assert_eq!(shown(&balanced, 0), 10);
    assert!(shown(&balanced, 1) >= 5);
    let counted = pool.choose(&counts(&[("Effusion", 20), ("Mass", 6), ("No Finding", 4)]), 0, 1).unwrap();
    assert_eq!((ids(&counted).into_iter().collect::<HashSet<_>>().len(), shown(&counted, 1)), (30, 6));
    let error = pool.choose(&counts(&[("Effusion", 25), ("Mass", 6)]), 0, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "plan.counts.Effusion is 25; write at most 24: 30 images of test show it, and an image counts for one finding"
    );
    let error = pool.choose(&LabelPlan::Prevalence, 61, 1).unwrap_err().to_string();
    assert_eq!(error, "61 images are wanted of test, which has 60");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_smaller_choice_is_the_beginning_of_a_larger_one(n in 1usize..80, fewer in 0usize..80, more in 0usize..80, seed: u64, balanced: bool) {
        let pool = pool(labelled(n), Descendants::Refuse).unwrap();
        let plan = if balanced { LabelPlan::Balanced } else { LabelPlan::Prevalence };
        let (fewer, more) = (fewer.min(more), fewer.max(more));
        prop_assert_eq!(pool.choose(&plan, more, seed).is_ok(), more <= n);
        if more <= n {
            let (small, large) = (pool.choose(&plan, fewer, seed).unwrap(), pool.choose(&plan, more, seed).unwrap());
            prop_assert_eq!(ids(&large).iter().collect::<HashSet<_>>().len(), more);
            prop_assert_eq!(ids(&small), &ids(&large)[..fewer]);
        }
    }
}

/// Passes images whose first gray level is even, and counts what it is shown.
#[derive(Default)]
struct Even(std::sync::atomic::AtomicUsize);

impl Judge for Even {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"even"])
    }

    fn limits(&self) -> Vec<String> {
        vec!["even".to_owned()]
    }

    fn judge(&self, candidates: &[Candidate<'_>]) -> Result<Vec<Verdict>, JudgeError> {
        self.0.fetch_add(candidates.len(), std::sync::atomic::Ordering::SeqCst);
        let verdict = |candidate: &Candidate<'_>| {
            let crate::image::GrayDepth::U8(samples) = candidate.image.depth() else { unreachable!("8 bit") };
            let odd = (samples[0] % 2 == 1).then_some(Fault::Blank { deviation: 0.0 });
            Verdict { faults: odd.into_iter().collect(), nearest_real: None }
        };
        Ok(candidates.iter().map(verdict).collect())
    }
}

#[test]
fn a_gate_judges_each_image_once_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = VerdictLedger::open(&folder.path().join("verdicts.sqlite")).unwrap();
    let pool = pool(labelled(9), Descendants::Refuse).unwrap();
    let judge = Arc::new(Even::default());
    let gate = Gate::new(vec![judge.clone()], NonZeroU32::new(4).unwrap());
    let sift = |batch| gate.sift(&pool, Some(&ledger), NonZeroUsize::new(batch).unwrap(), |_| ()).unwrap();
    let (first, again) = (sift(4), sift(2));
    assert_eq!(first, again);
    assert_eq!(judge.0.load(std::sync::atomic::Ordering::SeqCst), 9);
    assert_eq!((first.report.requests, &first.report.passed[..], first.report.rejected), (9, &[5][..], 4));
    let passed = pool.passed(&first.attempts);
    assert_eq!(ids(&passed), ["0.png", "2.png", "4.png", "6.png", "8.png"]);
    let Origin::Synthetic(provenance) = &passed.data().record(1).origin else { panic!("a real row") };
    assert_eq!(provenance.gate, Some(GateOutcome::Passed(1)));
}
