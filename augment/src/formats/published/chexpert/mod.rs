//! CheXpert (Irvin et al., arXiv 1901.07031) as published, small or full, and the texts of CheXpert Plus.

mod paths;
pub(in crate::formats) mod plus;

use self::paths::Paths;
use super::rows::{ANY_SEX, Gathered, Views, beside, finding_columns, folder_of, lacks};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{AGE, FRONTAL_LATERAL, LABEL};
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Split, Vocabulary};

/// The tables of one folder, with the splits that they are.
const TABLES: [(&str, Split); 3] = [("train.csv", Split::Train), ("valid.csv", Split::Valid), ("test.csv", Split::Test)];

/// Why files are those of CheXpert.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let has = |name: &str| seen.files().iter().any(|file| file.strip_suffix(".gz").unwrap_or(file) == name);
    if has("train.csv") && has("valid.csv") {
        return Some("it holds train.csv and valid.csv, as CheXpert does".to_owned());
    }
    let columns = seen.has_columns(&["Path", "Frontal/Lateral", "AP/PA", "No Finding", "Support Devices"]);
    columns.then(|| "`Path`, `Frontal/Lateral` and `AP/PA` are columns of CheXpert".to_owned())
}

/// Reads `train.csv` and, where they lie beside it, `valid.csv` and `test.csv`, which are the official splits. A table of another name is
/// read alone. Blank labels stay blank and uncertain ones uncertain; patients are the folders of the paths.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let folder = folder_of(&place);
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_published = |(table, _): &(&str, Split)| name.strip_suffix(".gz").unwrap_or(&name) == *table;
    let tables: Vec<_> = match place.is_dir() || TABLES.iter().any(is_published) {
        false => vec![(place.clone(), None)],
        true => TABLES.iter().filter_map(|(table, split)| Some((beside(&folder, table)?, Some(*split)))).collect(),
    };
    if tables.is_empty() {
        return Err(lacks(&folder, "train.csv", "CheXpert's train.csv, with valid.csv beside it"));
    }
    let images = source.images.clone().unwrap_or_else(|| folder.clone());
    let (mut rows, mut views) = (Gathered::new(&images, source.missing)?, Views::default());
    for (table, split) in &tables {
        let sheet = Sheet::read_for(table, Rows::Equal, source.delimiter, source.missing)?;
        let columns = Columns::of(&sheet)?;
        rows.sheet(&sheet, None);
        let paths = Paths::under(&images);
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let Some(record) = rows.pass(columns.record(&sheet, &line, *split, &mut views))? else { continue };
            let name = paths.name(&record.id).to_owned();
            rows.add((&sheet.path, line.number), &name, record)?;
        }
    }
    let table = if place.is_dir() { &tables[0].0 } else { &place };
    rows.note(views.note(table));
    rows.dataset(table, Vocabulary::chexpert())
}

struct Columns {
    path: usize,
    labels: Vec<usize>,
    age: Option<usize>,
    sex: Option<usize>,
    view: Option<usize>,
    frontal: Option<usize>,
}

impl Columns {
    /// The official tables of labels of the test set have paths and labels alone.
    fn of(sheet: &Sheet) -> Result<Self, AugmentError> {
        Ok(Self {
            path: sheet.column("Path")?,
            labels: finding_columns(sheet, &Vocabulary::chexpert())?,
            age: sheet.find("Age"),
            sex: sheet.find("Sex"),
            view: sheet.find("AP/PA"),
            frontal: sheet.find("Frontal/Lateral"),
        })
    }

    fn record(&self, sheet: &Sheet, line: &Line, split: Option<Split>, views: &mut Views) -> Result<CxrRecord, AugmentError> {
        let patient = |path: &str| Some((path.to_owned(), paths::patient(path)?));
        let expected = "a path with a folder such as patient00001";
        let (id, patient) = sheet.parse(line, self.path, (expected, patient))?;
        let labels = self.labels.iter().map(|column| sheet.label(line, *column, LABEL)).collect::<Result<_, _>>()?;
        let mut record = CxrRecord::real(id, Some(patient), labels);
        record.age = sheet.parse_optional(line, self.age, AGE)?;
        record.sex = sheet.parse_optional(line, self.sex, ANY_SEX)?.flatten();
        let lateral = sheet.parse_optional(line, self.frontal, FRONTAL_LATERAL)?.flatten();
        record.view = lateral.or_else(|| views.read(self.view.map_or("", |column| line.cell(column))));
        record.split = split;
        Ok(record)
    }
}

