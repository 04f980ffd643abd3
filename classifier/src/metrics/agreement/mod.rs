//! Agreement of people (or programs) who rated the same subjects.
//!
//! All coefficients compare the agreement that was seen with one expected by chance, `(seen - chance) / (1 - chance)`, and differ in what
//! chance means. Cohen's and Fleiss' take it from how often each category was used, so they fall to 0 and below where nearly everybody
//! gives one category, however well the raters agree (the "kappa paradox"); Gwet's and Randolph's don't. Report the plain
//! [`Ratings::agreement`] beside any of them.

mod cohen;
mod fleiss;
mod gwet;

use std::fmt::Debug;

use super::MetricsError;

pub use gwet::Gwet;

/// Ratings of `N` subjects by `R` raters in `Q` ordered categories; a rater may have left a subject out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratings {
    /// Row-major `[N, R]`: place among the categories.
    codes: Vec<Option<usize>>,
    raters: usize,
    categories: usize,
}

/// How nearly two different categories agree, by their distance in the list of categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AgreementWeights {
    /// Not at all: categories have no order.
    #[default]
    Unweighted,
    /// One minus the distance as a share of the longest one.
    Linear,
    /// One minus the square of that share (Fleiss & Cohen 1973).
    Quadratic,
}

impl Ratings {
    /// Ratings on a given scale: `ratings` is row-major, one row per subject with one entry per rater, `None` where there is no rating.
    /// `categories` lists the scale in its order, including categories that nobody used: they count in the distances of weighted
    /// coefficients and in the chance of [`Ratings::randolph`] and [`Ratings::gwet`].
    ///
    /// # Errors
    /// [`MetricsError::Raters`] where the ratings make no whole rows, [`MetricsError::RepeatedCategory`],
    /// [`MetricsError::UnknownCategory`] for a rating that is not on the scale.
    pub fn new<T: PartialEq + Debug>(ratings: &[Option<T>], raters: usize, categories: &[T]) -> Result<Self, MetricsError> {
        if raters == 0 || !ratings.len().is_multiple_of(raters) {
            return Err(MetricsError::Raters { ratings: ratings.len(), raters });
        }
        if let Some(at) = (1..categories.len()).find(|&at| categories[..at].contains(&categories[at])) {
            return Err(MetricsError::RepeatedCategory { category: format!("{:?}", categories[at]) });
        }
        let code = |(at, rating): (usize, &Option<T>)| match rating {
            None => Ok(None),
            Some(rating) => match categories.iter().position(|category| category == rating) {
                Some(code) => Ok(Some(code)),
                None => Err(MetricsError::UnknownCategory {
                    subject: at / raters,
                    rater: at % raters,
                    found: format!("{rating:?}"),
                    categories: format!("{categories:?}"),
                }),
            },
        };
        let codes = ratings.iter().enumerate().map(code).collect::<Result<_, _>>()?;
        Ok(Self { codes, raters, categories: categories.len() })
    }

    /// Ratings on the scale of the categories that occur, in rising order: what scikit-learn's `cohen_kappa_score` does without
    /// `labels`. On a scale of 1 to 5 whose 3 nobody gave, 2 and 4 become neighbours; prefer [`Ratings::new`].
    ///
    /// # Errors
    /// [`MetricsError::Raters`].
    pub fn of_present<T: Ord + Clone + Debug>(ratings: &[Option<T>], raters: usize) -> Result<Self, MetricsError> {
        let mut present: Vec<T> = ratings.iter().flatten().cloned().collect();
        present.sort();
        present.dedup();
        Self::new(ratings, raters, &present)
    }

    /// Number of subjects, `N`.
    #[must_use]
    pub fn subjects(&self) -> usize {
        self.codes.len() / self.raters
    }

    /// Number of raters, `R`.
    #[must_use]
    pub fn raters(&self) -> usize {
        self.raters
    }

    /// Number of categories, `Q`.
    #[must_use]
    pub fn categories(&self) -> usize {
        self.categories
    }

