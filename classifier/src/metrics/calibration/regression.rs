//! Calibration as a straight line on the log odds.

use serde::Serialize;

use crate::metrics::{MetricsError, ScoreTable};

/// Steps of Newton's method: it doubles the digits with each, and starts near.
const STEPS: usize = 100;

/// Cox's recalibration of one finding's probabilities (Cox 1958, doi 10.1093/biomet/45.3-4.562; Van Calster et al. 2016,
/// doi 10.1016/j.jclinepi.2015.12.005): `logit P(positive) = intercept + slope · logit(probability)`, by maximum likelihood without
/// penalty.
///
/// A slope below 1 says that probabilities are too extreme, as after overfitting. `in_the_large` is the intercept with the slope held at 1:
/// above 0 where probabilities are too low on the whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationLine {
    /// 1 where well calibrated.
    pub slope: f64,
    /// Its standard error, from the inverse Fisher information.
    pub slope_error: f64,
    /// Intercept beside that slope.
    pub intercept: f64,
    /// Its standard error.
    pub intercept_error: f64,
    /// 0 where well calibrated.
    pub in_the_large: f64,
    /// Its standard error.
    pub in_the_large_error: f64,
}

impl CalibrationLine {
    /// Fits `probabilities` to `targets` that are 1, 0 or NaN (missing: skipped). Probabilities nearer to 0 or 1 than `clip` are moved to
    /// `clip` and `1 - clip`, as those of exactly 0 and 1 have no log odds; 1e-12 leaves all others alone.
    ///
    /// `None` where no finite line fits best: a class is absent, all probabilities are equal, or a threshold separates the classes.
    ///
    /// # Errors
    /// [`MetricsError::Clip`] for a clip outside `(0, 1/2)`, [`MetricsError::Probability`] for a score outside `[0, 1]`, and as
    /// [`ScoreTable::new`].
    pub fn new(probabilities: &[f64], targets: &[f64], clip: f64) -> Result<Option<Self>, MetricsError> {
        if !(clip > 0.0 && clip < 0.5) {
            return Err(MetricsError::Clip { found: clip });
        }
        let table = ScoreTable::new(probabilities, targets, 1)?;
        table.require_probabilities()?;
        let cases: Vec<Odds> = table
            .cases(0)
            .map(|case| {
                let probability = case.score.clamp(clip, 1.0 - clip);
                Odds { logit: (probability / (1.0 - probability)).ln(), positive: f64::from(u8::from(case.positive)) }
            })
            .collect();
        Ok(overlap(&cases).then(|| Self::fit(&cases)).flatten())
    }

    fn fit(cases: &[Odds]) -> Option<Self> {
        let (shift, in_the_large) = intercept(cases)?;
        let (mut a, mut b) = (shift, 1.0);
        let mut current = likelihood(cases, a, b);
        for _ in 0..STEPS {
            let Fisher { gradient, information } = fisher(cases, a, b);
            let [[aa, ab], [_, bb]] = information;
            let determinant = aa * bb - ab * ab;
            let (da, db) =
                ((bb * gradient[0] - ab * gradient[1]) / determinant, (aa * gradient[1] - ab * gradient[0]) / determinant);
            if !(da.is_finite() && db.is_finite()) {
                return None;
            }
            // Newton's step may overshoot far from the maximum; half of it, often enough, never does.
            let mut share = 1.0;
            let mut next = likelihood(cases, a + da, b + db);
            while next < current - current.abs() * 1e-14 && share > 1e-9 {
                share /= 2.0;
                next = likelihood(cases, a + share * da, b + share * db);
            }
            (a, b, current) = (a + share * da, b + share * db, next);
            if da.abs() <= 1e-14 * (1.0 + a.abs()) && db.abs() <= 1e-14 * (1.0 + b.abs()) {
                break;
            }
        }
        let [[aa, ab], [_, bb]] = fisher(cases, a, b).information;
        let determinant = aa * bb - ab * ab;
        let line = Self {
            slope: b,
            slope_error: (aa / determinant).sqrt(),
            intercept: a,
            intercept_error: (bb / determinant).sqrt(),
            in_the_large: shift,
            in_the_large_error: in_the_large,
        };
        (determinant > 0.0 && line.slope.is_finite() && line.intercept.is_finite()).then_some(line)
    }
}

