//! The images of a study: radiographs split by patient, and a pool of synthetic images that exist already.

use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CheckReport, CxrDataset, Splits, TrainSet};
use roentgen_augment::formats::{DataSource, Format, MissingImages};
use roentgen_augment::supply::{ImagePool, PoolOptions};
use roentgen_classifier::training::check_selection;

use crate::compare::batcher;
use crate::config::{ArmConfig, ConfigError, DataConfig, ImagesConfig, ImagesFrom, RunConfig};
use crate::data::{DataError, open, plan, read, source, synthetic_left_out};

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
        let images = images.map(|images| read_images(images, config, &splits)).transpose()?;
        let of_pool = images.iter().flat_map(|images| images.notes()).filter(|note| !train.data().notes().contains(note));
        notes.extend(of_pool.cloned());
        let study = Self { train, splits, images, notes };
        // Before a run folder is taken: every arm has the images that it asks for.
        config.arms.iter().try_for_each(|arm| study.pool(config, arm).map(|_| ()))?;
        Ok(study)
    }

    /// The images made elsewhere that an arm draws from; `None` for an arm without any.
    ///
    /// # Errors
    /// [`DataError`] if there are too few.
    pub fn pool(&self, config: &RunConfig, arm: &ArmConfig) -> Result<Option<ImagePool>, DataError> {
        let size = arm.pool_size(self.train.data().rows().len());
        let (Some(images), Some(generator), 1..) = (&self.images, &config.generator, size) else { return Ok(None) };
        let chosen = images.choose(&generator.labels(arm), size, generator.seed);
        chosen.map(Some).map_err(|error| match error {
            AugmentError::TooFewImages { name, wanted, available } => {
                let expected =
                    format!("at most {available}, the images of {name}: with `pool = {available}`, epochs take them in turn");
                ConfigError::value(format!("arms.{}.pool", arm.name), wanted, expected).into()
            }
            other => other.into(),
        })
    }
}

/// Reads the data of a study as [`StudyData::open`] does and decodes every image, but goes on after a fault where it can: what it finds
/// nothing wrong with can be trained on, and of what can't be it says why.
///
/// `progress(done, all)` is called after every image, from any thread.
#[must_use]
pub fn check(config: &RunConfig, progress: impl Fn(usize, usize) + Sync) -> CheckReport {
    let data = match read(&config.data, config.preprocess, MissingImages::Keep) {
        Ok(data) => data,
        Err(error) => return CheckReport::unread(&error),
    };
    let mut report = CheckReport::of(&data, &plan(&config.data), progress);
    if report.is_usable() {
        // The rest is said by what training itself calls.
        match StudyData::open(config) {
            Ok(study) => {
                let (train, batcher) = (&study.train, batcher(config, study.train.data().vocabulary()));
                if let Err(error) = check_selection(config.training.select, study.splits.valid(), &batcher) {
                    report.push(&error);
                }
                if let Err(error) = config.validate_counts(train.data().rows().len()) {
                    report.push(&error);
                }
                if let Err(error) = study.splits.with_synthetic(train) {
                    report.warn("descends-from-held-out", &error);
                }
                for error in damaged(study.images.as_ref().map(ImagePool::data).filter(|pool| pool.name() != data.name())) {
                    report.push(&error);
                }
                report.notes = study.notes;
            }
            Err(error) => report.push(&error),
        }
    }
    report
}

/// Why images of a pool can't be decoded.
fn damaged(pool: Option<&CxrDataset>) -> Vec<AugmentError> {
    let decoded = |pool: &CxrDataset| (0..pool.rows().len()).into_par_iter().filter_map(|at| pool.decode(at).err()).collect();
    pool.map_or_else(Vec::new, decoded)
}

/// Reads the images of a `[generator.images]` table.
fn read_images(images: &ImagesConfig, config: &RunConfig, splits: &Splits) -> Result<ImagePool, DataError> {
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
    Ok(read.with_preprocess(config.preprocess).with_depth_note())
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
