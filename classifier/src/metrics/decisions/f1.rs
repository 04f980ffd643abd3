//! Precision, recall and F1 of decisions on several findings, such as labels read from reports.

use serde::Serialize;

use super::Confusion;
use crate::metrics::MetricsError;

/// Precision, recall and F1, each 0 where it is undefined (scikit-learn's `zero_division=0`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct F1 {
    /// Share of the called that are true.
    pub precision: f64,
    /// Share of the true that are called.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

/// F1 of every finding, and the averages of scikit-learn's `classification_report`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct F1Table {
    /// Number of rows.
    pub rows: usize,
    /// One per finding.
    pub findings: Vec<F1>,
    /// Rows in which each finding is true.
    pub support: Vec<usize>,
    /// All findings pooled.
    pub micro: F1,
    /// Plain means over the findings. A finding that is nowhere true counts as 0; `support` tells which.
    pub macro_average: F1,
    /// Means over the findings, each weighted by its support.
    pub weighted: F1,
    /// Means over the rows of each row's own figures. A row without a true finding counts as 0, even if nothing was called.
    pub samples: F1,
    /// Share of the rows with every finding right.
    pub exact: f64,
}

impl F1Table {
    /// Compares decisions with the truth, both row-major `[N, C]`. `None` without rows.
    ///
    /// # Errors
    /// [`MetricsError::Length`] or [`MetricsError::Ragged`] where the shapes disagree.
    pub fn new(truth: &[bool], called: &[bool], findings: usize) -> Result<Option<Self>, MetricsError> {
        if called.len() != truth.len() {
            return Err(MetricsError::Length { what: "the table of decisions", expected: truth.len(), found: called.len() });
        }
        if findings == 0 || !truth.len().is_multiple_of(findings) {
            return Err(MetricsError::Ragged { values: truth.len(), findings });
        }
        let mut columns = vec![Confusion::default(); findings];
        let mut by_row = Vec::with_capacity(truth.len() / findings);
        let mut exact = 0_usize;
        for (truth, called) in truth.chunks_exact(findings).zip(called.chunks_exact(findings)) {
            let mut row = Confusion::default();
            for ((column, &truth), &called) in columns.iter_mut().zip(truth).zip(called) {
                column.count(truth, called);
                row.count(truth, called);
            }
            by_row.push(F1::of(&row));
            exact += usize::from(truth == called);
        }
        let rows = by_row.len();
        if rows == 0 {
            return Ok(None);
        }
        let mut pooled = Confusion::default();
        columns.iter().for_each(|column| pooled.add(column));
        let support: Vec<usize> = columns.iter().map(|column| column.true_positives + column.false_negatives).collect();
        let by_finding: Vec<F1> = columns.iter().map(F1::of).collect();
        Ok(Some(Self {
            rows,
            micro: F1::of(&pooled),
            macro_average: F1::mean(by_finding.iter().map(|figures| (*figures, 1.0))),
            weighted: F1::mean(by_finding.iter().zip(&support).map(|(figures, support)| (*figures, *support as f64))),
            samples: F1::mean(by_row.iter().map(|figures| (*figures, 1.0))),
            exact: exact as f64 / rows as f64,
            findings: by_finding,
            support,
        }))
    }
}

impl F1 {
    fn of(counts: &Confusion) -> Self {
        let or_zero = |figure: Option<f64>| figure.unwrap_or(0.0);
        Self { precision: or_zero(counts.precision()), recall: or_zero(counts.recall()), f1: or_zero(counts.f1()) }
    }

    /// Weighted mean; 0 without weight.
    fn mean(figures: impl Iterator<Item = (Self, f64)>) -> Self {
        let (mut sum, mut total) = (Self::default(), 0.0);
        for (figures, weight) in figures {
            sum.precision += weight * figures.precision;
            sum.recall += weight * figures.recall;
            sum.f1 += weight * figures.f1;
            total += weight;
        }
        if total > 0.0 {
            Self { precision: sum.precision / total, recall: sum.recall / total, f1: sum.f1 / total }
        } else {
            Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::close;

    #[test]
    fn three_rows_by_hand() {
        // Finding 0: one right, one missed. Finding 1: one false alarm, never true.
        let truth = [true, false, true, false, false, false];
        let called = [true, true, false, false, false, false];
        let table = F1Table::new(&truth, &called, 2).unwrap().unwrap();
        assert_eq!(table.support, [2, 0]);
        assert_eq!(table.findings[0], F1 { precision: 1.0, recall: 0.5, f1: 2.0 / 3.0 });
        assert_eq!(table.findings[1], F1::default());
        assert_eq!(table.micro, F1 { precision: 0.5, recall: 0.5, f1: 0.5 });
        assert!(close(table.macro_average.f1, 1.0 / 3.0) && close(table.weighted.f1, 2.0 / 3.0));
        // Rows: precision 1/2, 0, 0; recall 1, 0, 0.
        assert!(close(table.samples.precision, 1.0 / 6.0) && close(table.samples.recall, 1.0 / 3.0));
        assert!(close(table.exact, 1.0 / 3.0));
    }

    #[test]
    fn nothing_and_bad_shapes() {
        assert_eq!(F1Table::new(&[], &[], 3), Ok(None));
        assert_eq!(
            F1Table::new(&[true], &[], 1),
            Err(MetricsError::Length { what: "the table of decisions", expected: 1, found: 0 })
        );
        assert_eq!(F1Table::new(&[true; 3], &[true; 3], 2), Err(MetricsError::Ragged { values: 3, findings: 2 }));
        assert_eq!(F1Table::new(&[], &[], 0), Err(MetricsError::Ragged { values: 0, findings: 0 }));
        let never = F1Table::new(&[false; 4], &[false; 4], 2).unwrap().unwrap();
        assert_eq!(
            (never.micro, never.weighted, never.samples, never.exact),
            (F1::default(), F1::default(), F1::default(), 1.0)
        );
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_swapping_swaps(cells in prop::collection::vec(any::<(bool, bool)>(), 1..20)) {
            let (truth, called): (Vec<bool>, Vec<bool>) = cells.iter().flat_map(|cell| [*cell, (cell.1, cell.0), (true, cell.0)]).unzip();
            let here = F1Table::new(&truth, &called, 3).unwrap().unwrap();
            let reversed = |values: &[bool]| values.chunks(3).rev().flatten().copied().collect::<Vec<_>>();
            let there = F1Table::new(&reversed(&truth), &reversed(&called), 3).unwrap().unwrap();
            prop_assert_eq!((&here.findings, here.micro, here.weighted), (&there.findings, there.micro, there.weighted));
            prop_assert!(close(here.samples.f1, there.samples.f1));
            let swapped = F1Table::new(&called, &truth, 3).unwrap().unwrap();
            for (one, other) in here.findings.iter().zip(&swapped.findings) {
                prop_assert_eq!((one.precision, one.recall, one.f1), (other.recall, other.precision, other.f1));
            }
            let perfect = F1Table::new(&truth, &truth, 3).unwrap().unwrap();
            prop_assert_eq!((perfect.micro.f1, perfect.exact), (1.0, 1.0));
        }
    }
}
