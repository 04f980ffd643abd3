//! The nearest of many rows, block by block.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::evaluation::{Rows, RowsError};

/// Numbers of candidates that are read for all queries of a thread before the next ones: half of a core's cache.
const CACHED: usize = 1 << 17;
/// Numbers of two rows after which a pair that is too far already is given up.
const STRIDE: usize = 128;
/// Sums that are independent of one another, so that they are added side by side.
const LANES: usize = 16;

/// A candidate with the square of its Euclidean distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub index: usize,
    pub square: f64,
}

/// For each query the nearest of the candidates that were offered so far; of equally near ones the first. The order of the
/// additions is that of the numbers in a row, so neither blocks nor threads change a result.
pub(super) struct Search {
    best: Vec<Option<Found>>,
    offered: usize,
}

impl Search {
    /// A search for so many queries.
    pub fn new(queries: usize) -> Self {
        Self { best: vec![None; queries], offered: 0 }
    }

    /// The nearest neighbour of each row among the rows of other groups; one group per row.
    pub fn within(rows: Rows<'_, f32>, groups: &[usize]) -> Vec<Option<Found>> {
        let mut search = Self::new(rows.len());
        search.look(rows, rows, |query, candidate| groups[query] != groups[candidate]);
        search.best
    }

    /// Offers the next candidates, which are counted on from those before, to the queries, which are always the same.
    pub fn offer(&mut self, queries: Rows<'_, f32>, candidates: Rows<'_, f32>) -> Result<(), RowsError> {
        queries.comparable(&candidates)?;
        self.look(queries, candidates, |_, _| true);
        Ok(())
    }

    fn look(&mut self, queries: Rows<'_, f32>, candidates: Rows<'_, f32>, may: impl Fn(usize, usize) -> bool + Sync) {
        let first = self.offered;
        let together = (CACHED / queries.width()).max(1);
        // Several pieces per thread, as some are given up sooner than others.
        let piece = self.best.len().div_ceil(8 * rayon::current_num_threads()).max(1);
        self.best.par_chunks_mut(piece).enumerate().for_each(|(chunk, best)| {
            for start in (0..candidates.len()).step_by(together) {
                let end = (start + together).min(candidates.len());
                for (place, best) in best.iter_mut().enumerate() {
                    let query = chunk * piece + place;
                    for candidate in (start..end).filter(|candidate| may(query, *candidate)) {
                        let limit = best.map_or(f64::INFINITY, |found| found.square);
                        let square = square_below(queries.row(query), candidates.row(candidate), limit);
                        if square < limit {
                            *best = Some(Found { index: first + candidate, square });
                        }
                    }
                }
            }
        });
        self.offered += candidates.len();
    }

    /// Candidates so far.
    pub fn offered(&self) -> usize {
        self.offered
    }

    /// What was found, one entry per query; `None` where no candidate was offered.
    pub fn found(&self) -> &[Option<Found>] {
        &self.best
    }
}

/// The squared Euclidean distance, or some number of at least `limit` if it is not below that.
fn square_below(a: &[f32], b: &[f32], limit: f64) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.chunks(STRIDE).zip(b.chunks(STRIDE)) {
        let mut lanes = [0.0f32; LANES];
        let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        for (a, b) in a.by_ref().zip(b.by_ref()) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += (a - b) * (a - b);
            }
        }
        let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
        sum += f64::from(rest) + lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
        if sum >= limit {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn rows(values: &[f32], width: usize) -> Rows<'_, f32> {
        Rows::new(values, width).unwrap()
    }

    fn plain(query: &[f32], candidates: Rows<'_, f32>) -> (usize, f64) {
        let square = |row: usize| -> f64 {
            query.iter().zip(candidates.row(row)).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        (0..candidates.len()).map(|row| (row, square(row))).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    }

    proptest! {
        #[test]
        fn blocks_and_early_ends_change_nothing(
            width in 1usize..300, queries in 1usize..7, candidates in 1usize..20, block in 1usize..20, seed: u32,
        ) {
            // Whole numbers: sums are exact, so ties are ties.
            let value = |i: usize| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 29) as f32;
            let ours: Vec<f32> = (0..width * queries).map(value).collect();
            let theirs: Vec<f32> = (width * queries..width * (queries + candidates)).map(value).collect();
            let mut search = Search::new(queries);
            for part in theirs.chunks(width * block) {
                search.offer(rows(&ours, width), rows(part, width)).unwrap();
            }
            prop_assert_eq!(search.offered(), candidates);
            for (query, found) in search.found().iter().enumerate() {
                let (index, square) = plain(rows(&ours, width).row(query), rows(&theirs, width));
                prop_assert_eq!(*found, Some(Found { index, square }));
            }
        }

        #[test]
        fn rounding_stays_small(values in prop::collection::vec(-1.0f32..1.0, 600)) {
            let (query, candidates) = (&values[..200], rows(&values[200..], 200));
            let mut search = Search::new(1);
            search.offer(rows(query, 200), candidates).unwrap();
            let found = search.found()[0].unwrap();
            let (_, square) = plain(query, candidates);
            prop_assert!((found.square - square).abs() <= 1e-5 * square, "{} {square}", found.square);
        }
    }

    #[test]
    fn a_row_is_no_neighbour_of_its_own_group() {
        let values = [0.0, 0.1, 5.0, 5.5];
        let indices = |groups: &[usize]| -> Vec<Option<usize>> {
            Search::within(rows(&values, 1), groups).into_iter().map(|found| Some(found?.index)).collect()
        };
        assert_eq!(indices(&[0, 1, 2, 3]), [Some(1), Some(0), Some(3), Some(2)]);
        assert_eq!(indices(&[0, 0, 1, 1]), [Some(2), Some(2), Some(1), Some(1)]);
        assert_eq!(indices(&[0; 4]), [None; 4]);
    }

    #[test]
    fn rows_of_another_width_are_refused() {
        let error = Search::new(1).offer(rows(&[1.0, 2.0], 2), rows(&[1.0; 3], 3)).unwrap_err();
        assert_eq!(error, RowsError::Width { found: 3, expected: 2 });
    }
}
