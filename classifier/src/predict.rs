//! Predictions and their CSV.

use std::io;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::activation::sigmoid;
use roentgen_augment::atomic::write_atomic;
use roentgen_augment::batch::CxrBatch;
use roentgen_augment::record::CxrRecord;

use crate::ClassifierError;
use crate::batch::{Batches, unreadable};
use crate::networks::Network;

/// Probabilities of one network for the rows of one held-out set.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Image and patient of each row; an image without a patient counts as its own patient.
    pub rows: Vec<PredictedRow>,
    /// Names of the findings.
    pub findings: Vec<String>,
    /// Probabilities, row-major `rows * findings`.
    pub scores: Vec<f64>,
    /// Targets, row-major; NaN where the label is ignored.
    pub targets: Vec<f64>,
}

/// Image and patient of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedRow {
    /// Image name.
    pub image: String,
    /// Patient, or the image's name.
    pub patient: String,
}

impl PredictedRow {
    fn of(record: &Arc<CxrRecord>) -> Self {
        let patient = record.patient_id.as_ref().map_or(record.id.as_str(), |patient| patient.as_str());
        Self { image: record.id.clone(), patient: patient.to_owned() }
    }
}

impl Predictions {
    /// Runs `net` over `batches`, which are on its device, calling `progress` with the number of images of each batch.
    ///
    /// # Errors
    /// [`ClassifierError::Training`] for an unreadable image.
    pub fn of(net: &Network, batches: &Batches, progress: impl FnMut(usize)) -> Result<Self, ClassifierError> {
        let mut of_each = Self::of_each(std::slice::from_ref(net), batches, progress)?;
        Ok(of_each.remove(0))
    }

    /// The predictions of each of `nets`; every image is read once for all of them.
    ///
    /// # Errors
    /// As [`Predictions::of`].
    pub fn of_each(nets: &[Network], batches: &Batches, mut progress: impl FnMut(usize)) -> Result<Vec<Self>, ClassifierError> {
        let empty = Self {
            rows: Vec::new(),
            findings: batches.vocabulary().findings().iter().map(|finding| finding.name().to_owned()).collect(),
            scores: Vec::new(),
            targets: Vec::new(),
        };
        let mut of_each = vec![empty; nets.len()];
        for batch in batches.pass() {
            let batch = batch.map_err(|error| unreadable(&error))?;
            for (net, predictions) in nets.iter().zip(&mut of_each) {
                predictions.extend(net, &batch);
            }
            progress(batch.records.len());
        }
        Ok(of_each)
    }

    fn extend(&mut self, net: &Network, batch: &CxrBatch) {
        let probabilities = sigmoid(net.forward(batch.images.clone()));
        self.scores.extend(probabilities.into_data().iter::<f64>());
        let targets = batch.targets.clone().into_data();
        let known = batch.known.iter();
        self.targets.extend(targets.iter::<f64>().zip(known).map(|(t, k)| if *k > 0.0 { t } else { f64::NAN }));
        self.rows.extend(batch.records.iter().map(PredictedRow::of));
    }

    /// Patient of each row.
    #[must_use]
    pub fn patients(&self) -> Vec<&str> {
        self.rows.iter().map(|row| row.patient.as_str()).collect()
    }
}

/// Writes the predictions of several runs into one CSV: `seed, image, patient_id`, then `target_F` and `score_F` for each
/// finding. A blank target is an ignored label. Scores have all digits that reading back an f64 needs.
///
/// # Errors
/// [`ClassifierError::Io`].
pub fn write_predictions(path: &Path, runs: &[(u64, Predictions)]) -> Result<(), ClassifierError> {
    let result = write_atomic(path, |file| {
        let mut csv = csv::Writer::from_writer(file);
        let findings = runs.first().map(|(_, run)| run.findings.as_slice()).unwrap_or_default();
        let mut header = vec!["seed".to_owned(), "image".to_owned(), "patient_id".to_owned()];
        header.extend(findings.iter().flat_map(|finding| [format!("target_{finding}"), format!("score_{finding}")]));
        csv.write_record(&header)?;
        for (seed, run) in runs {
            for (i, row) in run.rows.iter().enumerate() {
                let mut record = vec![seed.to_string(), row.image.clone(), row.patient.clone()];
                for f in i * findings.len()..(i + 1) * findings.len() {
                    let target = run.targets[f];
                    record.push(if target.is_nan() { String::new() } else { target.to_string() });
                    record.push(run.scores[f].to_string());
                }
                csv.write_record(&record)?;
            }
        }
        csv.flush()
    });
    result.map_err(|source| ClassifierError::Io { action: "write", path: path.to_owned(), source })
}

