//! From the `[data]` table to a data set split by patient.

use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, SplitBy, SplitPlan, Splits, TrainSet};
use roentgen_augment::formats::{DataSource, MissingImages, OwnColumns, PhantomGroups, PromptTable};
use roentgen_augment::image::Preprocess;

use crate::config::{ConfigError, DataConfig, GeneratorConfig, PhantomConfig, PlanConfig, RunConfig, SplitConfig};

/// Why a data set can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A key of the `[data]` table is missing or wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file can't be used.
    #[error(transparent)]
    Data(#[from] AugmentError),
}

/// Reads the data set, all splits together.
///
/// # Errors
/// [`DataError`].
pub fn read(config: &DataConfig, preprocess: Preprocess, missing: MissingImages) -> Result<CxrDataset, DataError> {
    let vocabulary = config.vocabulary()?;
    let PhantomConfig { train, valid, test, seed } = config.phantom;
    let data = config.format.read(&DataSource {
        labels: config.labels.clone(),
        images: config.images.clone(),
        findings: vocabulary.clone(),
        custom_findings: config.custom_findings.clone(),
        extra_columns: config.extra_columns.clone(),
        report: config.report.clone(),
        delimiter: config.delimiter,
        missing,
        phantom: PhantomGroups { train, valid, test, seed, size: preprocess.size },
    })?;
    let data = match vocabulary {
        Some(vocabulary) => data.with_vocabulary(vocabulary)?,
        None => data,
    };
    let data = data.with_preprocess(preprocess).with_depth_note();
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

/// What is doubtful in how the data of a study were read, and which of its rows are not used.
#[must_use]
pub fn data_notes(train: &TrainSet, splits: &Splits) -> Vec<String> {
    let left_out = synthetic_left_out(splits, "they are a pool, and part of no arm");
    train.data().notes().iter().cloned().chain(left_out).collect()
}

/// The note that the synthetic rows of a data set take no part in something, and `remedy`; `None` if there are none.
#[must_use]
pub fn synthetic_left_out(splits: &Splits, remedy: &str) -> Option<String> {
    let synthetic = splits.synthetic()?;
    let (rows, are) = if synthetic.rows().len() == 1 { ("row", "is") } else { ("rows", "are") };
    Some(format!("{} synthetic {rows} of {} {are} left out: {remedy}", synthetic.rows().len(), synthetic.name()))
}

/// The table of prompts that the generator of a study is asked for, if it has one. What `[data]` says of columns holds for it too.
///
/// # Errors
/// As [`PromptTable::read`].
pub fn prompt_table(config: &RunConfig) -> Result<Option<PromptTable>, AugmentError> {
    let Some(GeneratorConfig { plan: PlanConfig::Prompts(path), .. }) = &config.generator else { return Ok(None) };
    let DataConfig { custom_findings, extra_columns, .. } = &config.data;
    PromptTable::read(path, &OwnColumns { findings: custom_findings.clone(), ignored: extra_columns.clone() }).map(Some)
}

/// How patients are split.
#[must_use]
pub fn plan(config: &DataConfig) -> SplitPlan {
    match config.split {
        SplitConfig::Given => SplitPlan::column(),
        SplitConfig::Patient { valid, test, seed } => SplitPlan { by: SplitBy::Patient, valid, test, seed },
    }
}
