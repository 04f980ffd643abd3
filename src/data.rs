//! From the `[data]` table to a data set split by patient.

use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, SplitBy, SplitPlan, Splits, TrainSet};
use roentgen_augment::formats::{DataSource, MissingImages, OwnColumns, PhantomGroups, PromptTable};
use roentgen_augment::image::Preprocess;

use crate::config::{
    ConfigError, DataConfig, GeneratorConfig, MissingConfig, PhantomConfig, PlanConfig, RunConfig, SplitConfig,
};

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

/// Reads the data set, all splits together, or several as one. A row without its image becomes what `missing` says, unless the run file
/// says that it is left out.
///
/// # Errors
/// [`DataError`].
pub fn read(config: &DataConfig, preprocess: Preprocess, missing: MissingImages) -> Result<CxrDataset, DataError> {
    let vocabulary = config.vocabulary()?;
    let data = read_sets(config, |set| source(set, preprocess, missing))?;
    let data = match vocabulary {
        Some(vocabulary) => data.with_vocabulary(vocabulary)?,
        None => data,
    };
    Ok(prepared(data, config, preprocess))
}

/// Reads images that are to be scored for the findings of `config`: labels that the data set lacks are unknown.
///
/// # Errors
/// [`DataError`].
pub fn read_unlabelled(config: &DataConfig, preprocess: Preprocess) -> Result<CxrDataset, DataError> {
    let source = |set: &DataConfig| Ok(DataSource { unlabelled: true, ..source(set, preprocess, MissingImages::Refuse)? });
    let data = read_sets(config, source)?;
    let data = match config.vocabulary()? {
        Some(vocabulary) => data.with_vocabulary_or_blank(vocabulary),
        None => data,
    };
    Ok(prepared(data, config, preprocess))
}

/// The data set, or several as one: then each with its own split applied.
fn read_sets(
    config: &DataConfig,
    source: impl Fn(&DataConfig) -> Result<DataSource, DataError>,
) -> Result<CxrDataset, DataError> {
    if config.also.is_empty() {
        return Ok(config.format.read(&source(config)?)?);
    }
    let one = |(at, set): (usize, &DataConfig)| -> Result<_, DataError> {
        let source = source(set)?;
        // The findings of the first table are those of the whole.
        let source = if at == 0 { DataSource { findings: None, ..source } } else { source };
        let data = set.format.read(&source)?;
        // Which rows have no split is for training or a check to say.
        let divided = split_plan(&set.split).apply(&data).unwrap_or(data);
        Ok((set.set_name().to_owned(), divided))
    };
    let sets = config.sets().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(CxrDataset::merged(&config.title(), sets, &config.policy)?)
}

/// What the readers are told of a data set.
pub(crate) fn source(config: &DataConfig, preprocess: Preprocess, missing: MissingImages) -> Result<DataSource, DataError> {
    let PhantomConfig { train, valid, test, seed } = config.phantom;
    Ok(DataSource {
        labels: config.labels.clone(),
        images: config.images.clone(),
        findings: config.vocabulary()?,
        unlabelled: false,
        synthetic: false,
        columns: config.columns.clone(),
        custom_findings: config.custom_findings.clone(),
        extra_columns: config.extra_columns.clone(),
        kept_columns: config.kept_columns.clone(),
        report: config.report.clone(),
        readers: config.readers,
        delimiter: config.delimiter,
        missing: match config.missing {
            MissingConfig::Refuse => missing,
            MissingConfig::Skip => MissingImages::Skip,
        },
        views: config.views.clone(),
        one_image_per_patient: config.one_image_per_patient,
        phantom: PhantomGroups { train, valid, test, seed, size: preprocess.size },
    })
}

fn prepared(data: CxrDataset, config: &DataConfig, preprocess: Preprocess) -> CxrDataset {
    let data = data.with_preprocess(preprocess).with_depth_note();
    if config.cache_mib > 0 { data.with_cache(config.cache_mib << 20) } else { data }
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

/// How patients are split. Where several sets are read as one, each has been by its own plan.
#[must_use]
pub fn plan(config: &DataConfig) -> SplitPlan {
    let seed = split_plan(&config.split).seed;
    if config.also.is_empty() { split_plan(&config.split) } else { SplitPlan { seed, ..SplitPlan::column() } }
}

fn split_plan(split: &SplitConfig) -> SplitPlan {
    match *split {
        SplitConfig::Given => SplitPlan::column(),
        SplitConfig::Patient { valid, test, seed } => SplitPlan { by: SplitBy::Patient, valid, test, seed },
    }
}
