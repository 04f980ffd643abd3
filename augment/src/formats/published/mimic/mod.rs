//! MIMIC-CXR-JPG (Johnson et al., arXiv 1901.07042) as published on PhysioNet.

mod reports;

use std::collections::HashMap;
use std::path::Path;

use self::reports::Reports;
use super::rows::{Gathered, Views, ending, finding_columns, folder_of, lacks, record};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{LABEL, ORDER, SPLIT};
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CHEXPERT_14, CxrRecord, Label, PatientId, Split, Vocabulary};

const FINDINGS: usize = CHEXPERT_14.len();
const NUMBER: (&str, fn(&str) -> Option<u64>) =
    ("a whole number, as MIMIC-CXR numbers subjects and studies", |cell| cell.parse().ok());
const TABLES: &str = "the tables of MIMIC-CXR-JPG in one folder: labels (`…-chexpert.csv` or `…-negbio.csv`), `…-metadata.csv` and `…-split.csv`";

/// Why files are those of MIMIC-CXR-JPG.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let is = |name: &str, end: &str| name.strip_suffix(".gz").unwrap_or(name).ends_with(end);
    let has = |end: &str| seen.files().iter().find(|name| is(name, end)).cloned();
    if let (Some(labels), Some(_)) = (has("-chexpert.csv").or_else(|| has("-negbio.csv")), has("-metadata.csv")) {
        return Some(format!("it holds {labels} and the metadata of MIMIC-CXR-JPG"));
    }
    let columns =
        seen.has_columns(&["subject_id", "study_id", "Atelectasis", "No Finding"]) && !seen.has_columns(&["dicom_id"]);
    columns.then(|| "`subject_id`, `study_id` and labels of studies are columns of MIMIC-CXR-JPG".to_owned())
}

/// Reads the images that the metadata list, with the labels of their studies, the official split and the reports.
///
/// Blank labels stay blank and uncertain ones uncertain. An image whose study has no labels is kept with all of them unknown, and counted.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let folder = folder_of(&place);
    let labels = match place.is_dir() {
        false => place,
        true => match ending(&folder, "-chexpert.csv")? {
            Some(labels) => labels,
            None => ending(&folder, "-negbio.csv")?.ok_or_else(|| lacks(&folder, "mimic-cxr-2.0.0-chexpert.csv", TABLES))?,
        },
    };
    let metadata = ending(&folder, "-metadata.csv")?.ok_or_else(|| lacks(&folder, "mimic-cxr-2.0.0-metadata.csv", TABLES))?;
    let split = ending(&folder, "-split.csv")?;
    let images = source.images.clone().unwrap_or_else(|| folder.clone());
    let sheet = |path: &Path| Sheet::read_for(path, Rows::Equal, source.delimiter, source.missing);
    let reports = Reports::find(source.report.as_deref(), &folder)?;
    // Every table is gone through before the first row is used, and each on a core of its own.
    let (studies, (images_of, reports)) = rayon::join(
        || {
            Ok::<_, AugmentError>((
                Studies::read(sheet(&labels)?)?,
                split.as_deref().map(|path| Splits::read(&sheet(path)?)).transpose()?,
            ))
        },
        || rayon::join(|| sheet(&metadata), || reports.open(source)),
    );
    let ((studies, splits), metadata, reports) = (studies?, images_of?, reports?);
    let mut rows = Gathered::new(&images, source.missing)?;
    rows.sheet(&studies.sheet, studies.subject.into());
    let joined = Joined { studies: &studies, splits: splits.as_ref() };
    let by_study = joined.gather(&metadata, &mut rows)?;
    // Reports are most of what is kept: what was joined goes before they come.
    let is_split = splits.is_some();
    drop((studies, splits, metadata));
    let note = reports.read(&by_study, &images, &mut rows)?;
    drop(by_study);
    rows.note(note);
    if !is_split {
        rows.note([format!("{}: there is no …-split.csv, so the official split is not known", folder.display())]);
    }
    rows.dataset(&labels, Vocabulary::chexpert())
}

/// The labels of the studies.
struct Studies {
    sheet: Sheet,
    subject: usize,
    /// By the number of the study: its subject, its labels and its row.
    found: HashMap<u64, (u64, [Label; FINDINGS], u64)>,
}

impl Studies {
    fn read(sheet: Sheet) -> Result<Self, AugmentError> {
        let (subject, study) = (sheet.column("subject_id")?, sheet.column("study_id")?);
        let columns = finding_columns(&sheet, &Vocabulary::chexpert())?;
        let mut found = HashMap::new();
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let mut labels = [Label::Missing; FINDINGS];
            for (label, column) in labels.iter_mut().zip(&columns) {
                *label = sheet.label(&line, *column, LABEL)?;
            }
            let of = (sheet.parse(&line, subject, NUMBER)?, labels, line.number);
            if let Some((.., first)) = found.insert(sheet.parse(&line, study, NUMBER)?, of) {
                return Err(sheet.bad_cell(&line, study, &format!("a study that is not in row {first} as well")));
            }
        }
        drop(lines);
        Ok(Self { sheet, subject, found })
    }
}

/// The official split by image.
struct Splits(HashMap<Box<str>, Split>);

