//! The columns of the project's table format, and a row read by them.

use std::collections::{BTreeMap, BTreeSet};

use super::field::Field;
use super::header::{Declared, Header, kept_column};
use super::lists::{Cells, Lists};
use super::paths::{patient_folder, split_of};
use crate::AugmentError;
use crate::formats::TableError;
use crate::formats::cells::{
    AGE, Cell, FRONTAL_LATERAL, LABEL, LOCATION, ORDER, PROMPT_KIND, SEVERITY, SEX, SIDE, SPLIT, VIEW,
};
use crate::formats::sheet::{Line, Sheet};
use crate::gate::{GateOutcome, NearestReal};
use crate::record::{CxrRecord, Details, Finding, FindingDetail, Label, Origin, PatientId, Provenance, View, Vocabulary};
use crate::request::{RequestSource, SampleRequest};
use crate::text::{Prompt, PromptKind};

/// Columns of every row. Only `image` must be there.
pub(in crate::formats) const FIELDS: [&str; 7] = ["image", "patient_id", "age", "sex", "view", "split", "report"];

/// Columns that few tables have; written where some row knows them.
pub(in crate::formats) const OPTIONAL: [&str; 2] = ["race", "template"];

/// Endings of the columns with further details of a finding, after its name and a space (`Effusion side`).
pub(in crate::formats) const SIDE_COLUMN: &str = " side";
pub(in crate::formats) const SEVERITY_COLUMN: &str = " severity";
pub(in crate::formats) const LOCATION_COLUMN: &str = " location";

/// Those endings.
pub(in crate::formats) const DETAIL_COLUMNS: [&str; 3] = [SIDE_COLUMN, SEVERITY_COLUMN, LOCATION_COLUMN];

/// Columns of synthetic rows: where the image comes from.
pub(in crate::formats) const PROVENANCE: [&str; 17] = [
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
    "negative_prompt",
    "adapters",
    "weights",
];

/// Those of them that are written only where some row has them.
pub(in crate::formats) const SELDOM: [&str; 3] = ["negative_prompt", "adapters", "weights"];

const ORIGIN: Cell<bool> = ("real or synthetic", |cell| match cell {
    "" | "real" => Some(false),
    "synthetic" => Some(true),
    _ => None,
});
const TEXT: Cell<String> = ("text", |cell| (!cell.is_empty()).then(|| cell.to_owned()));
const SEED: Cell<u64> = ("a whole number of at least 0", |cell| cell.parse().ok());
const GATE: Cell<GateOutcome> = ("passed or rejected with the number of attempts, such as passed 2", GateOutcome::parse);
const DISTANCE: Cell<f32> = ("a distance of at least 0", |cell| cell.parse().ok().filter(|distance| *distance >= 0.0));
const COUNT: Cell<u32> = ("a whole number of at least 0", |cell| cell.parse().ok());

/// The columns that can hold prompts, the first that there is, and what kind of text is in them.
const PROMPTS: [(Field, PromptKind); 3] =
    [(Field::Prompt, PromptKind::Free), (Field::Report, PromptKind::Report), (Field::Template, PromptKind::Template)];

/// The columns of a table, and how labels are read from them.
pub(in crate::formats) struct Columns {
    header: Header,
    labels: Labels,
    /// Whether patients are the folders of the paths.
    patient_of_path: bool,
    /// Whether rows without an origin are synthetic.
    synthetic: bool,
}

/// Where labels are.
enum Labels {
    /// One column per finding.
    Columns,
    /// One column of lists.
    Lists(Lists),
    /// Nowhere: every label is unknown.
    Unknown(Vocabulary),
}

/// What a table of images must have.
#[derive(Clone, Copy, Debug)]
pub(in crate::formats) struct Wanted<'a> {
    /// Findings that are asked of it.
    pub(in crate::formats) findings: Option<&'a Vocabulary>,
    /// Whether there may be no label.
    pub(in crate::formats) unlabelled: bool,
    /// Whether rows without an origin are synthetic.
    pub(in crate::formats) synthetic: bool,
}

