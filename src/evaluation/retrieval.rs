//! Retrieval: whether what is most like a query is of its kind.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::rows::{Rows, RowsError};

/// Queries whose similarities are held at once.
const BLOCK: usize = 256;

/// Why nothing was retrieved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// The embeddings themselves.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// Not one label for each row.
    #[error("{labels} labels for {rows} {what}")]
    Labels {
        /// Queries or candidates.
        what: &'static str,
        /// Rows.
        rows: usize,
        /// Labels.
        labels: usize,
    },
    /// Nothing to look for, or nothing to look in.
    #[error("no {what}")]
    None {
        /// Queries, candidates or ranks.
        what: &'static str,
    },
    /// An embedding without direction.
    #[error("the embedding of {what} {row} is all 0: a cosine has no direction to go by")]
    Zero {
        /// Query or candidate.
        what: &'static str,
        /// Row, from 0.
        row: usize,
    },
    /// More are to be retrieved than there are.
    #[error("precision at {k} of {candidates} candidates: give at least {k} candidates, or a smaller k")]
    TooFew {
        /// The rank asked for.
        k: usize,
        /// Candidates.
        candidates: usize,
    },
    /// A class that nobody can find.
    #[error("query {query} is of class {class}, of which there is no candidate")]
    NoCandidate {
        /// The first such query.
        query: usize,
        /// Its class.
        class: usize,
    },
}

/// Share of the query's class among the `k` most similar candidates, for several `k`.
#[derive(Clone, Debug, PartialEq)]
pub struct Precision {
    /// For each query, at each `k`.
    pub per_query: Vec<Vec<f64>>,
    /// Classes that have queries, ascending, with the mean over these at each `k`.
    pub per_class: Vec<(usize, Vec<f64>)>,
    /// Mean over the classes at each `k`.
    pub macro_average: Vec<f64>,
    /// Mean over the queries at each `k`.
    pub micro_average: Vec<f64>,
}

/// At which rank the first candidate of the query's class stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Recall {
    /// The rank for each query, from 1.
    pub per_query: Vec<usize>,
    /// Share of queries that find one among the first `k`, for several `k`.
    pub at: Vec<f64>,
    /// Median of the ranks, from 1.
    pub median_rank: f64,
    /// Mean of one over the rank.
    pub mean_reciprocal_rank: f64,
}

/// Precision at several `k` by cosine similarity; of equally similar candidates the first comes first. A class with fewer than `k` candidates
/// can't reach 1.
///
/// # Errors
/// [`RetrievalError`] if widths differ, if labels and rows are not equally many, for no queries, candidates or `k`, an embedding of zeros,
/// a `k` of 0 or beyond the candidates, and a query of whose class there is no candidate.
pub fn precision_at<T, U>(
    queries: Rows<'_, T>,
    query_labels: &[usize],
    candidates: Rows<'_, U>,
    candidate_labels: &[usize],
    ks: &[usize],
) -> Result<Precision, RetrievalError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    let labels = Labels::new((query_labels, queries.len()), (candidate_labels, candidates.len()))?;
    let per_query = by_block(queries, candidates, |first, similarities| labels.precision(first, similarities, ks))?;
    labels.averages(per_query.into_iter().flatten().collect(), ks)
}

/// Recall at several `k` by cosine similarity: a query's class is found if any candidate of it is. With one class for each pair of an image and its
/// text, this is image-to-text and text-to-image recall.
///
/// # Errors
/// As [`precision_at`], but `k` may exceed the candidates.
pub fn recall_at<T, U>(
    queries: Rows<'_, T>,
    query_labels: &[usize],
    candidates: Rows<'_, U>,
    candidate_labels: &[usize],
    ks: &[usize],
) -> Result<Recall, RetrievalError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    let labels = Labels::new((query_labels, queries.len()), (candidate_labels, candidates.len()))?;
    let ranks = by_block(queries, candidates, |first, similarities| Ok(labels.ranks(first, similarities)))?;
    Recall::new(ranks.concat(), ks)
}

/// [`precision_at`] for given similarities: one row for each query.
///
/// # Errors
/// As [`precision_at`].
pub fn precision_of(
    similarities: Rows<'_, f64>,
    query_labels: &[usize],
    candidate_labels: &[usize],
    ks: &[usize],
) -> Result<Precision, RetrievalError> {
    let labels = Labels::new((query_labels, similarities.len()), (candidate_labels, similarities.width()))?;
    labels.averages(labels.precision(0, similarities, ks)?, ks)
}

