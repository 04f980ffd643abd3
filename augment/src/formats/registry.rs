//! The list of layouts that a run file can name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::guess::Sighting;
use super::phantom::{PhantomGroups, phantom};
use super::published;
use super::{ClassFolders, Delimiter, FolderError, MedMnist, MissingImages, NihFiles, NihLists, NihSubset, Table};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::record::{Finding, View, Vocabulary};

/// The location of a data set, and the options of its reader. Each layout reads what it needs.
#[derive(Clone, Debug, Default)]
pub struct DataSource {
    /// The label table, or the archive.
    pub labels: Option<PathBuf>,
    /// The folder of the images, or their archive; `None` for the label table's folder.
    pub images: Option<PathBuf>,
    /// Findings that are asked for; `None` for all there are. In order, they name the label columns of an archive that doesn't.
    pub findings: Option<Vocabulary>,
    /// Whether labels may be missing altogether, as where images are only scored.
    pub unlabelled: bool,
    /// Column of a field or a finding of the table, by the name of either.
    pub columns: BTreeMap<String, String>,
    /// Findings outside the public vocabularies that the table may have.
    pub custom_findings: Vec<String>,
    /// Columns of the table to ignore.
    pub extra_columns: Vec<String>,
    /// The table's column of reports; `None` for `report`.
    pub report: Option<String>,
    /// Whether rows that don't say what they are, are synthetic, as in a pool of images made elsewhere.
    pub synthetic: bool,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// The views that are read; empty for all.
    pub views: Vec<View>,
    /// Whether only the first image of each patient is read.
    pub one_image_per_patient: bool,
    /// What separates the table's cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
    /// How labels of several readers become one; by majority if `None`.
    pub readers: Option<Readers>,
    /// Numbers of phantom images.
    pub phantom: PhantomGroups,
}

/// How the labels that several readers gave an image become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Readers {
    /// A finding is there if more than half of them saw it.
    #[default]
    Majority,
    /// A finding is there if one of them saw it.
    Any,
}

impl DataSource {
    /// The error with the keys of a run file that say all this.
    fn named(&self, error: AugmentError) -> AugmentError {
        // Nothing else is asked for synthetic rows.
        let table = if self.synthetic { "generator.images.from" } else { "data" };
        match error {
            AugmentError::Folder(FolderError::NoFolder { path, key }) => {
                FolderError::NoFolder { path, key: format!("{table}.{key}") }.into()
            }
            AugmentError::BadSetting { key, found, expected } => {
                let key = key.strip_prefix("data.").map_or_else(|| key.clone(), |key| format!("{table}.{key}"));
                AugmentError::BadSetting { key, found, expected }
            }
            other => other,
        }
    }
}

/// The key of `[data]` that says where a layout lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `labels`: a table or an archive.
    Labels,
    /// `images`: a folder that says everything itself.
    Images,
    /// None: it is made.
    Nowhere,
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
    /// The key that it can't be without.
    pub place: Place,
    /// Whether it is a table of any columns: which they are can be said.
    pub has_columns: bool,
    /// Keys of `[data]` that not every layout has a use for, and this one has: `report`, `readers`.
    pub keys: &'static [&'static str],
    /// Whether its images can be synthetic.
    pub synthetic: bool,
    looks_like: fn(&Sighting) -> Option<String>,
    read: fn(&DataSource) -> Result<CxrDataset, AugmentError>,
}