impl Columns {
    /// The columns of the files of a table of images, each of which has `image` and at least one finding or a list of findings.
    pub(in crate::formats) fn of<'a>(
        sheets: impl Iterator<Item = &'a Sheet>,
        declared: Declared<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Self>, AugmentError> {
        let mut files = Vec::new();
        for sheet in sheets {
            let header = Header::of(sheet, declared)?;
            let lists = match (header.find(Field::Labels), header.findings.first()) {
                (Some(lists), Some((_, first))) => {
                    let (path, lists) = (sheet.path.clone(), sheet.columns[lists].clone());
                    return Err(TableError::LabelsTwice { path, lists, column: sheet.columns[*first].clone() }.into());
                }
                (Some(column), None) => Some(Cells::read(sheet, column, declared.custom)?),
                (None, _) => None,
            };
            files.push((sheet, header, lists));
        }
        // The rows of a file without the column have none.
        let is_lost = |name: &&String| files.iter().all(|(_, header, _)| header.kept.iter().all(|(kept, _)| kept != *name));
        if let (Some(name), Some((sheet, ..))) = (declared.kept.iter().find(is_lost), files.first()) {
            kept_column(sheet, name)?;
        }
        // A finding of one file is negative in another whose lists don't name it.
        let seen: BTreeSet<Finding> = files.iter().filter_map(|(.., lists)| lists.as_ref()).flat_map(Cells::findings).collect();
        files.into_iter().map(|(sheet, header, lists)| Self::of_file(sheet, header, lists, &seen, wanted)).collect()
    }

    fn of_file(
        sheet: &Sheet,
        header: Header,
        lists: Option<Cells>,
        seen: &BTreeSet<Finding>,
        wanted: Wanted<'_>,
    ) -> Result<Self, AugmentError> {
        let labels = match (lists, header.findings.is_empty()) {
            (Some(cells), _) => Labels::Lists(Lists::new(cells, seen, wanted, sheet)?),
            (None, false) => Labels::Columns,
            (None, true) => match wanted.findings.filter(|_| wanted.unlabelled) {
                Some(findings) => Labels::Unknown(findings.clone()),
                None => return Err(TableError::NoFindingColumn { path: sheet.path.clone() }.into()),
            },
        };
        let image = header.column(Field::Image, sheet)?;
        let has_patients = header.find(Field::PatientId).is_some();
        let folder = |line: &Line| patient_folder(line.cell(image)).map(str::to_owned);
        let first_patient = if has_patients { None } else { common(sheet, folder)? };
        let mut columns = Self { header, labels, patient_of_path: first_patient.is_some(), synthetic: wanted.synthetic };
        if let Some(first) = first_patient {
            let note = "the table has no column of patients; they are read from the paths of the images, such as";
            columns.header.notes.push(format!("{}: {note} `{first}`", sheet.path.display()));
        }
        let note = match &columns.labels {
            Labels::Lists(lists) => lists.note(sheet),
            Labels::Unknown(_) => Some(format!("{}: the table has no labels", sheet.path.display())),
            Labels::Columns => None,
        };
        columns.header.notes.extend(note);
        Ok(columns)
    }

    /// The columns of a table of prompts, which may have no finding.
    pub(in crate::formats) fn of_prompts(sheet: &Sheet, custom: &[Finding], extra: &[String]) -> Result<Self, AugmentError> {
        let is_prompt = |name: &String| PROMPTS.iter().any(|(field, _)| field.is_named(name));
        if !sheet.columns.iter().any(is_prompt) {
            // The error names what there is.
            sheet.column(Field::Prompt.name())?;
        }
        let columns = &BTreeMap::new();
        let header = Header::of(sheet, Declared { columns, report: None, custom, extra, kept: &[], guess: false })?;
        Ok(Self { header, labels: Labels::Columns, patient_of_path: false, synthetic: false })
    }

    /// Whether there is no column of a finding.
    pub(in crate::formats) fn is_empty(&self) -> bool {
        self.header.findings.is_empty()
    }

    /// What is doubtful, a sentence each.
    pub(in crate::formats) fn notes(&self) -> &[String] {
        &self.header.notes
    }

    /// The labels of a row.
    pub(in crate::formats) fn labels(&self, sheet: &Sheet, line: &Line) -> Result<Vec<Label>, AugmentError> {
        match &self.labels {
            Labels::Columns => {
                let mut labels = Vec::with_capacity(self.header.findings.len());
                for (_, column) in &self.header.findings {
                    labels.push(sheet.label(line, *column, LABEL)?);
                }
                Ok(labels)
            }
            Labels::Lists(lists) => Ok(lists.labels(line)),
            Labels::Unknown(vocabulary) => Ok(vec![Label::Missing; vocabulary.len()]),
        }
    }

