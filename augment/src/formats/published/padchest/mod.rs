//! PadChest (Bustos et al., Medical Image Analysis 2020).

mod labels;
mod unreadable;

use self::unreadable::UNREADABLE;
use super::rows::{ANY_SEX, Gathered, Views, ending, folder_of, lacks};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{Cell, ORDER};
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::CxrRecord;

/// The end of the table's name, which has its date before it.
const TABLE: &str = "images_labels_160K_01.02.19.csv";

const LIST: Cell<Vec<String>> = ("a list as Python writes it, such as ['normal']", labels::parse);
/// A year, which pandas may have made `1930.0`.
const YEAR: Cell<f32> = ("a year such as 1930", |cell| cell.parse().ok().filter(|year| (1800.0..2200.0).contains(year)));

/// Why files are those of PadChest.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let name = seen.files().iter().find(|name| name.strip_suffix(".gz").unwrap_or(name).ends_with(TABLE));
    let columns = seen.has_columns(&["ImageID", "Projection", "Labels", "PatientBirth"]);
    name.map(|name| format!("it holds {name}"))
        .or_else(|| columns.then(|| "`ImageID`, `Projection` and `Labels` are columns of PadChest".to_owned()))
}

/// What is left out or read with care, and how often.
#[derive(Default)]
struct Counts {
    unreadable: usize,
    without_labels: usize,
    incomplete: usize,
}

/// Reads the table; its labels are torchxrayvision's 28 findings of it, see `labels.rs`. Images without labels and those that can't be decoded are
/// left out and counted. `data.report` may name the column `Report`, whose Spanish words are cut to their stems.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let folder = folder_of(&place);
    let table = match place.is_dir() {
        false => place,
        true => {
            let name = format!("PADCHEST_chest_x_ray_{TABLE}");
            ending(&folder, TABLE)?.ok_or_else(|| lacks(&folder, &name, "the table of PadChest"))?
        }
    };
    let sheet = Sheet::read_for(&table, Rows::Equal, source.delimiter, source.missing)?;
    let columns = Columns::of(&sheet, source.report.as_deref())?;
    let images = source.images.clone().unwrap_or(folder);
    let mut rows = Gathered::new(&images, source.missing)?;
    rows.sheet(&sheet, Some(columns.patient));
    let (mut views, mut counts) = (Views::default(), Counts::default());
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let Some(Some(record)) = rows.pass(columns.record(&sheet, &line, &mut views, &mut counts))? else { continue };
        let name = record.id.clone();
        rows.add((&sheet.path, line.number), &name, record)?;
    }
    let path = table.display();
    let Counts { unreadable, without_labels, incomplete } = counts;
    rows.note([
        (without_labels > 0).then(|| format!("{path}: {without_labels} images have no labels and are left out")),
        (unreadable > 0).then(|| format!("{path}: {unreadable} images whose files are known to be damaged are left out")),
        (incomplete > 0).then(|| {
            format!("{path}: the labels of {incomplete} images have `unchanged`, `exclude` or `suboptimal study`; what these do not name is unknown")
        }),
        views.note(&table),
    ].into_iter().flatten());
    rows.dataset(&table, labels::vocabulary())
}

struct Columns {
    image: usize,
    patient: usize,
    labels: usize,
    birth: Option<usize>,
    date: Option<usize>,
    sex: Option<usize>,
    projection: usize,
    report: Option<usize>,
}

impl Columns {
    fn of(sheet: &Sheet, report: Option<&str>) -> Result<Self, AugmentError> {
        Ok(Self {
            image: sheet.column("ImageID")?,
            patient: sheet.column("PatientID")?,
            labels: sheet.column("Labels")?,
            birth: sheet.find("PatientBirth"),
            date: sheet.find("StudyDate_DICOM"),
            sex: sheet.find("PatientSex_DICOM"),
            projection: sheet.column("Projection")?,
            report: report.map(|name| sheet.column(name)).transpose()?,
        })
    }