    /// Share of the pairs of ratings of one subject that are the same category, as a mean over the subjects with two ratings or more; with
    /// weights, partial agreement counts in part. `None` without such a subject.
    #[must_use]
    pub fn agreement(&self, weights: AgreementWeights) -> Option<f64> {
        mean(self.counts().filter(|counts| total(counts) > 1).map(|counts| self.subject_agreement(&counts, weights)))
    }

    /// Share of the ordered pairs of a subject's ratings that agree.
    fn subject_agreement(&self, counts: &[usize], weights: AgreementWeights) -> f64 {
        let ratings = total(counts) as f64;
        let sum: f64 = (0..counts.len())
            .map(|category| {
                let near: f64 =
                    (0..counts.len()).map(|other| self.weight(weights, category, other) * counts[other] as f64).sum();
                counts[category] as f64 * (near - 1.0)
            })
            .sum();
        sum / (ratings * (ratings - 1.0))
    }

    /// For each subject, how often each category was given.
    fn counts(&self) -> impl Iterator<Item = Vec<usize>> {
        self.codes.chunks_exact(self.raters).map(|codes| {
            let mut counts = vec![0; self.categories];
            codes.iter().flatten().for_each(|&code| counts[code] += 1);
            counts
        })
    }

    fn weight(&self, weights: AgreementWeights, one: usize, other: usize) -> f64 {
        if one == other {
            return 1.0;
        }
        let share = one.abs_diff(other) as f64 / (self.categories - 1) as f64;
        match weights {
            AgreementWeights::Unweighted => 0.0,
            AgreementWeights::Linear => 1.0 - share,
            AgreementWeights::Quadratic => 1.0 - share * share,
        }
    }
}