/// Every layout. A new reader is one more entry here, and one more line in `docs/run-file.md`; a test compares the two.
pub static FORMATS: &[Format] = &[
    Format {
        name: "mimic",
        title: "MIMIC-CXR-JPG",
        reads: "MIMIC-CXR-JPG: `labels` is the folder of its tables, or that of the labels (`…-chexpert.csv.gz` or \
                `…-negbio.csv.gz`) with the metadata and the split beside it; images in `files/p10/p10000032/s50414267/….jpg`. \
                Reports from `mimic_cxr_sectioned.csv` beside them (impression, else findings, else last paragraph), from the \
                column that `report` names, or with `report = \"txt\"` from the texts",
        place: Place::Labels,
        has_columns: false,
        keys: &["report"],
        synthetic: false,
        looks_like: published::mimic::looks_like,
        read: published::mimic::read,
    },
    Format {
        name: "chexpert",
        title: "CheXpert",
        reads: "CheXpert, small or full: `labels` is its folder or `train.csv`, with `valid.csv` beside it as the official \
                validation set. Patients are the folders of the paths; blank and uncertain labels stay so",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: published::chexpert::looks_like,
        read: published::chexpert::read,
    },
    Format {
        name: "chexpert-plus",
        title: "CheXpert Plus",
        reads: "the texts of CheXpert Plus: `df_chexpert_plus_240401.csv` or its folder, with CheXpert's tables or \
                `chexbert_labels/impression_fixed.json` beside it as labels. Reports are the impressions, else the findings, or \
                the column that `report` names",
        place: Place::Labels,
        has_columns: false,
        keys: &["report"],
        synthetic: false,
        looks_like: published::chexpert::plus::looks_like,
        read: published::chexpert::plus::read,
    },
    Format {
        name: "padchest",
        title: "PadChest",
        reads: "PadChest: `PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz` or its folder, and the 16 bit PNG files in \
                one folder or as unpacked. Its lists become torchxrayvision's 28 findings; images without labels and 21 damaged \
                files are left out",
        place: Place::Labels,
        has_columns: false,
        keys: &["report"],
        synthetic: false,
        looks_like: published::padchest::looks_like,
        read: published::padchest::read,
    },
    Format {
        name: "openi",
        title: "OpenI (Indiana University)",
        reads: "OpenI: `labels` is the folder of the XML reports (`ecgen-radiology`), their `NLMCXR_reports.tgz`, or Kaggle's \
                `indiana_reports.csv` with `indiana_projections.csv` beside it. Labels are the terms that people indexed the \
                reports with; reports are the impressions, else the findings, or the section that `report` names",
        place: Place::Labels,
        has_columns: false,
        keys: &["report"],
        synthetic: false,
        looks_like: published::openi::looks_like,
        read: published::openi::read,
    },
    Format {
        name: "tuberculosis",
        title: "Montgomery County and Shenzhen",
        reads: "the tuberculosis sets of Montgomery County and Shenzhen: `images` is the folder with `CXR_png` and \
                `ClinicalReadings`, or one that holds both sets",
        place: Place::Images,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: published::tuberculosis::looks_like,
        read: published::tuberculosis::read,
    },
    Format {
        name: "roentgen-v2",
        title: "RoentGen-v2 (synthetic)",
        reads: "RoentGen-v2's synthetic images as a CSV with `image_id`, `text`, `gender`, `age`, `race`, `view`, `impression` \
                and labels, and image files by `image_id`. All rows are synthetic",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: true,
        looks_like: published::synthetic::looks_like_roentgen,
        read: published::synthetic::read_roentgen,
    },
    Format {
        name: "synthchex-75k",
        title: "SynthCheX-75K (synthetic)",
        reads: "SynthCheX-75K's synthetic images as a CSV with `filename`, `prompt` and labels, and the image files. All rows \
                are synthetic; names of files tell which image of MIMIC-CXR each descends from",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: true,
        looks_like: published::synthetic::looks_like_synthchex,
        read: published::synthetic::read_synthchex,
    },
    Format {
        name: "vindr",
        title: "VinDr-CXR",
        reads: "VinDr-CXR: Kaggle's `train.csv` with a row per box, or the release's `annotations/image_labels_train.csv` and \
                `…_test.csv` (the official split) or its boxes, or the folder of either; images by `image_id` as `.dicom`, \
                `.dcm`, `.png` or `.jpg`. What several readers say becomes one label as `readers` says. No patient is known",
        place: Place::Labels,
        has_columns: false,
        keys: &["readers"],
        synthetic: false,
        looks_like: published::vindr::looks_like,
        read: published::vindr::read,
    },
    Format {
        name: "rsna",
        title: "RSNA Pneumonia Detection Challenge",
        reads: "the RSNA Pneumonia Detection Challenge: `stage_2_train_labels.csv` or its folder. `Target` is both `Lung \
                Opacity` and `Pneumonia`. With torchxrayvision's `kaggle_stage_2_train_images_dicom_headers.csv` beside it, \
                view, age and sex are known. No patient is",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: published::rsna::looks_like,
        read: published::rsna::read,
    },
    Format {
        name: "siim",
        title: "SIIM-ACR Pneumothorax Segmentation",
        reads: "the SIIM-ACR Pneumothorax Segmentation challenge: `train-rle.csv` or `stage_2_train.csv`, or its folder. An \
                image with a mask shows a pneumothorax. No patient is known",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: published::siim::looks_like,
        read: published::siim::read,
    },
    Format {
        name: "brax",
        title: "BRAX",
        reads: "BRAX: `master_spreadsheet_update.csv` or its folder, with the labels of CheXpert. Images that are strips are \
                left out",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: published::brax::looks_like,
        read: published::brax::read,
    },
    Format {
        name: "nih-google",
        title: "NIH ChestX-ray14 (Google's labels)",
        reads: "four findings in 4,376 images of NIH ChestX-ray14 as radiologists labelled them: \
                `google2019_nih-chest-xray-labels.csv`. `Set Id` is the split; it has no training images",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: published::nih::google::looks_like,
        read: published::nih::google::read,
    },
    Format {
        name: "nih",
        title: "NIH ChestX-ray14",
        reads: "NIH ChestX-ray14 as published: `Data_Entry_2017_v2020.csv` (or the 2017 one) and its images, flat or as unpacked \
                (`images_001/images/…`). With `train_val_list.txt` and `test_list.txt` beside the table, `by = \"given\"` is the \
                official split",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: Sighting::nih,
        read: nih,
    },
    Format {
        name: "nih-subset",
        title: "NIH ChestX-ray14 (subset)",
        reads: "a CSV with `image`, `patient_id`, the 14 NIH findings as 0 or 1, and where known `age`, `sex`, `view`, `split`; other \
                columns are ignored. Images in a folder, or in an `.npz` with an array `images` (`uint8 [N, H, W]`) in the order of the \
                rows",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: Sighting::nih_subset,
        read: nih_subset,
    },
    Format {
        name: "medmnist",
        title: "MedMNIST",
        reads: "`chestmnist*.npz`, `pneumoniamnist*.npz`, or another archive of their form whose array `findings` names the label columns; else \
                the key `findings` must name all of them in order. The archives do not identify patients, so keep `by = \"given\"`",
        place: Place::Labels,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: Sighting::medmnist,
        read: medmnist,
    },
    Format {
        name: "table",
        title: "own table",
        reads: "your own CSV, one row per image, see below",
        place: Place::Labels,
        has_columns: true,
        keys: &["report"],
        synthetic: true,
        looks_like: Sighting::table,
        read: table,
    },
    Format {
        name: "class-folders",
        title: "folders of classes",
        reads: "a folder per class in the folder `images` (torchvision's `ImageFolder`), or one of them in each of `train`, `val` and \
                `test`. Classes are findings; the images of `NORMAL` or `No Finding` have none. The folders do not identify patients",
        place: Place::Images,
        has_columns: false,
        keys: &[],
        synthetic: true,
        looks_like: Sighting::class_folders,
        read: class_folders,
    },
    Format {
        name: "imagefolder",
        title: "imagefolder",
        reads: "Hugging Face's `imagefolder` in the folder `images`: a `metadata.csv` or `metadata.jsonl` with `file_name` and the columns \
                of a `table`, in the folder or in each of `train`, `validation` and `test`",
        place: Place::Images,
        has_columns: true,
        keys: &["report"],
        synthetic: true,
        looks_like: Sighting::imagefolder,
        read: imagefolder,
    },
    Format {
        name: "webdataset",
        title: "WebDataset",
        reads: "WebDataset's tar shards, at the path `images`: a folder of them, a pattern such as `shard-{000000..000123}.tar`, or one. A \
                sample is an image and, of the same stem, `.json` with the columns of a `table`, `.txt` with the report, or `.cls` with \
                its findings",
        place: Place::Images,
        has_columns: true,
        keys: &["report"],
        synthetic: true,
        looks_like: Sighting::webdataset,
        read: webdataset,
    },
    Format {
        name: "parquet",
        title: "Parquet",
        reads: "Parquet files at the path `images`, a folder of them, a pattern or one, with a column `image` as Hugging Face's `datasets` \
                write it (`bytes` and `path`), or of paths, and the columns of a `table`. Files called `train-…`, `validation-…` and \
                `test-…` are these splits",
        place: Place::Images,
        has_columns: true,
        keys: &["report"],
        synthetic: true,
        looks_like: Sighting::parquet,
        read: parquet,
    },
    Format {
        name: "phantom",
        title: "analytic chest phantom",
        reads: "the analytic chest phantom: no files, and no radiographs of people",
        place: Place::Nowhere,
        has_columns: false,
        keys: &[],
        synthetic: false,
        looks_like: |_| None,
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

    /// Why `seen` looks like this layout, if it does.
    pub(super) fn looks_like(&self, seen: &Sighting) -> Option<String> {
        (self.looks_like)(seen)
    }

    /// Reads the data set, all splits together: of it the views that are asked for, and of those one image per patient if that is.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for a place that the layout needs and `source` lacks, or a setting that it doesn't know; the reader's
    /// own; [`AugmentError::RowsLost`] if nothing is left of the data set or of one of its splits.
    pub fn read(&self, source: &DataSource) -> Result<CxrDataset, AugmentError> {
        if !self.has_columns && !source.columns.is_empty() {
            let expected = format!("it for a table: `{}` knows its columns", self.name);
            return Err(AugmentError::setting("data.columns", "present", expected));
        }
        for (key, is_there) in [("report", source.report.is_some()), ("readers", source.readers.is_some())] {
            if is_there && !self.keys.contains(&key) {
                let expected = format!("nothing: `{}` has no use for it", self.name);
                return Err(source.named(AugmentError::setting(format!("data.{key}"), "present", expected)));
            }
        }
        let data = (self.read)(source).map_err(|error| source.named(error))?;
        let data = if source.views.is_empty() { data } else { data.with_views(&source.views)? };
        if source.one_image_per_patient { data.with_one_per_patient() } else { Ok(data) }
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

pub(super) fn labels(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let absent = || AugmentError::setting("data.labels", "absent", "the path of the label table");
    source.labels.clone().ok_or_else(absent)
}

/// The folder of a layout without a table of its own.
pub(super) fn folder(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let folder = alone(source)?;
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(FolderError::NoFolder { path: folder, key: "images".to_owned() }.into()),
    }
}

/// The place of a layout without a table of its own: a folder, a file, or a pattern.
fn alone(source: &DataSource) -> Result<PathBuf, AugmentError> {
    let absent = || AugmentError::setting("data.images", "absent", "the path of the folder");
    let folder = source.images.clone().ok_or_else(absent)?;
    if let Some(labels) = &source.labels {
        let found = format!("{}, which is not read", labels.display());
        return Err(AugmentError::setting("data.labels", found, "data.images alone: labels are in that folder"));
    }
    Ok(folder)
}

pub(super) fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

pub(super) fn images(source: &DataSource, labels: &Path) -> PathBuf {
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
    let labels = labels(source)?;
    let images = images(source, &labels);
    Table { images: Some(images), ..own_table(source, labels) }.read()
}

fn imagefolder(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    super::imagefolder::read(&own_table(source, folder(source)?))
}

fn webdataset(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    super::webdataset::read(&own_table(source, alone(source)?))
}

fn parquet(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    super::parquet::read(&own_table(source, alone(source)?))
}

fn own_table(source: &DataSource, path: PathBuf) -> Table {
    let DataSource {
        findings, unlabelled, columns, custom_findings, extra_columns, report, synthetic, missing, delimiter, ..
    } = source.clone();
    let table = Table { columns, findings, unlabelled, custom_findings, extra_columns, ..Table::new(path) };
    Table { report, synthetic, missing, delimiter, ..table }
}

fn class_folders(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let DataSource { custom_findings, findings, .. } = source.clone();
    ClassFolders { root: folder(source)?, custom_findings, findings }.read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused_by_name() {
        for format in FORMATS {
            let json = serde_json::to_string(format).unwrap();
            assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), *format);
        }
        let error = serde_json::from_str::<Format>("\"nhi\"").unwrap_err().to_string();
        assert!(
            FORMATS.iter().all(|format| error.contains(&format!("`{}`", format.name))) && error.contains("`nhi`"),
            "{error}"
        );
    }

    #[test]
    fn a_layout_without_its_files_says_what_it_needs() {
        for format in FORMATS.iter().filter(|format| format.place != Place::Nowhere) {
            let error = format.read(&DataSource::default()).unwrap_err().to_string();
            let expected = match format.place {
                Place::Labels => "data.labels is absent; write the path of the label table",
                _ => "data.images is absent; write the path of the folder",
            };
            assert_eq!(error, expected, "{format:?}");
        }
        let groups = PhantomGroups { train: 2, valid: 1, test: 1, seed: 0, size: 8 };
        let data = Format::named("phantom").unwrap().read(&DataSource { phantom: groups, ..DataSource::default() }).unwrap();
        assert_eq!(data.rows().len(), 4);
    }

    #[test]
    fn a_key_is_named_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("t.csv");
        std::fs::write(&labels, "image,Mass\na.png,1\n").unwrap();
        for (synthetic, table) in [(false, "data"), (true, "generator.images.from")] {
            for name in ["table", "class-folders"] {
                let labels = (name == "table").then(|| labels.clone());
                let source = DataSource { labels, images: Some("no/where".into()), synthetic, ..DataSource::default() };
                let error = Format::named(name).unwrap().read(&source).unwrap_err().to_string();
                assert_eq!(error, format!("no such folder: no/where; `{table}.images` is the folder of the images"));
            }
            let columns = BTreeMap::from([("image".to_owned(), "Path".to_owned())]);
            let source = DataSource { labels: Some(labels.clone()), columns, synthetic, ..DataSource::default() };
            let error = Format::named("table").unwrap().read(&source).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{table}.columns.image is `Path`")), "{error}");
        }
    }

    #[test]
    fn settings_that_a_layout_does_not_know_are_refused() {
        let columns = BTreeMap::from([("image".to_owned(), "Path".to_owned())]);
        let source = DataSource { columns, ..DataSource::default() };
        for format in FORMATS.iter().filter(|format| !format.has_columns) {
            let error = format.read(&source).unwrap_err().to_string();
            assert!(error.starts_with("data.columns is present; write it for a table"), "{format:?}: {error}");
        }
        let labels = Some("t.csv".into());
        let source = DataSource { labels, images: Some("x".into()), ..DataSource::default() };
        for format in FORMATS.iter().filter(|format| format.place == Place::Images) {
            assert!(format.read(&source).unwrap_err().to_string().contains("data.labels is t.csv"), "{format:?}");
        }
    }
}
