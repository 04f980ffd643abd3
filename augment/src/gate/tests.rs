use std::num::NonZeroUsize;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::image::{GrayDepth, Preprocess};
use crate::supply::fake::{Fake, requests};
use crate::supply::{CacheOptions, SampleCache, Supply, SupplyMode, SyntheticDataset};

/// Passes images whose first gray level is below a limit, and counts the images it saw.
struct Dark {
    limit: u8,
    seen: Mutex<usize>,
}

impl Judge for Dark {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"dark", &[self.limit]])
    }

    fn limits(&self) -> Vec<String> {
        vec![format!("first level below {}", self.limit)]
    }

    fn judge(&self, candidates: &[Candidate<'_>]) -> Result<Vec<Verdict>, JudgeError> {
        *self.seen.lock().unwrap() += candidates.len();
        let verdict = |candidate: &Candidate<'_>| {
            let GrayDepth::U8(levels) = candidate.image.depth() else { panic!("8 bits") };
            let share = f32::from(levels[0]) / 255.0;
            let faults = if levels[0] < self.limit { Vec::new() } else { vec![Fault::Saturated { share }] };
            let nearest_real = Some(NearestReal { id: "a.png".to_owned(), distance: share });
            Verdict { faults, nearest_real }
        };
        Ok(candidates.iter().map(verdict).collect())
    }
}

fn gate(limit: u8, attempts: u32) -> (Arc<Dark>, Gate) {
    let dark = Arc::new(Dark { limit, seen: Mutex::default() });
    (dark.clone(), Gate::new(vec![dark], NonZeroU32::new(attempts).unwrap()))
}

struct Bench {
    _folder: tempfile::TempDir,
    cache: Arc<SampleCache>,
    ledger: VerdictLedger,
    fake: Arc<Fake>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(SampleCache::open(folder.path(), CacheOptions::default()).unwrap());
        let ledger = VerdictLedger::open(&folder.path().join("verdicts.sqlite")).unwrap();
        Self { _folder: folder, cache, ledger, fake: Arc::default() }
    }

    fn supply(&self, mode: SupplyMode) -> Supply {
        Supply::new(mode, self.fake.clone(), Some(Arc::clone(&self.cache))).unwrap()
    }

    fn settle(&self, gate: &Gate, mode: SupplyMode, ledger: bool, batch: usize) -> Result<Settled, crate::AugmentError> {
        let ledger = ledger.then_some(&self.ledger);
        let (requests, supply) = (requests(24), self.supply(mode));
        gate.settle(&GateJob { requests: &requests, supply: &supply, ledger, batch: NonZeroUsize::new(batch).unwrap() }, |_| ())
    }
}

#[test]
fn retries_are_other_images_and_are_bounded() {
    let bench = Bench::new();
    // Half of the levels pass, so some of 24 requests need several attempts.
    let (dark, gate) = gate(128, 3);
    let settled = bench.settle(&gate, SupplyMode::OnDemand, false, 5).unwrap();
    let report = &settled.report;
    assert_eq!((report.requests, report.accepted() + report.rejected), (24, 24));
    assert!(report.passed.len() > 1 && report.rejected > 0, "{report}");
    assert_eq!(report.judged, *dark.seen.lock().unwrap());
    assert_eq!(report.faults["saturated"], report.judged - report.accepted());
    assert_eq!(report.limits, ["first level below 128"]);
    for index in 0..24 {
        let tried: Vec<_> = settled.attempts.iter().filter(|attempt| attempt.request == index).collect();
        assert_eq!(
            tried.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(),
            (1..=tried.len() as u32).collect::<Vec<_>>()
        );
        assert!(tried.len() == 3 || tried.last().unwrap().verdict.passed());
        assert!(tried[..tried.len() - 1].iter().all(|attempt| !attempt.verdict.passed()));
        let seeds: std::collections::BTreeSet<_> = tried.iter().map(|attempt| attempt.seed).collect();
        assert_eq!(seeds.len(), tried.len(), "every attempt has its own noise");
    }
    for gated in &settled.accepted {
        assert!(matches!(Fake::image(&gated.request).depth(), GrayDepth::U8(levels) if levels[0] < 128));
        assert!(matches!(gated.outcome, GateOutcome::Passed(1..=3)));
    }
}

