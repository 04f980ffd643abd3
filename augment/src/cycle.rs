//! Seeded orders in which rows are visited.

use std::collections::HashSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::digest::Fingerprint;
use crate::record::Label;

/// The random numbers of one purpose: ChaCha8 keyed with the BLAKE3 digest of seed, purpose and number, so that streams of
/// different purposes or epochs share nothing.
pub(crate) fn rng(seed: u64, purpose: &str, number: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(
        Fingerprint::of(&[b"roentgen mix 1", &seed.to_le_bytes(), purpose.as_bytes(), &number.to_le_bytes()]).0,
    )
}

/// A cycle through `len` rows in one seeded order.
///
/// The order is the same in every lap. So any `len` consecutive steps visit each row once, wherever they begin, and what an epoch
/// visits depends only on the number of steps before it.
#[derive(Clone, Debug)]
pub(crate) struct Cycle(Vec<usize>);

impl Cycle {
    pub fn new(len: usize, seed: u64, purpose: &str) -> Self {
        Self::over((0..len).collect(), seed, purpose, 0)
    }

    /// A cycle through these rows, which are the group `number` of a purpose.
    pub fn over(mut rows: Vec<usize>, seed: u64, purpose: &str, number: u64) -> Self {
        rows.shuffle(&mut rng(seed, purpose, number));
        Self(rows)
    }

    /// Every row once, in the order of the first steps.
    pub fn rows(&self) -> &[usize] {
        &self.0
    }

    /// The row of a step.
    ///
    /// # Panics
    /// If there are no rows.
    pub fn at(&self, step: u64) -> usize {
        self.0[(step % self.0.len() as u64) as usize]
    }
}

/// A cycle that visits every finding equally often.
///
/// Rows are grouped by finding: one group for each finding with a positive row, and one for the rows without any. Steps go
/// through the groups in turn, and each group through its rows as a [`Cycle`]. A row of several findings is in several groups.
#[derive(Clone, Debug)]
pub(crate) struct BalancedCycle(Vec<Cycle>);

impl BalancedCycle {
    pub fn new<'a>(labels: impl Iterator<Item = &'a [Label]>, seed: u64, purpose: &str) -> Self {
        let mut groups: Vec<Vec<usize>> = vec![Vec::new()];
        for (row, labels) in labels.enumerate() {
            groups.resize(groups.len().max(labels.len() + 1), Vec::new());
            let before: usize = groups[1..].iter().map(Vec::len).sum();
            for (group, _) in groups[1..].iter_mut().zip(labels).filter(|(_, label)| **label == Label::Positive) {
                group.push(row);
            }
            if groups[1..].iter().map(Vec::len).sum::<usize>() == before {
                groups[0].push(row);
            }
        }
        let cycles = groups.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
        Self(cycles.map(|(group, rows)| Cycle::over(rows, seed, purpose, 1 + group as u64)).collect())
    }

    /// Every row once: the groups in turn, each with its next row that no group has given before, until all are used up.
    pub fn distinct(&self) -> impl Iterator<Item = usize> {
        let mut groups: Vec<_> = self.0.iter().map(|group| group.rows().iter()).collect();
        let mut given = HashSet::new();
        let mut turn = 0;
        std::iter::from_fn(move || {
            // A group without such a row is used up for good, and a lap of used-up groups is the end.
            (0..groups.len()).find_map(|_| {
                let group = turn % groups.len();
                turn += 1;
                groups[group].find(|row| given.insert(**row)).copied()
            })
        })
    }

    /// The row of a step.
    ///
    /// # Panics
    /// If there are no rows.
    pub fn at(&self, step: u64) -> usize {
        let groups = self.0.len() as u64;
        self.0[(step % groups) as usize].at(step / groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_lap_visits_every_row_once() {
        let cycle = Cycle::new(7, 3, "test");
        for start in 0..20 {
            let visited: HashSet<_> = (start..start + 7).map(|step| cycle.at(step)).collect();
            assert_eq!(visited.len(), 7, "from step {start}");
        }
    }

    #[test]
    fn seeds_and_purposes_give_other_orders() {
        let order = |seed, purpose| (0..50).map(|step| Cycle::new(50, seed, purpose).at(step)).collect::<Vec<_>>();
        assert_eq!(order(1, "a"), order(1, "a"));
        assert_ne!(order(1, "a"), order(2, "a"));
        assert_ne!(order(1, "a"), order(1, "b"));
    }

    #[test]
    fn a_balanced_cycle_shares_the_steps_between_findings() {
        use Label::{Missing, Negative, Positive};
        // Nine rows of the first finding, one of the second, two of none; the third finding never occurs.
        let mut rows = vec![[Positive, Negative, Missing]; 9];
        rows.push([Negative, Positive, Negative]);
        rows.extend([[Negative, Negative, Missing]; 2]);
        let cycle = BalancedCycle::new(rows.iter().map(|row| &row[..]), 0, "test");
        let visits: Vec<_> = (0..27).map(|step| cycle.at(step)).collect();
        let share = |range: std::ops::Range<usize>| visits.iter().filter(|row| range.contains(row)).count();
        assert_eq!((share(0..9), share(9..10), share(10..12)), (9, 9, 9));
        assert_eq!(visits.iter().filter(|row| **row < 9).collect::<HashSet<_>>().len(), 9);
        // Without repeats, the rare ones come first and the others follow.
        let distinct: Vec<_> = cycle.distinct().collect();
        assert_eq!(distinct.iter().collect::<HashSet<_>>().len(), 12);
        assert!(distinct[..5].contains(&9) && distinct[..5].contains(&10) && distinct[..5].contains(&11), "{distinct:?}");
    }
}
