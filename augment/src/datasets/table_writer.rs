//! Writing the table that [`Table`](super::Table) reads.

use std::io;
use std::path::Path;

use super::table_columns::{FIELDS, PROVENANCE};
use crate::{AugmentError, CxrRecord, Origin, Sex, SynthesizerCard, View, Vocabulary, write_atomic};

/// One row to be written.
#[derive(Clone, Copy, Debug)]
pub struct TableRow<'a> {
    /// Path of the image as the table will name it.
    pub image: &'a str,
    /// Everything else.
    pub record: &'a CxrRecord,
    /// What made the image, if it is synthetic and that is known.
    pub card: Option<&'a SynthesizerCard>,
}

/// Writes `rows` so that [`Table`](super::Table) reads the same records back; whole or not at all. The columns of provenance are
/// written if any row is synthetic.
///
/// # Errors
/// [`AugmentError::Io`].
///
/// # Panics
/// If a record has not one label a finding of `vocabulary`.
pub fn write_table(path: &Path, vocabulary: &Vocabulary, rows: &[TableRow<'_>]) -> Result<(), AugmentError> {
    let synthetic = rows.iter().any(|row| row.record.origin.is_synthetic());
    let provenance: &[&str] = if synthetic { &PROVENANCE } else { &[] };
    let findings = vocabulary.findings().iter().map(|finding| finding.name());
    let header: Vec<&str> = FIELDS.iter().copied().chain(findings).chain(provenance.iter().copied()).collect();
    let write = |file: &mut dyn io::Write| -> io::Result<()> {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(&header)?;
        for row in rows {
            assert_eq!(row.record.labels.len(), vocabulary.len(), "labels of {}", row.image);
            let mut cells = fields(row);
            cells.extend(row.record.labels.iter().map(|label| label.cell().to_owned()));
            if synthetic {
                cells.extend(PROVENANCE.map(|column| provenance_cell(row, column)));
            }
            csv.write_record(&cells)?;
        }
        csv.flush()
    };
    write_atomic(path, |file| write(file)).map_err(|source| AugmentError::Io { action: "write", path: path.to_owned(), source })
}

/// The cells of [`FIELDS`].
fn fields(row: &TableRow<'_>) -> Vec<String> {
    let record = row.record;
    let sex = record.sex.map_or("", |sex| match sex {
        Sex::Female => "F",
        Sex::Male => "M",
    });
    let view = record.view.map_or("", |view| match view {
        View::Pa => "PA",
        View::Ap => "AP",
        View::Lateral => "L",
    });
    vec![
        row.image.to_owned(),
        record.patient_id.as_ref().map_or_else(String::new, ToString::to_string),
        text(record.age),
        sex.to_owned(),
        view.to_owned(),
        text(record.split),
        record.report.clone().unwrap_or_default(),
    ]
}

fn provenance_cell(row: &TableRow<'_>, column: &str) -> String {
    let Origin::Synthetic(provenance) = &row.record.origin else {
        return if column == "origin" { "real".to_owned() } else { String::new() };
    };
    let request = &provenance.request;
    let card = row.card;
    match column {
        "origin" => "synthetic".to_owned(),
        "source_id" => request.source.as_ref().map_or_else(String::new, |source| source.id.clone()),
        "fold" => text(request.source.as_ref().and_then(|source| source.fold)),
        "replica" => request.replica.to_string(),
        "seed" => request.seed.to_string(),
        "prompt" => request.prompt.clone(),
        "model" => provenance.model.clone(),
        "sampler" => card.and_then(|card| card.sampler.clone()).unwrap_or_default(),
        "steps" => text(card.and_then(|card| card.steps)),
        "guidance" => text(card.and_then(|card| card.guidance_scale)),
        // The gate and the search for near copies fill these in.
        _ => String::new(),
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::{MissingImages, Table};
    use crate::{Label, PatientId, Provenance, RequestSource, SampleRequest, Split};

    fn real() -> CxrRecord {
        CxrRecord {
            id: "a.png".to_owned(),
            patient_id: Some(PatientId::new("p, \"1\"")),
            labels: vec![Label::Positive, Label::Uncertain, Label::Negative, Label::Missing],
            age: Some(57.5),
            sex: Some(Sex::Female),
            view: Some(View::Ap),
            report: Some("Two\nlines, and a comma.".to_owned()),
            split: Some(Split::Train),
            origin: Origin::Real,
        }
    }

    fn synthetic() -> CxrRecord {
        let source = RequestSource { id: "a.png".to_owned(), patient_id: PatientId::new("p, \"1\""), fold: Some(2) };
        let request = SampleRequest {
            prompt: "Chest radiograph, \"AP\".".to_owned(),
            labels: real().labels,
            seed: u64::MAX,
            replica: 3,
            source: Some(source),
            age: Some(57.5),
            sex: Some(Sex::Female),
            view: Some(View::Ap),
        };
        let origin = Origin::Synthetic(Box::new(Provenance { request, model: "phantom (shifted)".to_owned() }));
        CxrRecord { id: "b.png".to_owned(), report: None, split: None, origin, ..real() }
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = Vocabulary::parse(["Effusion", "Mass", "Pleural_Thickening", "No Finding"]).unwrap();
        let card = SynthesizerCard { model: "phantom".to_owned(), sampler: None, steps: Some(7), guidance_scale: Some(4.5) };
        for records in [vec![real()], vec![real(), synthetic()]] {
            let path = folder.path().join("out/manifest.csv");
            let rows: Vec<_> = records.iter().map(|record| TableRow { image: &record.id, record, card: Some(&card) }).collect();
            write_table(&path, &vocabulary, &rows).unwrap();
            let table = Table { missing: MissingImages::Keep, ..Table::new(&path) };
            let read = table.read().unwrap();
            assert_eq!(**read.vocabulary(), vocabulary);
            assert_eq!(read.rows().iter().map(|row| CxrRecord::clone(&row.record)).collect::<Vec<_>>(), records);
        }
    }
}
