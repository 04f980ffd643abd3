//! NIH ChestX-ray14 as published (Wang et al., CVPR 2017).

pub(in crate::formats) mod google;
mod subset;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::formats::MissingImages;
use crate::formats::TableError;
use crate::formats::cells::{AGE, ORDER, SEX, VIEW};
use crate::formats::folder::ImageFolder;
use crate::formats::left_out::{RowFaults, Skipped};
use crate::formats::sheet::{Delimiter, Line, Rows, Sheet, read_names};
use crate::image::ImageFiles;
use crate::record::{CxrRecord, Details, Finding, Label, Origin, Split, Vocabulary};

pub use subset::NihSubset;

/// The published files.
///
/// The table is `Data_Entry_2017_v2020.csv`, or the 2017 one whose ages read `058Y`; `.csv.gz` too. Columns are found by name:
/// the header holds unquoted commas in `OriginalImage[Width,Height]` and reads as 11 columns.
#[derive(Clone, Debug)]
pub struct NihFiles {
    /// The label table.
    pub table: PathBuf,
    /// Folder of the images, flat or as unpacked (`images_001/images/…`).
    pub images: PathBuf,
    /// The official lists, if the official split is wanted. They name no validation images: those are drawn from training by
    /// patient, see [`SplitBy::Column`](crate::dataset::SplitBy::Column).
    pub lists: Option<NihLists>,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// What separates the table's cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
}

/// The official split: one image name per line.
#[derive(Clone, Debug)]
pub struct NihLists {
    /// `train_val_list.txt`
    pub train: PathBuf,
    /// `test_list.txt`
    pub test: PathBuf,
}

impl NihFiles {
    /// Reads the table and finds the images; none is opened.
    ///
    /// A finding that a row doesn't name is [`Label::Negative`]: the labels were mined from whole reports.
    ///
    /// # Errors
    /// Faults of the table, with row and column; [`FolderError::MissingImage`](crate::formats::FolderError::MissingImage); as [`CxrDataset::new`].
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let sheet = Sheet::read_for(&self.table, Rows::Ragged, self.delimiter, self.missing)?;
        let columns = Columns::of(&sheet)?;
        let mut folder = ImageFolder::open(&self.images)?;
        let splits = self.lists.as_ref().map(NihLists::read).transpose()?.unwrap_or_default();
        let vocabulary = Vocabulary::nih();
        let (mut rows, mut paths, mut skipped) = (Vec::new(), Vec::new(), Skipped::default());
        let mut faults = RowFaults::new(self.missing);
        faults.of_sheet(&sheet);
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let Some(mut record) = faults.pass(columns.record(&sheet, &line, &vocabulary))? else { continue };
            record.split = splits.get(&record.id).copied();
            let path = folder.locate(&record.id, (&sheet.path, line.number), self.missing);
            let Some(path) = faults.pass(path)? else { continue };
            skipped.count(record.split, path.is_some());
            let Some(path) = path else { continue };
            rows.push(Row { record: Arc::new(record), image: paths.len(), line: line.number });
            paths.push(path);
        }
        let name = self.table.display().to_string();
        let source = Arc::new(ImageFiles::new(paths));
        let read = || CxrDataset::new(&name, Arc::new(vocabulary), rows, source);
        let data = faults.with(&self.table, || skipped.with(&self.images, &name, read))?;
        let notes = sheet.notes(Some(columns.patient)).into_iter().chain(folder.notes());
        Ok(notes.fold(data, CxrDataset::with_note))
    }
}

impl NihLists {
    fn read(&self) -> Result<HashMap<String, Split>, AugmentError> {
        let mut splits = HashMap::new();
        for (path, split) in [(&self.train, Split::Train), (&self.test, Split::Test)] {
            for (row, name) in read_names(path)? {
                if splits.insert(name.clone(), split).is_some_and(|first| first != split) {
                    let expected = format!("a name that is not in {} as well", self.train.display());
                    let (path, column) = (path.clone(), "image".to_owned());
                    return Err(TableError::BadCell { path, row, column, value: name, expected }.into());
                }
            }
        }
        Ok(splits)
    }
}

struct Columns {
    image: usize,
    labels: usize,
    patient: usize,
    age: usize,
    sex: usize,
    view: usize,
    /// Which of the patient's images it is.
    follow_up: Option<usize>,
}

