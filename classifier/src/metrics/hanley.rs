//! Hanley and McNeil's standard error of an AUROC, from the area and the numbers of cases alone.

use serde::Serialize;

use super::significance::Z_95;
use super::{Interval, Ranking};

/// An AUROC with the standard error of Hanley & McNeil 1982 (doi 10.1148/radiology.143.1.7063747).
///
/// It assumes scores of a negative exponential form. Where the scores themselves are at hand, [`DeLong`](super::DeLong) needs no such
/// assumption; this one is for comparison with papers that used it, and for areas that are only printed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HanleyMcNeil {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Its standard error; 0 where the area is 0 or 1, which says nothing about how sure that is.
    pub standard_error: f64,
    /// 1.96 standard errors either side, cut to `[0, 1]`.
    pub interval: Interval,
}

impl HanleyMcNeil {
    /// From an area and the numbers of cases. `None` for an area outside `[0, 1]` and where a class is absent.
    #[must_use]
    pub fn new(auroc: f64, positives: usize, negatives: usize) -> Option<Self> {
        if positives == 0 || negatives == 0 || !(0.0..=1.0).contains(&auroc) {
            return None;
        }
        // Equation 2 of the paper, with Q1 and Q2 as in its table II.
        let square = auroc * auroc;
        let (q1, q2) = (auroc / (2.0 - auroc), 2.0 * square / (1.0 + auroc));
        let (p, n) = (positives as f64, negatives as f64);
        let variance = (auroc * (1.0 - auroc) + (p - 1.0) * (q1 - square) + (n - 1.0) * (q2 - square)) / (p * n);
        let standard_error = variance.max(0.0).sqrt();
        let reach = Z_95 * standard_error;
        let interval = Interval { lower: (auroc - reach).max(0.0), upper: (auroc + reach).min(1.0) };
        Some(Self { auroc, standard_error, interval })
    }
}

impl Ranking {
    /// The AUROC with Hanley and McNeil's standard error; `None` where a class is absent.
    #[must_use]
    pub fn hanley_mcneil(&self) -> Option<HanleyMcNeil> {
        HanleyMcNeil::new(self.auroc()?, self.positives(), self.negatives())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::metrics::testing::{cases, close};

    #[test]
    fn by_hand() {
        // Area 3/4, two of each: Q1 = 3/5, Q2 = 9/14; (3/16 + (3/5 - 9/16) + (9/14 - 9/16)) / 4.
        let found = HanleyMcNeil::new(0.75, 2, 2).unwrap();
        assert!(close(found.standard_error.powi(2), (3.0 / 16.0 + 3.0 / 5.0 + 9.0 / 14.0 - 9.0 / 8.0) / 4.0));
        // More cases, less doubt.
        assert!(HanleyMcNeil::new(0.75, 20, 20).unwrap().standard_error < found.standard_error);
    }

    #[test]
    fn ends_and_nonsense() {
        let perfect = HanleyMcNeil::new(1.0, 5, 5).unwrap();
        assert_eq!((perfect.standard_error, perfect.interval), (0.0, Interval { lower: 1.0, upper: 1.0 }));
        for (auroc, positives, negatives) in [(f64::NAN, 5, 5), (1.1, 5, 5), (-0.1, 5, 5), (0.5, 0, 5), (0.5, 5, 0)] {
            assert_eq!(HanleyMcNeil::new(auroc, positives, negatives), None);
        }
        assert_eq!(Ranking::new(&[0.5, 0.6], &[1.0, 1.0]).unwrap().hanley_mcneil(), None);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_area_and_mirrored_scores_have_the_same((scores, targets) in cases(2..60)) {
            let mirrored: Vec<f64> = scores.iter().map(|score| -score).collect();
            let swapped: Vec<f64> = targets.iter().map(|target| 1.0 - target).collect();
            let here = Ranking::new(&scores, &targets).unwrap().hanley_mcneil();
            let there = Ranking::new(&mirrored, &swapped).unwrap().hanley_mcneil();
            prop_assert!(here.is_some() == there.is_some());
            if let (Some(here), Some(there)) = (here, there) {
                prop_assert!(close(here.auroc, there.auroc));
                prop_assert!(here.interval.lower <= here.auroc && here.auroc <= here.interval.upper);
                prop_assert!(here.standard_error.is_finite() && there.standard_error.is_finite());
            }
        }
    }
}
