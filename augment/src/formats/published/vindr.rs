//! VinDr-CXR (Nguyen et al., arXiv 2012.15029): Kaggle's `train.csv`, and the annotations of the release on PhysioNet.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::rows::{Gathered, beside, folder_of, lacks};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::BINARY;
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource, Readers};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Finding, Label, Split, Vocabulary};

/// The classes of boxes and the labels of images, in the order of the release's tables. Names that no public vocabulary has are findings of
/// their own: `Pulmonary fibrosis` is not taken for NIH's `Fibrosis`, nor `Nodule/Mass` for either.
const CLASSES: [&str; 27] = [
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other diseases",
];
const NO_FINDING: &str = "No finding";
/// The test table's name of the last class.
const OTHER_DISEASE: &str = "Other disease";

/// Most readers of an image. VinDr-CXR has three, and five for its test images.
const MOST_READERS: usize = 64;

/// The tables of the release: those of a kind are read together, and their names are the official split.
const KINDS: [[(&str, Split); 2]; 2] = [
    [("image_labels_train.csv", Split::Train), ("image_labels_test.csv", Split::Test)],
    [("annotations_train.csv", Split::Train), ("annotations_test.csv", Split::Test)],
];

/// Why files are those of VinDr-CXR.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let labels = |name: &String| KINDS.iter().flatten().any(|(table, _)| table == name);
    let below = seen.folders().iter().filter(|(folder, _)| folder == "annotations").flat_map(|(_, files)| files);
    if let Some(name) = seen.files().iter().chain(below).find(|name| labels(name)) {
        return Some(format!("it holds {name}"));
    }
    if seen.files().iter().any(|name| name == "train.csv") && seen.folders().iter().any(|(folder, _)| folder == "train") {
        return Some("it holds train.csv and a folder train, as Kaggle's copy of VinDr-CXR does".to_owned());
    }
    let is_boxes = seen.has_columns(&["image_id", "class_name", "x_min", "y_max"]);
    let is_labels = seen.has_columns(&["image_id", "Aortic enlargement", "Nodule/Mass"]);
    (is_boxes || is_labels).then(|| "`image_id` and the classes are columns of VinDr-CXR".to_owned())
}

/// Reads the boxes or the labels of images. What several readers say becomes one label by `data.readers`: by default a finding is there if more
/// than half of them saw it. No patient is known.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let tables = tables(&place)?;
    let folder = folder_of(&tables[0].0);
    let images = source.images.clone().unwrap_or_else(|| match folder.parent() {
        Some(root) if folder.ends_with("annotations") => root.to_owned(),
        _ => folder.clone(),
    });
    let mut rows = Gathered::new(&images, source.missing)?;
    let mut votes = Votes::default();
    for (table, split) in &tables {
        let sheet = Sheet::read_for(table, Rows::Equal, source.delimiter, source.missing)?;
        rows.sheet(&sheet, None);
        votes.add(&sheet, *split, &mut rows)?;
    }
    let rule = source.readers.unwrap_or_default();
    let (vocabulary, classes) = votes.vocabulary(&tables[0].0)?;
    let mut divided = 0;
    for image in &votes.images {
        let readers = image.readers.len();
        let label = |class: &usize| {
            let seen = image.seen.iter().filter(|(of, _)| of == class).count();
            let is_there = match rule {
                Readers::Majority => 2 * seen > readers,
                Readers::Any => seen > 0,
            };
            (if is_there { Label::Positive } else { Label::Negative }, seen > 0 && seen < readers)
        };
        let labels: Vec<_> = classes.iter().map(label).collect();
        divided += usize::from(labels.iter().any(|(_, divided)| *divided));
        let mut record = CxrRecord::real(image.id.clone(), None, labels.into_iter().map(|(label, _)| label).collect());
        record.split = image.split;
        rows.add((&tables[image.table].0, image.row), &image.id, record)?;
    }
    let path = tables[0].0.display();
    if divided > 0 {
        let rule = match rule {
            Readers::Majority => "what more than half of them saw is there (readers = \"majority\")",
            Readers::Any => "what one of them saw is there (readers = \"any\")",
        };
        rows.note([format!("{path}: readers differ on a finding of {divided} of {} images; {rule}", votes.images.len())]);
    }
    rows.note([format!("{path}: the tables name no patients; each image counts as one")]);
    rows.dataset(&tables[0].0, vocabulary)
}

