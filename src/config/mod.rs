//! The run file: one TOML file per run, every key documented where it is declared.

mod arm;
mod data;
mod diffusion;
mod error;
mod evaluation;
mod fairness;
mod gate;
mod generator;
mod images;
pub mod limits;
mod measure_files;
mod network;
mod reports;
pub(crate) mod table;

use std::path::{Path, PathBuf};

use roentgen_augment::image::Preprocess;
use roentgen_classifier::SettingError;
use roentgen_classifier::training::TrainConfig;
use serde::{Deserialize, Serialize};

use self::limits::{
    LEAST_SIDE, MOST_BATCH, MOST_PIXELS, MOST_REPLICATES, MOST_SEED, MOST_STEPS, MOST_WORKERS, entries, within,
};
use crate::hub::Asked;
use crate::memory::Estimate;

pub use arm::{ArmConfig, RampConfig};
pub use data::{DataConfig, MissingConfig, PhantomConfig, SplitConfig};
pub(crate) use diffusion::sampler_named;
pub use diffusion::{ComputeType, DiffusionConfig, DiffusionKeys, USUAL_STRENGTH};
pub use error::ConfigError;
pub use evaluation::EvaluationConfig;
pub use fairness::{ATTRIBUTES, FairnessConfig, OperatingPoint};
pub use gate::{AgreementConfig, CopiesConfig, FindingLimits, GateConfig, JudgeKind};
pub use generator::{GeneratorConfig, GeneratorKind, PlanConfig, SupplyMode};
pub use images::{ImagesConfig, ImagesFrom};
pub use measure_files::{LpipsConfig, TextsConfig};
pub use network::{Architecture, NetworkConfig};
pub use reports::ReportsConfig;

/// A whole run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Headline of the comparison report.
    #[serde(default)]
    pub title: String,
    /// Arm that the others are compared with.
    #[serde(default = "default_baseline")]
    pub baseline: String,
    /// Classifier seeds: run `i` of every arm starts from the weights of seed `i`.
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// The data for training, validation and test.
    pub data: DataConfig,
    /// How images become square pictures.
    #[serde(default)]
    pub preprocess: Preprocess,
    /// The classifier.
    #[serde(default)]
    pub network: NetworkConfig,
    /// How it is trained; the same in every arm.
    #[serde(default)]
    pub training: TrainConfig,
    /// The generator of synthetic images, if an arm has any.
    #[serde(default)]
    pub generator: Option<GeneratorConfig>,
    /// The checks that samples must pass in arms with `gate = true`.
    #[serde(default)]
    pub gate: GateConfig,
    /// How the synthetic images are measured beside the arms; they are not if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationConfig>,
    /// By which groups of test patients the arms are judged.
    #[serde(default)]
    pub fairness: FairnessConfig,
    /// How intervals are drawn.
    #[serde(default)]
    pub bootstrap: BootstrapConfig,
    /// The arms; not needed by `data` and `predict`.
    #[serde(default)]
    pub arms: Vec<ArmConfig>,
}

fn default_baseline() -> String {
    "real".to_owned()
}

fn default_seeds() -> Vec<u64> {
    vec![1, 2, 3]
}

/// The `[bootstrap]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BootstrapConfig {
    /// Resamples of the test patients.
    pub replicates: usize,
    /// Seed of the resamples.
    pub seed: u64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self { replicates: 2_000, seed: 0 }
    }
}

