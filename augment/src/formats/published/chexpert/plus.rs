//! CheXpert Plus (Chambon et al., arXiv 2405.19538): the reports of CheXpert's images, with more about their patients.
//!
//! Columns as `rajpurkarlab`'s and others' readers of `df_chexpert_plus_240401.csv` name them; its labels are those of CheXpert's own tables or
//! of the files in `chexbert_labels`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::paths::{self, Paths, without_release};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::TableError;
use crate::formats::cells::{AGE, FRONTAL_LATERAL, LABEL, ORDER, SPLIT};
use crate::formats::guess::Sighting;
use crate::formats::published::rows::{ANY_SEX, Gathered, Views, beside, finding_columns, folder_of, lacks};
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CHEXPERT_14, CxrRecord, Finding, Label, Vocabulary};

const TABLE: &str = "df_chexpert_plus_240401.csv";
/// Sections that are a report, the one that is taken first first.
const SECTIONS: [&str; 2] = ["section_impression", "section_findings"];
/// Where labels may be: CheXpert's tables, and the labels of the impressions that the release adds. Those of whole reports name what was there
/// before, and those of the findings are hardly more than `No Finding`.
const LABELS: [&str; 4] = ["train.csv", "valid.csv", "chexbert_labels/impression_fixed.json", "impression_fixed.json"];
/// Most bytes of a line of labels.
const MAX_LINE: u64 = 1 << 20;

type Labels = [Label; CHEXPERT_14.len()];

/// Why files are those of CheXpert Plus.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let table = seen.files().iter().find(|name| name.starts_with("df_chexpert_plus"));
    let columns = seen.has_columns(&["path_to_image", "section_impression"]);
    table
        .map(|name| format!("it holds {name}"))
        .or_else(|| columns.then(|| "`path_to_image` and `section_impression` are columns of CheXpert Plus".to_owned()))
}

/// Reads the table of texts, with the labels beside it. `data.report` names another column than the impression (or, where there is none, the
/// findings).
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let folder = folder_of(&place);
    let table = match place.is_dir() {
        true => beside(&folder, TABLE).ok_or_else(|| lacks(&folder, TABLE, "the table of texts of CheXpert Plus"))?,
        false => place,
    };
    let images = source.images.clone().unwrap_or_else(|| folder.clone());
    let sheet = |path: &Path| Sheet::read_for(path, Rows::Equal, source.delimiter, source.missing);
    let (labels, found) = labels(&folder, &sheet)?;
    let sheet = sheet(&table)?;
    let columns = Columns::of(&sheet, source.report.as_deref())?;
    let (mut rows, mut views) = (Gathered::new(&images, source.missing)?, Views::default());
    rows.sheet(&sheet, columns.patient);
    let paths = Paths::under(&images);
    let mut unlabelled = 0;
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let Some(record) = rows.pass(columns.record(&sheet, &line, &labels, &mut views))? else { continue };
        unlabelled += usize::from(!labels.contains_key(without_release(&record.id)));
        let name = paths.name(&record.id).to_owned();
        rows.add((&sheet.path, line.number), &name, record)?;
    }
    rows.note([match &found[..] {
        [] => format!("{}: there are no labels beside it ({}), so all are unknown", table.display(), LABELS.join(", ")),
        found => {
            let found = found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ");
            format!(
                "labels are those of {found}; {unlabelled} of {} images have none there, and theirs are unknown",
                rows.len()
            )
        }
    }]);
    rows.note(views.note(&table));
    rows.dataset(&table, Vocabulary::chexpert())
}

struct Columns {
    path: usize,
    patient: Option<usize>,
    age: Option<usize>,
    sex: Option<usize>,
    race: Option<usize>,
    frontal: Option<usize>,
    view: Option<usize>,
    split: Option<usize>,
    order: Option<usize>,
    reports: Vec<usize>,
}

impl Columns {
    fn of(sheet: &Sheet, report: Option<&str>) -> Result<Self, AugmentError> {
        let reports = match report {
            Some(name) => vec![sheet.column(name)?],
            None => SECTIONS.iter().map(|name| sheet.column(name)).collect::<Result<_, _>>()?,
        };
        Ok(Self {
            path: sheet.column("path_to_image")?,
            patient: sheet.find("deid_patient_id"),
            age: sheet.find("age"),
            sex: sheet.find("sex"),
            race: sheet.find("race"),
            frontal: sheet.find("frontal_lateral"),
            view: sheet.find("ap_pa"),
            split: sheet.find("split"),
            order: sheet.find("patient_report_date_order"),
            reports,
        })
    }