impl Splits {
    fn read(sheet: &Sheet) -> Result<Self, AugmentError> {
        let (dicom, split) = (sheet.column("dicom_id")?, sheet.column("split")?);
        let mut splits = HashMap::new();
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let of = sheet.parse(&line, split, SPLIT)?;
            if splits.insert(line.cell(dicom).into(), of).is_some_and(|first| first != of) {
                return Err(sheet.bad_cell(&line, split, "the split that an earlier row gives the same image"));
            }
        }
        Ok(Self(splits))
    }
}

/// Rows by the number of their study: for each, its subject and the rows of its images.
pub(super) type ByStudy = HashMap<u64, (u64, Vec<u32>)>;

/// What is joined to the images.
struct Joined<'a> {
    studies: &'a Studies,
    splits: Option<&'a Splits>,
}

/// The columns of the metadata.
struct Columns {
    dicom: usize,
    subject: usize,
    study: usize,
    view: usize,
    date: Option<usize>,
    time: Option<usize>,
}

impl Joined<'_> {
    /// Adds every image of the metadata to `rows`.
    fn gather(&self, sheet: &Sheet, rows: &mut Gathered) -> Result<ByStudy, AugmentError> {
        let columns = Columns {
            dicom: sheet.column("dicom_id")?,
            subject: sheet.column("subject_id")?,
            study: sheet.column("study_id")?,
            view: sheet.column("ViewPosition")?,
            date: sheet.find("StudyDate"),
            time: sheet.find("StudyTime"),
        };
        rows.sheet(sheet, Some(columns.subject));
        let (mut views, mut by_study) = (Views::default(), ByStudy::new());
        let (mut unlabelled, mut without_split) = (HashMap::<u64, usize>::new(), 0);
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let read = self.record(sheet, &columns, &line, &mut views);
            let Some((study, subject, record)) = rows.pass(read)? else { continue };
            if !self.studies.found.contains_key(&study) {
                *unlabelled.entry(study).or_insert(0) += 1;
            }
            without_split += usize::from(self.splits.is_some() && record.split.is_none());
            let (index, id) = (rows.len(), record.id.clone());
            rows.add((&sheet.path, line.number), &id, record)?;
            if rows.len() > index {
                by_study.entry(study).or_insert_with(|| (subject, Vec::new())).1.push(index as u32);
            }
        }
        let path = sheet.path.display();
        if !unlabelled.is_empty() {
            let images: usize = unlabelled.values().sum();
            let labels = self.studies.sheet.path.display();
            rows.note([format!(
                "{images} images of {} studies have no labels in {labels}: all of theirs are unknown",
                unlabelled.len()
            )]);
        }
        if without_split > 0 {
            rows.note([format!("{path}: {without_split} images are not in the table of the split")]);
        }
        rows.note(views.note(&sheet.path));
        Ok(by_study)
    }

    /// The study, the subject and the record of a row.
    fn record(
        &self,
        sheet: &Sheet,
        columns: &Columns,
        line: &Line,
        views: &mut Views,
    ) -> Result<(u64, u64, CxrRecord), AugmentError> {
        let study = sheet.parse(line, columns.study, NUMBER)?;
        let subject = sheet.parse(line, columns.subject, NUMBER)?;
        let dicom =
            sheet.parse(line, columns.dicom, ("the name of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
        let labels = match self.studies.found.get(&study) {
            None => vec![Label::Missing; FINDINGS],
            Some((of, labels, _)) if *of == subject => labels.to_vec(),
            Some((of, _, row)) => {
                let labels = self.studies.sheet.path.display();
                return Err(sheet.bad_cell(
                    line,
                    columns.subject,
                    &format!("{of}, as row {row} of {labels} says of study {study}"),
                ));
            }
        };
        // Of the very size: there are hundreds of thousands.
        let id = [&subject_folder(subject), "/s", &study.to_string(), "/", &dicom, ".jpg"].concat();
        let mut record = record(id, Some(PatientId::new(&subject.to_string())), labels);
        record.view = views.read(line.cell(columns.view));
        record.split = self.splits.and_then(|splits| splits.0.get(dicom.as_str())).copied();
        let date = sheet.parse_optional(line, columns.date, ORDER)?;
        let time = sheet.parse_optional(line, columns.time, ("a time such as 213014.531", time))?;
        record.details.order = date.map(|date| date + time.unwrap_or(0.0));
        Ok((study, subject, record))
    }
}

/// `files/p10/p10000032`
pub(super) fn subject_folder(subject: u64) -> String {
    let digits = subject.to_string();
    format!("files/p{}/p{digits}", digits.get(..2).unwrap_or(&digits))
}

/// `HHMMSS.fff`, as a part of a day that keeps the order: seconds are hundred-thousandths.
fn time(cell: &str) -> Option<f64> {
    let number: f64 = cell.parse().ok()?;
    // Leading zeros are lost where a program took it for a number.
    let whole = (0.0..240_000.0).contains(&number).then_some(number as u32)?;
    let (hour, minute) = (whole / 10_000, whole / 100 % 100);
    let seconds = number - f64::from(whole) + f64::from(whole % 100) + f64::from(minute * 60 + hour * 3600);
    (minute < 60 && seconds < 86_400.0).then_some(seconds / 100_000.0)
}

#[cfg(test)]
mod tests;
