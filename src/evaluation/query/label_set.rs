//! Whether the nearest candidates have the same labels.

use std::collections::HashMap;

use super::QueryError;
use super::category::QuerySettings;
use super::report::LabelSetReport;
use super::resample::estimates;
use crate::evaluation::Rows;
use crate::evaluation::retrieval::{RetrievalError, precision_at, recall_at};

/// Queries, each for its own labels.
#[derive(Clone, Copy, Debug)]
pub struct LabelSetQueries<'a> {
    /// Embeddings of images or texts.
    pub rows: Rows<'a, f32>,
    /// Labels of each.
    pub labels: &'a [Vec<String>],
    /// Patient of each, or its own name: queries of a patient are resampled together.
    pub patients: &'a [&'a str],
}

/// Precision and recall by label set: what share of the first `k` candidates, by cosine, has exactly the query's labels, and how often one of them
/// has. Labels are compared as they are given, one list per row; an empty list is a set as any other, so leave out rows of which nothing is
/// known. A `k` beyond the number of candidates is undefined.
///
/// # Errors
/// [`QueryError`] for lists or patients that are not one per row, no candidate, a `k` of 0, rows of unlike width or of zeros.
pub fn by_label_set(
    queries: LabelSetQueries<'_>,
    (candidates, of_candidates): (Rows<'_, f32>, &[Vec<String>]),
    settings: &QuerySettings,
) -> Result<LabelSetReport, QueryError> {
    check(&queries, &candidates, of_candidates, &settings.ks)?;
    let mut numbers: HashMap<Vec<&str>, usize> = HashMap::new();
    let mut candidate_sets = Vec::with_capacity(of_candidates.len());
    for labels in of_candidates {
        let next = numbers.len();
        candidate_sets.push(*numbers.entry(sorted(labels)).or_insert(next));
    }
    let known: Vec<(usize, usize)> =
        queries.labels.iter().enumerate().filter_map(|(row, labels)| Some((row, *numbers.get(&sorted(labels))?))).collect();
    let (rows, sets): (Vec<usize>, Vec<usize>) = known.into_iter().unzip();
    let ks = &settings.ks;
    let mut report = LabelSetReport {
        queries: rows.len(),
        without_candidate: queries.rows.len() - rows.len(),
        candidates: candidates.len(),
        ks: ks.clone(),
        precision: vec![None; ks.len()],
        precision_by_chance: None,
        precision_limit: vec![None; ks.len()],
        recall: vec![None; ks.len()],
        recall_by_chance: vec![None; ks.len()],
        median_rank: None,
        mean_reciprocal_rank: None,
    };
    if rows.is_empty() {
        return Ok(report);
    }
    let values: Vec<f32> = rows.iter().flat_map(|&row| queries.rows.row(row)).copied().collect();
    let asked = Rows::new(&values, queries.rows.width()).map_err(RetrievalError::from)?;
    let recall = recall_at(asked, &sets, candidates, &candidate_sets, ks)?;
    report.median_rank = Some(recall.median_rank);
    report.mean_reciprocal_rank = Some(recall.mean_reciprocal_rank);
    // How many candidates have the labels of each query.
    let mut sizes = vec![0; numbers.len()];
    candidate_sets.iter().for_each(|set| sizes[*set] += 1);
    let having: Vec<usize> = sets.iter().map(|set| sizes[*set]).collect();
    let mean = |of: &dyn Fn(usize) -> f64| having.iter().map(|having| of(*having)).sum::<f64>() / having.len() as f64;
    report.precision_by_chance = Some(mean(&|having| having as f64 / candidates.len() as f64));
    let possible: Vec<usize> = ks.iter().copied().filter(|k| *k <= candidates.len()).collect();
    if possible.is_empty() {
        return Ok(report);
    }
    let precision = precision_at(asked, &sets, candidates, &candidate_sets, &possible)?.per_query;
    let patients: Vec<&str> = rows.iter().map(|&row| queries.patients[row]).collect();
    let of_queries = |place: usize| match place.checked_sub(possible.len()) {
        None => precision.iter().map(|row| row[place]).collect::<Vec<f64>>(),
        Some(place) => recall.per_query.iter().map(|rank| f64::from(u8::from(*rank <= possible[place]))).collect(),
    };
    let of_queries: Vec<Vec<f64>> = (0..2 * possible.len()).map(of_queries).collect();
    let figures = estimates(&patients, settings.bootstrap, of_queries.len(), |figure, weights| {
        let sum: f64 = of_queries[figure].iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum();
        sum / weights.iter().map(|weight| f64::from(*weight)).sum::<f64>()
    });
    for (at, k) in ks.iter().enumerate() {
        let Some(place) = possible.iter().position(|other| other == k) else { continue };
        report.precision[at] = figures[place];
        report.precision_limit[at] = Some(mean(&|having| having.min(*k) as f64 / *k as f64));
        report.recall[at] = figures[possible.len() + place];
        report.recall_by_chance[at] = Some(mean(&|having| found_by_chance(candidates.len(), having, *k)));
    }
    Ok(report)
}

/// Probability that `k` of `candidates` candidates, drawn without repeats, have one of `having`.
fn found_by_chance(candidates: usize, having: usize, k: usize) -> f64 {
    let others = candidates - having;
    let missed = (0..k).map(|drawn| others.saturating_sub(drawn) as f64 / (candidates - drawn) as f64);
    1.0 - missed.product::<f64>()
}

fn check(
    queries: &LabelSetQueries<'_>,
    candidates: &Rows<'_, f32>,
    of_candidates: &[Vec<String>],
    ks: &[usize],
) -> Result<(), QueryError> {
    for (what, found, rows, named) in [
        ("label sets", queries.labels.len(), queries.rows.len(), "queries"),
        ("patients", queries.patients.len(), queries.rows.len(), "queries"),
        ("label sets", of_candidates.len(), candidates.len(), "candidates"),
    ] {
        if found != rows {
            return Err(QueryError::Count { what, found, expected: format!("{rows} {named}") });
        }
    }
    if ks.is_empty() || ks.contains(&0) {
        return Err(QueryError::NoRanks { found: ks.to_vec() });
    }
    if candidates.is_empty() {
        return Err(RetrievalError::None { what: "candidates" }.into());
    }
    Ok(())
}

/// The labels in one order, each once.
fn sorted(labels: &[String]) -> Vec<&str> {
    let mut labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::metrics::Bootstrap;

    use super::*;
    use crate::report::Estimate;

    fn sets(sets: &[&[&str]]) -> Vec<Vec<String>> {
        sets.iter().map(|set| set.iter().map(|label| (*label).to_owned()).collect()).collect()
    }

    const CANDIDATES: [f32; 8] = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, -1.0, 0.0];
    const QUERIES: [f32; 6] = [1.0, 0.0, 0.0, 1.0, 1.0, 0.1];

    fn of(labels: &[&[&str]], ks: &[usize]) -> Result<LabelSetReport, QueryError> {
        let rows = |values| Rows::new(values, 2).unwrap();
        let of_candidates = sets(&[&["Mass"], &["Mass", "Edema"], &[], &["Mass"]]);
        let queries = LabelSetQueries { rows: rows(&QUERIES), labels: &sets(labels), patients: &["p", "q", "r"] };
        let settings = QuerySettings { ks: ks.to_vec(), bootstrap: Bootstrap { replicates: 20, seed: 1 } };
        by_label_set(queries, (rows(&CANDIDATES), &of_candidates), &settings)
    }

    fn values(estimates: &[Option<Estimate>]) -> Vec<Option<f64>> {
        estimates.iter().map(|estimate| estimate.map(|estimate| estimate.value)).collect()
    }

    #[test]
    fn candidates_with_the_same_labels_count_and_no_rank_is_cut_short() {
        let report = of(&[&["Edema", "Mass"], &[], &["Hernia"]], &[1, 2, 100]).unwrap();
        assert_eq!((report.queries, report.without_candidate, report.candidates), (2, 1, 4));
        assert_eq!(values(&report.recall), [Some(0.5), Some(1.0), None]);
        assert_eq!(values(&report.precision), [Some(0.5), Some(0.5), None]);
        // Each of the two sets is that of one candidate of four.
        assert_eq!((report.precision_by_chance, report.precision_limit), (Some(0.25), vec![Some(1.0), Some(0.5), None]));
        assert_eq!(report.recall_by_chance, [Some(0.25), Some(0.5), None]);
        assert_eq!((report.median_rank, report.mean_reciprocal_rank), (Some(1.5), Some(0.75)));
        let first = report.recall[0].unwrap();
        assert_eq!((first.low, first.high), (0.0, 1.0));
    }

    /// Of 4 candidates 2 have it: 1 - (2/4)(1/3).
    #[test]
    fn chance_draws_without_repeats() {
        assert!((found_by_chance(4, 2, 2) - 5.0 / 6.0).abs() < 1e-15);
        assert_eq!([found_by_chance(4, 2, 3), found_by_chance(4, 0, 3), found_by_chance(3, 3, 1)], [1.0, 0.0, 1.0]);
    }

    #[test]
    fn labels_of_nobody_and_impossible_input_are_said() {
        let none = of(&[&["A"], &["B"], &["C"]], &[1]).unwrap();
        assert_eq!((none.queries, values(&none.recall), none.median_rank), (0, vec![None], None));
        assert!(of(&[&["A"], &["B"], &["C"]], &[0]).unwrap_err().to_string().contains("give numbers above 0"));
        assert_eq!(
            of(&[&[], &[]], &[1]).unwrap_err().to_string(),
            "2 label sets for 3 queries; give one each, in the same order"
        );
    }
}
