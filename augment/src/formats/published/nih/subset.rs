//! A subset of ChestX-ray14 with one label column per finding.

use std::path::PathBuf;
use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::formats::MissingImages;
use crate::formats::cells::{AGE, BINARY, SEX, SPLIT, VIEW};
use crate::formats::folder::ImageFolder;
use crate::formats::left_out::{RowFaults, Skipped};
use crate::formats::npz::Npz;
use crate::formats::sheet::{Delimiter, Line, Rows, Sheet};
use crate::image::{ImageFiles, ImageSource};
use crate::record::{CxrRecord, Finding, Label, Vocabulary};

/// A `labels.csv` with the columns `image`, `patient_id`, the 14 findings as 0/1, and where known `age`, `sex`, `view` and
/// `split`; other columns are ignored.
#[derive(Clone, Debug)]
pub struct NihSubset {
    /// The label table.
    pub labels: PathBuf,
    /// A folder of images by name, or an `.npz` whose `images` (`uint8 [N, H, W]`) are in the order of the table's rows.
    pub images: PathBuf,
    /// What becomes of a row without its image. A table whose column `has_256` states which rows have files is
    /// trusted: the other rows are skipped when reading a folder.
    pub missing: MissingImages,
    /// What separates the table's cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
}

/// Where the rows' images are.
enum Images {
    /// Row after row in an archive.
    InOrder,
    /// In a folder, with the files of the rows that were read.
    Named(Box<ImageFolder>, Vec<PathBuf>),
}

impl NihSubset {
    /// Reads the table and finds the images.
    ///
    /// # Errors
    /// Faults of the table, with row and column; [`FolderError::MissingImage`](crate::formats::FolderError::MissingImage); [`AugmentError::BadArray`] if the archive has
    /// another number of images than the table has rows; as [`CxrDataset::new`].
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let sheet = Sheet::read_for(&self.labels, Rows::Equal, self.delimiter, self.missing)?;
        let columns = Columns::of(&sheet)?;
        let is_archive = self.images.extension().is_some_and(|extension| extension == "npz");
        let mut images =
            if is_archive { Images::InOrder } else { Images::Named(Box::new(ImageFolder::open(&self.images)?), Vec::new()) };
        let (mut rows, mut skipped) = (Vec::new(), Skipped::default());
        let mut faults = RowFaults::new(self.missing);
        faults.of_sheet(&sheet);
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let Some(record) = faults.pass(columns.record(&sheet, &line))? else { continue };
            let image = match &mut images {
                Images::InOrder => lines.rows() - 1,
                Images::Named(folder, paths) => {
                    let promised =
                        columns.has_file.is_none_or(|column| Label::parse(line.cell(column)) != Some(Label::Negative));
                    if !promised {
                        continue;
                    }
                    let path = folder.locate(&record.id, (&sheet.path, line.number), self.missing);
                    let Some(path) = faults.pass(path)? else { continue };
                    skipped.count(record.split, path.is_some());
                    let Some(path) = path else { continue };
                    paths.push(path);
                    paths.len() - 1
                }
            };
            rows.push(Row { record: Arc::new(record), image, line: line.number });
        }
        let (source, found): (Arc<dyn ImageSource>, _) = match images {
            Images::InOrder => self.archive(lines.rows())?,
            Images::Named(folder, paths) => (Arc::new(ImageFiles::new(paths)), folder.notes()),
        };
        let name = self.labels.display().to_string();
        let open = || CxrDataset::new(&name, Arc::new(Vocabulary::nih()), rows, source);
        let data = faults.with(&self.labels, || skipped.with(&self.images, &name, open))?;
        let notes = sheet.notes(Some(columns.patient)).into_iter().chain(found);
        Ok(notes.fold(data, CxrDataset::with_note))
    }

    fn archive(&self, rows: usize) -> Result<(Arc<dyn ImageSource>, Vec<String>), AugmentError> {
        let mut npz = Npz::open(&self.images)?;
        let images = npz.images(&["images"])?;
        if images.counts[0] != rows {
            let expected = format!("{rows} images, one per row of {}", self.labels.display());
            let shape = [images.counts[0], images.height, images.width];
            return Err(npz.bad_array("images", format!("of shape {shape:?}"), &expected));
        }
        Ok((images.source, images.note.into_iter().collect()))
    }
}

struct Columns {
    image: usize,
    patient: usize,
    findings: Vec<usize>,
    age: Option<usize>,
    sex: Option<usize>,
    view: Option<usize>,
    split: Option<usize>,
    has_file: Option<usize>,
}

