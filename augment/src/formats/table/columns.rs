//! The columns of the project's table format, and a row read by them.

use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::cells::{AGE, Cell, LABEL, PROMPT_KIND, SEVERITY, SEX, SIDE, SPLIT, VIEW};
use crate::formats::sheet::{Line, Sheet};
use crate::gate::{GateOutcome, NearestReal};
use crate::record::{CxrRecord, Details, Finding, FindingDetail, Label, Origin, PatientId, Provenance, Vocabulary};
use crate::request::{RequestSource, SampleRequest};
use crate::text::{Prompt, PromptKind};

/// Columns of every row. Only `image` must be there.
pub(in crate::formats) const FIELDS: [&str; 7] = ["image", "patient_id", "age", "sex", "view", "split", "report"];

/// Columns that few tables have; written where some row knows them.
pub(in crate::formats) const OPTIONAL: [&str; 2] = ["race", "template"];

/// Endings of the columns with further details of a finding, after its name and a space (`Effusion side`).
pub(in crate::formats) const SIDE_COLUMN: &str = " side";
pub(in crate::formats) const SEVERITY_COLUMN: &str = " severity";

/// Columns of synthetic rows: where the image comes from.
pub(in crate::formats) const PROVENANCE: [&str; 14] = [
    "origin",
    "source_id",
    "fold",
    "replica",
    "seed",
    "prompt",
    "prompt_kind",
    "model",
    "sampler",
    "steps",
    "guidance",
    "gate",
    "nearest_real",
    "nearest_real_id",
];

const ORIGIN: Cell<bool> = ("real or synthetic", |cell| match cell {
    "" | "real" => Some(false),
    "synthetic" => Some(true),
    _ => None,
});
const TEXT: Cell<String> = ("text", |cell| (!cell.is_empty()).then(|| cell.to_owned()));
pub(in crate::formats) const SEED: Cell<u64> = ("a whole number of at least 0", |cell| cell.parse().ok());
const GATE: Cell<GateOutcome> = ("passed or rejected with the number of attempts, such as passed 2", GateOutcome::parse);
const DISTANCE: Cell<f32> = ("a distance of at least 0", |cell| cell.parse().ok().filter(|distance| *distance >= 0.0));
const COUNT: Cell<u32> = ("a whole number of at least 0", |cell| cell.parse().ok());

/// The label columns with their findings, in the table's order, and the columns with further details of a finding.
pub(in crate::formats) struct Columns {
    findings: Vec<(Finding, usize)>,
    sides: Vec<(Finding, usize)>,
    severities: Vec<(Finding, usize)>,
}

impl Columns {
    /// The columns of a table of images, which has `image` and at least one finding.
    pub(in crate::formats) fn of(sheet: &Sheet, custom: &[Finding], extra: &[String]) -> Result<Self, AugmentError> {
        sheet.column("image")?;
        let columns = Self::sorted(sheet, custom, extra)?;
        if columns.is_empty() {
            return Err(TableError::NoFindingColumn { path: sheet.path.clone() }.into());
        }
        Ok(columns)
    }

    /// Sorts the columns of `sheet` into fields, findings and `extra` ones, which are ignored.
    pub(in crate::formats) fn sorted(sheet: &Sheet, custom: &[Finding], extra: &[String]) -> Result<Self, AugmentError> {
        let mut columns = Self { findings: Vec::new(), sides: Vec::new(), severities: Vec::new() };
        for (column, name) in sheet.columns.iter().enumerate() {
            let twice = |first: usize| TableError::DuplicateColumn {
                path: sheet.path.clone(),
                column: name.clone(),
                first: sheet.columns[first].clone(),
            };
            if let Some(first) = sheet.find(name).filter(|first| *first != column) {
                return Err(twice(first).into());
            }
            let is_field = |fields: &[&str]| fields.contains(&name.as_str());
            if is_field(&FIELDS) || is_field(&OPTIONAL) || is_field(&PROVENANCE) || extra.contains(name) {
                continue;
            }
            let (list, name_of_finding) = match (name.strip_suffix(SIDE_COLUMN), name.strip_suffix(SEVERITY_COLUMN)) {
                (Some(finding), _) => (&mut columns.sides, finding),
                (_, Some(finding)) => (&mut columns.severities, finding),
                _ => (&mut columns.findings, name.as_str()),
            };
            let finding = match custom.iter().find(|finding| finding.name() == name_of_finding) {
                Some(custom) => *custom,
                None => Finding::parse(name_of_finding).map_err(|error| unknown(sheet, name, error))?,
            };
            if let Some((_, first)) = list.iter().find(|(known, _)| *known == finding) {
                return Err(twice(*first).into());
            }
            list.push((finding, column));
        }
        Ok(columns)
    }

    /// Whether there is no finding.
    pub(in crate::formats) fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// The labels of a row.
    pub(in crate::formats) fn labels(&self, sheet: &Sheet, line: &Line) -> Result<Vec<Label>, AugmentError> {
        self.findings.iter().map(|(_, column)| sheet.label(line, *column, LABEL)).collect()
    }

