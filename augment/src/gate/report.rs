//! What a gate has done.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{GateOutcome, Verdict};

/// Counts of one pass through a gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// All requests.
    pub requests: usize,
    /// Requests with an image that passed, by the attempt that did: the first entry counts first attempts.
    pub passed: Vec<usize>,
    /// Requests none of whose attempts passed.
    pub rejected: usize,
    /// Images that were judged, now or before.
    pub judged: usize,
    /// Of these, images with a fault of that kind; an image can have several.
    pub faults: BTreeMap<String, usize>,
    /// The limits of the judges in words.
    pub limits: Vec<String>,
}

impl GateReport {
    /// Requests with an image that passed.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.passed.iter().sum()
    }

    pub(super) fn judged(&mut self, verdict: &Verdict) {
        self.judged += 1;
        let mut kinds: Vec<_> = verdict.faults.iter().map(super::Fault::kind).collect();
        kinds.dedup();
        for kind in kinds {
            *self.faults.entry(kind.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn settled(&mut self, outcome: GateOutcome) {
        self.requests += 1;
        match outcome {
            GateOutcome::Passed(attempt) => {
                let place = attempt as usize - 1;
                self.passed.resize(self.passed.len().max(place + 1), 0);
                self.passed[place] += 1;
            }
            GateOutcome::Rejected(_) => self.rejected += 1,
        }
    }
}

impl fmt::Display for GateReport {
    /// `90 of 100 requests passed (80 at once), 10 rejected; 140 images judged: blank 3, disagrees 48`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.passed.first().copied().unwrap_or(0);
        write!(f, "{} of {} requests passed ({first} at once), {} rejected", self.accepted(), self.requests, self.rejected)?;
        write!(f, "; {} images judged", self.judged)?;
        for (place, (kind, count)) in self.faults.iter().enumerate() {
            write!(f, "{}{kind} {count}", if place == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}