/// [`recall_at`] for given similarities: one row for each query.
///
/// # Errors
/// As [`recall_at`].
pub fn recall_of(
    similarities: Rows<'_, f64>,
    query_labels: &[usize],
    candidate_labels: &[usize],
    ks: &[usize],
) -> Result<Recall, RetrievalError> {
    let labels = Labels::new((query_labels, similarities.len()), (candidate_labels, similarities.width()))?;
    Recall::new(labels.ranks(0, similarities), ks)
}

/// Cosines of every query with every candidate: `queries x candidates`, row-major.
///
/// # Errors
/// [`RetrievalError::Rows`] if the widths differ, [`RetrievalError::None`], [`RetrievalError::Zero`].
pub fn cosines<T, U>(queries: Rows<'_, T>, candidates: Rows<'_, U>) -> Result<Vec<f64>, RetrievalError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    Ok(by_block(queries, candidates, |_, similarities| Ok(similarities.values().to_vec()))?.concat())
}

/// Calls `each` with (first query of a block, cosines of the block's queries with all candidates).
fn by_block<T, U, R>(
    queries: Rows<'_, T>,
    candidates: Rows<'_, U>,
    each: impl Fn(usize, Rows<'_, f64>) -> Result<R, RetrievalError> + Sync,
) -> Result<Vec<R>, RetrievalError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
    R: Send,
{
    queries.comparable(&candidates)?;
    for (what, rows) in [("queries", queries.len()), ("candidates", candidates.len())] {
        if rows == 0 {
            return Err(RetrievalError::None { what });
        }
    }
    let width = queries.width();
    let directions = directions(&candidates, 0..candidates.len(), "candidate")?;
    let directions = MatRef::from_row_major_slice(&directions, candidates.len(), width);
    let block = |first: usize| {
        let last = queries.len().min(first + BLOCK);
        let block = self::directions(&queries, first..last, "query")?;
        let block = MatRef::from_row_major_slice(&block, last - first, width);
        let mut similarities = vec![0.0; (last - first) * candidates.len()];
        let into = MatMut::from_column_major_slice_mut(&mut similarities, candidates.len(), last - first);
        matmul(into, Accum::Replace, directions, block.transpose(), 1.0, Par::Seq);
        each(first, Rows::new(&similarities, candidates.len())?)
    };
    (0..queries.len()).into_par_iter().step_by(BLOCK).map(block).collect()
}

/// Rows of length 1.
fn directions<T: Copy + Into<f64>>(
    rows: &Rows<'_, T>,
    range: Range<usize>,
    what: &'static str,
) -> Result<Vec<f64>, RetrievalError> {
    let mut directions = Vec::with_capacity(range.len() * rows.width());
    for row in range {
        let values: Vec<f64> = rows.row(row).iter().map(|&value| value.into()).collect();
        // The largest first: squares of very large or very small numbers would leave the range.
        let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        if largest == 0.0 {
            return Err(RetrievalError::Zero { what, row });
        }
        let length = values.iter().map(|value| (value / largest).powi(2)).sum::<f64>().sqrt();
        directions.extend(values.iter().map(|value| value / largest / length));
    }
    Ok(directions)
}

/// Classes of queries and candidates.
struct Labels<'a> {
    queries: &'a [usize],
    candidates: &'a [usize],
}

impl<'a> Labels<'a> {
    fn new(queries: (&'a [usize], usize), candidates: (&'a [usize], usize)) -> Result<Self, RetrievalError> {
        for (what, (labels, rows)) in [("queries", queries), ("candidates", candidates)] {
            if labels.len() != rows {
                return Err(RetrievalError::Labels { what, rows, labels: labels.len() });
            }
            if rows == 0 {
                return Err(RetrievalError::None { what });
            }
        }
        let known: HashSet<usize> = candidates.0.iter().copied().collect();
        match queries.0.iter().position(|class| !known.contains(class)) {
            Some(query) => Err(RetrievalError::NoCandidate { query, class: queries.0[query] }),
            None => Ok(Self { queries: queries.0, candidates: candidates.0 }),
        }
    }

