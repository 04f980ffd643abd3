//! Whether the nearest candidates have the same labels.

use std::collections::HashMap;

use super::QueryError;
use super::report::LabelSetReport;
use crate::evaluation::Rows;
use crate::evaluation::retrieval::{RetrievalError, recall_at};

/// Recall by label set: how often one of the first `k` candidates, by cosine, has exactly the query's labels. Labels are compared as they are
/// given, one list per row; an empty list is a set as any other, so leave out rows of which nothing is known.
///
/// # Errors
/// [`QueryError`] for lists that are not one per row, no candidate, a `k` of 0, rows of unlike width or of zeros.
pub fn by_label_set<L: AsRef<[String]>>(
    (queries, of_queries): (Rows<'_, f32>, &[L]),
    (candidates, of_candidates): (Rows<'_, f32>, &[L]),
    ks: &[usize],
) -> Result<LabelSetReport, QueryError> {
    for (what, found, rows, named) in [
        ("label sets", of_queries.len(), queries.len(), "queries"),
        ("label sets", of_candidates.len(), candidates.len(), "candidates"),
    ] {
        if found != rows {
            return Err(QueryError::Count { what, found, expected: format!("{rows} {named}") });
        }
    }
    if ks.is_empty() || ks.contains(&0) {
        return Err(QueryError::NoRanks { found: ks.to_vec() });
    }
    let mut numbers: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut candidate_sets = Vec::with_capacity(of_candidates.len());
    for labels in of_candidates {
        let next = numbers.len();
        candidate_sets.push(*numbers.entry(sorted(labels)).or_insert(next));
    }
    let known: Vec<(usize, usize)> =
        of_queries.iter().enumerate().filter_map(|(row, labels)| Some((row, *numbers.get(&sorted(labels))?))).collect();
    let (rows, sets): (Vec<usize>, Vec<usize>) = known.into_iter().unzip();
    let mut report = LabelSetReport {
        queries: rows.len(),
        without_candidate: queries.len() - rows.len(),
        candidates: candidates.len(),
        ks: ks.to_vec(),
        recall: Vec::new(),
        median_rank: None,
        mean_reciprocal_rank: None,
    };
    if rows.is_empty() {
        return Ok(report);
    }
    let values: Vec<f32> = rows.iter().flat_map(|&row| queries.row(row)).copied().collect();
    let asked = Rows::new(&values, queries.width()).map_err(RetrievalError::from)?;
    let recall = recall_at(asked, &sets, candidates, &candidate_sets, ks)?;
    report.recall = recall.at;
    report.median_rank = Some(recall.median_rank);
    report.mean_reciprocal_rank = Some(recall.mean_reciprocal_rank);
    Ok(report)
}

/// The labels in one order, each once.
fn sorted<L: AsRef<[String]>>(labels: &L) -> Vec<&str> {
    let mut labels: Vec<&str> = labels.as_ref().iter().map(String::as_str).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(sets: &[&[&str]]) -> Vec<Vec<String>> {
        sets.iter().map(|set| set.iter().map(|label| (*label).to_owned()).collect()).collect()
    }

    #[test]
    fn the_first_candidate_with_the_same_labels_counts() {
        let candidates = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, -1.0, 0.0];
        let of_candidates = sets(&[&["Mass"], &["Mass", "Edema"], &[], &["Mass"]]);
        let queries = [1.0, 0.0, 0.0, 1.0, 1.0, 0.1];
        let of_queries = sets(&[&["Edema", "Mass"], &[], &["Hernia"]]);
        let rows = |values| Rows::new(values, 2).unwrap();
        let report = by_label_set((rows(&queries), &of_queries), (rows(&candidates), &of_candidates), &[1, 2, 100]).unwrap();
        assert_eq!((report.queries, report.without_candidate, report.candidates), (2, 1, 4));
        assert_eq!(report.recall, [0.5, 1.0, 1.0]);
        assert_eq!((report.median_rank, report.mean_reciprocal_rank), (Some(1.5), Some(0.75)));
        let strangers = sets(&[&["A"], &["B"], &["C"]]);
        let none = by_label_set((rows(&queries), &strangers), (rows(&candidates), &of_candidates), &[1]).unwrap();
        assert_eq!((none.queries, none.recall.len(), none.median_rank), (0, 0, None));
        let error = by_label_set((rows(&queries), &strangers), (rows(&candidates), &of_candidates), &[0]).unwrap_err();
        assert!(error.to_string().contains("give numbers above 0"));
        assert!(by_label_set((rows(&queries), &of_candidates), (rows(&candidates), &of_candidates), &[1]).is_err());
    }
}