/// Brier skill score: `1 - Brier / (prevalence · (1 - prevalence))`, the share of the error of always predicting the prevalence that is
/// avoided; 1 is perfect, 0 as good as the prevalence, below 0 worse. `None` where a class is absent.
///
/// # Errors
/// As [`brier_score`](super::brier_score).
pub fn brier_skill(probabilities: &[f64], targets: &[f64]) -> Result<Option<f64>, MetricsError> {
    let brier = super::brier_score(probabilities, targets)?;
    let prevalence = ScoreTable::new(probabilities, targets, 1)?.ranking(0).prevalence();
    Ok(brier
        .zip(prevalence)
        .filter(|(_, share)| *share > 0.0 && *share < 1.0)
        .map(|(brier, share)| 1.0 - brier / (share * (1.0 - share))))
}

struct Odds {
    logit: f64,
    positive: f64,
}

struct Fisher {
    gradient: [f64; 2],
    information: [[f64; 2]; 2],
}

/// Whether the classes overlap: only then is there a finite line that fits best (Albert & Anderson 1984, doi 10.1093/biomet/71.1.1).
fn overlap(cases: &[Odds]) -> bool {
    let range = |positive: f64| {
        let of_class = cases.iter().filter(|case| case.positive == positive).map(|case| case.logit);
        of_class.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), logit| (low.min(logit), high.max(logit)))
    };
    let (negatives, positives) = (range(0.0), range(1.0));
    positives.0 < negatives.1 && negatives.0 < positives.1
}

/// `1 / (1 + exp(-x))`, without overflow.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

fn likelihood(cases: &[Odds], a: f64, b: f64) -> f64 {
    // log sigmoid(±x) without overflow.
    let log_sigmoid = |x: f64| -((-x.abs()).exp().ln_1p() + (-x).max(0.0));
    cases.iter().map(|case| log_sigmoid((a + b * case.logit) * (2.0 * case.positive - 1.0))).sum()
}

fn fisher(cases: &[Odds], a: f64, b: f64) -> Fisher {
    let (mut gradient, mut information) = ([0.0; 2], [[0.0; 2]; 2]);
    for case in cases {
        let probability = sigmoid(a + b * case.logit);
        let (residual, weight) = (case.positive - probability, probability * (1.0 - probability));
        gradient[0] += residual;
        gradient[1] += residual * case.logit;
        information[0][0] += weight;
        information[0][1] += weight * case.logit;
        information[1][1] += weight * case.logit * case.logit;
    }
    information[1][0] = information[0][1];
    Fisher { gradient, information }
}

