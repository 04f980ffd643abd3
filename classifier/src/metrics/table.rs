//! Scores and targets, checked once.

use super::{MetricsError, Ranking};

/// Scores and targets of `N` rows and `C` findings, both row-major `[N, C]`.
///
/// A target is 1 (positive), 0 (negative) or NaN (missing). Cases with a missing target are ignored, whatever their
/// score.
#[derive(Clone, Copy, Debug)]
pub struct ScoreTable<'a> {
    scores: &'a [f64],
    targets: &'a [f64],
    findings: usize,
}

/// One score whose target is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) score: f64,
    pub(super) row: usize,
    pub(super) positive: bool,
}

impl<'a> ScoreTable<'a> {
    /// Checks a table of `findings` columns.
    ///
    /// # Errors
    /// [`MetricsError::Length`] or [`MetricsError::Ragged`] where the shapes disagree, [`MetricsError::Target`] for a target other
    /// than 0, 1 and NaN, [`MetricsError::NanScore`] for a NaN score whose target is known.
    pub fn new(scores: &'a [f64], targets: &'a [f64], findings: usize) -> Result<Self, MetricsError> {
        if scores.len() != targets.len() {
            return Err(MetricsError::Length { what: "the score table", expected: targets.len(), found: scores.len() });
        }
        if findings == 0 || !scores.len().is_multiple_of(findings) {
            return Err(MetricsError::Ragged { values: scores.len(), findings });
        }
        for (index, (&score, &target)) in scores.iter().zip(targets).enumerate() {
            let (row, finding) = (index / findings, index % findings);
            if target.is_nan() {
                continue;
            }
            if target != 0.0 && target != 1.0 {
                return Err(MetricsError::Target { row, finding, found: target });
            }
            if score.is_nan() {
                return Err(MetricsError::NanScore { row, finding });
            }
        }
        Ok(Self { scores, targets, findings })
    }

    /// Number of rows, `N`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.scores.len() / self.findings
    }

    /// Number of findings, `C`.
    #[must_use]
    pub fn findings(&self) -> usize {
        self.findings
    }

    /// The cases of one finding, best score first.
    ///
    /// # Panics
    /// If `finding` is not below [`ScoreTable::findings`].
    #[must_use]
    pub fn ranking(&self, finding: usize) -> Ranking {
        Ranking::from_cases(self.cases(finding).collect(), self.rows())
    }

    /// All known (row, finding) pairs as cases of one finding: the meaning of "micro" averages. Row `r` of the ranking is the
    /// flat index into the table.
    #[must_use]
    pub fn pooled(&self) -> Ranking {
        let flat = Self { findings: 1, ..*self };
        Ranking::from_cases(flat.cases(0).collect(), flat.rows())
    }

    /// Scores and targets of one row, missing ones too.
    pub(super) fn row(&self, row: usize) -> (&'a [f64], &'a [f64]) {
        let of = |values: &'a [f64]| &values[row * self.findings..][..self.findings];
        (of(self.scores), of(self.targets))
    }

    /// The known cases of one finding, in row order.
    pub(super) fn cases(&self, finding: usize) -> impl Iterator<Item = Case> + use<'a> {
        assert!(finding < self.findings, "finding {finding} of a table with {} findings", self.findings);
        let column = |values: &'a [f64]| values.iter().skip(finding).step_by(self.findings);
        column(self.scores)
            .zip(column(self.targets))
            .enumerate()
            .filter(|(_, (_, target))| !target.is_nan())
            .map(|(row, (&score, &target))| Case { score, row, positive: target == 1.0 })
    }

    /// Fails on a known case whose score isn't in `[0, 1]`.
    pub(super) fn require_probabilities(&self) -> Result<(), MetricsError> {
        let bad =
            self.scores.iter().zip(self.targets).position(|(score, target)| !target.is_nan() && !(0.0..=1.0).contains(score));
        match bad {
            None => Ok(()),
            Some(index) => Err(MetricsError::Probability {
                row: index / self.findings,
                finding: index % self.findings,
                found: self.scores[index],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_skip_missing_targets_and_keep_their_rows() {
        let scores = [0.1, 0.2, f64::NAN, 0.4, 0.5, 0.6];
        let targets = [1.0, 0.0, f64::NAN, 1.0, 0.0, f64::NAN];
        let table = ScoreTable::new(&scores, &targets, 2).unwrap();
        assert_eq!((table.rows(), table.findings()), (3, 2));
        let first: Vec<_> = table.cases(0).map(|case| (case.row, case.score, case.positive)).collect();
        assert_eq!(first, [(0, 0.1, true), (2, 0.5, false)]);
        let second: Vec<_> = table.cases(1).map(|case| (case.row, case.score, case.positive)).collect();
        assert_eq!(second, [(0, 0.2, false), (1, 0.4, true)]);
    }

    #[test]
    fn bad_tables_are_refused_with_their_place() {
        let refused = |scores: &[f64], targets: &[f64], findings| ScoreTable::new(scores, targets, findings).unwrap_err();
        assert_eq!(refused(&[0.5], &[1.0, 0.0], 1), MetricsError::Length { what: "the score table", expected: 2, found: 1 });
        assert_eq!(refused(&[0.5; 3], &[1.0; 3], 2), MetricsError::Ragged { values: 3, findings: 2 });
        assert_eq!(refused(&[], &[], 0), MetricsError::Ragged { values: 0, findings: 0 });
        assert_eq!(refused(&[0.5; 4], &[0.0, 1.0, 1.0, 7.0], 2), MetricsError::Target { row: 1, finding: 1, found: 7.0 });
        assert_eq!(refused(&[0.5, f64::NAN], &[0.0, 1.0], 1), MetricsError::NanScore { row: 1, finding: 0 });
    }

    #[test]
    fn logits_are_no_probabilities() {
        let table = ScoreTable::new(&[0.5, 1.0, f64::INFINITY, -0.1], &[0.0, 1.0, f64::NAN, 1.0], 2).unwrap();
        assert_eq!(table.require_probabilities(), Err(MetricsError::Probability { row: 1, finding: 1, found: -0.1 }));
    }
}
