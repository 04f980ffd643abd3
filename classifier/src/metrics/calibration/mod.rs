//! Whether events with a predicted probability of 0.3 occur three times in ten.

mod regression;

use serde::Serialize;

use super::table::Case;
use super::{MetricsError, ScoreTable};

pub use regression::{CalibrationLine, brier_skill};

/// Default number of bins (Guo et al. 2017, arXiv 1706.04599, section 5).
pub const DEFAULT_BINS: usize = 15;

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Lower edge, inclusive.
    pub lower: f64,
    /// Upper edge, exclusive except in the last bin.
    pub upper: f64,
    /// Cases in the bin.
    pub count: usize,
    /// Mean probability of the cases; `None` in an empty bin.
    pub confidence: Option<f64>,
    /// Share of positives among the cases; `None` in an empty bin.
    pub positive_rate: Option<f64>,
}

impl ReliabilityBin {
    /// Distance of the share of positives from the mean probability; 0 in an empty bin.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.confidence.zip(self.positive_rate).map_or(0.0, |(confidence, rate)| (rate - confidence).abs())
    }
}

/// Reliability of one finding's probabilities over equal-width bins of `[0, 1]`.
///
/// Binary form: the confidence is the probability of the positive class and the accuracy is the share of positives, as
/// torchmetrics' `binary_calibration_error`. (The multi-class form of Guo et al. takes the winning class instead.)
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The bins, from 0 to 1.
    pub bins: Vec<ReliabilityBin>,
    /// Expected calibration error: mean gap over cases.
    pub expected_error: f64,
    /// Maximum calibration error: largest gap of a bin.
    pub maximum_error: f64,
    /// Root of the mean squared gap over cases.
    pub root_mean_square_error: f64,
}

impl Calibration {
    /// Bins `probabilities`; `targets` are 1, 0 or NaN (missing: skipped). `None` without cases.
    ///
    /// # Errors
    /// [`MetricsError::NoBins`] for zero bins, [`MetricsError::Probability`] for a score outside `[0, 1]`, and as
    /// [`ScoreTable::new`].
    pub fn new(probabilities: &[f64], targets: &[f64], bins: usize) -> Result<Option<Self>, MetricsError> {
        if bins == 0 {
            return Err(MetricsError::NoBins);
        }
        let table = ScoreTable::new(probabilities, targets, 1)?;
        table.require_probabilities()?;
        Ok(Self::of(table.cases(0), bins))
    }

    /// Calibration of cases whose scores are probabilities.
    pub(super) fn of(cases: impl Iterator<Item = Case>, bins: usize) -> Option<Self> {
        let edges = edges(bins);
        let mut sums = vec![(0_usize, 0.0, 0_usize); bins];
        let mut total = 0_usize;
        for case in cases {
            // Edges 1..bins that are at or below the score: the bin is [lower, upper), the last one closed.
            let bin = edges[1..bins].partition_point(|edge| *edge <= case.score);
            let (count, probability, positives) = &mut sums[bin];
            *count += 1;
            *probability += case.score;
            *positives += usize::from(case.positive);
            total += 1;
        }
        if total == 0 {
            return None;
        }
        let bins: Vec<ReliabilityBin> = sums
            .into_iter()
            .zip(edges.windows(2))
            .map(|((count, probability, positives), edge)| ReliabilityBin {
                lower: edge[0],
                upper: edge[1],
                count,
                confidence: (count > 0).then(|| probability / count as f64),
                positive_rate: (count > 0).then(|| positives as f64 / count as f64),
            })
            .collect();
        let mean =
            |value: fn(f64) -> f64| bins.iter().map(|bin| bin.count as f64 * value(bin.gap())).sum::<f64>() / total as f64;
        Some(Self {
            expected_error: mean(|gap| gap),
            maximum_error: bins.iter().map(ReliabilityBin::gap).fold(0.0, f64::max),
            root_mean_square_error: mean(|gap| gap * gap).sqrt(),
            bins,
        })
    }
}

/// Brier score: mean squared distance of the probability from the outcome. `None` without cases.
///
/// # Errors
/// [`MetricsError::Probability`] for a score outside `[0, 1]`, and as [`ScoreTable::new`].
pub fn brier_score(probabilities: &[f64], targets: &[f64]) -> Result<Option<f64>, MetricsError> {
    let table = ScoreTable::new(probabilities, targets, 1)?;
    table.require_probabilities()?;
    Ok(brier_of(table.cases(0)))
}