    /// Sides and severities of a row, in the order of the findings.
    fn finding_details(&self, sheet: &Sheet, line: &Line) -> Result<Vec<FindingDetail>, AugmentError> {
        let column =
            |list: &[(Finding, usize)], wanted| list.iter().find(|(known, _)| *known == wanted).map(|(_, column)| *column);
        let detail = |(finding, _): &(Finding, usize)| {
            let side = sheet.parse_optional(line, column(&self.sides, *finding), SIDE)?;
            let severity = sheet.parse_optional(line, column(&self.severities, *finding), SEVERITY)?;
            let known = side.is_some() || severity.is_some();
            Ok(known.then_some(FindingDetail { finding: *finding, side, severity }))
        };
        self.findings.iter().filter_map(|finding| detail(finding).transpose()).collect()
    }

    pub(in crate::formats) fn vocabulary(&self) -> Result<Vocabulary, AugmentError> {
        Vocabulary::new(self.findings.iter().map(|(finding, _)| *finding))
    }

    pub(in crate::formats) fn record(&self, sheet: &Sheet, line: &Line) -> Result<CxrRecord, AugmentError> {
        let optional = |name| optional(sheet, line, name, TEXT);
        let mut record = CxrRecord {
            id: sheet.parse(line, sheet.column("image")?, ("the name of an image file", TEXT.1))?,
            patient_id: sheet.patient(line, sheet.find("patient_id"))?,
            labels: self.labels(sheet, line)?,
            age: sheet.parse_optional(line, sheet.find("age"), AGE)?,
            sex: sheet.parse_optional(line, sheet.find("sex"), SEX)?,
            view: sheet.parse_optional(line, sheet.find("view"), VIEW)?,
            report: optional("report")?,
            split: sheet.parse_optional(line, sheet.find("split"), SPLIT)?,
            origin: Origin::Real,
            details: Details {
                race: optional("race")?,
                template: optional("template")?,
                findings: self.finding_details(sheet, line)?,
            },
        };
        if sheet.parse_optional(line, sheet.find("origin"), ORIGIN)? == Some(true) {
            record.origin = Origin::Synthetic(Box::new(provenance(sheet, line, &record)?));
        }
        Ok(record)
    }
}

/// A label the vocabularies don't know keeps its own error; the column name is what the user can correct.
fn unknown(sheet: &Sheet, column: &str, error: AugmentError) -> AugmentError {
    let (column, suggestion) = match error {
        AugmentError::UnknownFinding { name, suggestion } => (name, suggestion),
        _ => (column.to_owned(), String::new()),
    };
    TableError::UnknownColumn { path: sheet.path.clone(), column, suggestion }.into()
}

fn optional<T>(sheet: &Sheet, line: &Line, name: &str, cell: Cell<T>) -> Result<Option<T>, AugmentError> {
    sheet.parse_optional(line, sheet.find(name), cell)
}

fn provenance(sheet: &Sheet, line: &Line, record: &CxrRecord) -> Result<Provenance, AugmentError> {
    let text = |name| sheet.parse(line, sheet.column(name)?, ("text, as the row is synthetic", TEXT.1));
    let kind = optional(sheet, line, "prompt_kind", PROMPT_KIND)?.unwrap_or_default();
    let mut request = request(sheet, line, Prompt { text: text("prompt")?, kind }, record.labels.clone())?;
    request.seed = sheet.parse(line, sheet.column("seed")?, SEED)?;
    let distance = optional(sheet, line, "nearest_real", DISTANCE)?;
    let id = optional(sheet, line, "nearest_real_id", TEXT)?;
    let nearest_real = distance.zip(id).map(|(distance, id)| NearestReal { id, distance });
    Ok(Provenance { request, model: text("model")?, gate: optional(sheet, line, "gate", GATE)?, nearest_real })
}

/// The request of a row, with seed 0.
pub(in crate::formats) fn request(
    sheet: &Sheet,
    line: &Line,
    prompt: Prompt,
    labels: Vec<Label>,
) -> Result<SampleRequest, AugmentError> {
    let patient = sheet.patient(line, sheet.find("patient_id"))?;
    let source = match (optional(sheet, line, "source_id", TEXT)?, patient) {
        (None, None) => None,
        (id, patient) => {
            let fold = optional(sheet, line, "fold", COUNT)?;
            // A row that names one of the two descends from somebody, and must not pass for a free prompt.
            let patient_id = patient.unwrap_or_else(|| PatientId::new(id.as_deref().unwrap_or_default()));
            Some(RequestSource { id: id.unwrap_or_default(), patient_id, fold })
        }
    };
    Ok(SampleRequest {
        prompt: prompt.text,
        prompt_kind: prompt.kind,
        labels,
        seed: 0,
        replica: optional(sheet, line, "replica", COUNT)?.unwrap_or(0),
        source,
        age: optional(sheet, line, "age", AGE)?,
        sex: optional(sheet, line, "sex", SEX)?,
        view: optional(sheet, line, "view", VIEW)?,
    })
}

/// The column that holds a table's prompts, and what kind of text is in it: `prompt`, else `report`, else `template`.
pub(in crate::formats) fn prompt_column(sheet: &Sheet) -> Result<(usize, PromptKind), AugmentError> {
    let kinds = [("prompt", PromptKind::Free), ("report", PromptKind::Report), ("template", PromptKind::Template)];
    let found = kinds.into_iter().find_map(|(name, kind)| Some((sheet.find(name)?, kind)));
    found.map_or_else(|| Ok((sheet.column("prompt")?, PromptKind::Free)), Ok)
}