    /// Sides, severities and locations of a row, in the order of the findings.
    fn finding_details(&self, sheet: &Sheet, line: &Line) -> Result<Vec<FindingDetail>, AugmentError> {
        let Header { findings, sides, severities, locations, .. } = &self.header;
        let column =
            |list: &[(Finding, usize)], wanted| list.iter().find(|(known, _)| *known == wanted).map(|(_, column)| *column);
        let detail = |(finding, _): &(Finding, usize)| {
            let side = sheet.parse_optional(line, column(sides, *finding), SIDE)?;
            let severity = sheet.parse_optional(line, column(severities, *finding), SEVERITY)?;
            let location = sheet.parse_optional(line, column(locations, *finding), LOCATION)?;
            let known = side.is_some() || severity.is_some() || location.is_some();
            Ok(known.then_some(FindingDetail { finding: *finding, side, severity, location }))
        };
        if sides.is_empty() && severities.is_empty() && locations.is_empty() {
            return Ok(Vec::new());
        }
        findings.iter().filter_map(|finding| detail(finding).transpose()).collect()
    }

    /// Cells of the columns that are kept.
    fn kept(&self, line: &Line) -> BTreeMap<String, String> {
        let cells = self.header.kept.iter().map(|(name, column)| (name, line.cell(*column)));
        cells.filter(|(_, cell)| !cell.is_empty()).map(|(name, cell)| (name.clone(), cell.to_owned())).collect()
    }

    pub(in crate::formats) fn vocabulary(&self) -> Result<Vocabulary, AugmentError> {
        match &self.labels {
            Labels::Columns => Vocabulary::new(self.header.findings.iter().map(|(finding, _)| *finding)),
            Labels::Lists(lists) => Ok(lists.vocabulary().clone()),
            Labels::Unknown(vocabulary) => Ok(vocabulary.clone()),
        }
    }

    pub(in crate::formats) fn record(&self, sheet: &Sheet, line: &Line) -> Result<CxrRecord, AugmentError> {
        let text = |field| self.optional(sheet, line, field, TEXT);
        let image = self.header.column(Field::Image, sheet)?;
        let id = sheet.parse(line, image, ("the name of an image file", TEXT.1))?;
        let patient_id = match self.patient_of_path {
            true => patient_folder(&id).map(PatientId::new),
            false => sheet.patient(line, self.header.find(Field::PatientId))?,
        };
        let mut record = CxrRecord {
            id,
            patient_id,
            labels: self.labels(sheet, line)?,
            age: self.optional(sheet, line, Field::Age, AGE)?,
            sex: self.optional(sheet, line, Field::Sex, SEX)?,
            view: self.view(sheet, line)?,
            report: text(Field::Report)?,
            split: self.optional(sheet, line, Field::Split, SPLIT)?,
            origin: Origin::Real,
            details: Details {
                race: text(Field::Race)?,
                template: text(Field::Template)?,
                findings: self.finding_details(sheet, line)?,
                order: self.optional(sheet, line, Field::Order, ORDER)?,
                columns: self.kept(line),
            },
        };
        if self.optional(sheet, line, Field::Origin, ORIGIN)?.unwrap_or(self.synthetic) {
            record.origin = Origin::Synthetic(Box::new(self.provenance(sheet, line, &record)?));
        }
        Ok(record)
    }

    /// Whether there is no column of splits, and every image lies in a folder that is one.
    pub(in crate::formats) fn all_in_splits(&self, sheet: &Sheet) -> Result<bool, AugmentError> {
        let image = self.header.column(Field::Image, sheet)?;
        Ok(self.header.find(Field::Split).is_none() && common(sheet, |line| split_of(line.cell(image)))?.is_some())
    }

    /// What is doubtful in how the rows are read.
    pub(in crate::formats) fn notes_of_rows(&self, sheet: &Sheet) -> Vec<String> {
        sheet.notes(self.header.find(Field::PatientId))
    }

    /// The view, which CheXpert's lateral images have in another column.
    fn view(&self, sheet: &Sheet, line: &Line) -> Result<Option<View>, AugmentError> {
        let view = self.optional(sheet, line, Field::View, VIEW)?;
        let other = self.optional(sheet, line, Field::FrontalLateral, FRONTAL_LATERAL)?;
        Ok(view.or(other.flatten()))
    }