#[test]
fn all_supplies_settle_alike_with_and_without_verdicts_kept() {
    let bench = Bench::new();
    let (dark, gate) = gate(100, 4);
    let fresh = bench.settle(&gate, SupplyMode::OnDemand, false, 7).unwrap();
    assert!(matches!(bench.settle(&gate, SupplyMode::Cached, true, 7), Err(crate::AugmentError::NotInCache { .. })));
    let kept = bench.settle(&gate, SupplyMode::CacheThenGenerate, true, 3).unwrap();
    assert_eq!(kept, fresh);
    let before = (*dark.seen.lock().unwrap(), bench.fake.made());
    // From the ledger alone, then from the images alone.
    assert_eq!(bench.settle(&gate, SupplyMode::Cached, true, 24).unwrap(), fresh);
    assert_eq!((*dark.seen.lock().unwrap(), bench.fake.made()), before);
    assert_eq!(bench.settle(&gate, SupplyMode::Cached, false, 24).unwrap(), fresh);
    assert_eq!(bench.fake.made(), before.1);
    // The ledger of one gate is not another's.
    let stricter = self::gate(50, 4).1;
    assert_ne!(bench.settle(&stricter, SupplyMode::CacheThenGenerate, true, 5).unwrap().accepted, fresh.accepted);
}

#[test]
fn outcomes_are_in_rows_and_files() {
    let bench = Bench::new();
    let settled = bench.settle(&gate(128, 3).1, SupplyMode::CacheThenGenerate, false, 4).unwrap();
    let held_out = std::collections::HashSet::new();
    let supply = bench.supply(SupplyMode::Cached);
    let set = SyntheticDataset::gated(&settled.accepted, supply, Preprocess::new(4), &held_out).unwrap();
    assert!(set.missing().is_empty());
    for (record, gated) in set.records().iter().zip(&settled.accepted) {
        let crate::record::Origin::Synthetic(provenance) = &record.origin else { panic!("a real row") };
        assert_eq!((provenance.gate, &provenance.nearest_real), (Some(gated.outcome), &gated.nearest_real));
        let key = crate::supply::CacheKey::new(&gated.request, bench.supply(SupplyMode::OnDemand).fingerprint());
        let (_, origin) = bench.cache.sample(key).unwrap().unwrap();
        assert_eq!((origin.gate, origin.nearest_real), (Some(gated.outcome), gated.nearest_real.clone()));
    }
}

#[test]
fn outcomes_read_back() {
    for outcome in [GateOutcome::Passed(1), GateOutcome::Rejected(12)] {
        assert_eq!(GateOutcome::parse(&outcome.to_string()), Some(outcome));
    }
    assert!(["passed", "passed x", "maybe 1", ""].into_iter().all(|text| GateOutcome::parse(text).is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_passes_depends_on_no_batch(limit in 20u8..240, attempts in 1u32..5, batch in 1usize..30) {
        let (_, gate) = gate(limit, attempts);
        let bench = Bench::new();
        let alone = bench.settle(&gate, SupplyMode::OnDemand, false, 1).unwrap();
        prop_assert_eq!(&bench.settle(&gate, SupplyMode::OnDemand, false, batch).unwrap(), &alone);
        prop_assert!(alone.attempts.len() <= 24 * attempts as usize);
        // A request that passed at once is the request itself.
        let at_once = alone.accepted.iter().filter(|gated| gated.outcome == GateOutcome::Passed(1));
        let asked = requests(24);
        for gated in at_once {
            prop_assert!(asked.contains(&gated.request));
        }
    }
}