fn total(counts: &[usize]) -> usize {
    counts.iter().sum()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

/// Agreement beyond chance; `None` where chance alone agrees always.
fn beyond_chance(agreement: f64, chance: f64) -> Option<f64> {
    // Sums of shares of order one: what is left of exactly 1 is rounding.
    (1.0 - chance > 1e-12).then(|| (agreement - chance) / (1.0 - chance))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::close;

    const ALL: [AgreementWeights; 3] = [AgreementWeights::Unweighted, AgreementWeights::Linear, AgreementWeights::Quadratic];

    fn table(subjects: std::ops::Range<usize>, missing: bool) -> impl Strategy<Value = (Vec<Option<u8>>, usize)> {
        (2_usize..5, subjects).prop_flat_map(move |(raters, subjects)| {
            let rating = (0_u8..6).prop_map(move |rating| (rating < 5 || !missing).then_some(rating % 5));
            (prop::collection::vec(rating, raters * subjects), prop::strategy::Just(raters))
        })
    }

    #[test]
    fn bad_ratings_are_refused_with_their_place() {
        assert_eq!(Ratings::new(&[Some(1); 3], 2, &[1]), Err(MetricsError::Raters { ratings: 3, raters: 2 }));
        assert_eq!(Ratings::new::<u8>(&[], 0, &[1]), Err(MetricsError::Raters { ratings: 0, raters: 0 }));
        assert_eq!(Ratings::new(&[Some(1)], 1, &[1, 2, 1]), Err(MetricsError::RepeatedCategory { category: "1".into() }));
        let error = Ratings::new(&[Some("a"), Some("b"), None, Some("z")], 2, &["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("subject 1") && error.contains("rater 1") && error.contains("\"z\""), "{error}");
        // NaN is no category, not even of a scale that lists it.
        let nan = Ratings::new(&[Some(f64::NAN)], 1, &[1.0, f64::NAN]).unwrap_err();
        assert!(matches!(nan, MetricsError::UnknownCategory { .. }), "{nan:?}");
    }

    #[test]
    fn nothing_rated_is_undefined() {
        for ratings in [Ratings::new::<u8>(&[], 2, &[1, 2]), Ratings::new(&[None, Some(1), None, None], 2, &[1, 2])] {
            let ratings = ratings.unwrap();
            assert_eq!(ratings.agreement(AgreementWeights::Linear), None);
            assert_eq!(ratings.cohen(0, 1, AgreementWeights::Linear), None);
            assert_eq!(ratings.gwet(AgreementWeights::Linear), None);
        }
    }

    #[test]
    fn constant_raters_agree_and_have_no_kappa() {
        let same = Ratings::new(&[Some(1); 12], 3, &[1, 2]).unwrap();
        assert_eq!(same.agreement(AgreementWeights::Unweighted), Some(1.0));
        assert_eq!((same.cohen(0, 1, AgreementWeights::Unweighted), same.fleiss()), (None, Ok(None)));
        // Chance does not come from how often a category was given: they stay defined.
        assert_eq!(
            (same.randolph(), same.gwet(AgreementWeights::Unweighted).map(|gwet| gwet.coefficient)),
            (Ok(Some(1.0)), Some(1.0))
        );
        let one_category = Ratings::of_present(&[Some(1); 12], 3).unwrap();
        assert_eq!((one_category.randolph(), one_category.gwet(AgreementWeights::Unweighted)), (Ok(None), None));
    }

    proptest! {
        #[test]
        fn order_of_subjects_and_raters_does_not_matter((ratings, raters) in table(1..20, true), turn in 0_usize..20) {
            let scale = [0, 1, 2, 3, 4];
            let here = Ratings::new(&ratings, raters, &scale).unwrap();
            let mut rows: Vec<Vec<_>> = ratings.chunks(raters).map(<[_]>::to_vec).collect();
            let places = rows.len();
            rows.rotate_left(turn % places);
            rows.iter_mut().for_each(|row| row.rotate_left(turn % raters));
            let there = Ratings::new(&rows.concat(), raters, &scale).unwrap();
            for weights in ALL {
                let (one, other) = (here.gwet(weights), there.gwet(weights));
                prop_assert_eq!(one.is_some(), other.is_some());
                if let (Some(one), Some(other)) = (one, other) {
                    prop_assert!(close(one.coefficient, other.coefficient));
                    prop_assert!(close(one.agreement, here.agreement(weights).unwrap()));
                    prop_assert!(one.coefficient <= 1.0 + 1e-12);
                }
            }
        }

        #[test]
        fn mirrored_scales_and_swapped_raters_agree_as_much((ratings, raters) in table(1..30, false)) {
            let here = Ratings::new(&ratings, raters, &[0, 1, 2, 3, 4]).unwrap();
            let mirrored = Ratings::new(&ratings, raters, &[4, 3, 2, 1, 0]).unwrap();
            for weights in ALL {
                let kappa = here.cohen(0, 1, weights);
                for other in [here.cohen(1, 0, weights), mirrored.cohen(0, 1, weights)] {
                    prop_assert_eq!(kappa.is_some(), other.is_some());
                    prop_assert!(kappa.zip(other).is_none_or(|(one, other)| close(one, other) && (-1.0 - 1e-12..=1.0 + 1e-12).contains(&one)));
                }
            }
            let (fleiss, randolph) = (here.fleiss().unwrap(), here.randolph().unwrap());
            prop_assert!(fleiss.is_none_or(|kappa| kappa <= 1.0 + 1e-12));
            // Chance of 1/5 is the least there is.
            prop_assert!(randolph.is_some() && fleiss.is_none_or(|kappa| kappa <= randolph.unwrap() + 1e-12));
        }

        #[test]
        fn a_rater_agrees_with_itself(ratings in prop::collection::vec(0_u8..4, 1..30)) {
            let twice: Vec<_> = ratings.iter().flat_map(|rating| [Some(*rating), Some(*rating)]).collect();
            let here = Ratings::new(&twice, 2, &[0, 1, 2, 3]).unwrap();
            for weights in ALL {
                prop_assert_eq!(here.agreement(weights), Some(1.0));
                prop_assert!(here.cohen(0, 1, weights).is_none_or(|kappa| close(kappa, 1.0)));
                prop_assert!(here.gwet(weights).is_none_or(|gwet| close(gwet.coefficient, 1.0)));
            }
        }
    }
}
