//! The list of layouts that a run file can name.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::phantom::{PhantomGroups, phantom};
use super::{Delimiter, MedMnist, MissingImages, NihFiles, NihLists, NihSubset, Table};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::record::{Finding, Vocabulary};

/// The location of a data set, and the options of its reader. Each layout reads what it needs.
#[derive(Clone, Debug, Default)]
pub struct DataSource {
    /// The label table, or the archive.
    pub labels: Option<PathBuf>,
    /// The folder of the images, or their archive; `None` for the label table's folder.
    pub images: Option<PathBuf>,
    /// Names of the label columns in order, for an archive that doesn't name them.
    pub findings: Option<Vocabulary>,
    /// Findings outside the public vocabularies that the table may have.
    pub custom_findings: Vec<String>,
    /// Columns of the table to ignore.
    pub extra_columns: Vec<String>,
    /// The table's column of reports; `None` for `report`.
    pub report: Option<String>,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// What separates the table's cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
    /// Numbers of phantom images.
    pub phantom: PhantomGroups,
}

/// A layout of data sets: a run file names it, help and documentation list it.
#[derive(Clone, Copy)]
pub struct Format {
    /// Its name in run files.
    pub name: &'static str,
    /// Name in reports, for a data set without one.
    pub title: &'static str,
    /// What it reads: its line in `docs/run-file.md` and, without marks, in `roentgen data --help`.
    pub reads: &'static str,
    read: fn(&DataSource) -> Result<CxrDataset, AugmentError>,
}

/// Every layout. A new reader is one more entry here, and one more line in `docs/run-file.md`; a test compares the two.
pub static FORMATS: [Format; 5] = [
    Format {
        name: "nih",
        title: "NIH ChestX-ray14",
        reads: "NIH ChestX-ray14 as published: `Data_Entry_2017_v2020.csv` (or the 2017 one) and its images, flat or as unpacked \
                (`images_001/images/…`). With `train_val_list.txt` and `test_list.txt` beside the table, `by = \"given\"` is the \
                official split",
        read: nih,
    },
    Format {
        name: "nih-subset",
        title: "NIH ChestX-ray14 (subset)",
        reads: "a CSV with `image`, `patient_id`, the 14 NIH findings as 0 or 1, and where known `age`, `sex`, `view`, `split`; other \
                columns are ignored. Images in a folder, or in an `.npz` with an array `images` (`uint8 [N, H, W]`) in the order of the \
                rows",
        read: nih_subset,
    },
    Format {
        name: "medmnist",
        title: "MedMNIST",
        reads: "`chestmnist*.npz`, `pneumoniamnist*.npz`, or another archive of their form whose array `findings` names the label columns; else \
                the key `findings` must name all of them in order. The archives do not identify patients, so keep `by = \"given\"`",
        read: medmnist,
    },
    Format { name: "table", title: "own table", reads: "your own CSV, one row per image, see below", read: table },
    Format {
        name: "phantom",
        title: "analytic chest phantom",
        reads: "the analytic chest phantom: no files, and no radiographs of people",
        read: |source| phantom(&source.phantom),
    },
];

impl Format {
    /// The layout of that name.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] lists the names.
    pub fn named(name: &str) -> Result<Self, AugmentError> {
        let names = || FORMATS.iter().map(|format| format!("`{}`", format.name)).collect::<Vec<_>>().join(", ");
        let found = FORMATS.iter().find(|format| format.name == name).copied();
        found.ok_or_else(|| AugmentError::setting("data.format", format!("`{name}`"), format!("one of {}", names())))
    }

    /// Reads the data set, all splits together.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for a place that the layout needs and `source` lacks; the reader's own.
    pub fn read(&self, source: &DataSource) -> Result<CxrDataset, AugmentError> {
        (self.read)(source)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Format({})", self.name)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn labels(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let absent = || AugmentError::setting("data.labels", "absent", "the path of the label table");
    source.labels.clone().ok_or_else(absent)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

fn images(source: &DataSource, labels: &Path) -> PathBuf {
    source.images.clone().unwrap_or_else(|| folder_of(labels))
}

fn nih(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let table = labels(source)?;
    let folder = folder_of(&table);
    let lists = NihLists { train: folder.join("train_val_list.txt"), test: folder.join("test_list.txt") };
    let lists = (lists.train.is_file() && lists.test.is_file()).then_some(lists);
    NihFiles { images: images(source, &table), table, lists, missing: source.missing, delimiter: source.delimiter }.read()
}

fn nih_subset(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let table = labels(source)?;
    NihSubset { images: images(source, &table), labels: table, missing: source.missing, delimiter: source.delimiter }.read()
}

fn medmnist(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    for name in &source.custom_findings {
        let _declared = Finding::custom(name);
    }
    MedMnist { path: labels(source)?, vocabulary: source.findings.clone() }.read()
}

fn table(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let DataSource { images, custom_findings, extra_columns, report, missing, delimiter, .. } = source.clone();
    Table { images, custom_findings, extra_columns, report, missing, delimiter, ..Table::new(labels(source)?) }.read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused_by_name() {
        for format in FORMATS {
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), format);
        }
        let error = serde_json::from_str::<Format>("\"nhi\"").unwrap_err().to_string();
        assert!(error.contains("`nhi`") && error.contains("`nih`, `nih-subset`, `medmnist`, `table`, `phantom`"), "{error}");
    }

    #[test]
    fn a_layout_without_its_files_says_what_it_needs() {
        for format in FORMATS.iter().filter(|format| format.name != "phantom") {
            let error = format.read(&DataSource::default()).unwrap_err().to_string();
            assert_eq!(error, "data.labels is absent; write the path of the label table", "{format:?}");
        }
        let groups = PhantomGroups { train: 2, valid: 1, test: 1, seed: 0, size: 8 };
        let data = Format::named("phantom").unwrap().read(&DataSource { phantom: groups, ..DataSource::default() }).unwrap();
        assert_eq!(data.rows().len(), 4);
    }
}
