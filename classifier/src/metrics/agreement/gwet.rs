//! Several raters, with missing ratings.

use serde::Serialize;

use super::{AgreementWeights, Ratings, beyond_chance, mean, total};

/// Gwet's coefficient and its parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gwet {
    /// AC1, or AC2 with weights: at most 1.
    pub coefficient: f64,
    /// Agreement seen, see [`Ratings::agreement`].
    pub agreement: f64,
    /// Agreement expected by chance.
    pub chance: f64,
}

impl Ratings {
    /// Gwet's AC1 (Gwet 2008, doi 10.1348/000711006X126600), with weights AC2 (Gwet 2014, Handbook of Inter-Rater Reliability, 4th ed.,
    /// chapter 4): chance is `T / (q(q-1)) · Σ π(1-π)` over the `q` categories, with `T` the sum of all weights and `π` the mean over the
    /// subjects with at least one rating of a category's share of their ratings.
    ///
    /// Agreement is over the subjects with two ratings or more. `None` without such a subject, and with one category.
    #[must_use]
    pub fn gwet(&self, weights: AgreementWeights) -> Option<Gwet> {
        let agreement = self.agreement(weights).filter(|_| self.categories > 1)?;
        let categories = 0..self.categories;
        let spread: f64 = categories
            .clone()
            .map(|category| {
                let shares = self.counts().filter(|counts| total(counts) > 0);
                let share = mean(shares.map(|counts| counts[category] as f64 / total(&counts) as f64)).unwrap_or(0.0);
                share * (1.0 - share)
            })
            .sum();
        let all: f64 =
            categories.clone().flat_map(|one| categories.clone().map(move |other| self.weight(weights, one, other))).sum();
        let chance = all * spread / (self.categories * (self.categories - 1)) as f64;
        beyond_chance(agreement, chance).map(|coefficient| Gwet { coefficient, agreement, chance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::close;

    #[test]
    fn three_subjects_by_hand() {
        // Subject 0: a a; subject 1: a b; subject 2: b alone. Agreement (1 + 0)/2; shares of a: (1 + 1/2 + 0)/3 = 1/2.
        // AC1: chance 2·(1/2·1/2)·2/(2·1) = 1/2.
        let ratings = Ratings::new(&[Some('a'), Some('a'), Some('a'), Some('b'), Some('b'), None], 2, &['a', 'b']).unwrap();
        let gwet = ratings.gwet(AgreementWeights::Unweighted).unwrap();
        assert!(close(gwet.agreement, 0.5) && close(gwet.chance, 0.5) && close(gwet.coefficient, 0.0));
    }

    #[test]
    fn a_common_category_does_not_ruin_it() {
        // 46 of 50 both yes, 4 apart: agreement 0.92, prevalence of yes 0.96: chance 2·0.96·0.04.
        let mut ratings = [Some(1), Some(1)].repeat(46);
        ratings.extend([Some(1), Some(0), Some(0), Some(1)].repeat(2));
        let ratings = Ratings::new(&ratings, 2, &[0, 1]).unwrap();
        let gwet = ratings.gwet(AgreementWeights::Unweighted).unwrap();
        assert!(close(gwet.coefficient, (0.92 - 0.0768) / (1.0 - 0.0768)));
        assert!(ratings.cohen(0, 1, AgreementWeights::Unweighted).unwrap() < 0.0);
    }
}
