//! Requests through a gate.

use std::num::NonZeroUsize;

use super::{Candidate, Gate, GateOutcome, GateReport, NearestReal, Verdict, VerdictLedger};
use crate::AugmentError;
use crate::request::SampleRequest;
use crate::supply::{CacheKey, Supply};

/// What a gate works on.
#[derive(Debug)]
pub struct GateJob<'a> {
    /// The request.
    pub requests: &'a [SampleRequest],
    /// Where images come from; what is generated is kept if it has a cache.
    pub supply: &'a Supply,
    /// Where verdicts are kept, if anywhere.
    pub ledger: Option<&'a VerdictLedger>,
    /// Images made and judged at a time.
    pub batch: NonZeroUsize,
}

/// Progress of [`Gate::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateProgress {
    /// The attempt that is under way, from 1.
    pub attempt: u32,
    /// Requests settled.
    pub settled: usize,
    /// All requests.
    pub requests: usize,
}

/// One image that was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Index of the request in the job.
    pub request: usize,
    /// From 1.
    pub attempt: u32,
    /// Noise seed of the image.
    pub seed: u64,
    /// The judges' verdict.
    pub verdict: Verdict,
}

/// A request that passed.
#[derive(Clone, Debug, PartialEq)]
pub struct GatedRequest {
    /// The request of the attempt that passed.
    pub request: SampleRequest,
    /// How it passed.
    pub outcome: GateOutcome,
    /// The training image it is most similar to, if that was computed.
    pub nearest_real: Option<NearestReal>,
}

/// What became of the requests of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// Those that passed, in their order.
    pub accepted: Vec<GatedRequest>,
    /// Every image that was judged, attempt by attempt.
    pub attempts: Vec<Attempt>,
    /// The counts.
    pub report: GateReport,
}

impl Gate {
    /// Sends requests through the gate.
    ///
    /// If it is stopped at any moment, the next call with the same ledger continues where it was; the result does not depend on
    /// the ledger, nor on the batch or on the supply.
    ///
    /// # Errors
    /// [`AugmentError::NotInCache`] from a supply without a generator, [`AugmentError::Judge`], and those of generator, cache and
    /// ledger.
    pub fn settle(&self, job: &GateJob<'_>, mut progress: impl FnMut(GateProgress)) -> Result<Settled, AugmentError> {
        let mut outcomes: Vec<Option<GatedRequest>> = vec![None; job.requests.len()];
        let mut attempts = Vec::new();
        let mut report = self.report();
        for attempt in 1..=self.attempts.get() {
            let open: Vec<usize> = (0..job.requests.len()).filter(|&index| outcomes[index].is_none()).collect();
            for batch in open.chunks(job.batch.get()) {
                let asked: Vec<_> = batch.iter().map(|&index| Self::attempt(&job.requests[index], attempt)).collect();
                let verdicts = self.verdicts(job, &asked, attempt)?;
                for ((&index, request), verdict) in batch.iter().zip(asked).zip(verdicts) {
                    report.judged(&verdict);
                    attempts.push(Attempt { request: index, attempt, seed: request.seed, verdict: verdict.clone() });
                    if verdict.passed() {
                        let (outcome, nearest_real) = (GateOutcome::Passed(attempt), verdict.nearest_real);
                        outcomes[index] = Some(GatedRequest { request, outcome, nearest_real });
                    }
                }
                let settled = outcomes.iter().flatten().count();
                progress(GateProgress { attempt, settled, requests: job.requests.len() });
            }
        }
        let rejected = GateOutcome::Rejected(self.attempts.get());
        for outcome in &outcomes {
            report.settled(outcome.as_ref().map_or(rejected, |gated| gated.outcome));
        }
        Ok(Settled { accepted: outcomes.into_iter().flatten().collect(), attempts, report })
    }

    /// The verdicts on the images of `asked`: from the ledger where it has them.
    fn verdicts(&self, job: &GateJob<'_>, asked: &[SampleRequest], attempt: u32) -> Result<Vec<Verdict>, AugmentError> {
        let fingerprint = job.supply.fingerprint();
        let keys: Vec<_> = asked.iter().map(|request| CacheKey::new(request, fingerprint)).collect();
        let known = |key: &CacheKey| job.ledger.map_or(Ok(None), |ledger| ledger.get(self.fingerprint, *key));
        let mut verdicts = keys.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        let unknown: Vec<usize> = (0..asked.len()).filter(|&place| verdicts[place].is_none()).collect();
        if unknown.is_empty() {
            return Ok(verdicts.into_iter().flatten().collect());
        }
        let wanted: Vec<_> = unknown.iter().map(|&place| asked[place].clone()).collect();
        let judged = job.supply.judged(&wanted, |candidates| self.judge(candidates, attempt))?;
        if let Some(ledger) = job.ledger {
            let rows: Vec<_> = unknown.iter().map(|&place| keys[place]).zip(judged.iter().cloned()).collect();
            ledger.record(self.fingerprint, &rows)?;
        }
        for (place, verdict) in unknown.into_iter().zip(judged) {
            verdicts[place] = Some(verdict);
        }
        Ok(verdicts.into_iter().map(|verdict| verdict.expect("known or judged just now")).collect())
    }

    /// A report without counts.
    pub(super) fn report(&self) -> GateReport {
        GateReport { limits: self.judges.iter().flat_map(|judge| judge.limits()).collect(), ..GateReport::default() }
    }

    /// The verdicts of all judges, and what is written beside the images.
    pub(super) fn judge(
        &self,
        candidates: &[Candidate<'_>],
        attempt: u32,
    ) -> Result<Vec<(Verdict, GateOutcome)>, AugmentError> {
        let mut verdicts = vec![Verdict::default(); candidates.len()];
        for judge in &self.judges {
            let more = judge.judge(candidates).map_err(|source| AugmentError::Judge { source })?;
            if more.len() != candidates.len() {
                return Err(AugmentError::VerdictCount { expected: candidates.len(), found: more.len() });
            }
            verdicts = verdicts.into_iter().zip(more).map(|(verdict, more)| verdict.and(more)).collect();
        }
        let outcome = |verdict: &Verdict| match verdict.passed() {
            true => GateOutcome::Passed(attempt),
            false => GateOutcome::Rejected(attempt),
        };
        Ok(verdicts.into_iter().map(|verdict| (verdict.clone(), outcome(&verdict))).collect())
    }
}
