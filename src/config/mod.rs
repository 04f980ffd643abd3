//! The run file: one TOML a run, every key documented where it is declared.

mod arm;
mod data;
mod diffusion;
mod finetune;
mod gate;
mod generator;

use std::path::{Path, PathBuf};

use roentgen_augment::batch::InputRange;
use roentgen_augment::image::Preprocess;
use roentgen_classifier::SettingError;
use roentgen_classifier::networks::DenseNetConfig;
use roentgen_classifier::training::TrainConfig;
use serde::{Deserialize, Serialize};

pub use arm::{ArmConfig, RampConfig};
pub use data::{DataConfig, PhantomConfig, SplitConfig};
pub use diffusion::DiffusionConfig;
pub use finetune::{FinetuneConfig, OptimizerConfig, Precision, Preset, SampleConfig, ScheduleConfig, ValidationConfig};
pub use gate::{AgreementConfig, CopiesConfig, FindingLimits, GateConfig, JudgeKind};
pub use generator::{GeneratorConfig, GeneratorKind, PlanConfig, SupplyMode};

/// Why a run file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the run file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or a key or value is not one of a run file's.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, key and what is allowed.
        message: String,
    },
    /// A value that parses but can't be meant.
    #[error("{key} is {value}, expected {expected}")]
    Value {
        /// Full name of the key.
        key: String,
        /// As written.
        value: String,
        /// What belongs there.
        expected: String,
    },
}

impl ConfigError {
    /// A value that can't be meant.
    pub(crate) fn value(key: impl Into<String>, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::Value { key: key.into(), value: value.to_string(), expected: expected.into() }
    }
}

/// A whole run file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Headline of the report.
    #[serde(default)]
    pub title: String,
    /// Arm that the others are compared with.
    #[serde(default = "default_baseline")]
    pub baseline: String,
    /// Classifier seeds: run `i` of every arm starts from the weights of seed `i`.
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// What is learnt from and judged on.
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
    /// What makes synthetic images, if an arm asks for any.
    #[serde(default)]
    pub generator: Option<GeneratorConfig>,
    /// What samples must pass in arms with `gate = true`.
    #[serde(default)]
    pub gate: GateConfig,
    /// How intervals are drawn.
    #[serde(default)]
    pub bootstrap: BootstrapConfig,
    /// The arms; `data` and `predict` do without.
    #[serde(default)]
    pub arms: Vec<ArmConfig>,
}

fn default_baseline() -> String {
    "real".to_owned()
}

fn default_seeds() -> Vec<u64> {
    vec![1, 2, 3]
}

/// The `[network]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Architecture.
    pub architecture: Architecture,
    /// Pixel range and channels.
    pub input: InputRange,
    /// Weights to start from (safetensors or PyTorch); from scratch if absent. The head is replaced if it has other findings.
    pub weights: Option<PathBuf>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { architecture: Architecture::Densenet121, input: InputRange::Signed, weights: None }
    }
}

/// Architecture of the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// DenseNet-121, 7 million parameters.
    Densenet121,
    /// A DenseNet of 0.1 million parameters for small images and small machines.
    Small,
}

impl NetworkConfig {
    /// Shape of the net for so many findings.
    #[must_use]
    pub fn shape(&self, findings: usize) -> DenseNetConfig {
        match self.architecture {
            Architecture::Densenet121 => DenseNetConfig::densenet121(self.input.channels(), findings),
            Architecture::Small => DenseNetConfig::small(self.input.channels(), findings),
        }
    }

    /// Name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.architecture {
            Architecture::Densenet121 => "DenseNet-121",
            Architecture::Small => "small DenseNet (growth 12, blocks 2-4-6-4)",
        }
    }
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
        let config = Self::read_data(path)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads a run file of which only the data are used: arms may be absent, and nothing but the form is checked.
    ///
    /// # Errors
    /// [`ConfigError::Read`] and [`ConfigError::Parse`].
    pub fn read_data(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&text, path, folder)
    }

    /// Parses a run file's text; `path` is named in errors, relative paths are taken from `folder`.
    ///
    /// # Errors
    /// [`ConfigError::Parse`].
    pub fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), message: error.to_string().trim_end().to_owned() })?;
        let data = config.data.paths_mut();
        let weights = config.network.weights.iter_mut();
        let cache = config.generator.iter_mut().filter_map(|generator| generator.cache.as_mut());
        let judge = config.gate.agreement.weights.iter_mut();
        for path in data.into_iter().chain(weights).chain(cache).chain(judge) {
            *path = folder.join(&*path);
        }
        if let Some(generator) = &mut config.generator {
            if let Some(diffusion) = &mut generator.diffusion {
                diffusion.pipeline = folder.join(&diffusion.pipeline);
            }
            if let PlanConfig::Prompts(path) = &mut generator.plan {
                *path = folder.join(&*path);
            }
        }
        Ok(config)
    }

    /// Refuses values that parse but can't be meant.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.arms.is_empty() {
            return Err(ConfigError::value("arms", "empty", "at least one [[arms]] table"));
        }
        let (mut names, mut folders) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for arm in &self.arms {
            names.insert(&arm.name);
            // Names are folders, which some file systems tell apart neither by case nor by a dot at the end.
            if !folders.insert(arm.name.trim_end_matches('.').to_ascii_lowercase()) {
                return Err(ConfigError::value(
                    "arms.name",
                    &arm.name,
                    "names that differ, and not in case alone: each is a folder",
                ));
            }
            arm.validate(self.generator.is_some())?;
        }
        if !names.contains(&self.baseline) {
            let known = names.into_iter().cloned().collect::<Vec<_>>().join(", ");
            return Err(ConfigError::value("baseline", &self.baseline, format!("the name of an arm ({known})")));
        }
        if let Some(generator) = &self.generator {
            generator.validate()?;
            for arm in &self.arms {
                arm.validate_plan(generator)?;
            }
        }
        self.gate.validate()?;
        if self.seeds.is_empty() {
            return Err(ConfigError::value("seeds", "empty", "at least one seed"));
        }
        let distinct: std::collections::BTreeSet<_> = self.seeds.iter().collect();
        if distinct.len() != self.seeds.len() {
            return Err(ConfigError::value("seeds", format!("{:?}", self.seeds), "seeds that differ"));
        }
        if self.preprocess.size < 32 {
            return Err(ConfigError::value("preprocess.size", self.preprocess.size, "at least 32 pixels"));
        }
        if self.bootstrap.replicates == 0 {
            return Err(ConfigError::value("bootstrap.replicates", 0, "at least 1"));
        }
        let refused = |SettingError { key, value, expected }| ConfigError::value(format!("training.{key}"), value, expected);
        self.training.validate().map_err(refused)
    }

    /// The run file of this configuration, defaults written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("every setting has a TOML form")
    }
}
