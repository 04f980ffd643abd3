//! From the `[data]` table to a data set split by patient, and from `[generator.images]` to a pool beside it.

use std::path::Path;

use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, SplitBy, SplitPlan, Splits, TrainSet};
use roentgen_augment::formats::{DataSource, Format, MissingImages, PhantomGroups};
use roentgen_augment::image::Preprocess;
use roentgen_augment::supply::{ImagePool, PoolOptions};

use crate::config::{ConfigError, DataConfig, ImagesConfig, ImagesFrom, MissingConfig, PhantomConfig, RunConfig, SplitConfig};

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

/// Reads the data set, all splits together. A row without its image becomes what `missing` says, unless the run file says that it is
/// left out.
///
/// # Errors
/// [`DataError`].
pub fn read(config: &DataConfig, preprocess: Preprocess, missing: MissingImages) -> Result<CxrDataset, DataError> {
    let vocabulary = config.vocabulary()?;
    let data = config.format.read(&source(config, preprocess, missing)?)?;
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
    let source = DataSource { unlabelled: true, ..source(config, preprocess, MissingImages::Refuse)? };
    let data = config.format.read(&source)?;
    let data = match config.vocabulary()? {
        Some(vocabulary) => data.with_vocabulary_or_blank(vocabulary),
        None => data,
    };
    Ok(prepared(data, config, preprocess))
}

fn source(config: &DataConfig, preprocess: Preprocess, missing: MissingImages) -> Result<DataSource, DataError> {
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
        report: config.report.clone(),
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
    let data = data.with_preprocess(preprocess);
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

/// The images of a study: radiographs, split by patient, and synthetic images that exist already.
#[derive(Debug)]
pub struct StudyData {
    /// Training rows, perhaps a subset.
    pub train: TrainSet,
    /// All rows.
    pub splits: Splits,
    /// The images made elsewhere that arms draw from; `None` if no arm does.
    pub images: Option<ImagePool>,
    /// What is doubtful in how they were read, and what is not used, a sentence each.
    pub notes: Vec<String>,
}

impl StudyData {
    /// Reads everything; no image is decoded.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn open(config: &RunConfig) -> Result<Self, DataError> {
        let (train, splits) = open(&config.data, config.preprocess)?;
        let rows = train.data().rows().len();
        let images = config.generator.as_ref().and_then(|generator| generator.images.as_ref());
        let images = images.filter(|_| config.arms.iter().any(|arm| arm.pool_size(rows) > 0));
        let mut notes = train.data().notes().to_vec();
        if images.is_none_or(|images| images.from != ImagesFrom::Data) {
            let remedy =
                "they are a pool; `generator = { kind = \"images\", images = { from = \"data\" } }` lets arms draw from it";
            notes.extend(synthetic_left_out(&splits, remedy));
        }
        let images = images.map(|images| pool(images, config, &splits)).transpose()?;
        let of_pool = images.iter().flat_map(|images| images.notes()).filter(|note| !train.data().notes().contains(note));
        notes.extend(of_pool.cloned());
        Ok(Self { train, splits, images, notes })
    }
}

/// Reads the images of a `[generator.images]` table.
fn pool(images: &ImagesConfig, config: &RunConfig, splits: &Splits) -> Result<ImagePool, DataError> {
    let data = match &images.from {
        ImagesFrom::Data => {
            let expected = "a folder or a table: no row of the study's own has origin = synthetic";
            splits.synthetic().cloned().ok_or_else(|| ConfigError::value("generator.images.from", "data", expected))?
        }
        ImagesFrom::Path(path) => {
            let custom_findings = config.data.custom_findings.clone();
            read_pool(&DataConfig { custom_findings, ..found_at(path)? }, config)?
        }
        ImagesFrom::Table(data) => read_pool(data, config)?,
    };
    let options = PoolOptions { splits, descendants: images.held_out, model: images.model.as_deref() };
    Ok(ImagePool::new(&data, &options)?)
}

/// Reads a data set all of whose rows are synthetic unless they say otherwise.
fn read_pool(data: &DataConfig, config: &RunConfig) -> Result<CxrDataset, DataError> {
    // No finding is asked for: what the images were not made for is unknown on them, and not absent.
    let source = source(data, config.preprocess, MissingImages::Refuse)?;
    let read = data.format.read(&DataSource { synthetic: true, findings: None, ..source })?;
    if data.format.has_columns && !read.rows().iter().any(|row| row.record.origin.is_synthetic()) {
        let expected = "a table of synthetic images: every row of this one has origin = real";
        return Err(ConfigError::value("generator.images.from", read.name(), expected).into());
    }
    Ok(read)
}

/// How the images at a path are read: by a table, or as one of the layouts that a folder alone makes.
fn found_at(path: &Path) -> Result<DataConfig, DataError> {
    let (manifest, has) = (path.join("manifest.csv"), |name: &str| path.join(name).is_file());
    let (format, labels, images) = if path.is_file() {
        ("table", Some(path.to_owned()), None)
    } else if manifest.is_file() {
        ("table", Some(manifest), None)
    } else if has("metadata.csv") || has("metadata.jsonl") {
        ("imagefolder", None, Some(path.to_owned()))
    } else if path.is_dir() {
        ("class-folders", None, Some(path.to_owned()))
    } else {
        let expected = "the path of a table or of a folder, or \"data\"";
        return Err(ConfigError::value("generator.images.from", path.display(), expected).into());
    };
    Ok(DataConfig { labels, images, ..DataConfig::of(Format::named(format)?) })
}

/// How patients are split.
#[must_use]
pub fn plan(config: &DataConfig) -> SplitPlan {
    match config.split {
        SplitConfig::Given => SplitPlan::column(),
        SplitConfig::Patient { valid, test, seed } => SplitPlan { by: SplitBy::Patient, valid, test, seed },
    }
}
