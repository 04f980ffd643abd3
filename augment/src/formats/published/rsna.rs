//! The RSNA Pneumonia Detection Challenge (Shih et al., Radiology: Artificial Intelligence 2019).

use std::collections::HashMap;
use std::path::Path;

use super::rows::{ANY_SEX, Gathered, Views, beside, folder_of, lacks};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::{AGE, BINARY};
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Label, Sex, View, Vocabulary};

const TABLE: &str = "stage_2_train_labels.csv";
/// What the headers of the DICOM files say, as torchxrayvision ships it.
const HEADERS: &str = "kaggle_stage_2_train_images_dicom_headers.csv";

/// Why files are those of the challenge.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let table = seen.files().iter().any(|name| name == TABLE);
    let columns = seen.has_columns(&["patientId", "Target", "width", "height"]);
    match (table, columns) {
        (true, _) => Some(format!("it holds {TABLE}")),
        (_, true) => Some("`patientId` and `Target` are columns of the RSNA challenge".to_owned()),
        _ => None,
    }
}

/// An image: the row of its first box, and whether it has any.
struct Image {
    id: String,
    row: u64,
    label: Label,
}

/// Reads one image per `patientId`, which has a row per box. `Target` is read as both `Lung Opacity` and `Pneumonia`, as torchxrayvision does:
/// the boxes are opacities that the readers suspected of pneumonia.
///
/// `patientId` names an image of NIH ChestX-ray14, not a person, so that no patient is known.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let folder = folder_of(&place);
    let table = match place.is_dir() {
        false => place,
        true => beside(&folder, TABLE).ok_or_else(|| lacks(&folder, TABLE, "the table of boxes of the RSNA challenge"))?,
    };
    let sheet = |path: &Path| Sheet::read_for(path, Rows::Equal, source.delimiter, source.missing);
    let headers = match beside(&folder, HEADERS) {
        Some(path) => Headers::read(&sheet(&path)?)?,
        None => Headers::default(),
    };
    let sheet = sheet(&table)?;
    let images = source.images.clone().unwrap_or(folder);
    let mut rows = Gathered::new(&images, source.missing)?;
    rows.sheet(&sheet, None);
    for Image { id, row, label } in by_image(&sheet, &mut rows)? {
        let mut record = CxrRecord::real(id.clone(), None, vec![label; 2]);
        if let Some((view, age, sex)) = headers.of.get(&id) {
            (record.view, record.age, record.sex) = (*view, *age, *sex);
        }
        rows.add((&table, row), &id, record)?;
    }
    rows.note(headers.views.note(&table));
    rows.note([format!(
        "{}: `patientId` names images of NIH ChestX-ray14, not people; each counts as a patient of its own",
        table.display()
    )]);
    rows.dataset(&table, Vocabulary::parse(["Lung Opacity", "Pneumonia"])?)
}

fn by_image(sheet: &Sheet, rows: &mut Gathered) -> Result<Vec<Image>, AugmentError> {
    let (id, target) = (sheet.column("patientId")?, sheet.column("Target")?);
    let (mut images, mut places) = (Vec::<Image>::new(), HashMap::<String, usize>::new());
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let read = sheet
            .parse(&line, id, ("the name of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))
            .and_then(|id| Ok((id, sheet.parse(&line, target, BINARY)?)));
        let Some((id, label)) = rows.pass(read)? else { continue };
        match places.get(&id).map(|place| &images[*place]) {
            Some(first) if first.label == label => {}
            Some(first) => {
                let expected = format!("{}, as row {} says of the same image", first.label.cell(), first.row);
                rows.pass::<()>(Err(sheet.bad_cell(&line, target, &expected)))?;
            }
            None => {
                places.insert(id.clone(), images.len());
                images.push(Image { id, row: line.number, label });
            }
        }
    }
    Ok(images)
}

/// View, age and sex.
type Header = (Option<View>, Option<f32>, Option<Sex>);

/// What is known of each image.
#[derive(Default)]
struct Headers {
    of: HashMap<String, Header>,
    views: Views,
}

impl Headers {
    fn read(sheet: &Sheet) -> Result<Self, AugmentError> {
        let id = sheet.column("PatientID")?;
        let [view, age, sex] = ["ViewPosition", "PatientAge", "PatientSex"].map(|name| sheet.find(name));
        let mut headers = Self::default();
        let (mut lines, mut line) = (sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            let view = headers.views.read(view.map_or("", |column| line.cell(column)));
            let age = sheet.parse_optional(&line, age, AGE)?;
            let sex = sheet.parse_optional(&line, sex, ANY_SEX)?.flatten();
            headers.of.insert(line.cell(id).to_owned(), (view, age, sex));
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::{Tree, messages};

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.write(TABLE, "patientId,x,y,width,height,Target\n0004cfab,,,,,0\n00436515,264.0,152.0,213.0,379.0,1\n00436515,562.0,152.0,256.0,453.0,1\n");
        for id in ["0004cfab", "00436515"] {
            tree.image(&format!("stage_2_train_images/{id}.dcm"));
        }
        tree
    }

    #[test]
    fn boxes_become_labels_of_images() {
        let tree = tree();
        let data = tree.read("rsna", "").unwrap();
        let labels: Vec<_> =
            data.rows().iter().map(|row| (row.record.id.as_str(), row.line, row.record.labels.clone())).collect();
        assert_eq!(labels, [("0004cfab", 2, vec![Label::Negative; 2]), ("00436515", 3, vec![Label::Positive; 2])]);
        assert!(data.describe(1).ends_with("stage_2_train_images/00436515.dcm"));
        assert!(data.record(0).patient_id.is_none() && data.notes()[0].contains("not people"));
        let headers = ",Modality,PatientAge,PatientID,PatientSex,ViewPosition\n0,CR,43,00436515,F,AP\n";
        tree.pack(&format!("{HEADERS}.gz"), headers);
        let data = tree.read("rsna", TABLE).unwrap();
        assert_eq!(
            (data.record(1).view, data.record(1).age, data.record(1).sex),
            (Some(View::Ap), Some(43.0), Some(Sex::Female))
        );
        assert_eq!(data.record(0).view, None);
        assert_eq!([tree.guess(""), tree.guess(TABLE)], ["rsna", "rsna"]);
    }

    #[test]
    fn faults_are_named() {
        let tree = tree();
        messages(
            &tree,
            "rsna",
            TABLE,
            &[
                (
                    "453.0,1",
                    "453.0,0",
                    "labels.csv, row 4, column `Target`: found `0`, expected 1, as row 3 says of the same image",
                ),
                (",0\n", ",maybe\n", "row 2, column `Target`: found `maybe`, expected 1 or 0"),
                ("0004cfab", "ffffffff", "row 2: image `ffffffff` is not under"),
                ("Target", "target", "no column `Target`"),
            ],
        );
        tree.write(HEADERS, "PatientID,PatientAge\n00436515,old\n");
        assert!(tree.read("rsna", "").unwrap_err().contains("headers.csv, row 2, column `PatientAge`: found `old`"));
    }
}
