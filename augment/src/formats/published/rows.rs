//! What the readers of published sets share: rows with the files of their images, the files beside a table, and cells as hospitals write
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::formats::MissingImages;
use crate::formats::cells::{Cell, SEX};
use crate::formats::folder::ImageFolder;
use crate::formats::left_out::{RowFaults, Skipped};
use crate::formats::sheet::Sheet;
use crate::image::ImageFiles;
use crate::record::{CxrRecord, Finding, Sex, View, Vocabulary};

/// Most values of a column that a note names.
const NAMED: usize = 4;

/// Rows of one or several tables, with the files of their images.
pub(super) struct Gathered {
    images: PathBuf,
    missing: MissingImages,
    folder: ImageFolder,
    faults: RowFaults,
    skipped: Skipped,
    rows: Vec<Row>,
    paths: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Gathered {
    /// No rows yet, of images below the folder `images`.
    pub(super) fn new(images: &Path, missing: MissingImages) -> Result<Self, AugmentError> {
        Ok(Self {
            images: images.to_owned(),
            missing,
            folder: ImageFolder::open(images)?,
            faults: RowFaults::new(missing),
            skipped: Skipped::default(),
            rows: Vec::new(),
            paths: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Adds what is doubtful in `sheet`, whose column of patients is `patient`, and its rows that can't be read.
    pub(super) fn sheet(&mut self, sheet: &Sheet, patient: Option<usize>) {
        self.faults.of_sheet(sheet);
        self.notes.extend(sheet.notes(patient));
    }

    /// What was read of a row; `None` for a fault of this row alone that was collected.
    pub(super) fn pass<T>(&mut self, read: Result<T, AugmentError>) -> Result<Option<T>, AugmentError> {
        self.faults.pass(read)
    }

    /// Adds the record of a row of a table, whose image is called `name`.
    pub(super) fn add(&mut self, (table, row): (&Path, u64), name: &str, record: CxrRecord) -> Result<(), AugmentError> {
        let path = self.folder.locate(name, (table, row), self.missing);
        self.put(path, row, record)
    }

    /// Adds the record of a row of a table, whose image is called as the record is.
    pub(super) fn add_record(&mut self, (table, row): (&Path, u64), record: CxrRecord) -> Result<(), AugmentError> {
        let path = self.folder.locate(&record.id, (table, row), self.missing);
        self.put(path, row, record)
    }

    fn put(&mut self, path: Result<Option<PathBuf>, AugmentError>, row: u64, record: CxrRecord) -> Result<(), AugmentError> {
        let Some(path) = self.faults.pass(path)? else { return Ok(()) };
        self.skipped.count(record.split, path.is_some());
        if let Some(path) = path {
            self.rows.push(Row { record: Arc::new(record), image: self.paths.len(), line: row });
            self.paths.push(path);
        }
        Ok(())
    }

    /// Adds what is doubtful.
    pub(super) fn note(&mut self, note: impl IntoIterator<Item = String>) {
        self.notes.extend(note);
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The record of row `index`, to add to it what comes from another table.
    pub(super) fn record_mut(&mut self, index: usize) -> &mut CxrRecord {
        Arc::make_mut(&mut self.rows[index].record)
    }

    /// The data set of the rows, named by the path of its labels.
    ///
    /// # Errors
    /// As [`CxrDataset::new`]; the first fault if no row is left.
    pub(super) fn dataset(self, table: &Path, vocabulary: Vocabulary) -> Result<CxrDataset, AugmentError> {
        let Self { images, folder, faults, skipped, rows, paths, notes, .. } = self;
        let (name, source) = (table.display().to_string(), Arc::new(ImageFiles::new(paths)));
        let read = || CxrDataset::new(&name, Arc::new(vocabulary), rows, source);
        let data = faults.with(table, || skipped.with(&images, &name, read))?;
        Ok(notes.into_iter().chain(folder.notes()).fold(data, CxrDataset::with_note))
    }
}

/// The folder that `place` is, or that holds it.
pub(super) fn folder_of(place: &Path) -> PathBuf {
    if place.is_dir() { place.to_owned() } else { place.parent().map_or_else(PathBuf::new, Path::to_owned) }
}

/// The file of that name in `folder`, as it is or packed with gzip.
pub(super) fn beside(folder: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")].iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The table that `place` is, or the first of these in it; `what` says what it is a table of.
pub(super) fn table_at(place: PathBuf, names: &[&str], what: &str) -> Result<PathBuf, AugmentError> {
    if !place.is_dir() {
        return Ok(place);
    }
    names.iter().find_map(|name| beside(&place, name)).ok_or_else(|| lacks(&place, names[0], what))
}

/// The last in order of the files in `folder` whose names end so, as they are or packed with gzip: of several versions, the newest.
pub(super) fn ending(folder: &Path, end: &str) -> Result<Option<PathBuf>, AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: folder.to_owned(), source };
    let listed = if folder == Path::new("") { Path::new(".") } else { folder };
    let mut found: Vec<(String, bool)> = Vec::new();
    for entry in fs::read_dir(listed).map_err(failed)? {
        let Ok(name) = entry.map_err(failed)?.file_name().into_string() else { continue };
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        if plain.ends_with(end) && !name.starts_with('.') {
            found.push((plain.to_owned(), name.len() == plain.len()));
        }
    }
    // Of both forms, the one that needs no unpacking.
    let newest = found.into_iter().max();
    Ok(newest.map(|(name, is_plain)| folder.join(if is_plain { name } else { format!("{name}.gz") })))
}

/// The error of a folder in which a file isn't there.
pub(super) fn lacks(folder: &Path, file: &str, expected: &str) -> AugmentError {
    let found = format!("there is no {file} (nor {file}.gz)");
    AugmentError::BadLayout { path: folder.to_owned(), found, expected: expected.to_owned() }
}

/// The columns of `vocabulary` in `sheet`, whose names may be aliases; the label columns of CheXpert and those made in its manner.
pub(super) fn finding_columns(sheet: &Sheet, vocabulary: &Vocabulary) -> Result<Vec<usize>, AugmentError> {
    let known: Vec<Option<Finding>> = sheet.columns.iter().map(|name| Finding::parse(name).ok()).collect();
    let column = |finding: &Finding| match known.iter().position(|known| known.as_ref() == Some(finding)) {
        Some(column) => Ok(column),
        None => sheet.column(finding.name()),
    };
    vocabulary.findings().iter().map(column).collect()
}

/// Sex as hospitals record it. Neither `O` (other) nor `Unknown` is one that a prompt can name.
pub(super) const ANY_SEX: Cell<Option<Sex>> = ("M, F, O or Unknown", |cell| {
    let lower = cell.to_ascii_lowercase();
    match lower.as_str() {
        "o" | "other" | "u" | "unknown" => Some(None),
        other => SEX.1(other).map(Some),
    }
});

/// Reads projections, and counts what is none of the three that are told apart.
#[derive(Debug, Default)]
pub(super) struct Views {
    named: Vec<(String, usize)>,
    unnamed: usize,
}

impl Views {
    pub(super) fn read(&mut self, cell: &str) -> Option<View> {
        match cell.to_ascii_uppercase().as_str() {
            "" => None,
            "PA" | "POSTEROANTERIOR" => Some(View::Pa),
            "AP" | "AP_HORIZONTAL" | "ANTEROPOSTERIOR" => Some(View::Ap),
            "L" | "LL" | "RL" | "LATERAL" | "XTABLE LATERAL" => Some(View::Lateral),
            _ => {
                match self.named.iter().position(|(name, _)| name == cell) {
                    Some(at) => self.named[at].1 += 1,
                    None if self.named.len() < NAMED => self.named.push((cell.chars().take(40).collect(), 1)),
                    None => self.unnamed += 1,
                }
                None
            }
        }
    }

    /// What was taken as unknown.
    pub(super) fn note(&self, table: &Path) -> Option<String> {
        let mut others: Vec<_> = self.named.iter().map(|(name, count)| format!("{count} `{name}`")).collect();
        if self.unnamed > 0 {
            others.push(format!("{} others", self.unnamed));
        }
        let table = table.display();
        (!others.is_empty())
            .then(|| format!("{table}: views that are neither PA, AP nor lateral are unknown: {}", others.join(", ")))
    }
}