/// The tables at `place`: a table with its like, or those of a folder.
fn tables(place: &Path) -> Result<Vec<(PathBuf, Option<Split>)>, AugmentError> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let there = |folder: &Path, kind: &[(&str, Split); 2]| -> Vec<_> {
        kind.iter().filter_map(|(table, split)| Some((beside(folder, table)?, Some(*split)))).collect()
    };
    if !place.is_dir() {
        let kind = KINDS.iter().find(|kind| kind.iter().any(|(table, _)| *table == name));
        return Ok(kind.map_or_else(|| vec![(place.to_owned(), None)], |kind| there(&folder_of(place), kind)));
    }
    let folders = [place.join("annotations"), place.to_owned()];
    let found =
        folders.iter().flat_map(|folder| KINDS.iter().map(move |kind| there(folder, kind))).find(|found| !found.is_empty());
    let kaggle = || Some(vec![(beside(place, "train.csv")?, None)]);
    let expected = "image_labels_train.csv and image_labels_test.csv in `annotations`, or Kaggle's train.csv";
    found.or_else(kaggle).ok_or_else(|| lacks(place, "train.csv", expected))
}

/// What the readers of an image said.
struct Image {
    id: String,
    split: Option<Split>,
    /// Its first row, and the table of that.
    row: u64,
    table: usize,
    readers: Vec<u32>,
    /// Classes with the readers that saw them, each pair once.
    seen: Vec<(usize, u32)>,
}

#[derive(Default)]
struct Votes {
    images: Vec<Image>,
    places: HashMap<String, usize>,
    /// Readers by name.
    readers: HashMap<String, u32>,
    /// Which classes the tables can name.
    classes: [bool; CLASSES.len()],
    tables: usize,
}

