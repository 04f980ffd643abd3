//! The project's own table: a CSV with one row per image.

pub(super) mod columns;
mod error;
mod field;
mod header;
pub(super) mod labels;
mod lists;
mod paths;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::columns::{Columns, Wanted};
use self::header::Declared;
use self::paths::split_of;
use super::MissingImages;
use super::folder::ImageFolder;
use super::left_out::{RowFaults, Skipped};
use super::sheet::{Delimiter, Line, Rows, Sheet};
use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::image::{ImageFiles, ImageSource};
use crate::record::{Finding, Split, Vocabulary};

pub use error::TableError;
pub use writer::{TableRow, table_bytes, write_table};

/// A CSV with one row per image.
///
/// | column | holds |
/// |---|---|
/// | `image` | path of the image, relative to the table's folder; the only required column |
/// | `patient_id`, `age`, `sex`, `view`, `split`, `report` | 57 or 057Y; M or F; PA, AP or L; train, valid or test; blank where unknown |
/// | one per finding | 1, 0, -1 (uncertain) or blank (not mentioned) |
/// | `F side`, `F severity` of a finding `F` | left, right or both; mild, moderate or severe; blank where unknown |
/// | `F location` | one of [`Location`](crate::record::Location), such as `lower lobe`; blank where unknown |
/// | `race`, `template` | in the data set's own words; text made by rule, which is not a report |
/// | `origin` | blank or `real`; `synthetic` where the rest tells how the image was made: |
/// | `seed`, `prompt`, `model` | required of synthetic rows |
/// | `source_id`, `fold`, `replica`, `prompt_kind`, `sampler`, `steps`, `guidance`, `gate`, `nearest_real`, `nearest_real_id` | as far as known |
///
/// Names of columns are taken in any case. Well-known names of other tables (`Path`, `PatientID`, `Finding Labels`) are read where they are
/// unambiguous, with a note; `columns` states them. Any other column is an error unless it is declared.
#[derive(Clone, Debug)]
pub struct Table {
    /// The CSV, or a `.csv.gz`.
    pub path: PathBuf,
    /// Folder that image paths are relative to; `None` for the table's own.
    pub images: Option<PathBuf>,
    /// Column of a field or a finding, by the name of either. `labels` is a column of lists of findings (`Effusion|Mass`), `order` one
    /// of dates or numbers: which of a patient's images comes first. If there is any entry, columns that nothing explains are ignored, with a note.
    pub columns: BTreeMap<String, String>,
    /// Columns that are labels outside the public vocabularies.
    pub custom_findings: Vec<String>,
    /// Columns to ignore.
    pub extra_columns: Vec<String>,
    /// Columns whose cells are kept in [`Details::columns`](crate::record::Details), whatever else they are; one file of the table has
    /// each.
    pub kept_columns: Vec<String>,
    /// The column of reports; `None` for `report`, if there is one.
    pub report: Option<String>,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// What separates the cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
    /// Findings that are asked of the table: lists that name none of them are negative.
    pub findings: Option<Vocabulary>,
    /// Whether a table without labels is read, with unknown labels of `findings`.
    pub unlabelled: bool,
    /// Whether rows without an `origin` are synthetic; these may lack `seed`, `prompt` and `model`.
    pub synthetic: bool,
}

/// One file of a table that may have several.
pub(super) struct Part {
    pub(super) sheet: Sheet,
    /// What its image names lack in front.
    pub(super) prefix: String,
    /// The split of its rows.
    pub(super) split: Option<Split>,
    /// Whether the first folders of its image names are splits, where all are and no column says otherwise.
    pub(super) split_of_path: bool,
}

/// Where the images of a table's rows are.
pub(super) trait Images {
    /// Where one of them is.
    type Place;

    /// The folder or archive of all.
    fn root(&self) -> &Path;

    /// The place of the image that a row names; `None` if the row is to be skipped.
    fn locate(&mut self, id: &str, row: (&Path, u64), missing: MissingImages) -> Result<Option<Self::Place>, AugmentError>;

    /// What is doubtful in what was found, a sentence each.
    fn notes(&self) -> Vec<String>;

    /// The images at these places.
    fn source(self, places: Vec<Self::Place>) -> Arc<dyn ImageSource>;
}

impl Images for ImageFolder {
    type Place = PathBuf;

    fn root(&self) -> &Path {
        self.root()
    }

    fn locate(&mut self, id: &str, row: (&Path, u64), missing: MissingImages) -> Result<Option<PathBuf>, AugmentError> {
        self.locate(id, row, missing)
    }

    fn notes(&self) -> Vec<String> {
        self.notes()
    }

    fn source(self, places: Vec<PathBuf>) -> Arc<dyn ImageSource> {
        Arc::new(ImageFiles::new(places))
    }
}