/// The intercept beside a slope of 1 and its standard error. The expected number of positives rises with it, so it is found between two
/// bounds, by Newton's method where that stays between them and by halving where not.
fn intercept(cases: &[Odds]) -> Option<(f64, f64)> {
    let reach = cases.iter().map(|case| case.logit.abs()).fold(0.0, f64::max) + (cases.len() as f64).ln() + 1.0;
    let (mut low, mut high, mut a) = (-reach, reach, 0.0);
    for _ in 0..2 * STEPS {
        let Fisher { gradient, information } = fisher(cases, a, 1.0);
        if gradient[0] > 0.0 {
            low = a
        } else {
            high = a
        }
        let newton = a + gradient[0] / information[0][0];
        let next = if newton > low && newton < high { newton } else { low + (high - low) / 2.0 };
        let moved = (next - a).abs();
        a = next;
        if moved <= 1e-15 * (1.0 + a.abs()) {
            break;
        }
    }
    let error = fisher(cases, a, 1.0).information[0][0].sqrt().recip();
    (a.is_finite() && error.is_finite()).then_some((a, error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assume, proptest};

    use super::*;
    use crate::metrics::testing::{cases, close};

    fn fit(probabilities: &[f64], targets: &[f64]) -> Option<CalibrationLine> {
        CalibrationLine::new(probabilities, targets, 1e-12).unwrap()
    }

    #[test]
    fn two_groups_by_hand() {
        // Two probabilities make a saturated model: the line runs through the log odds of both groups. Of four at 0.2 one is positive
        // (log odds ln(1/3) at ln(1/4)), of four at 0.8 three (ln 3 at ln 4): no intercept, slope ln 3 / ln 4.
        let probabilities = [0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8];
        let line = fit(&probabilities, &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]).unwrap();
        assert!(close(line.slope, 3.0_f64.ln() / 4.0_f64.ln()) && close(line.intercept, 0.0) && close(line.in_the_large, 0.0));
        // Each group's log odds has variance 1/(4·p·q) = 4/3; intercept: half of it, slope: over ln(4)².
        assert!(close(line.intercept_error, (2.0_f64 / 3.0).sqrt()));
        assert!(close(line.slope_error, (2.0_f64 / 3.0).sqrt() / 4.0_f64.ln()));
    }

    #[test]
    fn no_finite_line() {
        assert_eq!(fit(&[0.1, 0.2, 0.8], &[0.0, 0.0, 1.0]), None);
        assert_eq!(fit(&[0.8, 0.7, 0.1], &[0.0, 0.0, 1.0]), None);
        // Separated but for one shared value.
        assert_eq!(fit(&[0.1, 0.5, 0.5, 0.9], &[0.0, 0.0, 1.0, 1.0]), None);
        assert_eq!(fit(&[0.3, 0.3, 0.3], &[0.0, 1.0, 1.0]), None);
        assert_eq!(fit(&[0.3, 0.6], &[1.0, 1.0]), None);
        assert_eq!(fit(&[], &[]), None);
        assert_eq!(fit(&[0.3], &[f64::NAN]), None);
    }

    #[test]
    fn bad_input_is_refused() {
        for clip in [0.0, 0.5, -1.0, f64::NAN] {
            let refused = CalibrationLine::new(&[0.5], &[1.0], clip);
            assert!(matches!(refused, Err(MetricsError::Clip { .. })), "{refused:?}");
        }
        let logits = CalibrationLine::new(&[0.5, -2.0], &[1.0, 0.0], 1e-6);
        assert_eq!(logits, Err(MetricsError::Probability { row: 1, finding: 0, found: -2.0 }));
    }

    #[test]
    fn skill_by_hand() {
        // Always the prevalence: no skill. Always right: 1.
        assert!(close(brier_skill(&[0.25; 4], &[1.0, 0.0, 0.0, 0.0]).unwrap().unwrap(), 0.0));
        assert_eq!(brier_skill(&[1.0, 0.0], &[1.0, 0.0]), Ok(Some(1.0)));
        assert_eq!(brier_skill(&[1.0, 0.0], &[1.0, 1.0]), Ok(None));
        assert_eq!(brier_skill(&[], &[]), Ok(None));
    }

    proptest! {
        #[test]
        fn the_line_is_the_best_and_moves_with_the_odds((scores, targets) in cases(8..80), shift in -3.0_f64..3.0, stretch in 0.3_f64..3.0) {
            let scores: Vec<f64> = scores.iter().map(|score| 0.05 + 0.9 * score).collect();
            let Some(line) = fit(&scores, &targets) else { return Ok(()) };
            let known = scores.iter().zip(&targets).filter(|(_, target)| !target.is_nan());
            let odds: Vec<Odds> =
                known.map(|(score, target)| Odds { logit: (score / (1.0 - score)).ln(), positive: *target }).collect();
            let best = fisher(&odds, line.intercept, line.slope).gradient;
            prop_assert!(best.iter().all(|slope| slope.abs() < 1e-9), "{:?}", best);
            prop_assert!(fisher(&odds, line.in_the_large, 1.0).gradient[0].abs() < 1e-9);
            // Probabilities whose log odds are stretched and moved have the line stretched and moved back.
            let moved: Vec<f64> = scores.iter().map(|score| sigmoid(shift + stretch * (score / (1.0 - score)).ln())).collect();
            let there = fit(&moved, &targets);
            prop_assume!(there.is_some());
            let there = there.unwrap();
            prop_assert!((there.slope - line.slope / stretch).abs() < 1e-8 * (1.0 + line.slope.abs()));
            prop_assert!((there.intercept - (line.intercept - shift * line.slope / stretch)).abs() < 1e-7 * (1.0 + line.slope.abs()));
        }
    }
}
