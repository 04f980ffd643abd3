//! Several raters, each subject rated equally often.

use super::{AgreementWeights, Ratings, beyond_chance, total};
use crate::metrics::MetricsError;

impl Ratings {
    /// Fleiss' kappa (Fleiss 1971, doi 10.1037/h0031619), whose chance comes from how often each category was given; as statsmodels'
    /// `fleiss_kappa`. `None` where one category was given throughout, without subjects, and with one rating per subject.
    ///
    /// # Errors
    /// [`MetricsError::UnequalRatings`] where a subject has another number of ratings than the first: use [`Ratings::gwet`].
    pub fn fleiss(&self) -> Result<Option<f64>, MetricsError> {
        self.require_equal_ratings()?;
        let mut given = vec![0_usize; self.categories];
        self.codes.iter().flatten().for_each(|&code| given[code] += 1);
        let all = total(&given) as f64;
        let chance = given.iter().map(|&count| (count as f64 / all).powi(2)).sum();
        Ok(self.agreement(AgreementWeights::Unweighted).and_then(|agreement| beyond_chance(agreement, chance)))
    }

    /// Randolph's free-marginal kappa (Randolph 2005, ERIC ED490661), whose chance is one over the number of categories, used or not.
    /// `None` with one category, without subjects, and with one rating per subject.
    ///
    /// # Errors
    /// As [`Ratings::fleiss`].
    pub fn randolph(&self) -> Result<Option<f64>, MetricsError> {
        self.require_equal_ratings()?;
        let chance = 1.0 / self.categories as f64;
        Ok(self.agreement(AgreementWeights::Unweighted).and_then(|agreement| beyond_chance(agreement, chance)))
    }

    fn require_equal_ratings(&self) -> Result<(), MetricsError> {
        let ratings = |codes: &[Option<usize>]| codes.iter().flatten().count();
        let mut rows = self.codes.chunks_exact(self.raters).map(ratings);
        let expected = rows.next().unwrap_or(0);
        match rows.position(|found| found != expected) {
            None => Ok(()),
            Some(after) => {
                let subject = after + 1;
                let found = ratings(&self.codes[subject * self.raters..][..self.raters]);
                Err(MetricsError::UnequalRatings { subject, expected, found })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing::close;

    #[test]
    fn two_subjects_by_hand() {
        // Subject 0: a a b, agreement 1/3; subject 1: b b b, agreement 1. Mean 2/3; given a 2 of 6, b 4 of 6: chance 5/9.
        let ratings =
            Ratings::new(&[Some('a'), Some('a'), Some('b'), Some('b'), Some('b'), Some('b')], 3, &['a', 'b', 'c']).unwrap();
        assert!(close(ratings.fleiss().unwrap().unwrap(), (2.0 / 3.0 - 5.0 / 9.0) / (4.0 / 9.0)));
        assert!(close(ratings.randolph().unwrap().unwrap(), 0.5));
    }

    #[test]
    fn unequal_numbers_of_ratings_are_refused() {
        let ratings = Ratings::new(&[Some(1), Some(1), Some(1), None], 2, &[1, 2]).unwrap();
        let error = MetricsError::UnequalRatings { subject: 1, expected: 2, found: 1 };
        assert_eq!((ratings.fleiss(), ratings.randolph()), (Err(error.clone()), Err(error)));
        // Everybody left the same number of subjects out: nothing to compare.
        let single = Ratings::new(&[Some(1), None, None, Some(2)], 2, &[1, 2]).unwrap();
        assert_eq!((single.fleiss(), single.randolph()), (Ok(None), Ok(None)));
    }
}