    fn optional<T>(&self, sheet: &Sheet, line: &Line, field: Field, cell: Cell<T>) -> Result<Option<T>, AugmentError> {
        let column = self.header.find(field);
        let read = sheet.parse_optional(line, column, cell);
        if read.is_err() && self.header.is_guessed(field) {
            let expected = format!("{}; if this is not the column `{}`, name it in data.extra_columns", cell.0, field.name());
            return sheet.parse_optional(line, column, (&expected, cell.1));
        }
        read
    }

    /// Where a synthetic row comes from. In a table of such rows alone, which another tool may have written, it says what it knows.
    fn provenance(&self, sheet: &Sheet, line: &Line, record: &CxrRecord) -> Result<Provenance, AugmentError> {
        let text = |field| match self.synthetic {
            true => Ok(self.optional(sheet, line, field, TEXT)?.unwrap_or_default()),
            false => sheet.parse(line, self.header.column(field, sheet)?, ("text, as the row is synthetic", TEXT.1)),
        };
        let kind = self.optional(sheet, line, Field::PromptKind, PROMPT_KIND)?.unwrap_or_default();
        let prompt = Prompt { text: text(Field::Prompt)?, kind };
        let mut request = self.request(sheet, line, prompt, record.labels.clone())?;
        // The patient may be known from the path.
        if let (None, Some(patient)) = (&request.source, &record.patient_id) {
            request.source = Some(RequestSource { id: String::new(), patient_id: patient.clone(), fold: None });
        }
        request.seed = match self.synthetic {
            true => self.seed(sheet, line)?.unwrap_or_default(),
            false => sheet.parse(line, self.header.column(Field::Seed, sheet)?, SEED)?,
        };
        let distance = self.optional(sheet, line, Field::NearestReal, DISTANCE)?;
        let id = self.optional(sheet, line, Field::NearestRealId, TEXT)?;
        let nearest_real = distance.zip(id).map(|(distance, id)| NearestReal { id, distance });
        let gate = self.optional(sheet, line, Field::Gate, GATE)?;
        Ok(Provenance { request, model: text(Field::Model)?, gate, nearest_real })
    }

    /// The request of a row, with seed 0.
    pub(in crate::formats) fn request(
        &self,
        sheet: &Sheet,
        line: &Line,
        prompt: Prompt,
        labels: Vec<Label>,
    ) -> Result<SampleRequest, AugmentError> {
        let patient = sheet.patient(line, self.header.find(Field::PatientId))?;
        let source = match (self.optional(sheet, line, Field::SourceId, TEXT)?, patient) {
            (None, None) => None,
            (id, patient) => {
                let fold = self.optional(sheet, line, Field::Fold, COUNT)?;
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
            replica: self.optional(sheet, line, Field::Replica, COUNT)?.unwrap_or(0),
            source,
            age: self.optional(sheet, line, Field::Age, AGE)?,
            sex: self.optional(sheet, line, Field::Sex, SEX)?,
            view: self.view(sheet, line)?,
        })
    }

    /// The column that holds a table's prompts, and what kind of text is in it.
    pub(in crate::formats) fn prompt(&self, sheet: &Sheet) -> Result<(usize, PromptKind), AugmentError> {
        let found = PROMPTS.into_iter().find_map(|(field, kind)| Some((self.header.find(field)?, kind)));
        found.map_or_else(|| Ok((self.header.column(Field::Prompt, sheet)?, PromptKind::Free)), Ok)
    }

    /// The kind of a row's prompt and its seed, where the table has them.
    pub(in crate::formats) fn prompt_kind(&self, sheet: &Sheet, line: &Line) -> Result<Option<PromptKind>, AugmentError> {
        self.optional(sheet, line, Field::PromptKind, PROMPT_KIND)
    }

    /// The seed of a row, where the table has one.
    pub(in crate::formats) fn seed(&self, sheet: &Sheet, line: &Line) -> Result<Option<u64>, AugmentError> {
        self.optional(sheet, line, Field::Seed, SEED)
    }
}

/// What `read` gives for the first row, if it gives something for every row.
fn common<T>(sheet: &Sheet, read: impl Fn(&Line) -> Option<T>) -> Result<Option<T>, AugmentError> {
    let mut first = None;
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        match read(&line) {
            None => return Ok(None),
            found if first.is_none() => first = found,
            _ => {}
        }
    }
    Ok(first)
}
