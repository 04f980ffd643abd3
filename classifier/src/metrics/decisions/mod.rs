//! Decisions at a threshold.

mod f1;

use serde::Serialize;

use super::{MetricsError, ScoreTable};

pub use f1::{F1, F1Table};

/// Counts of one finding's decisions; a score at or above the threshold is called positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Positives called positive.
    pub true_positives: usize,
    /// Negatives called positive.
    pub false_positives: usize,
    /// Negatives called negative.
    pub true_negatives: usize,
    /// Positives called negative.
    pub false_negatives: usize,
}

impl Confusion {
    /// Counts the decisions `score >= threshold`; `targets` are 1, 0 or NaN (missing: skipped).
    ///
    /// # Errors
    /// As [`ScoreTable::new`] with one finding.
    pub fn new(scores: &[f64], targets: &[f64], threshold: f64) -> Result<Self, MetricsError> {
        let mut counts = Self::default();
        for case in ScoreTable::new(scores, targets, 1)?.cases(0) {
            counts.count(case.positive, case.score >= threshold);
        }
        Ok(counts)
    }

    /// Counts one more decision.
    pub(super) fn count(&mut self, positive: bool, called: bool) {
        let count = match (positive, called) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
            (true, false) => &mut self.false_negatives,
        };
        *count += 1;
    }

    /// Counts another one's decisions too.
    fn add(&mut self, other: &Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.true_negatives += other.true_negatives;
        self.false_negatives += other.false_negatives;
    }

    /// Share of the called that are positive; 0 where nothing is called, `None` without cases.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        self.ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the positives that are called (sensitivity); 0 where there are none, `None` without cases.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        self.ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the negatives that are not called; 0 where there are none, `None` without cases.
    #[must_use]
    pub fn specificity(&self) -> Option<f64> {
        self.ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// Harmonic mean of precision and recall; 0 where nothing is called or positive, `None` without cases.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        self.ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// A quotient with scikit-learn's `zero_division=0`.
    fn ratio(&self, part: usize, whole: usize) -> Option<f64> {
        let cases = self.true_positives + self.false_positives + self.true_negatives + self.false_negatives;
        (cases > 0).then(|| if whole == 0 { 0.0 } else { part as f64 / whole as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        let scores = [0.5, 0.49, 0.9, 0.1, 0.7, 0.2];
        let targets = [1.0, 1.0, 1.0, 0.0, 0.0, f64::NAN];
        let counts = Confusion::new(&scores, &targets, 0.5).unwrap();
        assert_eq!(counts, Confusion { true_positives: 2, false_positives: 1, true_negatives: 1, false_negatives: 1 });
        // From the four counts: 2/3, 2/3, 1/2, and f1 = 4/(4+1+1).
        assert_eq!((counts.precision(), counts.recall()), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!((counts.specificity(), counts.f1()), (Some(0.5), Some(4.0 / 6.0)));
    }

    #[test]
    fn zero_division_is_zero_and_no_cases_is_undefined() {
        let none_called = Confusion::new(&[0.1, 0.2], &[0.0, 0.0], 0.5).unwrap();
        assert_eq!((none_called.precision(), none_called.recall(), none_called.f1()), (Some(0.0), Some(0.0), Some(0.0)));
        let empty = Confusion::new(&[0.1], &[f64::NAN], 0.5).unwrap();
        assert_eq!((empty.precision(), empty.recall(), empty.specificity(), empty.f1()), (None, None, None, None));
    }
}