/// Brier score of cases whose scores are probabilities.
pub(super) fn brier_of(cases: impl Iterator<Item = Case>) -> Option<f64> {
    let (count, sum) = cases.fold((0_usize, 0.0), |(count, sum), case| {
        (count + 1, sum + (case.score - f64::from(u8::from(case.positive))).powi(2))
    });
    (count > 0).then(|| sum / count as f64)
}

/// `numpy.linspace(0, 1, bins + 1)`: multiples of the rounded step, so the fourth of ten edges is 0.30000000000000004 and a
/// probability of 0.3 falls below it. `i / bins` would put the edge at 0.3 and such cases one bin higher.
fn edges(bins: usize) -> Vec<f64> {
    let step = 1.0 / bins as f64;
    (0..bins).map(|edge| edge as f64 * step).chain([1.0]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::{cases, close};

    #[test]
    fn brier_matches_the_scikit_learn_example() {
        // The example in scikit-learn's documentation of brier_score_loss.
        let score = brier_score(&[0.1, 0.9, 0.8, 0.3], &[0.0, 1.0, 1.0, 0.0]).unwrap().unwrap();
        assert!(close(score, 0.0375));
        assert_eq!(brier_score(&[0.5], &[f64::NAN]), Ok(None));
    }

    #[test]
    fn edges_are_numpys() {
        // numpy 2.4.6: numpy.linspace(0, 1, 11)[3].
        assert_eq!(edges(10)[3], 0.300_000_000_000_000_04);
        let calibration = Calibration::new(&[0.3, 0.0, 1.0], &[1.0, 0.0, 1.0], 10).unwrap().unwrap();
        let occupied: Vec<usize> = (0..10).filter(|&bin| calibration.bins[bin].count > 0).collect();
        assert_eq!(occupied, [0, 2, 9]);
        // An edge belongs to the bin above it.
        let halves = Calibration::new(&[0.5], &[1.0], 2).unwrap().unwrap();
        assert_eq!((halves.bins[0].count, halves.bins[1].count), (0, 1));
    }

    #[test]
    fn errors_by_hand() {
        // Two bins: three cases at 0.2 of which one positive (gap 1/3 - 0.2), one at 0.9 that is negative (gap 0.9).
        let calibration = Calibration::new(&[0.2, 0.2, 0.2, 0.9], &[1.0, 0.0, 0.0, 0.0], 2).unwrap().unwrap();
        let (low, high) = (1.0 / 3.0 - 0.2, 0.9);
        assert!(close(calibration.expected_error, (3.0 * low + high) / 4.0));
        assert!(close(calibration.maximum_error, high));
        assert!(close(calibration.root_mean_square_error, ((3.0 * low * low + high * high) / 4.0).sqrt()));
    }

    #[test]
    fn refuses_logits_and_zero_bins() {
        assert_eq!(Calibration::new(&[0.5], &[1.0], 0), Err(MetricsError::NoBins));
        assert_eq!(Calibration::new(&[1.5], &[1.0], 10), Err(MetricsError::Probability { row: 0, finding: 0, found: 1.5 }));
        assert_eq!(Calibration::new(&[0.5], &[f64::NAN], 10), Ok(None));
    }

    proptest! {
        #[test]
        fn every_case_is_in_one_bin_that_holds_it((scores, targets) in cases(1..60), bins in 1_usize..25) {
            if let Some(calibration) = Calibration::new(&scores, &targets, bins).unwrap() {
                let known = targets.iter().filter(|target| !target.is_nan()).count();
                prop_assert_eq!(calibration.bins.iter().map(|bin| bin.count).sum::<usize>(), known);
                for bin in &calibration.bins {
                    if let Some(confidence) = bin.confidence {
                        prop_assert!((bin.lower - 1e-12..=bin.upper + 1e-12).contains(&confidence));
                    }
                }
                prop_assert!(calibration.expected_error <= calibration.root_mean_square_error + 1e-12);
                prop_assert!(calibration.root_mean_square_error <= calibration.maximum_error + 1e-12);
            }
        }
    }
}
