//! DeLong's variance of AUROCs measured on the same cases, and the paired test that follows.
//!
//! It treats cases as independent; where patients have several images, report [`Bootstrap`](super::Bootstrap) over patients
//! instead.

use serde::Serialize;

use super::significance::Z_95;
use super::{Interval, MetricsError, Ranking, two_sided_p};

/// Standard errors of a difference below this are rounding: placements are of order one, and their differences are exact to a
/// few units of 1e-16.
const ROUNDING: f64 = 1e-15;

/// AUROCs of several scores on the same cases, with their covariance.
///
/// DeLong, DeLong & Clarke-Pearson 1988 (doi 10.2307/2531595), in O(n log n) per score by ranks as in Sun & Xu 2014
/// (doi 10.1109/LSP.2014.2337313).
#[derive(Clone, Debug)]
pub struct DeLong {
    scores: Vec<Placements>,
}

/// The structural components of one score's AUROC.
#[derive(Clone, Debug)]
struct Placements {
    auroc: f64,
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

/// A paired comparison of two AUROCs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedTest {
    /// First AUROC minus second.
    pub difference: f64,
    /// Standard error of the difference, covariance included.
    pub standard_error: f64,
    /// Difference in standard errors; `None` where the standard error is 0.
    pub z: Option<f64>,
    /// Two-sided p-value of `z`. Without `z`: 1 where the difference is 0 as well (two scores of the same order), else `None`.
    pub p_value: Option<f64>,
}

impl DeLong {
    /// Analyses `scores`, each with one value per target; `targets` are 1, 0 or NaN (missing: skipped).
    ///
    /// `None` with fewer than two positives or two negatives, where no variance can be estimated.
    ///
    /// # Errors
    /// As [`ScoreTable::new`](super::ScoreTable::new) with one finding, for each score.
    pub fn new(scores: &[&[f64]], targets: &[f64]) -> Result<Option<Self>, MetricsError> {
        let mut placed = Vec::with_capacity(scores.len());
        for score in scores {
            match Placements::new(&Ranking::new(score, targets)?, targets) {
                Some(placements) => placed.push(placements),
                None => return Ok(None),
            }
        }
        Ok(Some(Self { scores: placed }))
    }

    /// Number of scores.
    #[must_use]
    pub fn scores(&self) -> usize {
        self.scores.len()
    }

    /// AUROC of a score.
    ///
    /// # Panics
    /// If `score` is not below [`DeLong::scores`]; so do the other methods.
    #[must_use]
    pub fn auroc(&self, score: usize) -> f64 {
        self.scores[score].auroc
    }

    /// Covariance of two scores' AUROCs; the variance where both are the same score.
    #[must_use]
    pub fn covariance(&self, first: usize, second: usize) -> f64 {
        let (first, second) = (&self.scores[first], &self.scores[second]);
        covariance_of_mean(&first.positives, &second.positives) + covariance_of_mean(&first.negatives, &second.negatives)
    }

    /// 95 % interval of a score's AUROC: 1.96 standard errors either side, cut to `[0, 1]`.
    #[must_use]
    pub fn interval(&self, score: usize) -> Interval {
        let auroc = self.auroc(score);
        let reach = Z_95 * self.covariance(score, score).sqrt();
        Interval { lower: (auroc - reach).max(0.0), upper: (auroc + reach).min(1.0) }
    }

    /// Tests whether two scores' AUROCs differ.
    #[must_use]
    pub fn paired_test(&self, first: usize, second: usize) -> PairedTest {
        let (first, second) = (&self.scores[first], &self.scores[second]);
        let difference = first.auroc - second.auroc;
        // From the components' differences: the sum of variances less twice the covariance would cancel for similar scores.
        let variance = variance_of_mean_difference(&first.positives, &second.positives)
            + variance_of_mean_difference(&first.negatives, &second.negatives);
        let standard_error = variance.sqrt();
        if standard_error < ROUNDING {
            let p_value = (difference.abs() < ROUNDING).then_some(1.0);
            return PairedTest { difference, standard_error: 0.0, z: None, p_value };
        }
        let z = difference / standard_error;
        PairedTest { difference, standard_error, z: Some(z), p_value: Some(two_sided_p(z)) }
    }
}

impl Placements {
    fn new(ranking: &Ranking, targets: &[f64]) -> Option<Self> {
        let all = ranking.placements().filter(|_| ranking.positives() > 1 && ranking.negatives() > 1)?;
        let of_class =
            |class: f64| all.iter().zip(targets).filter(|(_, target)| **target == class).map(|(value, _)| *value).collect();
        Some(Self { auroc: ranking.auroc()?, positives: of_class(1.0), negatives: of_class(0.0) })
    }
}

/// Sample covariance (divisor n - 1) of two lists, divided by n: that of their means.
fn covariance_of_mean(first: &[f64], second: &[f64]) -> f64 {
    let n = first.len() as f64;
    let (first_mean, second_mean) = (first.iter().sum::<f64>() / n, second.iter().sum::<f64>() / n);
    first.iter().zip(second).map(|(a, b)| (a - first_mean) * (b - second_mean)).sum::<f64>() / ((n - 1.0) * n)
}

