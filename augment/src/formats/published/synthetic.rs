//! Synthetic radiographs that others publish: those of RoentGen-v2, and SynthCheX-75K.
//!
//! RoentGen-v2's come as Parquet, SynthCheX-75K's behind a loading script. Both can also be tables with the columns that their cards name, beside
//! image files: as `datasets.Dataset.to_csv` and a loop over the images write them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::formats::Table;
use crate::formats::guess::Sighting;
use crate::formats::parquet;
use crate::formats::registry::{self, DataSource};
use crate::record::{CxrRecord, Origin, PatientId};
use crate::request::RequestSource;

/// What every file name of SynthCheX-75K begins with, before the image of MIMIC-CXR whose report was its prompt.
const FROM_MIMIC: &str = "SyntheticImg_";

/// Columns that tell RoentGen-v2's images from others.
const OF_ROENTGEN: [&str; 5] = ["image_id", "text", "gender", "race", "impression"];

/// Why a table, or Parquet files, are those of RoentGen-v2.
pub(in crate::formats) fn looks_like_roentgen(seen: &Sighting) -> Option<String> {
    (seen.has_columns(&OF_ROENTGEN) || seen.has_parquet_columns(&OF_ROENTGEN))
        .then(|| "`image_id`, `text` and `impression` are columns of RoentGen-v2's images".to_owned())
}

/// Reads RoentGen-v2's Parquet files, in which `image` has the images, or a table: columns of the card of
/// `stanfordmimi/RoentGen-v2-synthetic-dataset` on Hugging Face.
pub(in crate::formats) fn read_roentgen(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let place = registry::labels(source)?;
    let columns = [("image", "image_id"), ("prompt", "text"), ("report", "impression"), ("sex", "gender")];
    let data = match is_parquet(&place) {
        false => table(source, &columns)?,
        true => {
            if let Some(images) = &source.images {
                let found = format!("{}, which is not read", images.display());
                return Err(AugmentError::setting(
                    "data.images",
                    found,
                    "data.labels alone: the images are in the Parquet files",
                ));
            }
            let mut table = columns_of(source, place, &columns[1..]);
            // Images are called by their paths within the files.
            table.extra_columns.push("image_id".to_owned());
            parquet::read(&table)?
        }
    };
    Ok(data.map_records(|row| made_by(row, "RoentGen-v2")))
}