    /// For each query from `first` on, the share of its class at each `k`.
    fn precision(&self, first: usize, similarities: Rows<'_, f64>, ks: &[usize]) -> Result<Vec<Vec<f64>>, RetrievalError> {
        let most = ks.iter().copied().max().filter(|_| !ks.contains(&0)).ok_or(RetrievalError::None { what: "ranks" })?;
        if most > self.candidates.len() {
            return Err(RetrievalError::TooFew { k: most, candidates: self.candidates.len() });
        }
        let of_query = |query: usize| {
            let class = self.queries[first + query];
            let similar = similarities.row(query);
            let mut order: Vec<usize> = (0..similar.len()).collect();
            // Not `total_cmp`, to which -0 is less than 0.
            let before = |a: &usize, b: &usize| similar[*b].partial_cmp(&similar[*a]).unwrap_or(Ordering::Equal).then(a.cmp(b));
            if most < order.len() {
                order.select_nth_unstable_by(most, before);
                order.truncate(most);
            }
            order.sort_unstable_by(before);
            let right = |k: usize| order[..k].iter().filter(|&&candidate| self.candidates[candidate] == class).count();
            ks.iter().map(|&k| right(k) as f64 / k as f64).collect()
        };
        Ok((0..similarities.len()).map(of_query).collect())
    }

    /// For each query from `first` on, the rank of the first candidate of its class, from 1.
    fn ranks(&self, first: usize, similarities: Rows<'_, f64>) -> Vec<usize> {
        let of_query = |query: usize| {
            let class = self.queries[first + query];
            let similar = similarities.row(query);
            let right = (0..similar.len()).filter(|&candidate| self.candidates[candidate] == class);
            // The first of the most similar ones.
            let best = right
                .reduce(|best, other| if similar[other] > similar[best] { other } else { best })
                .expect("the class has a candidate");
            let before = |candidate: usize| {
                similar[candidate] > similar[best] || (similar[candidate] == similar[best] && candidate < best)
            };
            1 + (0..similar.len()).filter(|&candidate| before(candidate)).count()
        };
        (0..similarities.len()).map(of_query).collect()
    }

    fn averages(&self, per_query: Vec<Vec<f64>>, ks: &[usize]) -> Result<Precision, RetrievalError> {
        let mean = |rows: &[&Vec<f64>]| {
            let at = |k: usize| rows.iter().map(|row| row[k]).sum::<f64>() / rows.len() as f64;
            (0..ks.len()).map(at).collect::<Vec<f64>>()
        };
        let classes: BTreeSet<usize> = self.queries.iter().copied().collect();
        let of_class = |class: usize| {
            let rows = per_query.iter().zip(self.queries).filter(|&(_, &label)| label == class).map(|(row, _)| row);
            (class, mean(&rows.collect::<Vec<_>>()))
        };
        let per_class: Vec<(usize, Vec<f64>)> = classes.into_iter().map(of_class).collect();
        let macro_average = mean(&per_class.iter().map(|(_, row)| row).collect::<Vec<_>>());
        let micro_average = mean(&per_query.iter().collect::<Vec<_>>());
        Ok(Precision { per_query, per_class, macro_average, micro_average })
    }
}

