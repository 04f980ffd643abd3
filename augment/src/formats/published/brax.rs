//! BRAX (Reis et al., Scientific Data 2022): Brazilian radiographs with the labels of CheXpert.
//!
//! Columns as its description on PhysioNet names them, and as torchxrayvision 1.5.7 reads them (`BRAX_Dataset`).

use super::rows::{ANY_SEX, Gathered, Views, finding_columns, folder_of, table_at};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{AGE, Cell, LABEL};
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Vocabulary};

/// Of the release's two tables, the corrected one first.
const TABLES: [&str; 2] = ["master_spreadsheet_update.csv", "master_spreadsheet.csv"];

/// Ages are given in groups of five years; the oldest group is open.
const AGE_GROUP: Cell<f32> = ("an age in years, or 85 or more", |cell| match cell.to_ascii_lowercase().as_str() {
    "85 or more" => Some(85.0),
    other => AGE.1(other),
});
const SIDE: Cell<f64> = ("a number of pixels", |cell| cell.parse().ok().filter(|side| *side > 0.0));

/// Images that are more than so many times longer than wide are strips: 12 of the release (19 to 213 times), and no radiograph is above 9.
const MOST_ASPECT: f64 = 10.0;

/// Why files are those of BRAX.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let table = seen.files().iter().find(|name| TABLES.contains(&name.strip_suffix(".gz").unwrap_or(name)));
    let columns = seen.has_columns(&["PngPath", "PatientID", "ViewPosition", "No Finding"]);
    table
        .map(|name| format!("it holds {name}"))
        .or_else(|| columns.then(|| "`PngPath` and `ViewPosition` are columns of BRAX".to_owned()))
}

/// Reads the table. Its dates are made up, so the first image of a patient is that of the first row. Strips are left out and counted.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let table = table_at(registry::labels(source)?, &TABLES, "the table of BRAX")?;
    let folder = folder_of(&table);
    let sheet = Sheet::read_for(&table, Rows::Equal, source.delimiter, source.missing)?;
    let columns = Columns::of(&sheet)?;
    let images = source.images.clone().unwrap_or(folder);
    let (mut rows, mut views, mut strips) = (Gathered::new(&images, source.missing)?, Views::default(), 0);
    rows.sheet(&sheet, Some(columns.patient));
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let read = columns.is_strip(&sheet, &line).and_then(|strip| Ok((strip, columns.record(&sheet, &line, &mut views)?)));
        match rows.pass(read)? {
            None => {}
            Some((true, _)) => strips += 1,
            Some((false, record)) => {
                let name = record.id.clone();
                rows.add((&sheet.path, line.number), &name, record)?;
            }
        }
    }
    let path = table.display();
    rows.note(
        (strips > 0).then(|| format!("{path}: {strips} images are strips of more than {MOST_ASPECT} to 1 and are left out")),
    );
    rows.note(views.note(&table));
    rows.dataset(&table, Vocabulary::chexpert())
}

struct Columns {
    image: usize,
    patient: usize,
    labels: Vec<usize>,
    age: Option<usize>,
    sex: Option<usize>,
    view: usize,
    sides: [Option<usize>; 2],
}

impl Columns {
    fn of(sheet: &Sheet) -> Result<Self, AugmentError> {
        Ok(Self {
            image: sheet.column("PngPath")?,
            patient: sheet.column("PatientID")?,
            labels: finding_columns(sheet, &Vocabulary::chexpert())?,
            age: sheet.find("PatientAge"),
            sex: sheet.find("PatientSex"),
            view: sheet.column("ViewPosition")?,
            sides: ["Rows", "Columns"].map(|name| sheet.find(name)),
        })
    }

    fn is_strip(&self, sheet: &Sheet, line: &Line) -> Result<bool, AugmentError> {
        let [height, width] = self.sides.map(|column| sheet.parse_optional(line, column, SIDE));
        let (Some(height), Some(width)) = (height?, width?) else { return Ok(false) };
        Ok(height.max(width) / height.min(width) > MOST_ASPECT)
    }

