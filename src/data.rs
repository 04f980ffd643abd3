//! From the `[data]` table to patients apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, SplitBy, SplitPlan, Splits, TrainSet};
use roentgen_augment::formats::{MedMnist, MissingImages, NihFiles, NihLists, NihSubset, Table};
use roentgen_augment::image::{ImageFunction, Preprocess};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::record::Split;

use crate::config::{ConfigError, DataConfig, DataFormat, PhantomConfig, SplitConfig};

/// Why a data set can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A key of the `[data]` table is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The files are at fault.
    #[error(transparent)]
    Data(#[from] AugmentError),
}

/// Reads the data set, all splits together.
///
/// # Errors
/// [`DataError`].
pub fn read(config: &DataConfig, preprocess: Preprocess, missing: MissingImages) -> Result<CxrDataset, DataError> {
    let vocabulary = config.vocabulary()?;
    let labels =
        || config.labels.clone().ok_or_else(|| ConfigError::value("data.labels", "absent", "the path of the label table"));
    let images = |labels: &Path| config.images.clone().unwrap_or_else(|| folder_of(labels));
    let data = match config.format {
        DataFormat::Nih => {
            let table = labels()?;
            let folder = folder_of(&table);
            let lists = NihLists { train: folder.join("train_val_list.txt"), test: folder.join("test_list.txt") };
            let lists = (lists.train.is_file() && lists.test.is_file()).then_some(lists);
            NihFiles { images: images(&table), table, lists, missing }.read()?
        }
        DataFormat::NihSubset => {
            let table = labels()?;
            NihSubset { images: images(&table), labels: table, missing }.read()?
        }
        DataFormat::Medmnist => MedMnist { path: labels()?, vocabulary: None }.read()?,
        DataFormat::Table => {
            let table = labels()?;
            let images = config.images.clone();
            let (custom_findings, extra_columns) = (config.custom_findings.clone(), config.extra_columns.clone());
            let report = config.report.clone();
            Table { images, custom_findings, extra_columns, report, missing, ..Table::new(table) }.read()?
        }
        DataFormat::Phantom => phantom(&config.phantom, preprocess.size)?,
    };
    let data = match vocabulary {
        Some(vocabulary) => data.with_vocabulary(vocabulary)?,
        None => data,
    };
    let data = data.with_preprocess(preprocess);
    Ok(if config.cache_mib > 0 { data.with_cache(config.cache_mib << 20) } else { data })
}

/// Reads the data set and splits it by patient.
///
/// # Errors
/// [`DataError`].
pub fn open(config: &DataConfig, preprocess: Preprocess) -> Result<(TrainSet, Splits), DataError> {
    let data = read(config, preprocess, MissingImages::Refuse)?;
    let splits = Splits::new(&data, &plan(config))?;
    let train = match config.train_images {
        Some(images) => splits.train().subset(images, plan(config).seed)?,
        None => splits.train().clone(),
    };
    Ok((train, splits))
}

/// How patients are split.
#[must_use]
pub fn plan(config: &DataConfig) -> SplitPlan {
    match config.split {
        SplitConfig::Given => SplitPlan::column(),
        SplitConfig::Patient { valid, test, seed } => SplitPlan { by: SplitBy::Patient, valid, test, seed },
    }
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Films of three groups of phantoms, one group a split.
fn phantom(config: &PhantomConfig, size: usize) -> Result<CxrDataset, AugmentError> {
    // A sum beyond the largest number is refused with the numbers that are merely too large.
    let total = config.train.saturating_add(config.valid).saturating_add(config.test);
    let films = PhantomDataset::new(PhantomDatasetConfig::new(total, size, config.seed))?;
    let vocabulary = Arc::new(films.vocabulary().clone());
    let mut records = films.records();
    let mut last: Option<(roentgen_augment::record::PatientId, Split)> = None;
    for (at, record) in records.iter_mut().enumerate() {
        let planned = match at {
            at if at < config.train => Split::Train,
            at if at < config.train + config.valid => Split::Valid,
            _ => Split::Test,
        };
        // A patient stays with its first film.
        let split = match (&last, &record.patient_id) {
            (Some((patient, split)), Some(this)) if patient == this => *split,
            _ => planned,
        };
        last = record.patient_id.clone().map(|patient| (patient, split));
        record.split = Some(split);
    }
    let source = ImageFunction::new("phantom", move |index| films.image(index));
    CxrDataset::from_records("analytic chest phantom", vocabulary, records, Arc::new(source))
}