/// Reads what [`write_predictions`] wrote.
///
/// # Errors
/// [`ClassifierError::Io`] or [`ClassifierError::Predictions`] naming the line.
pub fn read_predictions(path: &Path) -> Result<Vec<(u64, Predictions)>, ClassifierError> {
    let io_error = |source| ClassifierError::Io { action: "read", path: path.to_owned(), source };
    let bad = |line: usize, found: &str, expected: &'static str| ClassifierError::Predictions {
        path: path.to_owned(),
        line,
        found: found.to_owned(),
        expected,
    };
    let mut csv = csv::Reader::from_path(path).map_err(|error| io_error(io::Error::other(error)))?;
    let header = csv.headers().map_err(|error| io_error(io::Error::other(error)))?.clone();
    let findings: Vec<String> = header.iter().filter_map(|name| name.strip_prefix("score_")).map(str::to_owned).collect();
    if header.len() != 3 + 2 * findings.len() || findings.is_empty() {
        return Err(bad(1, &header.iter().collect::<Vec<_>>().join(","), "seed,image,patient_id,target_F,score_F,…"));
    }
    let mut runs: Vec<(u64, Predictions)> = Vec::new();
    for (i, record) in csv.records().enumerate() {
        let line = i + 2;
        let record = record.map_err(|error| bad(line, &error.to_string(), "a row like the header"))?;
        let seed = record[0].parse().map_err(|_| bad(line, &record[0], "a seed"))?;
        if runs.last().is_none_or(|(last, _)| *last != seed) {
            let empty = Predictions { rows: Vec::new(), findings: findings.clone(), scores: Vec::new(), targets: Vec::new() };
            runs.push((seed, empty));
        }
        let (_, run) = runs.last_mut().expect("a run was just pushed");
        run.rows.push(PredictedRow { image: record[1].to_owned(), patient: record[2].to_owned() });
        for f in 0..findings.len() {
            let (target, score) = (&record[3 + 2 * f], &record[4 + 2 * f]);
            let target = if target.is_empty() { Ok(f64::NAN) } else { target.parse() };
            run.targets.push(target.map_err(|_| bad(line, &record[3 + 2 * f], "0, 1 or blank"))?);
            run.scores.push(score.parse().map_err(|_| bad(line, score, "a probability"))?);
        }
    }
    Ok(runs)
}

/// Rescales a probability so that the operating threshold `t` maps to 0.5: `p / 2t` below it, `1 - (1 - p) / 2(1 - t)` above
/// (torchxrayvision 1.5.7, `models.op_norm`).
///
/// Monotone, so AUROC by finding does not change; micro averages and F1 do. A `NaN` threshold marks an untrained head and gives
/// 0.5: mask such a finding.
#[must_use]
pub fn op_norm(probability: f32, threshold: f32) -> f32 {
    if threshold.is_nan() {
        0.5
    } else if probability < threshold {
        probability / (2.0 * threshold)
    } else {
        1.0 - (1.0 - probability) / (2.0 * (1.0 - threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_survive_the_csv_bit_for_bit() {
        let row = |image: &str| PredictedRow { image: image.into(), patient: "7".into() };
        let run = Predictions {
            rows: vec![row("a.png"), row("b, \"c\".png")],
            findings: vec!["Mass".into(), "Lung Opacity".into()],
            scores: vec![0.1, f64::from(0.3f32), 1e-300, 1.0],
            targets: vec![1.0, 0.0, 0.0, 1.0],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.csv");
        let runs = vec![(1, run.clone()), (2, run)];
        write_predictions(&path, &runs).unwrap();
        assert_eq!(read_predictions(&path).unwrap(), runs);
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictions.csv");
        std::fs::write(&path, "seed,image,patient_id,target_Mass,score_Mass\n1,a,b,1,0.5\n1,a,b,1,high\n").unwrap();
        let error = read_predictions(&path).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("high"), "{error}");
    }

    #[test]
    fn the_threshold_is_the_middle() {
        assert_eq!(op_norm(0.2, 0.2), 0.5);
        assert_eq!(op_norm(0.1, 0.2), 0.25);
        assert_eq!(op_norm(1.0, 0.2), 1.0);
        assert_eq!(op_norm(0.9, f32::NAN), 0.5);
    }
}