    fn record(
        &self,
        sheet: &Sheet,
        line: &Line,
        labels: &HashMap<String, Labels>,
        views: &mut Views,
    ) -> Result<CxrRecord, AugmentError> {
        let path =
            sheet.parse(line, self.path, ("the path of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))?;
        let patient = match sheet.patient(line, self.patient)? {
            None => paths::patient(&path),
            named => named,
        };
        let of = labels.get(without_release(&path)).copied().unwrap_or([Label::Missing; CHEXPERT_14.len()]);
        let mut record = CxrRecord::real(path, patient, of.to_vec());
        let text = |column: &usize| Some(line.cell(*column)).filter(|text| !text.is_empty()).map(str::to_owned);
        record.age = sheet.parse_optional(line, self.age, AGE)?;
        record.sex = sheet.parse_optional(line, self.sex, ANY_SEX)?.flatten();
        let lateral = sheet.parse_optional(line, self.frontal, FRONTAL_LATERAL)?.flatten();
        record.view = lateral.or_else(|| views.read(self.view.map_or("", |column| line.cell(column))));
        record.split = sheet.parse_optional(line, self.split, SPLIT)?;
        record.report = self.reports.iter().find_map(text);
        record.details.race = self.race.as_ref().and_then(text).filter(|race| !race.eq_ignore_ascii_case("unknown"));
        record.details.order = sheet.parse_optional(line, self.order, ORDER)?;
        Ok(record)
    }
}

/// The labels beside the table by path without the release, and the files that they are from.
fn labels(
    folder: &Path,
    sheet: &dyn Fn(&Path) -> Result<Sheet, AugmentError>,
) -> Result<(HashMap<String, Labels>, Vec<PathBuf>), AugmentError> {
    let (mut labels, mut files) = (HashMap::new(), Vec::new());
    for name in LABELS {
        let Some(path) = beside(folder, name) else { continue };
        if !name.ends_with(".json") {
            of_table(&sheet(&path)?, &mut labels)?;
            files.push(path);
        } else if files.is_empty() {
            of_lines(&path, &mut labels)?;
            files.push(path);
        }
    }
    Ok((labels, files))
}

fn of_table(sheet: &Sheet, into: &mut HashMap<String, Labels>) -> Result<(), AugmentError> {
    let (path, columns) = (sheet.column("Path")?, finding_columns(sheet, &Vocabulary::chexpert())?);
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let mut labels = [Label::Missing; CHEXPERT_14.len()];
        for (label, column) in labels.iter_mut().zip(&columns) {
            *label = sheet.label(&line, *column, LABEL)?;
        }
        into.insert(without_release(line.cell(path)).to_owned(), labels);
    }
    Ok(())
}

/// One JSON object per line: the path, and 1, 0, -1 or `null` for every label.
fn of_lines(path: &Path, into: &mut HashMap<String, Labels>) -> Result<(), AugmentError> {
    let failed = |source| AugmentError::Io { action: "read", path: path.to_owned(), source };
    let mut lines = BufReader::new(File::open(path).map_err(failed)?);
    let vocabulary = Vocabulary::chexpert();
    let mut text = Vec::new();
    for row in 1.. {
        text.clear();
        if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(failed)? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        let object: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|source| TableError::Json { path: path.to_owned(), row, source })?;
        let bad = |column: &str, value: &Value, expected: &str| TableError::BadCell {
            path: path.to_owned(),
            row,
            column: column.to_owned(),
            value: value.to_string().chars().take(40).collect(),
            expected: expected.to_owned(),
        };
        let image = object.get("path_to_image").unwrap_or(&Value::Null);
        let image = image.as_str().ok_or_else(|| bad("path_to_image", image, "the path of an image"))?;
        let mut labels = [Label::Missing; CHEXPERT_14.len()];
        for (name, value) in &object {
            let Some(at) = Finding::parse(name).ok().and_then(|finding| vocabulary.position(finding)) else { continue };
            let label = match value {
                Value::Null => Some(Label::Missing),
                Value::Number(number) => Label::parse(&number.to_string()),
                _ => None,
            };
            labels[at] = label.ok_or_else(|| bad(name, value, LABEL.0))?;
        }
        into.insert(without_release(image).to_owned(), labels);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::HEADER;
    use super::*;
    use crate::formats::published::testing::{Tree, messages};
    use crate::record::{Split, View};

    const PLUS: &str = "path_to_image,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,age,sex,race,split,section_findings,section_impression\n\
        train/patient42142/study5/view1_frontal.jpg,Frontal,AP,patient42142,5,62,Male,White,train,\"Lungs, clear.\",\"1. No effusion.\n2. Stable.\"\n\
        train/patient42142/study1/view1_frontal.jpg,Frontal,PA,patient42142,1,58,Male,Unknown,train,Small effusion.,\n\
        valid/patient64541/study1/view1_frontal.jpg,Lateral,,patient64541,1,71,Female,,valid,,\n";

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.write(TABLE, PLUS);
        // The release has PNG files in a folder of their own.
        for path in ["train/patient42142/study5", "train/patient42142/study1", "valid/patient64541/study1"] {
            tree.image(&format!("PNG/{path}/view1_frontal.png"));
        }
        tree
    }

