//! All findings of one classifier on one set.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::Serialize;

use super::calibration::{Calibration, DEFAULT_BINS, brier_of};
use super::{MetricsError, ScoreTable};

/// The quality of a classifier's probabilities, by finding and on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MultiLabelReport {
    /// One entry per finding, in the table's order.
    pub findings: Vec<FindingReport>,
    /// Findings whose AUROC is undefined because a class is absent; left out of the macro and weighted means.
    pub undefined: usize,
    /// Plain means over the defined findings.
    pub macro_average: Average,
    /// All known (row, finding) pairs pooled into one ranking.
    pub micro_average: Average,
    /// Means over the defined findings, each weighted by its number of positives.
    pub weighted_average: Average,
}

/// One finding's figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FindingReport {
    /// Column in the table, from 0.
    pub finding: usize,
    /// Rows with a known target.
    pub cases: usize,
    /// Positive rows.
    pub positives: usize,
    /// Share of positives; `None` without cases.
    pub prevalence: Option<f64>,
    /// Area under the ROC curve; `None` where a class is absent.
    pub auroc: Option<f64>,
    /// Average precision; `None` where a class is absent.
    pub average_precision: Option<f64>,
    /// Brier score; `None` without cases.
    pub brier: Option<f64>,
    /// Expected calibration error over [`DEFAULT_BINS`] bins; `None` without cases.
    pub calibration_error: Option<f64>,
}

/// A mean over findings; `None` where no finding is defined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Mean area under the ROC curve.
    pub auroc: Option<f64>,
    /// Mean average precision.
    pub average_precision: Option<f64>,
}

impl MultiLabelReport {
    /// Computes every figure; findings run in parallel.
    ///
    /// # Errors
    /// [`MetricsError::Probability`] for a score outside `[0, 1]`.
    pub fn new(table: &ScoreTable<'_>) -> Result<Self, MetricsError> {
        table.require_probabilities()?;
        let (findings, pooled) = rayon::join(
            || (0..table.findings()).into_par_iter().map(|finding| FindingReport::new(table, finding)).collect::<Vec<_>>(),
            || table.pooled(),
        );
        let mean = |weight: fn(&FindingReport) -> f64| Average {
            auroc: weighted_mean(&findings, weight, |finding| finding.auroc),
            average_precision: weighted_mean(&findings, weight, |finding| finding.average_precision),
        };
        Ok(Self {
            undefined: findings.iter().filter(|finding| finding.auroc.is_none()).count(),
            macro_average: mean(|_| 1.0),
            micro_average: Average { auroc: pooled.auroc(), average_precision: pooled.average_precision() },
            weighted_average: mean(|finding| finding.positives as f64),
            findings,
        })
    }
}

impl FindingReport {
    fn new(table: &ScoreTable<'_>, finding: usize) -> Self {
        let ranking = table.ranking(finding);
        Self {
            finding,
            cases: ranking.cases(),
            positives: ranking.positives(),
            prevalence: ranking.prevalence(),
            auroc: ranking.auroc(),
            average_precision: ranking.average_precision(),
            brier: brier_of(table.cases(finding)),
            calibration_error: Calibration::of(table.cases(finding), DEFAULT_BINS)
                .map(|calibration| calibration.expected_error),
        }
    }
}

/// Mean of the defined values; `None` where there is none.
fn weighted_mean(
    findings: &[FindingReport],
    weight: fn(&FindingReport) -> f64,
    value: fn(&FindingReport) -> Option<f64>,
) -> Option<f64> {
    let (mut sum, mut total) = (0.0, 0.0);
    for finding in findings {
        if let Some(value) = value(finding) {
            sum += weight(finding) * value;
            total += weight(finding);
        }
    }
    (total > 0.0).then(|| sum / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::close;

    #[test]
    fn averages_leave_out_undefined_findings() {
        // Finding 0 is scikit-learn's documentation example (AUROC 0.75, average precision 5/6), finding 1 is perfect with
        // one positive of three known rows, finding 2 has no positive.
        let scores = [0.1, 0.9, 0.5, 0.4, 0.2, 0.5, 0.35, 0.3, 0.5, 0.8, 0.7, 0.5];
        let targets = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, f64::NAN, 0.0];
        let report = MultiLabelReport::new(&ScoreTable::new(&scores, &targets, 3).unwrap()).unwrap();
        assert_eq!(report.undefined, 1);
        assert_eq!((report.findings[1].cases, report.findings[1].positives), (3, 1));
        assert_eq!(report.findings[2].prevalence, Some(0.0));
        assert_eq!(report.macro_average.auroc, Some(0.875));
        assert!(close(report.macro_average.average_precision.unwrap(), (5.0 / 6.0 + 1.0) / 2.0));
        assert!(close(report.weighted_average.auroc.unwrap(), (2.0 * 0.75 + 1.0) / 3.0));
        // Pooled by hand: of 3 x 8 pairs, the positives at 0.9 and 0.8 win all, the one at 0.35 wins against 0.1, 0.2 and 0.3.
        assert_eq!(report.micro_average.auroc, Some(19.0 / 24.0));
        assert_eq!(report.findings[2].brier, Some(0.25));
        assert_eq!(report.findings[2].calibration_error, Some(0.5));
    }

    #[test]
    fn nothing_defined_is_none_and_logits_are_refused() {
        let report = MultiLabelReport::new(&ScoreTable::new(&[0.5, 0.5], &[0.0, f64::NAN], 2).unwrap()).unwrap();
        assert_eq!((report.undefined, report.macro_average.auroc, report.micro_average.auroc), (2, None, None));
        assert_eq!((report.findings[1].prevalence, report.findings[1].brier), (None, None));
        let logits = ScoreTable::new(&[-3.0], &[1.0], 1).unwrap();
        assert!(matches!(MultiLabelReport::new(&logits), Err(MetricsError::Probability { .. })));
    }
}