fn variance_of_mean_difference(first: &[f64], second: &[f64]) -> f64 {
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    covariance_of_mean(&differences, &differences)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::{cases, close};

    /// Equations 3 to 5 of DeLong et al. 1988: components by comparing all pairs, O(P·N).
    fn by_definition(scores: [&[f64]; 2], targets: &[f64]) -> [[f64; 2]; 2] {
        let of = |score: &[f64], class: f64| -> Vec<f64> {
            score.iter().zip(targets).filter(|(_, target)| **target == class).map(|(score, _)| *score).collect()
        };
        let kernel = |positive: f64, negative: f64| {
            if positive > negative {
                1.0
            } else if positive == negative {
                0.5
            } else {
                0.0
            }
        };
        let components = scores.map(|score| {
            let (positives, negatives) = (of(score, 1.0), of(score, 0.0));
            let (p, n) = (positives.len() as f64, negatives.len() as f64);
            let v10: Vec<f64> = positives.iter().map(|x| negatives.iter().map(|y| kernel(*x, *y)).sum::<f64>() / n).collect();
            let v01: Vec<f64> = negatives.iter().map(|y| positives.iter().map(|x| kernel(*x, *y)).sum::<f64>() / p).collect();
            (v10.iter().sum::<f64>() / p, v10, v01)
        });
        let mut covariance = [[0.0; 2]; 2];
        for (i, (auc_i, v10_i, v01_i)) in components.iter().enumerate() {
            for (j, (auc_j, v10_j, v01_j)) in components.iter().enumerate() {
                let s = |a: &[f64], b: &[f64]| {
                    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - auc_i) * (b - auc_j)).sum();
                    sum / (a.len() as f64 - 1.0) / a.len() as f64
                };
                covariance[i][j] = s(v10_i, v10_j) + s(v01_i, v01_j);
            }
        }
        covariance
    }

    #[test]
    fn a_score_against_itself_has_no_z() {
        let (scores, targets) = ([0.1, 0.4, 0.35, 0.8, 0.7], [0.0, 0.0, 1.0, 1.0, 0.0]);
        let steeper = scores.map(|score: f64| score.powi(3));
        let delong = DeLong::new(&[&scores, &steeper], &targets).unwrap().unwrap();
        let test = delong.paired_test(0, 1);
        assert_eq!(test, PairedTest { difference: 0.0, standard_error: 0.0, z: None, p_value: Some(1.0) });
    }

    #[test]
    fn perfect_against_inverted_has_no_variance_and_no_p() {
        let targets = [0.0, 0.0, 1.0, 1.0];
        let delong = DeLong::new(&[&[0.1, 0.2, 0.3, 0.4], &[0.4, 0.3, 0.2, 0.1]], &targets).unwrap().unwrap();
        let test = delong.paired_test(0, 1);
        assert_eq!((test.difference, test.z, test.p_value), (1.0, None, None));
        assert_eq!(delong.interval(0), Interval { lower: 1.0, upper: 1.0 });
    }

    #[test]
    fn one_case_of_a_class_gives_no_variance() {
        assert!(DeLong::new(&[&[0.1, 0.2, 0.3]], &[0.0, 0.0, 1.0]).unwrap().is_none());
        assert!(DeLong::new(&[&[0.1, 0.2, 0.3]], &[0.0, 0.0, f64::NAN]).unwrap().is_none());
        assert!(matches!(DeLong::new(&[&[0.1]], &[0.0, 1.0]), Err(MetricsError::Length { .. })));
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            (first, second, targets) in cases(4..50).prop_flat_map(|(scores, targets)| {
                let second = prop::collection::vec((0_u8..=20).prop_map(|step| f64::from(step) / 20.0), scores.len());
                (proptest::strategy::Just(scores), second, proptest::strategy::Just(targets))
            })
        ) {
            if let Some(delong) = DeLong::new(&[&first, &second], &targets).unwrap() {
                let expected = by_definition([&first, &second], &targets);
                for (i, row) in expected.iter().enumerate() {
                    for (j, value) in row.iter().enumerate() {
                        prop_assert!(close(delong.covariance(i, j), *value));
                    }
                }
                let test = delong.paired_test(0, 1);
                let variance = expected[0][0] + expected[1][1] - 2.0 * expected[0][1];
                prop_assert!(close(test.standard_error.powi(2), variance.max(0.0)));
                let mirrored = delong.paired_test(1, 0);
                prop_assert_eq!(mirrored.p_value, test.p_value);
                let interval = delong.interval(0);
                prop_assert!(0.0 <= interval.lower && interval.lower <= delong.auroc(0));
                prop_assert!(delong.auroc(0) <= interval.upper && interval.upper <= 1.0);
            } else {
                let of = |class| targets.iter().filter(|target| **target == class).count();
                prop_assert!(of(0.0) < 2 || of(1.0) < 2);
            }
        }
    }
}