#[cfg(test)]
pub(super) const HEADER: &str = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,\
                      Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::{SplitPlan, Splits};
    use crate::formats::published::testing::{Tree, messages};
    use crate::record::{Label, Sex, View};

    const VIEWS: [&str; 4] = [
        "train/patient00001/study1/view1_frontal.jpg",
        "train/patient00002/study2/view1_frontal.jpg",
        "train/patient00002/study1/view2_lateral.jpg",
        "valid/patient64541/study1/view1_frontal.jpg",
    ];

    /// The published layout in `root`, with the images where `place` puts them.
    fn tree(root: &str, place: impl Fn(&str) -> String) -> Tree {
        let tree = Tree::new();
        let path = |at: usize| format!("{root}/{}", VIEWS[at]);
        let train = format!(
            "{HEADER}\n{},Female,68,Frontal,AP,1.0,,,,,,,,,0.0,,,,1.0\n{},Unknown,0,Frontal,PA,,,-1.0,1.0,,-1.0,,,,,1.0,,,\n{},Male,87,Lateral,,,,,,,,,,,,,,,\n",
            path(0),
            path(1),
            path(2)
        );
        tree.write(&format!("{root}/train.csv"), &train);
        tree.write(
            &format!("{root}/valid.csv"),
            &format!("{HEADER}\n{},Male,73,Frontal,AP,0.0,1.0,1.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\n", path(3)),
        );
        for view in VIEWS {
            tree.image(&format!("{root}/{}", place(view)));
        }
        tree
    }

    #[test]
    fn both_layouts_and_the_official_split_are_read() {
        let batches = |view: &str| {
            view.replace("train/", "CheXpert-v1.0 batch 2 (train 1)/")
                .replace("valid/", "CheXpert-v1.0 batch 1 (validate & csv)/")
        };
        for (root, tree) in [
            ("CheXpert-v1.0-small", tree("CheXpert-v1.0-small", str::to_owned)),
            ("CheXpert-v1.0", tree("CheXpert-v1.0", str::to_owned)),
            // The full set comes in parts.
            ("CheXpert-v1.0", tree("CheXpert-v1.0", batches)),
        ] {
            for labels in [root.to_owned(), format!("{root}/train.csv"), format!("{root}/valid.csv")] {
                let data = tree.read("chexpert", &labels).unwrap();
                assert_eq!(data.rows().len(), 4, "{labels}");
                let record = data.record(1);
                assert_eq!((record.sex, record.view, record.age), (None, Some(View::Pa), Some(0.0)));
                assert_eq!(record.id, format!("{root}/{}", VIEWS[1]));
                let label = |name: &str| {
                    record.labels[data.vocabulary().position(crate::record::Finding::parse(name).unwrap()).unwrap()]
                };
                assert_eq!(
                    [label("Cardiomegaly"), label("Edema"), label("Pleural Effusion"), label("No Finding")],
                    [Label::Uncertain, Label::Uncertain, Label::Positive, Label::Missing]
                );
                assert_eq!((data.record(2).view, data.record(2).sex), (Some(View::Lateral), Some(Sex::Male)));
                assert_eq!(data.record(3).patient_id.as_ref().unwrap().as_str(), "patient64541");
                let splits = Splits::new(&data, &SplitPlan { test: 0.5, ..SplitPlan::column() });
                assert_eq!(data.record(3).split, Some(Split::Valid), "{splits:?}");
                assert!(data.sample(3).is_ok());
            }
        }
        // Images elsewhere, in a folder of another name.
        let small = tree("CheXpert-v1.0-small", str::to_owned);
        std::fs::rename(small.path("CheXpert-v1.0-small/train"), small.path("train")).unwrap();
        std::fs::rename(small.path("CheXpert-v1.0-small/valid"), small.path("valid")).unwrap();
        let mut source = small.source("CheXpert-v1.0-small");
        source.images = Some(small.path(""));
        assert_eq!(small.read_with("chexpert", source).unwrap().rows().len(), 4);
    }

    #[test]
    fn a_table_of_another_name_is_read_alone() {
        let tree = tree("CheXpert-v1.0-small", str::to_owned);
        fs::rename(tree.path("CheXpert-v1.0-small/valid.csv"), tree.path("CheXpert-v1.0-small/mine.csv")).unwrap();
        let data = tree.read("chexpert", "CheXpert-v1.0-small/mine.csv").unwrap();
        assert_eq!((data.rows().len(), data.record(0).split), (1, None));
    }

    #[test]
    fn files_are_recognised() {
        let tree = tree("CheXpert-v1.0-small", str::to_owned);
        for place in ["CheXpert-v1.0-small", "CheXpert-v1.0-small/train.csv"] {
            assert_eq!(tree.guess(place), "chexpert");
        }
    }

    #[test]
    fn faults_are_named() {
        let tree = tree("CheXpert-v1.0-small", str::to_owned);
        messages(
            &tree,
            "chexpert",
            "CheXpert-v1.0-small/train.csv",
            &[
                (
                    ",-1.0,1.0,,-1.0",
                    ",-1.0,7,,-1.0",
                    "train.csv, row 3, column `Lung Opacity`: found `7`, expected 1, 0, -1 (uncertain) or blank",
                ),
                ("Unknown", "X", "row 3, column `Sex`: found `X`, expected M, F, O or Unknown"),
                ("Frontal,PA", "Oblique,PA", "row 3, column `Frontal/Lateral`: found `Oblique`"),
                ("train/patient00001/", "train/somebody/", "row 2, column `Path`"),
                ("view1_frontal.jpg,Female", "view9_frontal.jpg,Female", "row 2: image `"),
                ("Pleural Effusion", "Fluid", "no column `Effusion`"),
            ],
        );
    }
}
