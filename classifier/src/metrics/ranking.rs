//! Cases in the order of their scores: one sort, from which every rank statistic is a single pass.

use super::table::Case;
use super::{MetricsError, ScoreTable};

/// The known cases of one finding, best score first.
#[derive(Clone, Debug)]
pub struct Ranking {
    cases: Vec<Case>,
    rows: usize,
    positives: usize,
}

impl Ranking {
    /// Ranks one finding's `scores`; `targets` are 1, 0 or NaN (missing: skipped). O(n log n).
    ///
    /// # Errors
    /// As [`ScoreTable::new`] with one finding.
    pub fn new(scores: &[f64], targets: &[f64]) -> Result<Self, MetricsError> {
        Ok(ScoreTable::new(scores, targets, 1)?.ranking(0))
    }

    pub(super) fn from_cases(mut cases: Vec<Case>, rows: usize) -> Self {
        // The total order tells 0.0 from -0.0, but leaves them side by side, where `ties` joins them.
        cases.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        let positives = cases.iter().filter(|case| case.positive).count();
        Self { cases, rows, positives }
    }

    /// Number of known cases.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.cases.len()
    }

    /// Number of positive cases.
    #[must_use]
    pub fn positives(&self) -> usize {
        self.positives
    }

    /// Number of negative cases.
    #[must_use]
    pub fn negatives(&self) -> usize {
        self.cases.len() - self.positives
    }

    /// Share of positives among the known cases; `None` without cases.
    #[must_use]
    pub fn prevalence(&self) -> Option<f64> {
        (!self.cases.is_empty()).then(|| self.positives as f64 / self.cases.len() as f64)
    }

    /// Number of rows that the ranking was made from, those with a missing target included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether both classes occur; without them there is no curve and no area.
    #[must_use]
    pub fn is_defined(&self) -> bool {
        self.positives > 0 && self.negatives() > 0
    }

    /// The cases in groups of equal score, best first.
    pub(super) fn ties(&self) -> impl Iterator<Item = &[Case]> {
        self.cases.chunk_by(|a, b| a.score == b.score)
    }
}
