//! The list of layouts that a run file can name.

use std::path::PathBuf;

use super::guess::Sighting;
use super::phantom::phantom;
use super::registry::{DataSource, Format, Place, alone, folder, folder_of, images, labels};
use super::{ClassFolders, MedMnist, NihFiles, NihLists, NihSubset, Table, published};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::record::Finding;

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
        reads: "RoentGen-v2's synthetic images: `labels` is the folder of its Parquet files, a pattern or one, or a CSV with `image_id`, \
                `text`, `gender`, `age`, `race`, `view`, `impression` and labels beside image files by `image_id`. All rows are \
                synthetic",
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
        findings,
        unlabelled,
        columns,
        custom_findings,
        extra_columns,
        kept_columns,
        report,
        synthetic,
        missing,
        delimiter,
        ..
    } = source.clone();
    let table = Table { columns, findings, unlabelled, custom_findings, extra_columns, kept_columns, ..Table::new(path) };
    Table { report, synthetic, missing, delimiter, ..table }
}

fn class_folders(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let DataSource { custom_findings, findings, .. } = source.clone();
    ClassFolders { root: folder(source)?, custom_findings, findings }.read()
}
