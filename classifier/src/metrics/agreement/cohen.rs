//! Two raters.

use super::{AgreementWeights, Ratings, beyond_chance};

impl Ratings {
    /// Cohen's kappa of two raters over the subjects that both rated, plain (Cohen 1960, doi 10.1177/001316446002000104) or weighted
    /// (Cohen 1968, doi 10.1037/h0026256); as scikit-learn's `cohen_kappa_score` with `labels`. `None` without such a subject, and where
    /// both gave one and the same category throughout.
    ///
    /// # Panics
    /// If there is no such rater.
    #[must_use]
    pub fn cohen(&self, first: usize, second: usize, weights: AgreementWeights) -> Option<f64> {
        assert!(first < self.raters && second < self.raters, "raters {first} and {second} of {}", self.raters);
        let both = self.codes.chunks_exact(self.raters).filter_map(|codes| codes[first].zip(codes[second]));
        let (mut firsts, mut seconds) = (vec![0_usize; self.categories], vec![0_usize; self.categories]);
        let (mut subjects, mut agreement) = (0_usize, 0.0);
        for (one, other) in both {
            firsts[one] += 1;
            seconds[other] += 1;
            subjects += 1;
            agreement += self.weight(weights, one, other);
        }
        if subjects == 0 {
            return None;
        }
        let subjects = subjects as f64;
        let mut chance = 0.0;
        for (one, &ours) in firsts.iter().enumerate().filter(|(_, count)| **count > 0) {
            for (other, &theirs) in seconds.iter().enumerate().filter(|(_, count)| **count > 0) {
                chance += self.weight(weights, one, other) * (ours as f64 / subjects) * (theirs as f64 / subjects);
            }
        }
        beyond_chance(agreement / subjects, chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::close;

    /// Pairs given so often.
    fn pairs(table: &[(&'static str, &'static str, usize)]) -> Ratings {
        let ratings: Vec<_> = table.iter().flat_map(|(one, other, count)| [Some(*one), Some(*other)].repeat(*count)).collect();
        Ratings::new(&ratings, 2, &["no", "yes"]).unwrap()
    }

    #[test]
    fn fifty_proposals_by_hand() {
        // 20 both yes, 15 both no, 5 and 10 apart: agreement 35/50, chance 0.5·0.6 + 0.5·0.4, kappa 0.4.
        let ratings = pairs(&[("yes", "yes", 20), ("yes", "no", 5), ("no", "yes", 10), ("no", "no", 15)]);
        assert!(close(ratings.cohen(0, 1, AgreementWeights::Unweighted).unwrap(), 0.4));
        // With two categories all weights are the same.
        assert!(close(ratings.cohen(0, 1, AgreementWeights::Quadratic).unwrap(), 0.4));
    }

    #[test]
    fn subjects_that_one_left_out_do_not_count() {
        let with = Ratings::new(&[Some(1), Some(1), Some(2), None, None, Some(1), Some(2), Some(1)], 2, &[1, 2]).unwrap();
        let without = Ratings::new(&[Some(1), Some(1), Some(2), Some(1)], 2, &[1, 2]).unwrap();
        assert_eq!(with.cohen(0, 1, AgreementWeights::Linear), without.cohen(0, 1, AgreementWeights::Linear));
    }
}
