//! Writing the table that [`Table`](super::Table) reads.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use super::columns::{FIELDS, LOCATION_COLUMN, OPTIONAL, PROVENANCE, SELDOM, SEVERITY_COLUMN, SIDE_COLUMN};
use super::field::alike;
use crate::AugmentError;
use crate::atomic::write_atomic;
use crate::record::{CxrRecord, Finding, Laterality, Origin, Sex, View, Vocabulary};
use crate::supply::SynthesizerCard;

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

/// Writes [`table_bytes`], completely or not at all.
///
/// # Errors
/// [`AugmentError::Io`].
///
/// # Panics
/// As [`table_bytes`].
pub fn write_table(path: &Path, vocabulary: &Vocabulary, rows: &[TableRow<'_>]) -> Result<(), AugmentError> {
    let bytes = table_bytes(vocabulary, rows);
    let written = write_atomic(path, |file| file.write_all(&bytes));
    written.map_err(|source| AugmentError::Io { action: "write", path: path.to_owned(), source })
}

/// The table of `rows`, from which [`Table`](super::Table), told of the columns that are kept, reads the same
/// records back. Columns of [`Details`](crate::record::Details) are written if any row knows them, those of provenance if any row is
/// synthetic; negative prompts and adapters if any row has them.
///
/// # Panics
/// If a record has not one label per finding of `vocabulary`.
#[must_use]
pub fn table_bytes(vocabulary: &Vocabulary, rows: &[TableRow<'_>]) -> Vec<u8> {
    let synthetic = rows.iter().any(|row| row.record.origin.is_synthetic());
    let mut columns: Vec<Column> = columns(vocabulary, synthetic).filter(|column| column.is_wanted(rows)).collect();
    columns.extend(kept(rows, &columns));
    let header: Vec<String> = columns.iter().map(Column::name).collect();
    let mut csv = csv::Writer::from_writer(Vec::new());
    const IN_MEMORY: &str = "memory takes every row, and rows are as long as the header";
    csv.write_record(&header).expect(IN_MEMORY);
    for row in rows {
        assert_eq!(row.record.labels.len(), vocabulary.len(), "labels of {}", row.image);
        csv.write_record(columns.iter().map(|column| column.cell(row))).expect(IN_MEMORY);
    }
    csv.into_inner().expect(IN_MEMORY)
}

/// A column of the table.
enum Column {
    Field(&'static str),
    Optional(&'static str),
    Label(Finding, usize),
    Side(Finding),
    Severity(Finding),
    Location(Finding),
    Provenance(&'static str),
    Kept(String),
}

/// Every column that a table can have, in order.
fn columns(vocabulary: &Vocabulary, synthetic: bool) -> impl Iterator<Item = Column> {
    let findings = vocabulary.findings();
    let labels = findings.iter().enumerate().map(|(at, finding)| Column::Label(*finding, at));
    let details =
        findings.iter().flat_map(|finding| [Column::Side(*finding), Column::Severity(*finding), Column::Location(*finding)]);
    let fields = FIELDS.into_iter().map(Column::Field).chain(OPTIONAL.into_iter().map(Column::Optional));
    fields.chain(labels).chain(details).chain(PROVENANCE.into_iter().filter(move |_| synthetic).map(Column::Provenance))
}

/// The columns that rows were read with and that are to be kept, but for those that `written` has.
fn kept(rows: &[TableRow<'_>], written: &[Column]) -> Vec<Column> {
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.record.details.columns.keys()).collect();
    let is_new = |name: &&String| written.iter().all(|column| !alike(&column.name(), name));
    names.into_iter().filter(is_new).map(|name| Column::Kept(name.clone())).collect()
}

impl Column {
    fn name(&self) -> String {
        match self {
            Self::Field(name) | Self::Optional(name) | Self::Provenance(name) => (*name).to_owned(),
            Self::Kept(name) => name.clone(),
            Self::Label(finding, _) => finding.name().to_owned(),
            Self::Side(finding) => format!("{}{SIDE_COLUMN}", finding.name()),
            Self::Severity(finding) => format!("{}{SEVERITY_COLUMN}", finding.name()),
            Self::Location(finding) => format!("{}{LOCATION_COLUMN}", finding.name()),
        }
    }

    fn is_wanted(&self, rows: &[TableRow<'_>]) -> bool {
        match self {
            Self::Field(_) | Self::Label(..) | Self::Kept(_) => true,
            Self::Provenance(name) if !SELDOM.contains(name) => true,
            Self::Optional(_) | Self::Side(_) | Self::Severity(_) | Self::Location(_) | Self::Provenance(_) => {
                rows.iter().any(|row| !self.cell(row).is_empty())
            }
        }
    }

    fn cell(&self, row: &TableRow<'_>) -> String {
        let record = row.record;
        match self {
            Self::Field(name) => field_cell(row, name),
            Self::Optional("race") => record.details.race.clone().unwrap_or_default(),
            Self::Optional(_) => record.details.template.clone().unwrap_or_default(),
            Self::Label(_, at) => record.labels[*at].cell().to_owned(),
            // `both` in tables, as `bilateral` says nothing to those who don't read radiographs.
            Self::Side(finding) => match record.details.of(*finding).and_then(|detail| detail.side) {
                Some(Laterality::Both) => "both".to_owned(),
                side => text(side),
            },
            Self::Severity(finding) => text(record.details.of(*finding).and_then(|detail| detail.severity)),
            Self::Location(finding) => text(record.details.of(*finding).and_then(|detail| detail.location)),
            Self::Provenance(name) => provenance_cell(row, name),
            Self::Kept(name) => record.details.columns.get(name).cloned().unwrap_or_default(),
        }
    }
}

fn field_cell(row: &TableRow<'_>, column: &str) -> String {
    let record = row.record;
    let sex = |sex| match sex {
        Sex::Female => "F",
        Sex::Male => "M",
    };
    let view = |view| match view {
        View::Pa => "PA",
        View::Ap => "AP",
        View::Lateral => "L",
    };
    match column {
        "image" => row.image.to_owned(),
        "patient_id" => text(record.patient_id.as_ref()),
        "age" => text(record.age),
        "sex" => text(record.sex.map(sex)),
        "view" => text(record.view.map(view)),
        "split" => text(record.split),
        _ => record.report.clone().unwrap_or_default(),
    }
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
        "prompt_kind" if request.prompt_kind.is_free() => String::new(),
        "prompt_kind" => request.prompt_kind.name().to_owned(),
        "model" => provenance.model.clone(),
        "sampler" => card.and_then(|card| card.sampler.clone()).unwrap_or_default(),
        "steps" => text(card.and_then(|card| card.steps)),
        "guidance" => text(card.and_then(|card| card.guidance_scale)),
        "gate" => text(provenance.gate),
        "negative_prompt" => card.and_then(|card| card.negative_prompt.clone()).unwrap_or_default(),
        "adapters" => card.map(SynthesizerCard::adapters_line).unwrap_or_default(),
        "weights" => card.and_then(|card| card.weights.clone()).unwrap_or_default(),
        "nearest_real" => text(provenance.nearest_real.as_ref().map(|nearest| nearest.distance)),
        _ => provenance.nearest_real.as_ref().map_or_else(String::new, |nearest| nearest.id.clone()),
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{MissingImages, Table};
    use crate::gate::{GateOutcome, NearestReal};
    use crate::record::{Details, FindingDetail, Label, Location, PatientId, Provenance, Severity, Split};
    use crate::request::{RequestSource, SampleRequest};
    use crate::supply::{AdapterCard, AdapterKind};
    use crate::text::PromptKind;

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
            details: Details::default(),
        }
    }

    fn detailed() -> CxrRecord {
        let detail =
            |name, side, severity, location| FindingDetail { finding: Finding::parse(name).unwrap(), side, severity, location };
        let findings = vec![
            detail("Effusion", Some(Laterality::Both), Some(Severity::Mild), None),
            detail("Mass", Some(Laterality::Right), None, Some(Location::UpperLobe)),
            detail("Pleural_Thickening", None, None, Some(Location::Apex)),
        ];
        let columns = [("scanner".to_owned(), "A, 2".to_owned())].into();
        let details = Details {
            race: Some("Asian".to_owned()),
            template: Some("A mass.".to_owned()),
            findings,
            columns,
            ..Details::default()
        };
        CxrRecord { id: "c.png".to_owned(), details, ..real() }
    }

    fn synthetic() -> CxrRecord {
        let source = RequestSource { id: "a.png".to_owned(), patient_id: PatientId::new("p, \"1\""), fold: Some(2) };
        let request = SampleRequest {
            prompt: "Chest radiograph, \"AP\".".to_owned(),
            prompt_kind: PromptKind::Template,
            labels: real().labels,
            seed: u64::MAX,
            replica: 3,
            source: Some(source),
            age: Some(57.5),
            sex: Some(Sex::Female),
            view: Some(View::Ap),
        };
        let origin = Origin::Synthetic(Box::new(Provenance {
            gate: Some(GateOutcome::Passed(2)),
            nearest_real: Some(NearestReal { id: "a.png".to_owned(), distance: 0.625 }),
            ..Provenance::new(request, "phantom (shifted)")
        }));
        CxrRecord { id: "b.png".to_owned(), report: None, split: None, origin, ..real() }
    }

    #[test]
    fn a_column_that_is_kept_is_written_once() {
        let vocabulary = Vocabulary::parse(["Effusion", "Mass", "Pleural_Thickening", "No Finding"]).unwrap();
        let columns = ["Sex", "mass", "site"].map(|name| (name.to_owned(), "1".to_owned())).into();
        let record = CxrRecord { details: Details { columns, ..Details::default() }, ..real() };
        let text = table_bytes(&vocabulary, &[TableRow { image: "a.png", record: &record, card: None }]);
        let header = String::from_utf8(text).unwrap().lines().next().unwrap().to_owned();
        assert!(header.ends_with(",No Finding,site") && header.matches("ex").count() == 1, "{header}");
    }

    #[test]
    fn records_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = Vocabulary::parse(["Effusion", "Mass", "Pleural_Thickening", "No Finding"]).unwrap();
        let adapters = vec![AdapterCard {
            kind: AdapterKind::Embedding,
            name: "x, y.bin".to_owned(),
            digest: "0123456789abcdef".to_owned(),
            scale: None,
            token: Some("<x>".to_owned()),
        }];
        let card = SynthesizerCard {
            steps: Some(7),
            guidance_scale: Some(4.5),
            negative_prompt: Some("text".to_owned()),
            adapters,
            weights: Some("0011223344556677".to_owned()),
            ..SynthesizerCard::named("phantom")
        };
        for records in [vec![real()], vec![real(), synthetic()], vec![detailed(), real()]] {
            let path = folder.path().join("out/manifest.csv");
            let rows: Vec<_> = records.iter().map(|record| TableRow { image: &record.id, record, card: Some(&card) }).collect();
            write_table(&path, &vocabulary, &rows).unwrap();
            let kept = records.iter().flat_map(|record| record.details.columns.keys().cloned()).collect();
            let table = Table { missing: MissingImages::Keep, kept_columns: kept, ..Table::new(&path) };
            let read = table.read().unwrap();
            assert_eq!(**read.vocabulary(), vocabulary);
            assert_eq!(read.rows().iter().map(|row| CxrRecord::clone(&row.record)).collect::<Vec<_>>(), records);
        }
    }
}