impl Table {
    /// The table at `path`, images beside it, no column declared.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            images: None,
            columns: BTreeMap::new(),
            custom_findings: Vec::new(),
            extra_columns: Vec::new(),
            kept_columns: Vec::new(),
            report: None,
            missing: MissingImages::Refuse,
            delimiter: None,
            findings: None,
            unlabelled: false,
            synthetic: false,
        }
    }

    /// Reads the table and checks that its images exist; none is opened.
    ///
    /// # Errors
    /// Faults of the table, with row and column; [`AugmentError::BadSetting`] for a column that the run file names and the table lacks;
    /// [`FolderError::MissingImage`](crate::formats::FolderError::MissingImage); as [`CxrDataset::new`].
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let sheet = Sheet::read_for(&self.path, Rows::Equal, self.delimiter, self.missing)?;
        let root = self.images.clone().or_else(|| self.path.parent().map(Path::to_owned)).unwrap_or_default();
        self.read_parts(&[Part { sheet, prefix: String::new(), split: None, split_of_path: false }], &root)
    }

    /// Reads the rows of all `parts`, whose images are under `root`.
    pub(super) fn read_parts(&self, parts: &[Part], root: &Path) -> Result<CxrDataset, AugmentError> {
        self.read_rows(parts, ImageFolder::open(root)?)
    }

    /// Reads the rows of all `parts`, whose images are where `images` finds them.
    pub(super) fn read_rows(&self, parts: &[Part], mut images: impl Images) -> Result<CxrDataset, AugmentError> {
        let (columns, notes, vocabulary) = self.columns(parts)?;
        let mut faults = RowFaults::new(self.missing);
        let (mut rows, mut paths, mut skipped) = (Vec::new(), Vec::new(), Skipped::default());
        for (part, columns) in parts.iter().zip(&columns) {
            let sheet = &part.sheet;
            faults.of_sheet(sheet);
            let split_of_path = part.split_of_path && columns.all_in_splits(sheet)?;
            let (mut lines, mut line) = (sheet.lines()?, Line::default());
            while lines.read(&mut line)? {
                let line = &line;
                let Some(mut record) = faults.pass(columns.record(sheet, line))? else { continue };
                record.id.insert_str(0, &part.prefix);
                record.split = record.split.or(part.split);
                if split_of_path {
                    record.split = record.split.or_else(|| split_of(&record.id));
                }
                let path = images.locate(&record.id, (&sheet.path, line.number), self.missing);
                let Some(path) = faults.pass(path)? else { continue };
                skipped.count(record.split, path.is_some());
                let Some(path) = path else { continue };
                rows.push(Row { record: Arc::new(record), image: paths.len(), line: line.number });
                paths.push(path);
            }
        }
        let name = self.path.display().to_string();
        let (root, more) = (images.root().to_owned(), images.notes());
        let source = images.source(paths);
        let read = || CxrDataset::new(&name, Arc::new(vocabulary), rows, source);
        let data = faults.with(&self.path, || skipped.with(&root, &name, read))?;
        Ok(notes.into_iter().chain(more).fold(data, CxrDataset::with_note))
    }

    /// The columns of every part, what is doubtful in them, and the findings of all.
    fn columns(&self, parts: &[Part]) -> Result<(Vec<Columns>, Vec<String>, Vocabulary), AugmentError> {
        let custom: Vec<_> = self.custom_findings.iter().map(|name| Finding::custom(name)).collect();
        let declared = Declared {
            columns: &self.columns,
            report: self.report.as_deref(),
            custom: &custom,
            extra: &self.extra_columns,
            kept: &self.kept_columns,
            guess: true,
        };
        let Self { unlabelled, synthetic, .. } = *self;
        let wanted = Wanted { findings: self.findings.as_ref(), unlabelled, synthetic };
        let columns = Columns::of(parts.iter().map(|part| &part.sheet), declared, wanted)?;
        let of_rows = parts.iter().zip(&columns).flat_map(|(part, columns)| columns.notes_of_rows(&part.sheet));
        let notes = self.notes_of_columns(parts, &columns).into_iter().chain(of_rows).collect();
        let vocabulary = columns.first().map_or_else(|| Vocabulary::new([]), Columns::vocabulary)?;
        for (part, columns) in parts.iter().zip(&columns).skip(1) {
            if columns.vocabulary()? != vocabulary {
                let (path, first) = (part.sheet.path.clone(), parts[0].sheet.path.clone());
                return Err(TableError::OtherFindings { path, first }.into());
            }
        }
        Ok((columns, notes, vocabulary))
    }

    /// What is doubtful in the columns; what holds for several parts is said once, of the folder that they are in.
    fn notes_of_columns(&self, parts: &[Part], columns: &[Columns]) -> Vec<String> {
        let mut said: Vec<(&str, &Path)> = Vec::new();
        for (part, columns) in parts.iter().zip(columns) {
            let path = format!("{}: ", part.sheet.path.display());
            for text in columns.notes().iter().map(|note| note.strip_prefix(&path).unwrap_or(note)) {
                match said.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, of)) => *of = &self.path,
                    None => said.push((text, &part.sheet.path)),
                }
            }
        }
        said.into_iter().map(|(text, of)| format!("{}: {text}", of.display())).collect()
    }
}

#[cfg(test)]
mod tests;
