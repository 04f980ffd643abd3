//! Cases in the order of their scores, and the figures that one pass over them gives: AUROC, the ROC curve, average precision.

use serde::Serialize;

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

/// A receiver operating characteristic: one point per distinct score and the origin, from `(0, 0)` to `(1, 1)`.
///
/// The points are those of scikit-learn's `roc_curve(drop_intermediate=False)`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RocCurve {
    /// Share of the negatives at or above each threshold, rising.
    pub false_positive_rate: Vec<f64>,
    /// Share of the positives at or above each threshold, rising.
    pub true_positive_rate: Vec<f64>,
    /// A case is called positive where its score is at least this; falling, the first is infinite.
    pub thresholds: Vec<f64>,
}

impl Ranking {
    /// Probability that a positive case scores above a negative one, a tie counting one half (Mann-Whitney U / (P·N); Hanley &
    /// McNeil 1982, doi 10.1148/radiology.143.1.7063747). `None` where a class is absent.
    ///
    /// The count is held in integers, so the result is the correctly rounded quotient up to 2⁵² pairs.
    #[must_use]
    pub fn auroc(&self) -> Option<f64> {
        self.area(|_| 1)
    }

    /// AUROC where the case of row `r` counts `weights[r]` times: that of the resample in which the row is repeated this often.
    /// `None` where a class has no weight. One pass, no sort.
    ///
    /// # Panics
    /// If there isn't one weight per row.
    #[must_use]
    pub fn auroc_weighted(&self, weights: &[u32]) -> Option<f64> {
        assert_eq!(weights.len(), self.rows(), "one weight per row of the ranking");
        self.area(|case| u64::from(weights[case.row]))
    }

    fn area(&self, weight: impl Fn(&Case) -> u64) -> Option<f64> {
        let (mut positives, mut negatives, mut doubled_wins) = (0, 0, 0);
        for tie in self.ties() {
            let (mut positive, mut negative) = (0, 0);
            for case in tie {
                let weight = weight(case);
                if case.positive {
                    positive += weight;
                } else {
                    negative += weight;
                }
            }
            doubled_wins += negative * (2 * positives + positive);
            positives += positive;
            negatives += negative;
        }
        (positives > 0 && negatives > 0).then(|| doubled_wins as f64 / (2 * positives * negatives) as f64)
    }

    /// Average precision: the sum over distinct scores of recall gained times precision, without interpolation, as
    /// scikit-learn's `average_precision_score`. `None` where a class is absent, as for the AUROC (scikit-learn gives 1 without
    /// negatives and 0 without positives).
    #[must_use]
    pub fn average_precision(&self) -> Option<f64> {
        self.is_defined().then(|| {
            let (mut found, mut called, mut sum) = (0, 0, 0.0);
            for tie in self.ties() {
                let positive = count_positives(tie);
                found += positive;
                called += tie.len();
                sum += positive as f64 * (found as f64 / called as f64);
            }
            sum / self.positives() as f64
        })
    }

    /// Average precision where the case of row `r` counts `weights[r]` times: that of the resample in which the row is repeated this
    /// often. `None` where a class has no weight. One pass, no sort.
    ///
    /// # Panics
    /// If there isn't one weight per row.
    #[must_use]
    pub fn average_precision_weighted(&self, weights: &[u32]) -> Option<f64> {
        assert_eq!(weights.len(), self.rows(), "one weight per row of the ranking");
        let (mut found, mut called, mut sum) = (0, 0, 0.0);
        for tie in self.ties() {
            let mut positive = 0;
            for case in tie {
                let weight = u64::from(weights[case.row]);
                positive += if case.positive { weight } else { 0 };
                called += weight;
            }
            found += positive;
            if positive > 0 {
                sum += positive as f64 * (found as f64 / called as f64);
            }
        }
        (found > 0 && called > found).then(|| sum / found as f64)
    }

