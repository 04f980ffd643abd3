//! Four findings in images of NIH ChestX-ray14 as radiologists of Google's study labelled them (Majkowska et al., Radiology 2020).

use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{AGE, Cell, ORDER, SEX, SPLIT};
use crate::formats::guess::Sighting;
use crate::formats::published::rows::{Gathered, Views, folder_of};
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Finding, Label, Vocabulary};

/// The columns of labels. The first is an alias of `Lung Opacity`; the last joins two findings, so it is neither of them.
const LABELS: [&str; 4] = ["Airspace opacity", "Fracture", "Pneumothorax", "Nodule or mass"];

const YES_NO: Cell<Label> = ("YES or NO", |cell| match cell.to_ascii_uppercase().as_str() {
    "YES" => Some(Label::Positive),
    "NO" => Some(Label::Negative),
    _ => None,
});

/// Why a table is that of the labels.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    seen.has_columns(&["Image Index", "Airspace opacity", "Nodule or mass"])
        .then(|| "`Airspace opacity` and `Nodule or mass` are columns of Google's labels of NIH's images".to_owned())
}

/// Reads the labels; the images are those of NIH. `Set Id` is the split, which has no training images: these labels are there to judge by.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let table = registry::labels(source)?;
    let sheet = Sheet::read_for(&table, Rows::Ragged, source.delimiter, source.missing)?;
    let columns = Columns::of(&sheet)?;
    let images = source.images.clone().unwrap_or_else(|| folder_of(&table));
    let (mut rows, mut views) = (Gathered::new(&images, source.missing)?, Views::default());
    rows.sheet(&sheet, Some(columns.patient));
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let Some(record) = rows.pass(columns.record(&sheet, &line, &mut views))? else { continue };
        let name = record.id.clone();
        rows.add((&sheet.path, line.number), &name, record)?;
    }
    rows.note(views.note(&table));
    rows.dataset(&table, Vocabulary::new(LABELS.map(Finding::custom))?)
}

struct Columns {
    image: usize,
    patient: usize,
    labels: [usize; 4],
    age: Option<usize>,
    sex: Option<usize>,
    view: Option<usize>,
    follow_up: Option<usize>,
    set: Option<usize>,
}

impl Columns {
    fn of(sheet: &Sheet) -> Result<Self, AugmentError> {
        let [a, b, c, d] = LABELS.map(|name| sheet.column(name));
        Ok(Self {
            image: sheet.column("Image Index")?,
            patient: sheet.column("Patient ID")?,
            labels: [a?, b?, c?, d?],
            age: sheet.find("Patient Age"),
            sex: sheet.find("Patient Gender"),
            view: sheet.find("View Position"),
            follow_up: sheet.find("Follow-up #"),
            set: sheet.find("Set Id"),
        })
    }

    fn record(&self, sheet: &Sheet, line: &Line, views: &mut Views) -> Result<CxrRecord, AugmentError> {
        let id = sheet.parse(line, self.image, ("an image name", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
        let labels = self.labels.iter().map(|column| sheet.parse(line, *column, YES_NO)).collect::<Result<_, _>>()?;
        let mut record = CxrRecord::real(id, sheet.patient(line, Some(self.patient))?, labels);
        record.age = sheet.parse_optional(line, self.age, AGE)?;
        record.sex = sheet.parse_optional(line, self.sex, SEX)?;
        record.view = views.read(self.view.map_or("", |column| line.cell(column)));
        record.split = sheet.parse_optional(line, self.set, SPLIT)?;
        record.details.order = sheet.parse_optional(line, self.follow_up, ORDER)?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::{Tree, messages};
    use crate::record::{Sex, Split, View};

    const TABLE: &str = "google2019_nih-chest-xray-labels.csv";

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.write(
            TABLE,
            "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],\
             OriginalImagePixelSpacing[x,y],Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id\n\
             00000013_008.png,No Finding,8,13,60,M,AP,3056,2544,0.139,0.139,NO,NO,YES,NO,test\n\
             00000032_002.png,No Finding,2,32,55,F,PA,2500,2048,0.168,0.168,NO,YES,NO,YES,validation\n",
        );
        tree.image("images_001/images/00000013_008.png");
        tree.image("images_002/images/00000032_002.png");
        tree
    }

    #[test]
    fn yes_and_no_are_read_over_nihs_own_labels() {
        let tree = tree();
        let data = tree.read("nih-google", TABLE).unwrap();
        let names: Vec<_> = data.vocabulary().findings().iter().map(|finding| finding.name()).collect();
        assert_eq!(names, ["Lung Opacity", "Fracture", "Pneumothorax", "Nodule or mass"]);
        use Label::{Negative, Positive};
        assert_eq!(data.record(0).labels, [Positive, Negative, Negative, Negative]);
        assert_eq!(data.record(1).labels, [Negative, Negative, Positive, Positive]);
        let record = data.record(1);
        assert_eq!((record.split, record.sex, record.view), (Some(Split::Valid), Some(Sex::Female), Some(View::Pa)));
        // Its columns are NIH's as well.
        assert_eq!(tree.guess(TABLE), "nih-google");
        assert_eq!(tree.read("nih", TABLE).unwrap().vocabulary().len(), 14);
    }

    #[test]
    fn faults_are_named() {
        messages(
            &tree(),
            "nih-google",
            TABLE,
            &[
                (
                    "NO,NO,YES,NO,test",
                    "NO,NO,MAYBE,NO,test",
                    "labels.csv, row 2, column `Airspace opacity`: found `MAYBE`, expected YES or NO",
                ),
                ("NO,NO,YES,NO,test", ",NO,YES,NO,test", "row 2, column `Fracture`: found ``, expected YES or NO"),
                ("validation", "dev", "row 3, column `Set Id`: found `dev`"),
                ("Nodule or mass,", "Nodule,", "no column `Nodule or mass`"),
            ],
        );
    }
}
