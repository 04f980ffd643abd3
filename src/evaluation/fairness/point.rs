//! The thresholds at which a finding is called, chosen on validation.

use roentgen_classifier::metrics::{MetricsError, Ranking, ScoreTable};
use roentgen_classifier::predict::Predictions;

use crate::config::OperatingPoint;

/// The threshold of each finding on the validation images: a score at or above it is called positive. `None` for a finding without both
/// classes there, and for one that no threshold gives what is asked for.
///
/// # Errors
/// [`MetricsError`] for scores that are not numbers.
pub fn thresholds(point: OperatingPoint, valid: &Predictions) -> Result<Vec<Option<f64>>, MetricsError> {
    let table = ScoreTable::new(&valid.scores, &valid.targets, valid.findings.len())?;
    Ok((0..table.findings()).map(|finding| threshold(point, &table.ranking(finding))).collect())
}

fn threshold(point: OperatingPoint, ranking: &Ranking) -> Option<f64> {
    let curve = ranking.roc_curve()?;
    let height = |at: usize| curve.true_positive_rate[at] - curve.false_positive_rate[at];
    // Counted and divided once: `1 - rate` would be a rounding away from the decimal that is asked for.
    let negatives = ranking.negatives() as f64;
    let specificity = |at: usize| (negatives - (curve.false_positive_rate[at] * negatives).round()) / negatives;
    // The first point is the origin, with an infinite threshold: nothing is called there.
    let mut points = 1..curve.thresholds.len();
    let chosen = match point {
        OperatingPoint::Youden => points.reduce(|best, at| if height(at) > height(best) { at } else { best }),
        OperatingPoint::Sensitivity(least) => points.find(|at| curve.true_positive_rate[*at] >= least),
        OperatingPoint::Specificity(least) => points.rfind(|at| specificity(*at) >= least),
    };
    chosen.map(|at| curve.thresholds[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the best score: a patient, a healthy one, two patients, four healthy ones with one score, a patient.
    ///
    /// | threshold | sensitivity | specificity |
    /// |---|---|---|
    /// | 0.9 | 1/4 | 5/5 |
    /// | 0.8 | 1/4 | 4/5 |
    /// | 0.7 | 2/4 | 4/5 |
    /// | 0.6 | 3/4 | 4/5 |
    /// | 0.3 | 3/4 | 0/5 |
    /// | 0.1 | 4/4 | 0/5 |
    fn by_hand() -> Ranking {
        let scores = [0.9, 0.8, 0.7, 0.6, 0.3, 0.3, 0.3, 0.3, 0.1];
        Ranking::new(&scores, &[1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]).unwrap()
    }

    #[test]
    fn thresholds_by_hand() {
        let at = |point| threshold(point, &by_hand());
        assert_eq!(at(OperatingPoint::Youden), Some(0.6));
        for (least, expected) in [(0.2, 0.9), (0.25, 0.9), (0.26, 0.7), (0.75, 0.6), (0.76, 0.1), (0.99, 0.1)] {
            assert_eq!(at(OperatingPoint::Sensitivity(least)), Some(expected), "sensitivity {least}");
        }
        for (least, expected) in [(0.1, 0.6), (0.8, 0.6), (0.81, 0.9), (0.99, 0.9)] {
            assert_eq!(at(OperatingPoint::Specificity(least)), Some(expected), "specificity {least}");
        }
    }

    #[test]
    fn of_equal_heights_the_largest_threshold_is_taken() {
        let ranking = Ranking::new(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]).unwrap();
        // At 0.8 one of two and no false alarm; at 0.35 both and one of two.
        assert_eq!(threshold(OperatingPoint::Youden, &ranking), Some(0.8));
    }

    #[test]
    fn what_validation_cannot_give_is_undefined() {
        let points = [OperatingPoint::Youden, OperatingPoint::Sensitivity(0.5), OperatingPoint::Specificity(0.5)];
        for point in points {
            assert_eq!(threshold(point, &Ranking::new(&[0.1], &[1.0]).unwrap()), None);
        }
        // Nobody scores above the only healthy one: to call anybody is to call that one.
        let ranking = Ranking::new(&[0.9, 0.1], &[0.0, 1.0]).unwrap();
        assert_eq!(threshold(OperatingPoint::Specificity(0.5), &ranking), None);
        assert_eq!(threshold(OperatingPoint::Sensitivity(0.5), &ranking), Some(0.1));
    }

    #[test]
    fn decimals_are_met_exactly() {
        // 1 - 0.9 is not 0.1: nine of ten healthy ones are called.
        let targets: Vec<f64> = (0..11).map(|i| f64::from(u8::from(i == 0))).collect();
        let scores: Vec<f64> = (0..11).map(|i| 1.0 - f64::from(i) / 20.0).collect();
        let ranking = Ranking::new(&scores, &targets).unwrap();
        for tenths in 1..10_u8 {
            let expected = scores[usize::from(10 - tenths)];
            assert_eq!(threshold(OperatingPoint::Specificity(f64::from(tenths) / 10.0), &ranking), Some(expected), "{tenths}");
        }
    }
}
