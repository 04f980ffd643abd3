//! The images of a study: radiographs split by patient, and a pool of synthetic images that exist already.

use std::path::Path;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CheckReport, CxrDataset, SplitPlan, Splits, TrainSet};
use roentgen_augment::formats::{DataSource, Format, Guess, MissingImages, TableError, guess_for};
use roentgen_augment::supply::{ImagePool, PoolOptions};
use roentgen_classifier::training::check_selection;

use crate::compare::batcher;
use crate::config::{ArmConfig, ConfigError, ImagesConfig, ImagesFrom, RunConfig};
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
        let mut notes = [train.data().notes().to_vec(), config.network.notes()].concat();
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
    let mut unknown = Vec::new();
    let data = match read_on(config, &mut unknown) {
        Ok(data) => data,
        // What else is missing may be in a column that isn't known.
        Err(error) => return CheckReport::unread(unknown.first().unwrap_or(&error)),
    };
    // So may the splits.
    let is_divided = unknown.is_empty() || data.rows().iter().any(|row| row.record.split.is_some());
    let plan = if is_divided { plan(&config.data) } else { SplitPlan::default() };
    let mut report = CheckReport::of(&data, &plan, progress);
    for (at, error) in unknown.iter().enumerate() {
        report.insert(at, error);
    }
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

/// Reads the data set for a check, without the columns that it doesn't know: rows may be at fault too. Why these can't be read goes to
/// `unknown`.
fn read_on(config: &RunConfig, unknown: &mut Vec<DataError>) -> Result<CxrDataset, DataError> {
    let mut known = config.data.clone();
    loop {
        let error = match read(&known, config.preprocess, MissingImages::Keep) {
            Ok(data) => return Ok(data),
            Err(error) => error,
        };
        let DataError::Data(AugmentError::Table(TableError::UnknownColumn { columns, .. })) = &error else {
            return Err(error);
        };
        if known.extra_columns.contains(&columns[0]) {
            return Err(error);
        }
        known.extra_columns.extend(columns.iter().cloned());
        unknown.push(error);
    }
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
            splits.synthetic().cloned().ok_or_else(|| ConfigError::value(FROM, "data", expected))?
        }
        ImagesFrom::Path(path) => {
            let Guess { format, source, .. } = guessed(path, config)?;
            let extra = source.extra_columns.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let source = DataSource { missing: MissingImages::Refuse, ..source };
            let data = read_pool(format, source, config, splits)?;
            let note = format!("{}: columns that are neither fields nor findings are ignored: {extra}", data.name());
            if extra.is_empty() { data } else { data.with_note(note) }
        }
        ImagesFrom::Table(data) => {
            read_pool(data.format, source(data, config.preprocess, MissingImages::Refuse)?, config, splits)?
        }
    };
    if images.from != ImagesFrom::Data {
        check_sets(&data, config)?;
    }
    let options = PoolOptions { splits, descendants: images.held_out, model: images.model.as_deref() };
    Ok(ImagePool::new(&data, &options)?)
}

/// Where several sets are read as one, the patients of a pool must name theirs: another one's would not be known as held out.
fn check_sets(pool: &CxrDataset, config: &RunConfig) -> Result<(), DataError> {
    let sets: Vec<String> = config.data.sets().map(|set| format!("{}/", set.set_name())).collect();
    if sets.len() == 1 {
        return Ok(());
    }
    let mut patients = pool.rows().iter().flat_map(|row| row.record.patients());
    match patients.find(|patient| !sets.iter().any(|set| patient.as_str().starts_with(set.as_str()))) {
        None => Ok(()),
        Some(patient) => {
            let expected =
                format!("patients named by their set, as in {}{patient}: which one is held out can't be told", sets[0]);
            Err(ConfigError::value(FROM, format!("{} with patient {patient}", pool.name()), expected).into())
        }
    }
}

/// The key that says where a pool is.
const FROM: &str = "generator.images.from";

/// How the images at a path are read.
fn guessed(path: &Path, config: &RunConfig) -> Result<Guess, DataError> {
    let expected = "the path of a table or of a folder, or \"data\"";
    if !path.exists() {
        return Err(ConfigError::value(FROM, path.display(), expected).into());
    }
    let custom_findings = config.data.custom_findings.clone();
    let asked = DataSource { synthetic: true, custom_findings, ..DataSource::default() };
    guess_for(path, &asked).map_err(|error| match error {
        AugmentError::NoLayout { tried, .. } => ConfigError::value(
            FROM,
            path.display(),
            format!("{expected}, or a table with `format` that says how they are read{tried}"),
        )
        .into(),
        other => other.into(),
    })
}

/// Reads a data set all of whose rows are synthetic unless they say otherwise.
fn read_pool(format: Format, source: DataSource, config: &RunConfig, splits: &Splits) -> Result<CxrDataset, DataError> {
    // A list says of every finding of the study whether it is there, as in the study's own table. A column that isn't there says nothing,
    // nor do folders: what the images were not made for is unknown on them.
    let findings = format.has_columns.then(|| splits.train().data().vocabulary().as_ref().clone());
    let read = format.read(&DataSource { synthetic: true, findings, ..source })?;
    if format.has_columns && !read.rows().iter().any(|row| row.record.origin.is_synthetic()) {
        let expected = "a table of synthetic images: every row of this one has origin = real";
        return Err(ConfigError::value(FROM, read.name(), expected).into());
    }
    Ok(read.with_preprocess(config.preprocess).with_depth_note())
}
