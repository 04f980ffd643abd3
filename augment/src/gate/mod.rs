//! The gate that samples pass before they may train.
//!
//! A request whose image fails gets another image, made with another seed, until one passes or the attempts are used up; a
//! request that never passes is left out. All of this is decided before training, so that the pool of a mixture is known when its
//! epochs are planned, and so that it is the same in every [supply](crate::supply::SupplyMode): what passes is a function of requests,
//! generator and gate.

mod judge;
mod ledger;
mod nearest;
mod report;
mod sanity;
mod settle;
mod sift;
mod verdict;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use judge::{Candidate, Judge, JudgeError};
pub use ledger::VerdictLedger;
pub use nearest::NearestTraining;
pub use report::GateReport;
pub use sanity::ImageSanity;
pub use settle::{Attempt, GateJob, GateProgress, GatedRequest, Settled};
pub use sift::Sifted;
pub use verdict::{Fault, GateOutcome, NearestReal, Verdict};

use crate::digest::Fingerprint;
use crate::request::SampleRequest;

/// Judges, and how often a request may try.
#[derive(Clone)]
pub struct Gate {
    judges: Vec<Arc<dyn Judge>>,
    attempts: NonZeroU32,
    fingerprint: Fingerprint,
}

impl Gate {
    /// A gate where every judge has to agree. `attempts` counts the first one too.
    #[must_use]
    pub fn new(judges: Vec<Arc<dyn Judge>>, attempts: NonZeroU32) -> Self {
        let fingerprints: Vec<_> = judges.iter().map(|judge| judge.fingerprint().0).collect();
        // The number of attempts is not part of a verdict.
        let fingerprint = Fingerprint::of(&fingerprints.iter().map(|digest| &digest[..]).collect::<Vec<_>>());
        Self { judges, attempts, fingerprint }
    }

    /// Digest of the judges.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The request of attempt `attempt`, counted from 1: the first is the request itself, the others have seeds that are digests of its
    /// seed and the attempt.
    #[must_use]
    pub fn attempt(request: &SampleRequest, attempt: u32) -> SampleRequest {
        if attempt <= 1 {
            return request.clone();
        }
        let digest = Fingerprint::of(&[b"roentgen attempt 1", &request.seed.to_le_bytes(), &attempt.to_le_bytes()]);
        let (first, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
        SampleRequest { seed: u64::from_le_bytes(*first), ..request.clone() }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gate({} judges, {} attempts)", self.judges.len(), self.attempts)
    }
}

#[cfg(test)]
mod tests;
