//! All figures as rows, for tables and for `retrieval.csv`.

use std::io::{self, Write};

use super::report::{NetworkRetrieval, Retrieved};
use crate::evaluation::query::QueryReport;

/// A row of queries, named by who asks and among which images.
pub(super) type QueryRow<'a> = (&'static str, &'static str, &'a QueryReport);

/// All rows of queries by category that were answered.
pub(super) fn query_rows(report: &NetworkRetrieval) -> Vec<QueryRow<'_>> {
    fn found(retrieved: Option<&Retrieved>) -> Option<&QueryReport> {
        retrieved.and_then(|retrieved| retrieved.found.as_ref())
    }
    let (images, chexpert, texts) = (report.images.as_ref(), &report.chexpert, report.texts.as_ref());
    let rows = [
        ("synthetic images", "real", images.map(|images| &images.synthetic)),
        ("real images of other patients", "real", images.map(|images| &images.real)),
        ("texts", "real", found(texts.map(|texts| &texts.real))),
        ("texts", "synthetic", found(texts.map(|texts| &texts.synthetic))),
        ("synthetic images", "real, 8x200", found(chexpert.synthetic.as_ref())),
        ("real images of other patients", "real, 8x200", found(chexpert.real.as_ref())),
        ("texts", "real, 8x200", found(chexpert.texts.as_ref())),
    ];
    rows.into_iter().filter_map(|(who, among, found)| Some((who, among, found?))).collect()
}

/// `retrieval.csv`: one row per network, kind of queries, category and `k`; the mean over categories has none.
///
/// # Errors
/// If it can't be written.
pub(in crate::evaluation::run) fn csv_of(reports: &[NetworkRetrieval], file: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record([
        "network",
        "queries_of",
        "among",
        "by",
        "category",
        "queries",
        "candidates",
        "figure",
        "k",
        "value",
        "low",
        "high",
        "chance",
        "undefined",
    ])?;
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for report in reports {
        let beyond = |k: usize, candidates: usize| match k > candidates {
            true => format!("{k} of {candidates} candidates"),
            false => String::new(),
        };
        for (who, among, found) in query_rows(report) {
            for (place, k) in found.ks.iter().enumerate() {
                let mean = found.macro_precision[place];
                let (value, low, high) = (mean.map(|mean| mean.value), mean.map(|mean| mean.low), mean.map(|mean| mean.high));
                let (queries, candidates) = (found.queries.to_string(), found.candidates.to_string());
                let head = [report.network.as_str(), who, among, "finding"];
                let figure = ["precision", &k.to_string(), &number(value), &number(low), &number(high), &number(found.chance)];
                let why = beyond(*k, found.candidates);
                csv.write_record(head.iter().chain(&["", &queries, &candidates]).chain(&figure).chain(&[why.as_str()]))?;
                for one in &found.categories {
                    let (queries, candidates) = (one.queries.to_string(), one.candidates.to_string());
                    let chance = (found.candidates > 0).then(|| one.candidates as f64 / found.candidates as f64);
                    let why = one.undefined.clone().unwrap_or_else(|| why.clone());
                    let figure = ["precision", &k.to_string(), &number(one.precision[place]), "", "", &number(chance)];
                    let named = [one.category.as_str(), &queries, &candidates];
                    csv.write_record(head.iter().chain(&named).chain(&figure).chain(&[why.as_str()]))?;
                }
            }
        }
        let sets = report.images.iter().flat_map(|images| {
            [("synthetic images", &images.synthetic_label_sets), ("real images of other patients", &images.real_label_sets)]
        });
        for (who, found) in sets {
            let head = [report.network.as_str(), who, "real", "label set", ""];
            let counts = [found.queries.to_string(), found.candidates.to_string()];
            for (place, k) in found.ks.iter().enumerate() {
                for (figure, value, chance) in [
                    ("precision", found.precision[place], found.precision_by_chance),
                    ("recall", found.recall[place], found.recall_by_chance[place]),
                ] {
                    let values =
                        [value.map(|value| value.value), value.map(|value| value.low), value.map(|value| value.high), chance];
                    let values = values.map(number);
                    let why = beyond(*k, found.candidates);
                    let k = k.to_string();
                    let rest = [figure, &k, &values[0], &values[1], &values[2], &values[3], &why];
                    csv.write_record(head.iter().copied().chain(counts.iter().map(String::as_str)).chain(rest))?;
                }
            }
        }
    }
    csv.flush()
}
