//! What an evaluation leaves on disk.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;

use super::{Evaluation, EvaluationError, EvaluationReport, ReadReport, page, retrieval};
use crate::evaluation::memorisation::{contact_sheet, write_pairs};

/// Files of an evaluation.
#[derive(Clone, Debug)]
pub struct Written {
    /// `evaluation.json`.
    pub json: PathBuf,
    /// `evaluation.html`.
    pub html: PathBuf,
    /// `fidelity.csv`.
    pub csv: PathBuf,
    /// `retrieval.csv`.
    pub retrieval: PathBuf,
    /// `pairs.csv`, and `closest.png`, where a training set was given.
    pub pairs: Vec<PathBuf>,
    /// `reports.csv`, where reports were compared.
    pub reports: Option<PathBuf>,
}

/// Writes `evaluation.json`, `evaluation.html`, `fidelity.csv` and `retrieval.csv` into `folder`, where a training set was given
/// `pairs.csv` and `closest.png`, and where reports were compared `reports.csv`, each complete or not at all.
///
/// # Errors
/// [`EvaluationError::Write`].
pub fn write(evaluation: &Evaluation, folder: &Path) -> Result<Written, EvaluationError> {
    let report = &evaluation.report;
    let put = |name: &str, write: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
        let path = folder.join(name);
        let done = write_atomic(&path, |file| write(file));
        done.map(|()| path.clone()).map_err(|source| EvaluationError::Write { path, source })
    };
    let csv = put("fidelity.csv", &|file| csv_of(report, file))?;
    let retrieval = put("retrieval.csv", &|file| retrieval::csv_of(&report.retrieval, file))?;
    let html = put("evaluation.html", &|file| file.write_all(page(evaluation).as_bytes()))?;
    let json = put("evaluation.json", &|file| {
        serde_json::to_writer_pretty(&mut *file, report)?;
        writeln!(file)
    })?;
    let mut pairs = Vec::new();
    if !evaluation.outcomes.is_empty() {
        let path = folder.join("pairs.csv");
        write_pairs(&path, &evaluation.outcomes).map_err(|source| EvaluationError::Write { path: path.clone(), source })?;
        pairs.push(path);
    }
    if let Some(sheet) = contact_sheet(&evaluation.closest) {
        pairs.push(put("closest.png", &|file| file.write_all(&sheet))?);
    }
    let read = (!evaluation.reports.is_empty()).then_some(&evaluation.reports);
    let reports = read.map(|read| put("reports.csv", &|file| reports_of(read, file))).transpose()?;
    Ok(Written { json, html, csv, retrieval, pairs, reports })
}

/// One row per report that was read off an image.
fn reports_of(reports: &[ReadReport], file: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(["by", "set", "id", "generated", "reference"])?;
    for ReadReport { by, set, id, generated, reference } in reports {
        csv.write_record([by.as_str(), set, id, generated, reference])?;
    }
    csv.flush()
}

/// One row per network, finding and figure.
fn csv_of(report: &EvaluationReport, file: &mut dyn Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record([
        "network",
        "preparation",
        "finding",
        "real",
        "synthetic",
        "figure",
        "value",
        "low",
        "high",
        "half",
        "at_half",
        "at_half_sd",
        "floor",
        "floor_sd",
        "undefined",
    ])?;
    for network in &report.fidelity {
        for row in std::iter::once(&network.overall).chain(&network.findings) {
            for (name, figure) in row.figures() {
                let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
                let interval = figure.and_then(|figure| figure.interval);
                let (at_half, floor) = (figure.and_then(|figure| figure.at_half), figure.and_then(|figure| figure.floor));
                csv.write_record([
                    network.network.as_str(),
                    &network.preparation,
                    row.finding.as_deref().unwrap_or_default(),
                    &row.real.to_string(),
                    &row.synthetic.to_string(),
                    name,
                    &number(figure.map(|figure| figure.value)),
                    &number(interval.map(|[low, _]| low)),
                    &number(interval.map(|[_, high]| high)),
                    &row.half.to_string(),
                    &number(at_half.map(|spread| spread.mean)),
                    &number(at_half.map(|spread| spread.deviation)),
                    &number(floor.map(|spread| spread.mean)),
                    &number(floor.map(|spread| spread.deviation)),
                    &if figure.is_none() { row.undefined.join("; ") } else { String::new() },
                ])?;
            }
        }
    }
    csv.flush()
}