    /// The ROC curve; `None` where a class is absent.
    #[must_use]
    pub fn roc_curve(&self) -> Option<RocCurve> {
        self.is_defined().then(|| {
            let mut curve =
                RocCurve { false_positive_rate: vec![0.0], true_positive_rate: vec![0.0], thresholds: vec![f64::INFINITY] };
            let (mut found, mut called) = (0, 0);
            for tie in self.ties() {
                found += count_positives(tie);
                called += tie.len();
                curve.false_positive_rate.push((called - found) as f64 / self.negatives() as f64);
                curve.true_positive_rate.push(found as f64 / self.positives() as f64);
                curve.thresholds.push(tie[0].score);
            }
            curve
        })
    }

    /// Placement of every row's case (DeLong et al. 1988, doi 10.2307/2531595): for a positive the share of negatives below it,
    /// for a negative the share of positives above it, ties one half; NaN for a row with a missing target. `None` where a class
    /// is absent.
    pub(super) fn placements(&self) -> Option<Vec<f64>> {
        self.is_defined().then(|| {
            let mut placements = vec![f64::NAN; self.rows()];
            let (mut positives_above, mut negatives_above) = (0, 0);
            for tie in self.ties() {
                let positive = count_positives(tie);
                let negative = tie.len() - positive;
                let doubled_below = 2 * (self.negatives() - negatives_above) - negative;
                let doubled_above = 2 * positives_above + positive;
                for case in tie {
                    placements[case.row] = if case.positive {
                        doubled_below as f64 / (2 * self.negatives()) as f64
                    } else {
                        doubled_above as f64 / (2 * self.positives()) as f64
                    };
                }
                positives_above += positive;
                negatives_above += negative;
            }
            placements
        })
    }
}

