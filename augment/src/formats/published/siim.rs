//! The SIIM-ACR Pneumothorax Segmentation challenge (Kaggle, 2019).

use std::collections::HashMap;

use super::rows::{Gathered, folder_of, table_at};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::Cell;
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::formats::sheet::{Line, Rows, Sheet};
use crate::record::{CxrRecord, Label, Vocabulary};

const TABLES: [&str; 2] = ["train-rle.csv", "stage_2_train.csv"];

/// A mask as run lengths, or `-1` where there is none.
const MASK: Cell<Label> = ("-1, or the run lengths of a mask", |cell| match cell {
    "-1" => Some(Label::Negative),
    mask => {
        let is_run = !mask.is_empty() && mask.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ');
        is_run.then_some(Label::Positive)
    }
});

/// Why files are those of the challenge.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let columns = seen.has_columns(&["ImageId", "EncodedPixels"]);
    let table = seen.files().iter().find(|name| TABLES.contains(&name.as_str()));
    let columns = columns.then(|| "`ImageId` and `EncodedPixels` are columns of the SIIM-ACR challenge".to_owned());
    columns.or_else(|| table.map(|name| format!("it holds {name}")))
}

/// Reads one image per `ImageId`, which has a row per mask; one with a mask shows a pneumothorax. The second column's name begins with a blank
/// in the published table. No patient is known.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let table = table_at(registry::labels(source)?, &TABLES, "the table of masks of the SIIM-ACR challenge")?;
    let folder = folder_of(&table);
    let sheet = Sheet::read_for(&table, Rows::Equal, source.delimiter, source.missing)?;
    let (image, mask) = (sheet.column("ImageId")?, sheet.column("EncodedPixels")?);
    let mut rows = Gathered::new(&source.images.clone().unwrap_or(folder), source.missing)?;
    rows.sheet(&sheet, None);
    let mut seen = HashMap::<String, (Label, u64)>::new();
    let (mut lines, mut line) = (sheet.lines()?, Line::default());
    while lines.read(&mut line)? {
        let read = sheet
            .parse(&line, image, ("the name of an image", |cell| (!cell.is_empty()).then(|| cell.to_owned())))
            .and_then(|id| Ok((id, sheet.parse(&line, mask, MASK)?)));
        let Some((id, label)) = rows.pass(read)? else { continue };
        match seen.get(&id) {
            Some((first, row)) if *first != label => {
                let expected =
                    format!("{}, as row {row} says of the same image", if *first == Label::Negative { "-1" } else { "a mask" });
                rows.pass::<()>(Err(sheet.bad_cell(&line, mask, &expected)))?;
            }
            Some(_) => {}
            None => {
                seen.insert(id.clone(), (label, line.number));
                rows.add((&table, line.number), &id, CxrRecord::real(id.clone(), None, vec![label]))?;
            }
        }
    }
    rows.note([format!("{}: the table names no patients; each image counts as one", table.display())]);
    rows.dataset(&table, Vocabulary::parse(["Pneumothorax"])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::{Tree, messages};

    const IDS: [&str; 2] =
        ["1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819", "1.2.276.0.7230010.3.1.4.8323329.13666.1517875247.117800"];

    fn tree() -> Tree {
        let tree = Tree::new();
        tree.write(TABLES[0], &format!("ImageId, EncodedPixels\n{},-1\n{1},557374 2 1015 8\n{1},1 2\n", IDS[0], IDS[1]));
        for (at, id) in IDS.iter().enumerate() {
            tree.image(&format!("dicom-images-train/1.2.{at}/1.3.{at}/{id}.dcm"));
        }
        tree
    }

    #[test]
    fn masks_become_labels_of_images() {
        let tree = tree();
        for place in ["", TABLES[0]] {
            let data = tree.read("siim", place).unwrap();
            let labels: Vec<_> = data.rows().iter().map(|row| (row.line, row.record.labels[0])).collect();
            assert_eq!(labels, [(2, Label::Negative), (3, Label::Positive)]);
            assert!(data.describe(1).ends_with(&format!("1.3.1/{}.dcm", IDS[1])));
            assert_eq!(tree.guess(place), "siim");
        }
    }

    #[test]
    fn faults_are_named() {
        messages(
            &tree(),
            "siim",
            TABLES[0],
            &[
                (
                    ",1 2",
                    ",-1",
                    "train-rle.csv, row 4, column `EncodedPixels`: found `-1`, expected a mask, as row 3 says of the same image",
                ),
                ("557374 2", "557374,2", "row 3: 3 cells"),
                (
                    "557374",
                    "many",
                    "row 3, column `EncodedPixels`: found `many 2 1015 8`, expected -1, or the run lengths of a mask",
                ),
                (" EncodedPixels", " Pixels", "no column `EncodedPixels`"),
            ],
        );
    }
}