    #[test]
    fn texts_are_joined_to_the_labels_that_are_there() {
        let tree = tree();
        let data = tree.read("chexpert-plus", "").unwrap();
        assert!(data.notes().iter().any(|note| note.contains("there are no labels beside it")), "{:?}", data.notes());
        assert!(data.record(0).labels.iter().all(|label| *label == Label::Missing));
        let record = data.record(0);
        assert_eq!(record.report.as_deref(), Some("1. No effusion.\n2. Stable."));
        assert_eq!(data.record(1).report.as_deref(), Some("Small effusion."));
        assert_eq!((record.details.race.as_deref(), data.record(1).details.race.as_deref()), (Some("White"), None));
        assert_eq!(
            (record.split, data.record(2).split, data.record(2).view),
            (Some(Split::Train), Some(Split::Valid), Some(View::Lateral))
        );
        let first = data.with_one_per_patient().unwrap();
        assert_eq!(first.record(0).id, "train/patient42142/study1/view1_frontal.jpg");
        let lines = "{\"path_to_image\": \"train/patient42142/study5/view1_frontal.jpg\", \"No Finding\": null, \"Pleural Effusion\": 0.0, \"Edema\": -1}\n\n";
        tree.write("chexbert_labels/impression_fixed.json", lines);
        let position = |name: &str| Vocabulary::chexpert().position(Finding::parse(name).unwrap()).unwrap();
        let data = tree.read("chexpert-plus", TABLE).unwrap();
        assert_eq!(
            [position("Effusion"), position("Edema")].map(|at| data.record(0).labels[at]),
            [Label::Negative, Label::Uncertain]
        );
        assert!(data.notes().iter().any(|note| note.contains("2 of 3 images have none there")), "{:?}", data.notes());
        // CheXpert's own come first.
        let own = format!(
            "{HEADER}\nCheXpert-v1.0/train/patient42142/study5/view1_frontal.jpg,Male,62,Frontal,AP{}1.0{}\n",
            ",".repeat(11),
            ",".repeat(3)
        );
        tree.write("train.csv", &own);
        let data = tree.read("chexpert-plus", TABLE).unwrap();
        assert_eq!(data.record(0).labels[position("Effusion")], Label::Positive);
        assert_eq!(tree.guess(TABLE), "chexpert-plus");
    }

    #[test]
    fn another_section_can_be_asked_for() {
        let tree = tree();
        let source = DataSource { report: Some("section_findings".to_owned()), ..tree.source(TABLE) };
        assert_eq!(tree.read_with("chexpert-plus", source).unwrap().record(0).report.as_deref(), Some("Lungs, clear."));
        let source = DataSource { report: Some("section_poems".to_owned()), ..tree.source(TABLE) };
        assert!(tree.read_with("chexpert-plus", source).unwrap_err().contains("no column `section_poems`"));
    }

    #[test]
    fn faults_are_named() {
        let tree = tree();
        messages(
            &tree,
            "chexpert-plus",
            TABLE,
            &[
                (",5,62,", ",5,old,", "df_chexpert_plus_240401.csv, row 2, column `age`: found `old`"),
                (",train,\"Lungs", ",trial,\"Lungs", "row 2, column `split`: found `trial`"),
                ("path_to_image", "path", "no column `path_to_image`"),
            ],
        );
        for (lines, said) in [
            (
                "{\"path_to_image\": \"a\"}\n{\"path_to_image\": 7}\n",
                "impression_fixed.json, row 2, column `path_to_image`: found `7`",
            ),
            ("{\"path_to_image\": \"a\", \"Edema\": 3}", "row 1, column `Edema`: found `3`, expected 1, 0, -1"),
            ("nothing", "row 1: not a JSON object"),
        ] {
            tree.write("chexbert_labels/impression_fixed.json", lines);
            let error = tree.read("chexpert-plus", TABLE).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
