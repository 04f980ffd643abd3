//! MIMIC-CXR-JPG (Johnson et al., arXiv 1901.07042) as published on PhysioNet.

mod reports;

use std::collections::HashMap;
use std::path::Path;

use self::reports::Reports;
use super::rows::{Gathered, Views, ending, finding_columns, folder_of, lacks};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{LABEL, ORDER, SPLIT};
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Lines, Rows, Sheet};
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
        || Ok::<_, AugmentError>((Studies::read(sheet(&labels)?)?, split.as_deref().map(sheet).transpose()?)),
        || rayon::join(|| sheet(&metadata), || reports.open(source)),
    );
    let ((studies, split), metadata, reports) = (studies?, images_of?, reports?);
    let mut rows = Gathered::new(&images, source.missing)?;
    rows.sheet(&studies.sheet, studies.subject.into());
    let is_split = split.is_some();
    let splits = split.as_ref().map(Splits::open).transpose()?;
    let by_study = Joined { studies: &studies, splits }.gather(&metadata, &mut rows)?;
    // Reports are most of what is kept: what was joined goes before they come.
    drop((studies, split, metadata));
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
    /// In the order of their numbers.
    found: Vec<Study>,
}

struct Study {
    number: u64,
    subject: u64,
    labels: [Label; FINDINGS],
    row: u64,
}

impl Studies {
    fn read(sheet: Sheet) -> Result<Self, AugmentError> {
        let (subject, study) = (sheet.column("subject_id")?, sheet.column("study_id")?);
        let columns = finding_columns(&sheet, &Vocabulary::chexpert())?;
        let mut found = Vec::new();
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let mut labels = [Label::Missing; FINDINGS];
            for (label, column) in labels.iter_mut().zip(&columns) {
                *label = sheet.label(&line, *column, LABEL)?;
            }
            let subject = sheet.parse(&line, subject, NUMBER)?;
            found.push(Study { number: sheet.parse(&line, study, NUMBER)?, subject, labels, row: line.number });
        }
        drop(lines);
        found.sort_by_key(|study| study.number);
        let twice = found.windows(2).filter(|pair| pair[0].number == pair[1].number);
        if let Some([first, second]) = twice.min_by_key(|pair| pair[1].row) {
            let line = sheet.line(second.row)?;
            return Err(sheet.bad_cell(&line, study, &format!("a study that is not in row {} as well", first.row)));
        }
        Ok(Self { sheet, subject, found })
    }

    fn find(&self, number: u64) -> Option<&Study> {
        self.found.binary_search_by_key(&number, |study| study.number).ok().map(|at| &self.found[at])
    }
}

/// The official split by image. Its table has the images in the order of the metadata, as published, so that both are read side by side;
/// from the first image on that is not the next one, splits are looked up.
struct Splits<'a> {
    sheet: &'a Sheet,
    dicom: usize,
    split: usize,
    /// Its rows, as long as they are those of the metadata.
    side_by_side: Option<Lines<'a>>,
    line: Line,
    known: HashMap<Box<str>, Split>,
}

impl<'a> Splits<'a> {
    fn open(sheet: &'a Sheet) -> Result<Self, AugmentError> {
        let (dicom, split) = (sheet.column("dicom_id")?, sheet.column("split")?);
        let (side_by_side, line, known) = (Some(sheet.lines()?), Line::default(), HashMap::new());
        Ok(Self { sheet, dicom, split, side_by_side, line, known })
    }

    /// The split of the next image.
    fn of(&mut self, image: &str) -> Result<Option<Split>, AugmentError> {
        if let Some(lines) = &mut self.side_by_side {
            if lines.read(&mut self.line)? && self.line.cell(self.dicom) == image {
                return self.sheet.parse(&self.line, self.split, SPLIT).map(Some);
            }
            self.look_up()?;
        }
        Ok(self.known.get(image).copied())
    }

    /// Refuses what is wrong in rows that no image asked for.
    fn finish(mut self) -> Result<(), AugmentError> {
        match &mut self.side_by_side {
            Some(lines) => {
                if lines.read(&mut self.line)? {
                    self.look_up()
                } else {
                    Ok(())
                }
            }
            None => Ok(()),
        }
    }