impl Recall {
    fn new(ranks: Vec<usize>, ks: &[usize]) -> Result<Self, RetrievalError> {
        if ks.is_empty() || ks.contains(&0) {
            return Err(RetrievalError::None { what: "ranks" });
        }
        let count = ranks.len() as f64;
        let within = |&k: &usize| ranks.iter().filter(|&&rank| rank <= k).count() as f64 / count;
        let mut sorted = ranks.clone();
        sorted.sort_unstable();
        let median_rank = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) as f64 / 2.0;
        let mean_reciprocal_rank = ranks.iter().map(|&rank| 1.0 / rank as f64).sum::<f64>() / count;
        Ok(Self { at: ks.iter().map(within).collect(), per_query: ranks, median_rank, mean_reciprocal_rank })
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, RetrievalError, cosines, precision_at, precision_of, recall_at, recall_of};
    use crate::evaluation::Rows;

    fn rows(values: &[f64], width: usize) -> Rows<'_, f64> {
        Rows::new(values, width).unwrap()
    }

    /// Classes along axes; more queries than a block.
    #[test]
    fn what_points_the_same_way_is_found() {
        let classes = 3;
        let along = |class: usize, length: f64| (0..classes).map(move |axis| if axis == class { length } else { 0.01 });
        let query_labels: Vec<usize> = (0..BLOCK + 10).map(|query| query % classes).collect();
        let candidate_labels: Vec<usize> = (0..classes * 4).map(|candidate| candidate / 4).collect();
        let queries: Vec<f64> = query_labels.iter().flat_map(|&class| along(class, 1e-3 + 5.0)).collect();
        let candidates: Vec<f64> = candidate_labels.iter().flat_map(|&class| along(class, 100.0)).collect();
        let (queries, candidates) = (rows(&queries, classes), rows(&candidates, classes));
        let found = precision_at(queries, &query_labels, candidates, &candidate_labels, &[1, 4, 8]).unwrap();
        assert_eq!(found.micro_average, [1.0, 1.0, 0.5]);
        assert_eq!(found.macro_average, [1.0, 1.0, 0.5]);
        assert_eq!(found.per_query.len(), BLOCK + 10);
        assert_eq!(found.per_class.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [0, 1, 2]);
        let recall = recall_at(queries, &query_labels, candidates, &candidate_labels, &[1, 100]).unwrap();
        assert_eq!((recall.at, recall.median_rank, recall.mean_reciprocal_rank), (vec![1.0, 1.0], 1.0, 1.0));
    }

    /// -0 and 0 are equal too.
    #[test]
    fn of_equal_candidates_the_first_comes_first() {
        let similarities = [0.0, -0.0, 0.5, 0.0, -1.0];
        let of = |class| precision_of(rows(&similarities, 5), &[class], &[1, 2, 0, 3, 4], &[1, 2, 3, 4, 5]).unwrap();
        assert_eq!(of(0).micro_average[0], 1.0);
        assert_eq!(of(1).micro_average[..2], [0.0, 0.5]);
        assert_eq!(of(2).micro_average[..3], [0.0, 0.0, 1.0 / 3.0]);
        let rank = |class| recall_of(rows(&similarities, 5), &[class], &[1, 2, 0, 3, 4], &[1]).unwrap().median_rank;
        assert_eq!([0, 1, 2, 3, 4].map(rank), [1.0, 2.0, 3.0, 4.0, 5.0]);
    }

    /// Two queries of class 0 (one right, one wrong) and one of class 7 (right).
    #[test]
    fn classes_count_alike_in_the_macro_average() {
        let similarities = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
        let found = precision_of(rows(&similarities, 2), &[0, 0, 7], &[0, 7], &[1]).unwrap();
        assert_eq!(found.per_class, [(0, vec![0.5]), (7, vec![1.0])]);
        assert_eq!((found.macro_average, found.micro_average), (vec![0.75], vec![2.0 / 3.0]));
        let ranks = recall_of(rows(&similarities, 2), &[0, 0, 7], &[0, 7], &[1, 2]).unwrap();
        assert_eq!((ranks.at, ranks.median_rank), (vec![2.0 / 3.0, 1.0], 1.0));
        assert!((ranks.mean_reciprocal_rank - 2.5 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn what_can_t_be_found_is_refused() {
        let (queries, candidates) = (rows(&[1.0, 0.0], 2), rows(&[1.0, 1.0, 0.0, 1.0], 2));
        let of = |labels: &[usize], ks: &[usize]| precision_at(queries, labels, candidates, &[0, 1], ks).unwrap_err();
        assert_eq!(of(&[0], &[1, 3]).to_string(), "precision at 3 of 2 candidates: give at least 3 candidates, or a smaller k");
        assert_eq!(of(&[0], &[0]), RetrievalError::None { what: "ranks" });
        assert_eq!(of(&[0], &[]), RetrievalError::None { what: "ranks" });
        assert_eq!(of(&[2], &[1]), RetrievalError::NoCandidate { query: 0, class: 2 });
        assert!(of(&[0, 1], &[1]).to_string().contains("2 labels for 1 queries"));
        let recall = |ks: &[usize]| recall_at(queries, &[0], candidates, &[0, 1], ks);
        assert!(recall(&[0]).is_err() && recall(&[9]).is_ok());
        let none: &[f64] = &[];
        let error = precision_at(queries, &[0], rows(none, 2), &[], &[1]).unwrap_err();
        assert_eq!(error, RetrievalError::None { what: "candidates" });
        let zero = cosines(queries, rows(&[1.0, 1.0, 0.0, 0.0], 2)).unwrap_err();
        assert_eq!(zero, RetrievalError::Zero { what: "candidate", row: 1 });
        assert!(cosines(queries, rows(&[1.0], 1)).unwrap_err().to_string().contains("different networks"));
    }
}