/// Whether a place is one of Parquet files: a folder of them, a pattern, or one.
fn is_parquet(place: &Path) -> bool {
    place.is_dir() || place.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Why a table is that of SynthCheX-75K.
pub(in crate::formats) fn looks_like_synthchex(seen: &Sighting) -> Option<String> {
    seen.has_columns(&["filename", "prompt", "Atelectasis", "No Finding"])
        .then(|| "`filename`, `prompt` and labels are columns of SynthCheX-75K".to_owned())
}

/// Reads SynthCheX-75K's table: columns by the names of the fields that its loader gives (CheXGenBench, `SynthCheX_README.md`, at 9a201c1). The
/// name of a file tells which image of MIMIC-CXR's training set its prompt describes; that is its `source_id`.
pub(in crate::formats) fn read_synthchex(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let data = table(source, &[("image", "filename"), ("prompt", "prompt")])?;
    Ok(data.map_records(|row| {
        let mut record = made_by(row, "SynthCheX-75K (Sana)");
        let name = record.id.rsplit(['/', '\\']).next().unwrap_or(&record.id);
        let dicom = name.strip_prefix(FROM_MIMIC).and_then(|name| name.rsplit_once('.')).map(|(dicom, _)| dicom.to_owned());
        if let (Some(dicom), Origin::Synthetic(provenance)) = (dicom, &mut Arc::make_mut(&mut record).origin) {
            let patient_id = PatientId::new(&dicom);
            provenance.request.source.get_or_insert(RequestSource { id: dicom, patient_id, fold: None });
        }
        record
    }))
}

fn table(source: &DataSource, columns: &[(&str, &str)]) -> Result<CxrDataset, AugmentError> {
    let path = registry::labels(source)?;
    Table { images: Some(registry::images(source, &path)), ..columns_of(source, path, columns) }.read()
}

/// The table at `path`, whose rows are synthetic, with these columns of fields.
fn columns_of(source: &DataSource, path: PathBuf, columns: &[(&str, &str)]) -> Table {
    let columns: BTreeMap<_, _> = columns.iter().map(|(field, column)| ((*field).to_owned(), (*column).to_owned())).collect();
    let DataSource { findings, custom_findings, extra_columns, missing, delimiter, .. } = source.clone();
    let table = Table { columns, custom_findings, extra_columns, findings, synthetic: true, ..Table::new(path) };
    Table { missing, delimiter, ..table }
}

/// The record of a row, whose generator is named.
fn made_by(row: &Row, model: &str) -> Arc<CxrRecord> {
    let mut record = Arc::clone(&row.record);
    if let Origin::Synthetic(provenance) = &mut Arc::make_mut(&mut record).origin
        && provenance.model.is_empty()
    {
        provenance.model = model.to_owned();
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::guess_for;
    use crate::formats::published::testing::{Tree, messages};
    use crate::record::{CHEXPERT_14, Label, Sex, View};

    fn provenance(data: &CxrDataset, at: usize) -> &crate::record::Provenance {
        let Origin::Synthetic(provenance) = &data.record(at).origin else { panic!("{:?}", data.record(at)) };
        provenance
    }

    fn labels() -> String {
        let mut names = CHEXPERT_14.map(|name| if name == "Effusion" { "Pleural Effusion" } else { name });
        names.sort_unstable();
        names.join(",")
    }

    fn roentgen() -> Tree {
        let tree = Tree::new();
        let zeros = ",0".repeat(12);
        tree.write("made.csv", &format!("image_id,text,gender,age,race,view,impression,{}\ni0,\"57 year old WHITE male. Mass.\",Male,57,WHITE,PA,Mass.,1,0{zeros}\n", labels()));
        tree.image("i0.png");
        tree
    }

    #[test]
    fn roentgens_images_are_synthetic_and_say_their_prompts() {
        let tree = roentgen();
        let data = tree.read("roentgen-v2", "made.csv").unwrap();
        let record = data.record(0);
        assert_eq!((record.sex, record.age, record.view), (Some(Sex::Male), Some(57.0), Some(View::Pa)));
        assert_eq!((record.details.race.as_deref(), record.report.as_deref()), (Some("WHITE"), Some("Mass.")));
        assert_eq!((data.vocabulary().len(), record.labels[0]), (14, Label::Positive));
        let made = provenance(&data, 0);
        assert_eq!((made.model.as_str(), made.request.prompt.as_str()), ("RoentGen-v2", "57 year old WHITE male. Mass."));
        assert!(made.request.source.is_none());
        let pool = DataSource { synthetic: true, ..DataSource::default() };
        assert_eq!(guess_for(&tree.path("made.csv"), &pool).unwrap().format.name, "roentgen-v2");
        assert_eq!(tree.guess("made.csv"), "roentgen-v2");
        messages(
            &tree,
            "roentgen-v2",
            "made.csv",
            &[
                (",57,WHITE", ",old,WHITE", "made.csv, row 2, column `age`: found `old`"),
                ("i0,", "i1,", "row 2: image `i1` is not under"),
                (",text,", ",words,", "data.columns.prompt is `text`"),
            ],
        );
    }

    #[test]
    fn synthchex_names_the_image_that_its_prompt_describes() {
        let tree = Tree::new();
        let zeros = ",0".repeat(13);
        tree.write(
            "synthchex.csv",
            &format!(
                "filename,prompt,{}\nSyntheticImg_02aa804e-bde0afdd.png,No effusion.,0{zeros}\nother.png,A mass.,1{zeros}\n",
                labels()
            ),
        );
        tree.image("images/SyntheticImg_02aa804e-bde0afdd.png");
        tree.image("images/other.png");
        let data = tree.read("synthchex-75k", "synthchex.csv").unwrap();
        let source = provenance(&data, 0).request.source.as_ref().unwrap();
        assert_eq!((source.id.as_str(), provenance(&data, 0).model.as_str()), ("02aa804e-bde0afdd", "SynthCheX-75K (Sana)"));
        assert!(provenance(&data, 1).request.source.is_none());
        assert_eq!(tree.guess("synthchex.csv"), "synthchex-75k");
        messages(
            &tree,
            "synthchex-75k",
            "synthchex.csv",
            &[
                ("A mass.,1", "A mass.,7", "synthchex.csv, row 3, column `Atelectasis`: found `7`"),
                ("filename", "file", "data.columns.image is `filename`"),
            ],
        );
    }
}
