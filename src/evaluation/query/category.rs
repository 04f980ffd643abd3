//! Whether the nearest candidates have the category that is asked for.

use roentgen_classifier::metrics::Bootstrap;

use super::QueryError;
use super::report::{CategoryPrecision, QueryReport};
use super::resample::estimates;
use crate::evaluation::Rows;
use crate::evaluation::retrieval::{RetrievalError, precision_at};

/// Queries, each for one category.
#[derive(Clone, Copy, Debug)]
pub struct CategoryQueries<'a> {
    /// Embeddings of images or texts.
    pub rows: Rows<'a, f32>,
    /// Category of each, counted from 0.
    pub categories: &'a [usize],
    /// Patient of each, or its own name: queries of a patient are resampled together.
    pub patients: &'a [&'a str],
}

/// How queries are judged.
#[derive(Clone, Debug)]
pub struct QuerySettings {
    /// How many of the most similar candidates are looked at.
    pub ks: Vec<usize>,
    /// The resamples that intervals come from.
    pub bootstrap: Bootstrap,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self { ks: vec![5, 10, 50, 100], bootstrap: Bootstrap { replicates: 1000, seed: 0 } }
    }
}

/// Precision by category: the share of the `k` most similar candidates, by cosine, that have the category of the query. A candidate may
/// have several categories: `has` is row-major, one column per name.
///
/// A category without queries or candidates is undefined, and so is a `k` beyond the number of candidates.
///
/// # Errors
/// [`QueryError`] for labels or patients that are not one per row, an unknown category, a `k` of 0, no candidate, rows of unlike width or of
/// zeros.
pub fn by_category(
    names: &[String],
    queries: CategoryQueries<'_>,
    (candidates, has): (Rows<'_, f32>, &[bool]),
    settings: &QuerySettings,
) -> Result<QueryReport, QueryError> {
    check(names, &queries, &candidates, has, &settings.ks)?;
    let possible: Vec<usize> = settings.ks.iter().copied().filter(|k| *k <= candidates.len()).collect();
    let mut categories = Vec::with_capacity(names.len());
    // Of each defined category its queries with their precision at each possible k.
    let mut measured: Vec<Vec<(usize, Vec<f64>)>> = Vec::new();
    let mut chances = Vec::new();
    for (category, name) in names.iter().enumerate() {
        let rows: Vec<usize> = (0..queries.rows.len()).filter(|&row| queries.categories[row] == category).collect();
        let labels: Vec<usize> = has.iter().skip(category).step_by(names.len()).map(|has| usize::from(*has)).collect();
        let found: usize = labels.iter().sum();
        let undefined = if rows.is_empty() {
            Some("nothing asks for it")
        } else if found == 0 {
            Some("no candidate has it")
        } else {
            None
        };
        let mut precision = vec![None; settings.ks.len()];
        if undefined.is_none() && !possible.is_empty() {
            let values: Vec<f32> = rows.iter().flat_map(|&row| queries.rows.row(row)).copied().collect();
            let asked = Rows::new(&values, queries.rows.width()).map_err(RetrievalError::from)?;
            let found = precision_at(asked, &vec![1; rows.len()], candidates, &labels, &possible)?;
            let mean = |k: &usize| Some(found.micro_average[possible.iter().position(|other| other == k)?]);
            precision = settings.ks.iter().map(mean).collect();
            measured.push(rows.iter().copied().zip(found.per_query).collect());
            chances.push(labels.iter().sum::<usize>() as f64 / labels.len() as f64);
        }
        categories.push(CategoryPrecision {
            category: name.clone(),
            queries: rows.len(),
            candidates: found,
            precision,
            undefined: undefined.map(str::to_owned),
        });
    }
    let mean = |place: usize, weights: &[u32]| macro_mean(&measured, place, weights);
    let at_possible = estimates(queries.patients, settings.bootstrap, possible.len(), mean);
    let at = |k: &usize| at_possible[possible.iter().position(|other| other == k)?];
    Ok(QueryReport {
        queries: measured.iter().map(Vec::len).sum(),
        candidates: candidates.len(),
        ks: settings.ks.clone(),
        macro_precision: settings.ks.iter().map(at).collect(),
        chance: (!chances.is_empty()).then(|| chances.iter().sum::<f64>() / chances.len() as f64),
        notes: notes(&categories, &settings.ks, candidates.len()),
        categories,
    })
}

/// Mean over categories of the means over their queries; NaN where a category has no weight.
fn macro_mean(measured: &[Vec<(usize, Vec<f64>)>], place: usize, weights: &[u32]) -> f64 {
    let of = |queries: &Vec<(usize, Vec<f64>)>| {
        let weight = |row: &usize| f64::from(weights[*row]);
        let sum: f64 = queries.iter().map(|(row, precision)| weight(row) * precision[place]).sum();
        sum / queries.iter().map(|(row, _)| weight(row)).sum::<f64>()
    };
    measured.iter().map(of).sum::<f64>() / measured.len() as f64
}

fn notes(categories: &[CategoryPrecision], ks: &[usize], candidates: usize) -> Vec<String> {
    let mut notes = Vec::new();
    let beyond: Vec<String> = ks.iter().filter(|k| **k > candidates).map(ToString::to_string).collect();
    if !beyond.is_empty() {
        notes.push(format!("Precision at {} is undefined: there are {candidates} candidates.", beyond.join(", ")));
    }
    let most = ks.iter().copied().filter(|k| *k <= candidates).max().unwrap_or_default();
    let few = categories.iter().filter(|category| category.undefined.is_none() && category.candidates < most);
    let few: Vec<String> = few.map(|few| format!("{} ({})", few.category, few.candidates)).collect();
    if !few.is_empty() {
        notes.push(format!("Precision at k can't reach 1 for what fewer than k candidates have: {}.", few.join(", ")));
    }
    notes
}

fn check(
    names: &[String],
    queries: &CategoryQueries<'_>,
    candidates: &Rows<'_, f32>,
    has: &[bool],
    ks: &[usize],
) -> Result<(), QueryError> {
    let asked = format!("{} queries", queries.rows.len());
    let offered = format!("{} candidates and {} categories", candidates.len(), names.len());
    for (what, found, expected, words) in [
        ("categories", queries.categories.len(), queries.rows.len(), &asked),
        ("patients", queries.patients.len(), queries.rows.len(), &asked),
        ("labels", has.len(), candidates.len() * names.len(), &offered),
    ] {
        if found != expected {
            return Err(QueryError::Count { what, found, expected: words.clone() });
        }
    }
    if let Some(query) = queries.categories.iter().position(|category| *category >= names.len()) {
        return Err(QueryError::NoCategory { query, category: queries.categories[query], categories: names.len() });
    }
    if ks.is_empty() || ks.contains(&0) {
        return Err(QueryError::NoRanks { found: ks.to_vec() });
    }
    if candidates.is_empty() {
        return Err(RetrievalError::None { what: "candidates" }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const CANDIDATES: [f32; 8] = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0, -1.0, 0.0];

    fn of(categories: &[usize], has: &[bool], ks: &[usize]) -> Result<QueryReport, QueryError> {
        let values = [1.0, 0.0, 1.0, 0.01, 0.0, 1.0];
        let queries = CategoryQueries { rows: Rows::new(&values, 2).unwrap(), categories, patients: &["p", "q", "r"] };
        let settings = QuerySettings { ks: ks.to_vec(), bootstrap: Bootstrap { replicates: 50, seed: 2 } };
        by_category(&names(&["Mass", "Edema"]), queries, (Rows::new(&CANDIDATES, 2).unwrap(), has), &settings)
    }

    /// The first candidate has both categories.
    const HAS: [bool; 8] = [true, true, false, true, false, true, true, false];

    #[test]
    fn candidates_may_have_several_categories() {
        let report = of(&[0, 0, 1], &HAS, &[1, 2, 4, 9]).unwrap();
        let [mass, edema] = &report.categories[..] else { panic!("two categories") };
        assert_eq!(mass.precision, [Some(1.0), Some(0.5), Some(0.5), None]);
        assert_eq!(edema.precision, [Some(1.0), Some(1.0), Some(0.75), None]);
        let means: Vec<_> = report.macro_precision.iter().map(|mean| mean.map(|mean| mean.value)).collect();
        assert_eq!(means, [Some(1.0), Some(0.75), Some(0.625), None]);
        assert_eq!((report.queries, report.chance), (3, Some(0.625)));
        assert_eq!(report.notes[0], "Precision at 9 is undefined: there are 4 candidates.");
        assert_eq!(report.notes[1], "Precision at k can't reach 1 for what fewer than k candidates have: Mass (2), Edema (3).");
    }

    #[test]
    fn what_nobody_asks_for_or_has_is_undefined() {
        let report = of(&[0, 0, 0], &HAS, &[1]).unwrap();
        assert_eq!(report.categories[1].undefined.as_deref(), Some("nothing asks for it"));
        let report = of(&[0, 0, 1], &[true, false, true, false, true, false, true, false], &[1]).unwrap();
        assert_eq!(report.categories[1].undefined.as_deref(), Some("no candidate has it"));
        assert_eq!(report.macro_precision[0].unwrap().value, 1.0);
        let none = of(&[0, 0, 0], &[false; 8], &[1]).unwrap();
        assert_eq!((none.macro_precision, none.chance, none.queries), (vec![None], None, 0));
    }

    #[test]
    fn impossible_input_is_refused() {
        let refused = |categories: &[usize], has: &[bool], ks: &[usize]| of(categories, has, ks).unwrap_err().to_string();
        assert_eq!(refused(&[0, 0], &HAS, &[1]), "2 categories for 3 queries; give one each, in the same order");
        assert!(refused(&[0, 0, 0], &HAS[1..], &[1]).starts_with("7 labels for 4 candidates and 2 categories"));
        assert!(refused(&[0, 0, 2], &HAS, &[1]).contains("query 2 is of category 2 of 2"));
        assert!(refused(&[0, 0, 0], &HAS, &[]).contains("give numbers above 0"));
        assert!(refused(&[0, 0, 0], &HAS, &[5, 0]).contains("give numbers above 0"));
    }
}