impl RunConfig {
    /// Reads and checks a run file. Relative paths in it are relative to the file.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, the line and what to write instead.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let (text, config) = Self::read_text(path)?;
        config.validate().map_err(|error| error.in_file(path, &text))?;
        Ok(config)
    }

    /// Reads a run file of which only the data are used. All of it is checked, but arms may be absent.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_data(path: &Path) -> Result<Self, ConfigError> {
        let (text, config) = Self::read_text(path)?;
        config.validate_tables().map_err(|error| error.in_file(path, &text))?;
        Ok(config)
    }

    fn read_text(path: &Path) -> Result<(String, Self), ConfigError> {
        let text = read_text(path)?;
        let config = Self::parse(&text, path, folder_of(path))?;
        Ok((text, config))
    }

    /// Parses a run file's text; `path` is named in errors, relative paths are taken from `folder`.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string().trim_end().to_owned() })?;
        config.data.keep(&config.fairness.kept_columns());
        let data = config.data.paths_mut();
        let weights = config.network.weights.iter_mut();
        let cache = config.generator.iter_mut().filter_map(|generator| generator.cache.as_mut());
        let judge = config.gate.agreement.weights.iter_mut();
        config.evaluation.iter_mut().for_each(|evaluation| evaluation.resolve(folder));
        for path in data.into_iter().chain(weights).chain(cache).chain(judge) {
            *path = resolve(folder, path);
        }
        if let Some(generator) = &mut config.generator {
            if let Some(diffusion) = &mut generator.diffusion {
                diffusion.resolve(folder);
            }
            for path in generator.images.iter_mut().flat_map(ImagesConfig::paths_mut) {
                *path = folder.join(&*path);
            }
            if let PlanConfig::Prompts(path) = &mut generator.plan {
                *path = resolve(folder, path);
            }
        }
        Ok(config)
    }

    /// The checkpoints that it names, if an arm needs them.
    pub fn checkpoints(&mut self) -> Vec<Asked<'_>> {
        let needed = self.arms.iter().any(|arm| arm.pool_size(1_000) > 0);
        let diffusion = self.generator.iter_mut().filter_map(|generator| generator.diffusion.as_mut()).filter(|_| needed);
        let networks = self.evaluation.iter_mut().flat_map(EvaluationConfig::checkpoints);
        diffusion.flat_map(|diffusion| diffusion.checkpoints("generator.diffusion.")).chain(networks).collect()
    }

    /// Refuses values that parse but are invalid.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.arms.is_empty() {
            return Err(ConfigError::value("arms", "empty", "at least one [[arms]] table"));
        }
        self.validate_tables()
    }

    /// As [`validate`](Self::validate), but there may be no arm.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub fn validate_tables(&self) -> Result<(), ConfigError> {
        self.data.validate()?;
        self.validate_arms()?;
        if let Some(generator) = &self.generator {
            generator.validate()?;
            for arm in &self.arms {
                arm.validate_plan(generator)?;
            }
        }
        self.gate.validate()?;
        self.evaluation.iter().try_for_each(EvaluationConfig::validate)?;
        self.fairness.validate(&self.data)?;
        if self.seeds.is_empty() {
            return Err(ConfigError::value("seeds", "empty", "at least one seed"));
        }
        entries("seeds", self.seeds.len())?;
        let distinct: std::collections::BTreeSet<_> = self.seeds.iter().collect();
        if distinct.len() != self.seeds.len() {
            return Err(ConfigError::value("seeds", format!("{:?}", self.seeds), "seeds that differ"));
        }
        self.seeds.iter().try_for_each(|seed| within("seeds", *seed, 0..=MOST_SEED))?;
        within("preprocess.size", self.preprocess.size, LEAST_SIDE..=MOST_PIXELS)?;
        within("bootstrap.replicates", self.bootstrap.replicates, 1..=MOST_REPLICATES)?;
        self.network.validate(self.preprocess.size)?;
        self.validate_training()
    }

    fn validate_arms(&self) -> Result<(), ConfigError> {
        entries("arms", self.arms.len())?;
        // Names are folders, which some file systems tell apart neither by case nor by a dot at the end.
        let mut names = std::collections::BTreeMap::new();
        for arm in &self.arms {
            if let Some(other) = names.insert(arm.name.trim_end_matches('.').to_ascii_lowercase(), &arm.name) {
                let expected = format!("names that differ, and not in case alone as from `{other}`: each is a folder");
                return Err(ConfigError::value("arms.name", &arm.name, expected));
            }
            arm.validate(self.generator.is_some())?;
        }
        if self.arms.is_empty() || self.arms.iter().any(|arm| arm.name == self.baseline) {
            return Ok(());
        }
        let known = self.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>().join(", ");
        Err(ConfigError::value("baseline", &self.baseline, format!("the name of an arm ({known})")))
    }

    fn validate_training(&self) -> Result<(), ConfigError> {
        let training = &self.training;
        let most_steps = MOST_STEPS as usize;
        for (key, value, least, most) in [
            ("steps", training.steps, 1, most_steps),
            ("batch_size", training.batch_size, 1, MOST_BATCH),
            ("eval_every", training.eval_every, 1, most_steps),
            ("patience", training.patience, 0, most_steps),
            ("warmup_steps", training.warmup_steps, 0, most_steps),
            ("eval_batch_size", training.eval_batch_size, 1, MOST_BATCH),
            ("workers", training.workers, 1, MOST_WORKERS),
        ] {
            within(format!("training.{key}"), value, least..=most)?;
        }
        arm::validate_augmentation("training.augmentation", &training.augmentation)?;
        let refused = |SettingError { key, value, expected }| ConfigError::value(format!("training.{key}"), value, expected);
        training.validate().map_err(refused)
    }

    /// Refuses mixtures that are too large with `n` real images.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the arm.
    pub fn validate_counts(&self, n: usize) -> Result<(), ConfigError> {
        self.arms.iter().try_for_each(|arm| arm.validate_counts(n))
    }

    /// Least memory that training and prediction take on the host: what they compute too if `computes` says that it does, and the
    /// images alone if a GPU computes.
    #[must_use]
    pub fn memory(&self, computes: bool) -> Estimate {
        let (training, side) = (&self.training, self.preprocess.size);
        let micro = training.batch_size / training.accumulation.max(1);
        let batch = micro.max(training.eval_batch_size);
        let estimate = Estimate::new("preprocess.size, generator.size or the batch sizes")
            .with("the images of a batch", &[training.batch_size, side, side]);
        let generator = self.generator.iter().filter(|_| self.arms.iter().any(|arm| arm.pool_size(1_000) > 0));
        let estimate = generator.fold(estimate, |estimate, generator| {
            let side = generator.size.unwrap_or(side);
            estimate.with("generated images", &[generator.batch().get(), side, side])
        });
        if !computes {
            return estimate;
        }
        let shape = self.network.shape(1);
        // What the first convolution makes is kept for the backward pass.
        let (channels, shrunk) = shape.first_map();
        estimate
            .with("their tensor", &[batch, shape.in_channels(), side, side])
            .with("the first feature map", &[batch, channels, side / shrunk, side / shrunk])
    }

    /// Least memory that an image takes on its way to becoming a picture of this size.
    #[must_use]
    pub fn image_memory(&self) -> Estimate {
        let side = self.preprocess.size;
        Estimate::new("preprocess.size").with("an image", &[side, side])
    }

    /// The run file of this configuration, defaults written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("every setting has a TOML form")
    }
}

/// The text of a run file.
pub(crate) fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// A path of a run file: relative to the file's `folder`, absolute, or from the home folder if it begins with `~/`.
pub(crate) fn resolve(folder: &Path, path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => folder.join(path),
    }
}

/// The folder that a run file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