fn count_positives(cases: &[Case]) -> usize {
    cases.iter().filter(|case| case.positive).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::{cases, close};

    // The example in scikit-learn's documentation of roc_auc_score, average_precision_score and roc_curve.
    const SCORES: [f64; 4] = [0.1, 0.4, 0.35, 0.8];
    const TARGETS: [f64; 4] = [0.0, 0.0, 1.0, 1.0];

    /// The definition: every pair of a positive and a negative.
    fn by_pairs(scores: &[f64], targets: &[f64]) -> Option<f64> {
        let of = |class: f64| scores.iter().zip(targets).filter(move |(_, target)| **target == class).map(|(score, _)| *score);
        let mut wins = 0.0;
        for positive in of(1.0) {
            for negative in of(0.0) {
                wins += if positive > negative {
                    1.0
                } else if positive == negative {
                    0.5
                } else {
                    0.0
                };
            }
        }
        let pairs = (of(1.0).count() * of(0.0).count()) as f64;
        (pairs > 0.0).then(|| wins / pairs)
    }

    #[test]
    fn matches_the_scikit_learn_example() {
        let ranking = Ranking::new(&SCORES, &TARGETS).unwrap();
        assert_eq!(ranking.auroc(), Some(0.75));
        assert!(close(ranking.average_precision().unwrap(), 5.0 / 6.0));
        let curve = ranking.roc_curve().unwrap();
        assert_eq!(curve.false_positive_rate, [0.0, 0.0, 0.5, 0.5, 1.0]);
        assert_eq!(curve.true_positive_rate, [0.0, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!(curve.thresholds, [f64::INFINITY, 0.8, 0.4, 0.35, 0.1]);
    }

    #[test]
    fn equal_scores_are_chance_and_one_class_is_undefined() {
        let ranking = Ranking::new(&[0.3; 5], &[1.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
        // A constant score ranks nothing: 0.5 by the tie rule, and precision is the prevalence.
        assert_eq!((ranking.auroc(), ranking.average_precision()), (Some(0.5), Some(0.4)));
        assert_eq!(ranking.roc_curve().unwrap().thresholds.len(), 2);
        for class in [0.0, 1.0, f64::NAN] {
            let ranking = Ranking::new(&SCORES, &[class; 4]).unwrap();
            assert_eq!((ranking.auroc(), ranking.average_precision(), ranking.roc_curve()), (None, None, None));
        }
    }

    #[test]
    fn both_zeros_tie_and_infinities_rank() {
        assert_eq!(Ranking::new(&[0.0, -0.0], &[1.0, 0.0]).unwrap().auroc(), Some(0.5));
        assert_eq!(Ranking::new(&[f64::INFINITY, f64::NEG_INFINITY, 0.0], &[1.0, 0.0, 0.0]).unwrap().auroc(), Some(1.0));
    }

    proptest! {
        #[test]
        fn equals_counting_pairs((scores, targets) in cases(1..60)) {
            let auroc = Ranking::new(&scores, &targets).unwrap().auroc();
            // Both are quotients of the same half-integers, so they agree to the last bit.
            prop_assert_eq!(auroc, by_pairs(&scores, &targets));
        }

        #[test]
        fn only_the_order_counts((scores, targets) in cases(1..60)) {
            let bent: Vec<f64> = scores.iter().map(|score| (3.0 * score).exp() - 7.0).collect();
            let (plain, bent) = (Ranking::new(&scores, &targets).unwrap(), Ranking::new(&bent, &targets).unwrap());
            prop_assert_eq!(plain.auroc(), bent.auroc());
            prop_assert_eq!(plain.average_precision(), bent.average_precision());
        }

        #[test]
        fn a_mirrored_score_mirrors_the_area((scores, targets) in cases(1..60)) {
            let mirrored: Vec<f64> = scores.iter().map(|score| -score).collect();
            let auroc = Ranking::new(&scores, &targets).unwrap().auroc();
            let mirror = Ranking::new(&mirrored, &targets).unwrap().auroc();
            prop_assert_eq!(auroc.is_some(), mirror.is_some());
            if let (Some(auroc), Some(mirror)) = (auroc, mirror) {
                prop_assert!(close(auroc, 1.0 - mirror));
            }
        }

        #[test]
        fn the_curve_encloses_the_area((scores, targets) in cases(1..60)) {
            let ranking = Ranking::new(&scores, &targets).unwrap();
            if let Some(curve) = ranking.roc_curve() {
                let (x, y) = (&curve.false_positive_rate, &curve.true_positive_rate);
                let area: f64 = (1..x.len()).map(|i| (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2.0).sum();
                prop_assert!(close(area, ranking.auroc().unwrap()));
                prop_assert_eq!((x[x.len() - 1], y[y.len() - 1]), (1.0, 1.0));
            }
        }

        #[test]
        fn weights_are_repetitions(
            (scores, targets, weights) in cases(1..40).prop_flat_map(|(scores, targets)| {
                let weights = prop::collection::vec(0_u32..4, scores.len());
                (proptest::strategy::Just(scores), proptest::strategy::Just(targets), weights)
            })
        ) {
            let rows: Vec<usize> =
                weights.iter().enumerate().flat_map(|(row, &times)| vec![row; times as usize]).collect();
            let drawn_scores: Vec<f64> = rows.iter().map(|&row| scores[row]).collect();
            let drawn_targets: Vec<f64> = rows.iter().map(|&row| targets[row]).collect();
            let (weighted, drawn) =
                (Ranking::new(&scores, &targets).unwrap(), Ranking::new(&drawn_scores, &drawn_targets).unwrap());
            prop_assert_eq!(weighted.auroc_weighted(&weights), drawn.auroc());
            prop_assert_eq!(weighted.average_precision_weighted(&weights), drawn.average_precision());
        }

        #[test]
        fn placements_average_to_the_area((scores, targets) in cases(1..60)) {
            let ranking = Ranking::new(&scores, &targets).unwrap();
            if let Some(placements) = ranking.placements() {
                for class in [0.0, 1.0] {
                    let of_class: Vec<f64> =
                        placements.iter().zip(&targets).filter(|(_, target)| **target == class).map(|(p, _)| *p).collect();
                    prop_assert!(close(of_class.iter().sum::<f64>() / of_class.len() as f64, ranking.auroc().unwrap()));
                }
            }
        }
    }
}