    /// `None` for an image that is left out.
    fn record(
        &self,
        sheet: &Sheet,
        line: &Line,
        views: &mut Views,
        counts: &mut Counts,
    ) -> Result<Option<CxrRecord>, AugmentError> {
        let id = sheet.parse(line, self.image, ("the name of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
        if UNREADABLE.contains(&id.as_str()) {
            counts.unreadable += 1;
            return Ok(None);
        }
        let Some(names) = sheet.parse_optional(line, Some(self.labels), LIST)? else {
            counts.without_labels += 1;
            return Ok(None);
        };
        let (labels, is_incomplete) = labels::labels(&names);
        let mut record = CxrRecord::real(id, sheet.patient(line, Some(self.patient))?, labels);
        let date = sheet.parse_optional(line, self.date, ORDER)?;
        let birth = sheet.parse_optional(line, self.birth, YEAR)?;
        let year = date.map(|date| (date / 10_000.0).floor() as f32);
        // A year of birth after that of the study is none.
        record.age = year.zip(birth).map(|(year, birth)| year - birth).filter(|age| (0.0..130.0).contains(age));
        record.sex = sheet.parse_optional(line, self.sex, ANY_SEX)?.flatten();
        record.view = views.read(line.cell(self.projection));
        record.report = self.report.map(|column| line.cell(column)).filter(|text| !text.is_empty()).map(str::to_owned);
        record.details.order = date;
        counts.incomplete += usize::from(is_incomplete);
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::{Tree, messages};
    use crate::record::{Finding, Label, Sex, View};

    const NAME: &str = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv";
    const ROWS: [[&str; 9]; 7] = [
        [
            "20536686640136348236148679891455886468_k6ga29.png",
            "0",
            "20140915",
            "839860488694292331637988235681460987",
            "1930.0",
            "F",
            "PA",
            "['normal']",
            " sin hallazg .",
        ],
        [
            "135803415504923515076821959678074435083_fzis7d.png",
            "0",
            "20150914",
            "313572750430997347502932654319389875966",
            "1929.0",
            "M",
            "L",
            "\"['pulmonary fibrosis', ' kyphosis']\"",
            "",
        ],
        [
            "135803415504923515076821959678074435083_fzis7b.png",
            "54",
            "20130914",
            "313572750430997347502932654319389875966",
            "1929.0",
            "O",
            "AP_horizontal",
            "\"['unchanged', 'cardiomegaly']\"",
            "",
        ],
        ["x_costal.png", "1", "20130914", "7", "", "", "COSTAL", "[]", ""],
        ["x_blank.png", "1", "20130914", "8", "1950.0", "M", "PA", "", ""],
        [UNREADABLE[0], "1", "20130914", "9", "1950.0", "M", "PA", "['normal']", ""],
        ["x_none.png", "1", "20130914", "10", "2017.0", "None", "EXCLUDE", "nan", ""],
    ];

    fn tree() -> Tree {
        let tree = Tree::new();
        let mut table =
            ",ImageID,ImageDir,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels,Report\n".to_owned();
        for (at, row) in ROWS.iter().enumerate() {
            table += &format!("{at},{}\n", row.join(","));
            if at < 4 {
                let path = tree.path(&format!("{}/{}", row[1], row[0]));
                tree.image(&format!("{}/{}", row[1], row[0]));
                image::ImageBuffer::<image::Luma<u16>, _>::from_raw(1, 1, vec![65_535u16]).unwrap().save(path).unwrap();
            }
        }
        tree.write(NAME, &table);
        tree
    }

    #[test]
    fn lists_projections_and_ages_are_read() {
        let tree = tree();
        for place in ["", NAME] {
            let data = tree.read("padchest", place).unwrap();
            assert_eq!(data.rows().len(), 4);
            let of = |at: usize| (data.record(at).age, data.record(at).sex, data.record(at).view);
            assert_eq!(of(0), (Some(84.0), Some(Sex::Female), Some(View::Pa)));
            assert_eq!(of(1), (Some(86.0), Some(Sex::Male), Some(View::Lateral)));
            assert_eq!(of(2), (Some(84.0), None, Some(View::Ap)));
            assert_eq!(of(3), (None, None, None));
            let label = |at: usize, name: &str| {
                data.record(at).labels[data.vocabulary().position(Finding::parse(name).unwrap()).unwrap()]
            };
            assert_eq!(
                [label(1, "Fibrosis"), label(1, "Mass"), label(2, "Cardiomegaly"), label(2, "Mass")],
                [Label::Positive, Label::Negative, Label::Positive, Label::Missing]
            );
            let notes = data.notes().join("\n");
            for said in [
                "2 images have no labels",
                "1 images whose files are known to be damaged",
                "the labels of 1 images have `unchanged`",
                "1 `COSTAL`",
            ] {
                assert!(notes.contains(said), "{notes}");
            }
            assert_eq!(data.decode(2).unwrap(), crate::image::GrayImage::from_u16(1, 1, vec![65_535u16]));
            assert!(data.record(0).report.is_none());
            let first = data.with_one_per_patient().unwrap();
            assert_eq!(first.rows().iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4, 5]);
            assert_eq!(tree.guess(place), "padchest");
        }
        let source = DataSource { report: Some("Report".to_owned()), ..tree.source("") };
        assert_eq!(tree.read_with("padchest", source).unwrap().record(0).report.as_deref(), Some("sin hallazg ."));
    }

    #[test]
    fn faults_are_named() {
        messages(
            &tree(),
            "padchest",
            NAME,
            &[
                (
                    "['normal']",
                    "normal",
                    "01.02.19.csv, row 2, column `Labels`: found `normal`, expected a list as Python writes it",
                ),
                ("1930.0", "30", "row 2, column `PatientBirth`: found `30`, expected a year such as 1930"),
                ("20140915", "September", "row 2, column `StudyDate_DICOM`: found `September`"),
                ("_k6ga29.png", "_k6ga30.png", "row 2: image `20536686640136348236148679891455886468_k6ga30.png` is not under"),
                (
                    "313572750430997347502932654319389875966",
                    "3.1357275043E+38",
                    "row 3, column `PatientID`: found `3.1357275043E+38`",
                ),
                ("Projection", "View", "no column `Projection`"),
            ],
        );
    }
}