impl Columns {
    fn of(sheet: &Sheet) -> Result<Self, AugmentError> {
        let image = sheet.column("Image Index")?;
        if sheet.find("Finding Label").is_some() && sheet.find("Finding Labels").is_none() {
            return Err(boxes(sheet, image)?.into());
        }
        Ok(Self {
            image,
            labels: sheet.column("Finding Labels")?,
            patient: sheet.column("Patient ID")?,
            age: sheet.column("Patient Age")?,
            sex: sheet.column("Patient Gender")?,
            view: sheet.column("View Position")?,
            follow_up: sheet.find("Follow-up #"),
        })
    }

    fn record(&self, sheet: &Sheet, line: &Line, vocabulary: &Vocabulary) -> Result<CxrRecord, AugmentError> {
        let id = sheet.parse(line, self.image, ("an image name", non_blank))?;
        Ok(CxrRecord {
            id,
            patient_id: sheet.patient(line, Some(self.patient))?,
            labels: labels(sheet, line, self.labels, vocabulary)?,
            age: sheet.parse_optional(line, Some(self.age), AGE)?,
            sex: sheet.parse_optional(line, Some(self.sex), SEX)?,
            view: sheet.parse_optional(line, Some(self.view), VIEW)?,
            report: None,
            split: None,
            origin: Origin::Real,
            details: Details { order: sheet.parse_optional(line, self.follow_up, ORDER)?, ..Details::default() },
        })
    }
}

/// The error of `BBox_List_2017.csv`, which has a row per box.
fn boxes(sheet: &Sheet, image: usize) -> Result<TableError, AugmentError> {
    let (mut boxes, mut images) = (0, HashSet::new());
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        boxes += 1;
        images.insert(line.cell(image).to_owned());
    }
    Ok(TableError::Boxes { path: sheet.path.clone(), boxes, images: images.len() })
}

fn non_blank(cell: &str) -> Option<String> {
    (!cell.is_empty()).then(|| cell.to_owned())
}