    fn record(&self, sheet: &Sheet, line: &Line, views: &mut Views) -> Result<CxrRecord, AugmentError> {
        let id = sheet.parse(line, self.image, ("the path of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
        let labels = self.labels.iter().map(|column| sheet.label(line, *column, LABEL)).collect::<Result<_, _>>()?;
        let mut record = CxrRecord::real(id, sheet.patient(line, Some(self.patient))?, labels);
        record.age = sheet.parse_optional(line, self.age, AGE_GROUP)?;
        record.sex = sheet.parse_optional(line, self.sex, ANY_SEX)?.flatten();
        record.view = views.read(line.cell(self.view));
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::{Tree, messages};
    use crate::record::{CHEXPERT_14, Label, Sex, View};

    const IMAGES: [&str; 4] = [
        "images/id_1/Study_1/Series_1/image-1.png",
        "images/id_1/Study_2/Series_1/image-2.png",
        "images/id_2/Study_3/Series_1/image-3.png",
        "images/id_3/Study_4/Series_1/image-4.png",
    ];

    fn tree() -> Tree {
        let tree = Tree::new();
        let blanks = ",".repeat(12);
        let mut table = format!(
            ",DicomPath,PngPath,PatientID,PatientSex,PatientAge,AccessionNumber,StudyDate,{},ViewPosition,Rows,Columns,Manufacturer\n",
            CHEXPERT_14.join(",").replace("Effusion", "Pleural Effusion")
        );
        let rows = [
            ("1", "M", "65", "20200102", "RL", "2500,2048"),
            ("1", "M", "65", "20190102", "PA", "2500,2048"),
            ("2", "O", "85 or more", "20200101", "RLO", "2500,2048"),
            ("3", "F", "40", "20200101", "", "8000,100"),
        ];
        for (at, (patient, sex, age, date, view, sides)) in rows.iter().enumerate() {
            table += &format!(
                "{at},Anonymized_DICOMs/x{at}.dcm,{},{patient},{sex},{age},7,{date},1.0,-1.0{blanks},{view},{sides},2\n",
                IMAGES[at]
            );
            tree.image(IMAGES[at]);
        }
        tree.write(TABLES[0], &table);
        tree
    }

    #[test]
    fn the_table_is_read_and_strips_are_left_out() {
        let tree = tree();
        for place in ["", TABLES[0]] {
            let data = tree.read("brax", place).unwrap();
            assert_eq!(data.rows().len(), 3);
            assert_eq!(&data.record(0).labels[..3], [Label::Positive, Label::Uncertain, Label::Missing]);
            let of = |at: usize| (data.record(at).sex, data.record(at).age, data.record(at).view);
            assert_eq!(of(0), (Some(Sex::Male), Some(65.0), Some(View::Lateral)));
            assert_eq!(of(2), (None, Some(85.0), None));
            let notes = data.notes().join("\n");
            assert!(notes.contains("1 images are strips") && notes.contains("unknown: 1 `RLO`"), "{notes}");
            // Dates are made up: the first row is the first image.
            assert_eq!(data.with_one_per_patient().unwrap().record(0).id, IMAGES[0]);
            assert_eq!(tree.guess(place), "brax");
        }
        // As torchxrayvision is told the folder.
        let source = DataSource { images: Some(tree.path("images")), ..tree.source("") };
        assert!(tree.read_with("brax", source).unwrap().sample(2).is_ok());
    }

    #[test]
    fn faults_are_named() {
        messages(
            &tree(),
            "brax",
            TABLES[0],
            &[
                (
                    "85 or more",
                    "old",
                    "update.csv, row 4, column `PatientAge`: found `old`, expected an age in years, or 85 or more",
                ),
                (",1.0,-1.0,", ",1.0,2,", "row 2, column `Enlarged Cardiomediastinum`: found `2`"),
                ("RL,2500", "RL,x", "row 2, column `Rows`: found `x`, expected a number of pixels"),
                ("PngPath", "Path", "no column `PngPath`"),
            ],
        );
    }
}