impl Votes {
    /// Adds the rows of a table of either kind.
    fn add(&mut self, sheet: &Sheet, split: Option<Split>, rows: &mut Gathered) -> Result<(), AugmentError> {
        let (image, reader) = (sheet.column("image_id")?, sheet.find("rad_id"));
        let names = |name: &String| {
            CLASSES.iter().position(|class| class == name || (*class == "Other diseases" && name == OTHER_DISEASE))
        };
        let columns: Vec<(usize, usize)> =
            sheet.columns.iter().enumerate().filter_map(|(at, name)| Some((names(name)?, at))).collect();
        // A row per box has its class in a column of that name.
        let class = if columns.is_empty() { Some(sheet.column("class_name")?) } else { None };
        columns.iter().for_each(|(class, _)| self.classes[*class] = true);
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let read = || -> Result<_, AugmentError> {
                let id =
                    sheet.parse(&line, image, ("the name of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
                let seen = match class {
                    Some(column) => {
                        let class = |cell: &str| match names(&cell.to_owned()) {
                            Some(class) => Some(vec![class]),
                            None => (cell == NO_FINDING).then(Vec::new),
                        };
                        sheet.parse(&line, column, ("`No finding` or a class of VinDr-CXR", class))?
                    }
                    None => {
                        let mut seen = Vec::new();
                        for (class, column) in &columns {
                            if sheet.parse_optional(&line, Some(*column), BINARY)? == Some(Label::Positive) {
                                seen.push(*class);
                            }
                        }
                        seen
                    }
                };
                Ok((id, seen))
            };
            let Some((id, seen)) = rows.pass(read())? else { continue };
            let reader = reader.map_or("", |column| line.cell(column));
            let next = self.readers.len() as u32;
            let reader = *self.readers.entry(reader.to_owned()).or_insert(next);
            let place = *self.places.entry(id.clone()).or_insert(self.images.len());
            if place == self.images.len() {
                self.images.push(Image {
                    id,
                    split,
                    row: line.number,
                    table: self.tables,
                    readers: Vec::new(),
                    seen: Vec::new(),
                });
            }
            let image = &mut self.images[place];
            if image.split != split {
                let expected = "an image that is not in the other split as well";
                return Err(sheet.bad_cell(&line, sheet.column("image_id")?, expected));
            }
            if !image.readers.contains(&reader) {
                if image.readers.len() == MOST_READERS {
                    let expected = format!("an image of at most {MOST_READERS} readers");
                    return Err(sheet.bad_cell(&line, sheet.column("image_id")?, &expected));
                }
                image.readers.push(reader);
            }
            for class in seen {
                self.classes[class] = true;
                if !image.seen.contains(&(class, reader)) {
                    image.seen.push((class, reader));
                }
            }
        }
        self.tables += 1;
        Ok(())
    }

    /// The findings, and the class of each.
    fn vocabulary(&self, table: &Path) -> Result<(Vocabulary, Vec<usize>), AugmentError> {
        let classes: Vec<usize> = (0..CLASSES.len()).filter(|class| self.classes[*class]).collect();
        if classes.is_empty() {
            let found = "no row names a finding".to_owned();
            return Err(AugmentError::BadLayout { path: table.to_owned(), found, expected: "a class in some row".to_owned() });
        }
        Ok((Vocabulary::new(classes.iter().map(|class| Finding::custom(CLASSES[*class])))?, classes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::{Tree, messages};

    const KAGGLE: &str = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n\
        a0,No finding,14,R11,,,,\na0,No finding,14,R7,,,,\na0,No finding,14,R10,,,,\n\
        b1,Cardiomegaly,3,R10,691.0,1375.0,1653.0,1831.0\nb1,Cardiomegaly,3,R9,691.0,1375.0,1653.0,1831.0\n\
        b1,Cardiomegaly,3,R9,1.0,1.0,2.0,2.0\nb1,Pleural effusion,10,R8,1.0,1.0,2.0,2.0\n";

    fn kaggle() -> Tree {
        let tree = Tree::new();
        tree.write("train.csv", KAGGLE);
        tree.image("train/a0.dicom");
        tree.image("train/b1.dicom");
        tree
    }

    fn labels(data: &CxrDataset) -> Vec<(String, String)> {
        let names = |at: usize| {
            let positive =
                data.record(at).labels.iter().zip(data.vocabulary().findings()).filter(|(label, _)| **label == Label::Positive);
            positive.map(|(_, finding)| finding.name()).collect::<Vec<_>>().join("|")
        };
        (0..data.rows().len()).map(|at| (data.record(at).id.clone(), names(at))).collect()
    }

    #[test]
    fn three_readers_become_one_label_by_majority_or_any() {
        let tree = kaggle();
        for place in ["", "train.csv"] {
            let data = tree.read("vindr", place).unwrap();
            assert_eq!(labels(&data), [("a0".to_owned(), String::new()), ("b1".to_owned(), "Cardiomegaly".to_owned())]);
            assert!(data.describe(1).ends_with("train/b1.dicom") && data.rows()[1].line == 5);
            assert!(
                data.notes()[0].contains("readers differ on a finding of 1 of 2 images; what more than half"),
                "{:?}",
                data.notes()
            );
            let any = DataSource { readers: Some(Readers::Any), ..tree.source(place) };
            assert_eq!(labels(&tree.read_with("vindr", any).unwrap())[1].1, "Cardiomegaly|Effusion");
            assert_eq!(tree.guess(place), "vindr");
        }
    }

    #[test]
    fn files_may_have_been_converted() {
        for extension in ["dcm", "png", "jpg"] {
            let tree = Tree::new();
            tree.write("train.csv", KAGGLE);
            tree.image(&format!("train/a0.{extension}"));
            tree.image(&format!("train/b1.{extension}"));
            assert!(tree.read("vindr", "").unwrap().describe(0).ends_with(extension));
        }
    }

    #[test]
    fn the_release_has_a_table_of_labels_for_each_split() {
        let tree = Tree::new();
        tree.write("annotations/image_labels_train.csv", "image_id,rad_id,Aortic enlargement,Nodule/Mass,Other diseases,No finding\na0,R1,1,0,0,0\na0,R2,1,0,0,0\na0,R3,0,0,1,0\n");
        tree.write(
            "annotations/image_labels_test.csv",
            "image_id,Aortic enlargement,Nodule/Mass,Other disease,No finding\nz9,0,1,1.0,0\n",
        );
        tree.write("annotations/annotations_train.csv", KAGGLE);
        tree.image("train/a0.dicom");
        tree.image("test/z9.dicom");
        for place in ["", "annotations/image_labels_train.csv", "annotations/image_labels_test.csv"] {
            let data = tree.read("vindr", place).unwrap();
            let expected = [("a0", "Aortic enlargement"), ("z9", "Nodule/Mass|Other diseases")];
            assert_eq!(labels(&data), expected.map(|(id, names)| (id.to_owned(), names.to_owned())));
            assert_eq!([data.record(0).split, data.record(1).split], [Some(Split::Train), Some(Split::Test)]);
        }
        assert_eq!(tree.guess(""), "vindr");
        tree.write("annotations/image_labels_test.csv", "image_id,Aortic enlargement\na0,0\n");
        assert!(tree.read("vindr", "").unwrap_err().contains("image_labels_test.csv, row 2, column `image_id`: found `a0`"));
    }

    #[test]
    fn faults_are_named() {
        let tree = kaggle();
        messages(
            &tree,
            "vindr",
            "train.csv",
            &[
                (
                    "Cardiomegaly",
                    "Cardiomegally",
                    "train.csv, row 5, column `class_name`: found `Cardiomegally`, expected `No finding` or a class",
                ),
                ("a0,No", ",No", "row 2, column `image_id`"),
                ("a0,No", "c7,No", "train.csv, row 2: image `c7` is not under"),
                ("class_name", "class", "no column `class_name`"),
            ],
        );
        tree.write("train.csv", "image_id,class_name\na0,No finding\n");
        assert!(tree.read("vindr", "").unwrap_err().contains("no row names a finding"));
        let source = DataSource { readers: Some(Readers::Any), ..DataSource::default() };
        assert!(
            tree.read_with("nih", source)
                .unwrap_err()
                .contains("data.readers is present; write nothing: `nih` has no use for it")
        );
    }
}