/// `Cardiomegaly|Effusion`, or `No Finding`.
fn labels(sheet: &Sheet, line: &Line, column: usize, vocabulary: &Vocabulary) -> Result<Vec<Label>, AugmentError> {
    let mut labels = vec![Label::Negative; vocabulary.len()];
    let cell = line.cell(column);
    if cell == "No Finding" {
        return Ok(labels);
    }
    for name in cell.split('|') {
        let position = Finding::parse(name).ok().and_then(|finding| vocabulary.position(finding));
        let expected = "`No Finding` or names of the 14 NIH findings joined by `|`";
        labels[position.ok_or_else(|| sheet.bad_cell(line, column, expected))?] = Label::Positive;
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::{SplitPlan, Splits};
    use crate::record::{Sex, View};

    const HEADER: &str = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
                          OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]";

    /// The published layout with the given rows, in `images_00N/images`.
    fn files(rows: &[&str]) -> (tempfile::TempDir, NihFiles) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (n, row) in rows.iter().enumerate() {
            let images = root.join(format!("images_{:03}/images", n % 2 + 1));
            fs::create_dir_all(&images).unwrap();
            image::save_buffer(images.join(row.split(',').next().unwrap()), &[0], 1, 1, image::ExtendedColorType::L8).unwrap();
        }
        fs::write(root.join("table.csv"), format!("{HEADER}\n{}\n", rows.join("\n"))).unwrap();
        let nih = NihFiles {
            table: root.join("table.csv"),
            images: root.to_owned(),
            lists: None,
            missing: MissingImages::Refuse,
            delimiter: None,
        };
        (folder, nih)
    }

    #[test]
    fn both_editions_are_read() {
        let (_folder, nih) = files(&[
            "00000001_000.png,Cardiomegaly|Effusion,0,1,57,M,PA,2682,2749,0.143,0.143",
            "00000002_000.png,No Finding,0,2,058Y,F,AP,2500,2048,0.171,0.171,",
        ]);
        let data = nih.read().unwrap();
        let record = data.record(0);
        assert_eq!((record.age, record.sex, record.view), (Some(57.0), Some(Sex::Male), Some(View::Pa)));
        let positive: Vec<_> = (0..14).filter(|&i| record.labels[i] == Label::Positive).collect();
        assert_eq!(positive, [1, 2]);
        assert_eq!(data.record(1).age, Some(58.0));
        assert!(data.record(1).labels.iter().all(|label| *label == Label::Negative));
        assert!(data.sample(1).is_ok());
    }

    #[test]
    fn the_official_lists_name_no_validation() {
        let rows: Vec<_> = (0..40).map(|i| format!("{i:08}_000.png,No Finding,0,{i},50,M,PA,1,1,1,1")).collect();
        let (folder, mut nih) = files(&rows.iter().map(String::as_str).collect::<Vec<_>>());
        let list = |range: std::ops::Range<u32>| range.map(|i| format!("{i:08}_000.png\n")).collect::<String>();
        let lists = NihLists { train: folder.path().join("train_val_list.txt"), test: folder.path().join("test_list.txt") };
        fs::write(&lists.train, list(0..30)).unwrap();
        fs::write(&lists.test, list(30..40)).unwrap();
        nih.lists = Some(lists.clone());
        let splits = Splits::new(&nih.read().unwrap(), &SplitPlan { valid: 0.3, ..SplitPlan::column() }).unwrap();
        assert_eq!(splits.test().data().rows().len(), 10);
        assert_eq!(splits.train().data().rows().len() + splits.valid().data().rows().len(), 30);
        // Saved by a spreadsheet, and with a name in both lists.
        fs::write(&lists.test, format!("\u{feff}{}", list(29..40).replace('\n', "\r"))).unwrap();
        let error = nih.read().unwrap_err().to_string();
        assert!(
            error.contains("test_list.txt, row 1, column `image`: found `00000029_000.png`, expected a name that is not in"),
            "{error}"
        );
    }

    #[test]
    fn faults_are_named() {
        let row = "00000001_000.png,Cardiomegaly,0,1,57,M,PA,1,1,1,1";
        let message = |bad: &str| {
            let (_folder, nih) = files(&[row, bad]);
            nih.read().unwrap_err().to_string()
        };
        let unknown = message("00000002_000.png,Cardiomegaly|Cardiomegally,0,1,57,M,PA,1,1,1,1");
        assert!(unknown.contains("table.csv, row 3, column `Finding Labels`: found `Cardiomegaly|Cardiomegally`"), "{unknown}");
        let sex = message("00000002_000.png,No Finding,0,1,57,X,PA,1,1,1,1");
        assert!(sex.contains("row 3, column `Patient Gender`: found `X`, expected M or F"), "{sex}");
    }

    #[test]
    fn boxes_are_no_labels_of_images() {
        let (folder, nih) = files(&["00000001_000.png,No Finding,1,1,57,M,PA,1,1,1,1"]);
        let rows = "00000001_000.png,Atelectasis,225.08,547.01,86.77,79.18\n00000001_000.png,Infiltrate,1.0,2.0,3.0,4.0\n";
        fs::write(&nih.table, format!("Image Index,Finding Label,Bbox [x,y,w,h],,,\n{rows}")).unwrap();
        let error = nih.read().unwrap_err().to_string();
        assert!(error.contains("table.csv: 2 boxes in 1 images") && error.contains("`Data_Entry_2017_v2020.csv`"), "{error}");
        assert!(matches!(crate::formats::guess(&nih.table), Err(AugmentError::Table(TableError::Boxes { .. }))));
        // Beside the table of labels they are no data set of their own.
        fs::rename(&nih.table, folder.path().join("BBox_List_2017.csv")).unwrap();
        fs::write(&nih.table, format!("{HEADER}\n00000001_000.png,No Finding,1,1,57,M,PA,1,1,1,1\n")).unwrap();
        let guess = crate::formats::guess(folder.path()).unwrap();
        assert_eq!((guess.format.name, guess.source.labels), ("nih", Some(nih.table.clone())));
    }

    #[test]
    fn the_first_image_of_a_patient_is_the_first_by_follow_up() {
        let (_folder, nih) =
            files(&["00000001_001.png,No Finding,1,1,58,M,PA,1,1,1,1", "00000001_000.png,Mass,0,1,57,M,PA,1,1,1,1"]);
        let data = nih.read().unwrap().with_one_per_patient().unwrap();
        assert_eq!((data.rows().len(), data.record(0).id.as_str()), (1, "00000001_000.png"));
    }

    #[test]
    fn a_missing_image_is_refused_skipped_or_kept() {
        let rows = ["00000001_000.png,No Finding,0,1,57,M,PA,1,1,1,1", "00000002_000.png,No Finding,0,1,57,M,PA,1,1,1,1"];
        let (folder, mut nih) = files(&rows);
        fs::remove_file(folder.path().join("images_002/images/00000002_000.png")).unwrap();
        let error = nih.read().unwrap_err().to_string();
        assert!(error.contains("table.csv, row 3: image `00000002_000.png` is not under"), "{error}");
        nih.missing = MissingImages::Skip;
        assert_eq!(nih.read().unwrap().rows().len(), 1);
        nih.missing = MissingImages::Keep;
        let kept = nih.read().unwrap();
        assert!(kept.sample(0).is_ok() && kept.sample(1).is_err());
    }
}
