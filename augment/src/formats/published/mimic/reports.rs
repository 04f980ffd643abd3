//! The reports of MIMIC-CXR: the table of their sections, or the texts themselves.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{OfStudy, subject_folder};
use crate::AugmentError;
use crate::formats::published::rows::{Gathered, beside};
use crate::formats::registry::DataSource;
use crate::formats::sheet::{Line, Rows, Sheet};

/// The table that MIT-LCP's `create_section_files.py` makes of the reports.
const SECTIONED: &str = "mimic_cxr_sectioned.csv";
/// Its columns, the one that is taken first first.
const SECTIONS: [&str; 3] = ["impression", "findings", "last_paragraph"];
/// What `report` says for the texts themselves.
const TEXTS: &str = "txt";
/// Most bytes of a report.
const MAX_REPORT: u64 = 1 << 20;

/// Where reports come from.
pub(super) enum Reports {
    /// The files `files/p10/p10000032/s50414267.txt`.
    Texts,
    /// The first of these columns of the table that has text.
    Sections(PathBuf, Vec<String>),
    /// Nowhere.
    None,
}

/// The same, with the table gone through.
pub(super) enum Opened {
    Texts,
    Sections(Box<Sheet>, Vec<String>),
    None,
}

impl Reports {
    /// What `data.report` asks for.
    pub(super) fn find(asked: Option<&str>, folder: &Path) -> Result<Self, AugmentError> {
        let table = beside(folder, SECTIONED);
        match (asked, table) {
            (Some(TEXTS), _) => Ok(Self::Texts),
            (None, Some(table)) => Ok(Self::Sections(table, SECTIONS.map(str::to_owned).to_vec())),
            (Some(column), Some(table)) => Ok(Self::Sections(table, vec![column.to_owned()])),
            (None, None) => Ok(Self::None),
            (Some(column), None) => {
                let expected = format!("a column of {SECTIONED}, which is not in {}, or `{TEXTS}`", folder.display());
                Err(AugmentError::setting("data.report", format!("`{column}`"), expected))
            }
        }
    }

    pub(super) fn open(self, source: &DataSource) -> Result<Opened, AugmentError> {
        Ok(match self {
            Self::Texts => Opened::Texts,
            Self::None => Opened::None,
            Self::Sections(path, columns) => {
                let sheet = Sheet::read_for(&path, Rows::Equal, source.delimiter, source.missing)?;
                Opened::Sections(Box::new(sheet), columns)
            }
        })
    }
}

impl Opened {
    /// Gives every image the report of its study; how many came from where is said.
    pub(super) fn read(&self, studies: &[OfStudy], images: &Path, rows: &mut Gathered) -> Result<Option<String>, AugmentError> {
        match self {
            Self::None => Ok(None),
            Self::Texts => texts(studies, images, rows).map(Some),
            Self::Sections(sheet, columns) => sections(sheet, columns, studies, rows).map(Some),
        }
    }
}

/// Text is copied once per image and held nowhere else.
fn sections(sheet: &Sheet, names: &[String], studies: &[OfStudy], rows: &mut Gathered) -> Result<String, AugmentError> {
    let study = sheet.column("study")?;
    let columns = names.iter().map(|name| sheet.column(name)).collect::<Result<Vec<_>, _>>()?;
    rows.sheet(sheet, None);
    let mut counts = vec![0usize; columns.len()];
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let number = |cell: &str| cell.strip_prefix('s').unwrap_or(cell).parse().ok();
        let number: u64 = sheet.parse(&line, study, ("a study such as s50414267", number))?;
        let first = studies.partition_point(|of| of.study < number);
        let of = || studies[first..].iter().take_while(|of| of.study == number);
        if of().next().is_none() {
            continue;
        }
        let Some(at) = columns.iter().position(|column| !line.cell(*column).is_empty()) else { continue };
        for image in of() {
            rows.record_mut(image.row as usize).report = Some(line.cell(columns[at]).to_owned());
            counts[at] += 1;
        }
    }
    let counted: Vec<_> = names.iter().zip(&counts).map(|(name, count)| format!("{count} from `{name}`")).collect();
    let (path, total) = (sheet.path.display(), rows.len());
    Ok(format!("reports of {} of {total} images, {}, as {path} divides them", counts.iter().sum::<usize>(), counted.join(", ")))
}

fn texts(studies: &[OfStudy], images: &Path, rows: &mut Gathered) -> Result<String, AugmentError> {
    let root = if images.ends_with("files") { images.parent().unwrap_or(images) } else { images };
    let mut found = 0;
    for of in studies.chunk_by(|one, other| one.study == other.study) {
        let path = root.join(subject_folder(of[0].subject)).join(format!("s{}.txt", of[0].study));
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(MAX_REPORT).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(AugmentError::Io { action: "read", path, source }),
        }
        for image in of {
            rows.record_mut(image.row as usize).report = Some(text.clone());
        }
        found += of.len();
    }
    if found == 0 {
        let path = root.join("files/pNN/pSUBJECT/sSTUDY.txt");
        let expected = format!("nothing: there is no report such as {}", path.display());
        return Err(AugmentError::setting("data.report", format!("`{TEXTS}`"), expected));
    }
    Ok(format!("whole reports of {found} of {} images, from their texts", rows.len()))
}