impl Columns {
    fn of(sheet: &Sheet) -> Result<Self, AugmentError> {
        let column = |finding: &Finding| sheet.column(finding.name());
        Ok(Self {
            image: sheet.column("image")?,
            patient: sheet.column("patient_id")?,
            findings: Vocabulary::nih().findings().iter().map(column).collect::<Result<_, _>>()?,
            age: sheet.find("age"),
            sex: sheet.find("sex"),
            view: sheet.find("view"),
            split: sheet.find("split"),
            has_file: sheet.find("has_256"),
        })
    }

    fn record(&self, sheet: &Sheet, line: &Line) -> Result<CxrRecord, AugmentError> {
        let label = |&column: &usize| sheet.parse(line, column, BINARY);
        let labels = self.findings.iter().map(label).collect::<Result<_, _>>()?;
        Ok(CxrRecord {
            age: sheet.parse_optional(line, self.age, AGE)?,
            sex: sheet.parse_optional(line, self.sex, SEX)?,
            view: sheet.parse_optional(line, self.view, VIEW)?,
            split: sheet.parse_optional(line, self.split, SPLIT)?,
            ..CxrRecord::real(line.cell(self.image).to_owned(), sheet.patient(line, Some(self.patient))?, labels)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::formats::npz::tests::write_npz;
    use crate::record::NIH_14;

    fn subset(folder: &Path, hernia: &str) -> NihSubset {
        let header = format!("index,image,patient_id,age,{},split,has_256", NIH_14.join(","));
        let zeros = ["0"; 13].join(",");
        let rows = format!("0,a.png,1,57,{zeros},{hernia},val,1\n1,b.png,2,60,{zeros},0,train,0");
        fs::write(folder.join("labels.csv"), format!("{header}\n{rows}\n")).unwrap();
        NihSubset {
            labels: folder.join("labels.csv"),
            images: folder.join("images.npz"),
            missing: MissingImages::Refuse,
            delimiter: None,
        }
    }

    #[test]
    fn archive_rows_follow_the_table() {
        let folder = tempfile::tempdir().unwrap();
        let nih = subset(folder.path(), "1");
        write_npz(&nih.images, &[("images", &[2, 1, 1], vec![10, 20])]);
        let data = nih.read().unwrap();
        assert_eq!(data.decode(1).unwrap(), crate::image::GrayImage::from_u8(1, 1, vec![20u8]));
        assert_eq!(data.record(0).labels[13], crate::record::Label::Positive);
        write_npz(&nih.images, &[("images", &[3, 1, 1], vec![10, 20, 30])]);
        let error = nih.read().unwrap_err().to_string();
        assert!(error.contains("array `images` is of shape [3, 1, 1], expected 2 images"), "{error}");
    }

    #[test]
    fn a_row_that_is_left_out_keeps_its_image() {
        let folder = tempfile::tempdir().unwrap();
        let nih = NihSubset { missing: MissingImages::Keep, ..subset(folder.path(), "1") };
        let table = fs::read_to_string(&nih.labels).unwrap().replacen("\n0,", "\n9,z.png\n0,", 1);
        fs::write(&nih.labels, table).unwrap();
        write_npz(&nih.images, &[("images", &[3, 1, 1], vec![10, 20, 30])]);
        let data = nih.read().unwrap();
        assert_eq!((data.rows().len(), data.faults().len()), (2, 1));
        assert_eq!(data.decode(0).unwrap(), crate::image::GrayImage::from_u8(1, 1, vec![20u8]));
    }

    #[test]
    fn a_folder_holds_what_the_table_promises() {
        let folder = tempfile::tempdir().unwrap();
        let nih = NihSubset { images: folder.path().to_owned(), ..subset(folder.path(), "0") };
        let error = nih.read().unwrap_err().to_string();
        assert!(error.contains("labels.csv, row 2: image `a.png` is not under"), "{error}");
        image::save_buffer(folder.path().join("a.jpg"), &[0], 1, 1, image::ExtendedColorType::L8).unwrap();
        let data = nih.read().unwrap();
        assert_eq!((data.rows().len(), data.record(0).id.as_str()), (1, "a.png"));
    }

    #[test]
    fn label_seven_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = subset(folder.path(), "7").read().unwrap_err().to_string();
        assert!(error.contains("labels.csv, row 2, column `Hernia`: found `7`, expected 1 or 0"), "{error}");
    }
}
