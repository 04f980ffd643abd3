//! How far apart groups are.

use roentgen_classifier::metrics::Summary;

use crate::report::Estimate;

/// Confidence of an interval.
const LEVEL: f64 = 0.95;

/// The two groups that are farthest apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Gap {
    /// The largest minus the smallest value; the interval may reach below 0.
    pub size: Estimate,
    /// The group with the largest.
    pub highest: usize,
    /// The group with the smallest.
    pub lowest: usize,
}

/// A pair of groups: the difference of their values, that of each replicate (NaN where it is undefined), and its standard error.
struct Pair {
    difference: f64,
    replicates: Vec<f64>,
    error: f64,
}

/// The gap between the values of groups, and its interval by their bootstrap replicates. `None` if fewer than two values, or fewer than two
/// replicates of them, are defined.
///
/// The two groups are chosen for their distance, so the interval of their difference alone would be too narrow. This one is simultaneous: with
/// `d` the difference of a pair, `d*` that of a replicate and `s` the standard deviation of `d*`, it is `d ± q s`, where `q` is the 95 % point of
/// the replicates' largest `|d* - d| / s` over all pairs (the single-step max-t of Romano & Wolf 2005, doi 10.1198/016214504000000539).
pub(super) fn gap(values: &[Option<f64>], replicates: &[&[Option<f64>]]) -> Option<Gap> {
    let defined: Vec<(usize, f64)> = values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?))).collect();
    let lowest = *defined.iter().reduce(|best, other| if other.1 < best.1 { other } else { best })?;
    let highest = *defined.iter().reduce(|best, other| if other.1 > best.1 { other } else { best })?;
    let pair = |a: (usize, f64), b: (usize, f64)| {
        let difference = |row: &&[Option<f64>]| row[a.0].zip(row[b.0]).map_or(f64::NAN, |(a, b)| a - b);
        let replicates: Vec<f64> = replicates.iter().map(difference).collect();
        let error = Summary::new(&replicates).standard_deviation?;
        Some(Pair { difference: a.1 - b.1, replicates, error })
    };
    let pairs = defined.iter().enumerate().flat_map(|(at, a)| defined[..at].iter().map(move |b| (*a, *b)));
    let pairs: Vec<Pair> = pairs.filter_map(|(a, b)| pair(a, b)).filter(|pair| pair.error > 0.0).collect();
    // Undefined pairs are NaN, which `max` leaves out.
    let largest = |row: usize| {
        pairs.iter().map(|pair| (pair.replicates[row] - pair.difference).abs() / pair.error).fold(f64::NAN, f64::max)
    };
    let mut largest: Vec<f64> = (0..replicates.len()).map(largest).filter(|value| !value.is_nan()).collect();
    largest.sort_unstable_by(f64::total_cmp);
    // Equal values of two groups are the first and the last of them: they are two all the same.
    let (high, low) = if highest.0 == lowest.0 { (defined.first()?, defined.last()?) } else { (&highest, &lowest) };
    if high.0 == low.0 {
        return None;
    }
    let extreme = pair(*high, *low)?;
    let place = (LEVEL * (largest.len() + 1) as f64).ceil() as usize;
    let reach = largest.get(place.clamp(1, largest.len().max(1)) - 1).map_or(0.0, |factor| factor * extreme.error);
    let value = extreme.difference;
    let size = Estimate { value, low: (value - reach).max(-1.0), high: (value + reach).min(1.0) };
    Some(Gap { size, highest: high.0, lowest: low.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn of(values: &[f64], replicates: &[Vec<Option<f64>>]) -> Option<Gap> {
        let values: Vec<Option<f64>> = values.iter().map(|value| Some(*value)).collect();
        gap(&values, &replicates.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    #[test]
    fn the_interval_by_hand() {
        // Differences 0.1, 0.2, 0.3 around 0.2, of standard deviation 0.1 (divisor 2): the largest is 1 away, so 0.2 ± 0.1.
        let replicates = [0.1, 0.2, 0.3].map(|difference| vec![Some(0.5 + difference), Some(0.5)]);
        let found = of(&[0.7, 0.5], &replicates).unwrap();
        assert_eq!((found.highest, found.lowest), (0, 1));
        for (value, expected) in [(found.size.value, 0.2), (found.size.low, 0.1), (found.size.high, 0.3)] {
            assert!((value - expected).abs() < 1e-12, "{found:?}");
        }
        // The order of groups is their own.
        let turned: Vec<_> = replicates.iter().map(|row| row.iter().rev().copied().collect()).collect();
        let turned = of(&[0.5, 0.7], &turned).unwrap();
        assert_eq!((turned.highest, turned.lowest), (1, 0));
        assert!((turned.size.low - found.size.low).abs() < 1e-12);
    }

    #[test]
    fn one_group_has_no_gap_and_equal_groups_have_one_of_nothing() {
        let replicates = vec![vec![Some(0.5), None, None]; 3];
        assert_eq!(gap(&[Some(0.5), None, None], &replicates.iter().map(Vec::as_slice).collect::<Vec<_>>()), None);
        // Never defined together.
        assert_eq!(of(&[0.5, 0.6, 0.7], &replicates), None);
        let found = of(&[0.5, 0.5], &vec![vec![Some(0.5), Some(0.5)]; 3]).unwrap();
        assert_eq!((found.size.value, found.size.low, found.size.high), (0.0, 0.0, 0.0));
        assert_ne!(found.highest, found.lowest);
    }

    /// Draws around 0.7 that no group has more of than another; the sum of twelve uniform numbers has a variance of 1.
    fn equal_groups(groups: usize, seed: u64) -> (Vec<f64>, Vec<Vec<Option<f64>>>) {
        let mut state = seed;
        let mut uniform = move || {
            // Knuth's MMIX.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1_u64 << 24) as f64
        };
        let mut normal = move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let values: Vec<f64> = (0..groups).map(|_| 0.7 + 0.02 * normal()).collect();
        let replicates = (0..200).map(|_| values.iter().map(|value| Some(value + 0.02 * normal())).collect()).collect();
        (values, replicates)
    }

    /// However many groups there are, equal ones are told apart in one study of twenty.
    #[test]
    fn equal_groups_are_rarely_told_apart() {
        for groups in [2, 6] {
            let told = (0..400_u64).filter(|seed| {
                let (values, replicates) = equal_groups(groups, seed * 7919 + 1);
                of(&values, &replicates).unwrap().size.low > 0.0
            });
            // Of 400 with a chance of 0.05: 20, and 36 is beyond three and a half standard deviations.
            let told = told.count();
            assert!(told <= 36, "{told} of 400 with {groups} groups");
            assert!(told >= 5, "{told} of 400 with {groups} groups");
        }
    }

    proptest! {
        #[test]
        fn the_value_is_inside_and_undefined_replicates_are_left_out(
            values in prop::collection::vec(0.0..1.0_f64, 2..5), seed in any::<u64>(),
        ) {
            let (_, mut replicates) = equal_groups(values.len(), seed);
            let found = of(&values, &replicates).unwrap();
            prop_assert!(found.size.low <= found.size.value && found.size.value <= found.size.high);
            replicates.push(vec![None; values.len()]);
            prop_assert_eq!(of(&values, &replicates).unwrap().highest, found.highest);
        }
    }
}