    fn look_up(&mut self) -> Result<(), AugmentError> {
        self.side_by_side = None;
        let mut lines = self.sheet.lines()?;
        while lines.read(&mut self.line)? {
            let of = self.sheet.parse(&self.line, self.split, SPLIT)?;
            if self.known.insert(self.line.cell(self.dicom).into(), of).is_some_and(|first| first != of) {
                let expected = "the split that an earlier row gives the same image";
                return Err(self.sheet.bad_cell(&self.line, self.split, expected));
            }
        }
        Ok(())
    }
}

/// An image and the study that it is of.
pub(super) struct OfStudy {
    pub(super) study: u64,
    pub(super) subject: u64,
    /// Its row.
    pub(super) row: u32,
}

/// What is joined to the images.
struct Joined<'a> {
    studies: &'a Studies,
    splits: Option<Splits<'a>>,
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

/// A row of the metadata.
struct Row {
    study: u64,
    subject: u64,
    /// Whether the table of the labels has its study.
    is_labelled: bool,
    record: CxrRecord,
}

impl Joined<'_> {
    /// Adds every image of the metadata to `rows`. The images by study, those of one study in the order of their rows.
    fn gather(mut self, sheet: &Sheet, rows: &mut Gathered) -> Result<Vec<OfStudy>, AugmentError> {
        let columns = Columns {
            dicom: sheet.column("dicom_id")?,
            subject: sheet.column("subject_id")?,
            study: sheet.column("study_id")?,
            view: sheet.column("ViewPosition")?,
            date: sheet.find("StudyDate"),
            time: sheet.find("StudyTime"),
        };
        rows.sheet(sheet, Some(columns.subject));
        let (mut views, mut by_study) = (Views::default(), Vec::new());
        let (mut unlabelled, mut without_split) = (HashMap::<u64, usize>::new(), 0);
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let read = self.record(sheet, &columns, &line, &mut views);
            let Some(row) = rows.pass(read)? else { continue };
            let Row { study, subject, is_labelled, mut record } = row;
            if !is_labelled {
                *unlabelled.entry(study).or_insert(0) += 1;
            }
            if let Some(splits) = &mut self.splits {
                record.split = splits.of(line.cell(columns.dicom))?;
                without_split += usize::from(record.split.is_none());
            }
            let index = rows.len();
            rows.add_record((&sheet.path, line.number), record)?;
            if rows.len() > index {
                by_study.push(OfStudy { study, subject, row: index as u32 });
            }
        }
        if let Some(splits) = self.splits {
            splits.finish()?;
        }
        by_study.sort_by_key(|of| of.study);
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

    /// What a row says, but for the split.
    fn record(&self, sheet: &Sheet, columns: &Columns, line: &Line, views: &mut Views) -> Result<Row, AugmentError> {
        let study = sheet.parse(line, columns.study, NUMBER)?;
        let subject = sheet.parse(line, columns.subject, NUMBER)?;
        sheet.parse(line, columns.dicom, ("the name of an image", |cell| (!cell.is_empty()).then_some(())))?;
        let known = self.studies.find(study);
        let labels = match known {
            None => vec![Label::Missing; FINDINGS],
            Some(found) if found.subject == subject => found.labels.to_vec(),
            Some(Study { subject: of, row, .. }) => {
                let labels = self.studies.sheet.path.display();
                return Err(sheet.bad_cell(
                    line,
                    columns.subject,
                    &format!("{of}, as row {row} of {labels} says of study {study}"),
                ));
            }
        };
        let id = image_path(subject, study, line.cell(columns.dicom));
        let mut record = CxrRecord::real(id, Some(PatientId::new(&subject.to_string())), labels);
        record.view = views.read(line.cell(columns.view));
        let date = sheet.parse_optional(line, columns.date, ORDER)?;
        let time = sheet.parse_optional(line, columns.time, ("a time such as 213014.531", time))?;
        record.details.order = date.map(|date| date + time.unwrap_or(0.0));
        Ok(Row { study, subject, is_labelled: known.is_some(), record })
    }
}

/// `files/p10/p10000032`
pub(super) fn subject_folder(subject: u64) -> String {
    let digits = subject.to_string();
    ["files/p", digits.get(..2).unwrap_or(&digits), "/p", &digits].concat()
}

/// `files/p10/p10000032/s50414267/DICOM.jpg`; of the very size, as there are hundreds of thousands.
fn image_path(subject: u64, study: u64, dicom: &str) -> String {
    [&subject_folder(subject), "/s", &study.to_string(), "/", dicom, ".jpg"].concat()
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
