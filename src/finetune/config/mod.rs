//! The run file of `roentgen finetune`: one TOML file per run, every key documented where it is declared.

mod preset;
mod tables;

use std::path::{Path, PathBuf};

use roentgen_augment::image::Preprocess;
use roentgen_augment::text::PromptSettings;
use roentgen_classifier::SettingError;
use roentgen_classifier::training::{EmaConfig, Precision, WatchConfig};
use serde::{Deserialize, Serialize};

use crate::config::limits::{MOST_BATCH, MOST_CACHE_MIB, MOST_PIXELS, MOST_STEPS, MOST_TOKENS, MOST_WORKERS, entries, within};
use crate::config::{ConfigError, DataConfig, folder_of, read_text, resolve, table};
use crate::device::DeviceChoice;
use crate::finetune::run::{CacheConfig, CheckpointConfig, ExchangeKind};
use crate::finetune::{Assembly, FinetuneError, Objective, ReconstructionObjective, Strategy, TraineeSettings};
use crate::memory::Estimate;

pub use preset::Preset;
pub use tables::{OptimizerConfig, SampleConfig, ScheduleConfig, ValidationConfig};

/// A whole run file of `roentgen finetune`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Values to start from, which the other keys override.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// Text for people.
    #[serde(default)]
    pub title: String,
    /// Seed of all random numbers: order, noise, timesteps, new weights.
    #[serde(default)]
    pub seed: u64,
    /// Radiographs with their reports or labels. The generator learns from the training split alone; the loss on the validation split
    /// is monitored; the test split is not read.
    pub data: DataConfig,
    /// How images become square pictures.
    #[serde(default = "default_preprocess")]
    pub preprocess: Preprocess,
    /// Whether synthetic rows of the table train too; their text is the prompt that made them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub include_synthetic: bool,
    /// What text goes with an image.
    #[serde(default)]
    pub prompts: PromptSettings,
    /// What training starts from.
    #[serde(default)]
    pub model: Assembly,
    /// Which parts train, and how.
    #[serde(default = "Strategy::unet_only")]
    pub strategy: Strategy,
    /// The denoiser's loss.
    #[serde(default)]
    pub objective: Objective,
    /// The autoencoder's loss, for `[strategy.reconstruct]`.
    #[serde(default)]
    pub vae: ReconstructionObjective,
    /// AdamW, learning rates, clipping.
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    /// The length of the run, and the course of the learning rates.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// Images an optimiser step, over all micro-batches.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
    /// Micro-batches per step, to save memory; gradients are those of the whole batch.
    #[serde(default = "default_accumulation")]
    pub accumulation: usize,
    /// Share of the images trained with an empty text, which guidance needs. RoentGen's is not published; 0.1 is our choice and
    /// the usual one (Ho and Salimans 2022, arXiv 2207.12598, section 4).
    #[serde(default = "default_caption_dropout")]
    pub caption_dropout: f64,
    /// Moving average of the weights, which is exported; none if absent.
    #[serde(default)]
    pub ema: Option<EmaConfig>,
    /// What text encoder and U-Net compute in: `fp32` or `bf16`. Weights that train, moments and averages are 32-bit either way.
    #[serde(default)]
    pub precision: Precision,
    /// Recompute activations in the backward pass instead of keeping them: less memory, more time, equal results.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Loss on the validation split.
    #[serde(default)]
    pub validation: ValidationConfig,
    /// Sample sheets of fixed prompts.
    #[serde(default)]
    pub samples: SampleConfig,
    /// The checkpoints that a run continues from.
    #[serde(default)]
    pub checkpoints: CheckpointConfig,
    /// When a diverging run causes a warning or is stopped.
    #[serde(default)]
    pub watch: WatchConfig,
    /// Cache of the outputs of frozen networks, on disk.
    #[serde(default)]
    pub cache: CacheConfig,
    /// Devices to train on together, such as `["cuda:0", "cuda:1"]`: each takes an equal part of the micro-batches. The command line's
    /// `--device` alone if empty.
    #[serde(default)]
    pub devices: Vec<String>,
    /// How their gradients are summed: `auto` (NCCL on CUDA, else the host) or `host`.
    #[serde(default)]
    pub exchange: ExchangeKind,
    /// Steps between two lines of `metrics.jsonl`.
    #[serde(default = "default_log_every")]
    pub log_every: u64,
    /// Threads that load batches ahead.
    #[serde(default = "default_workers")]
    pub workers: usize,
}

fn default_preprocess() -> Preprocess {
    Preprocess::new(512)
}

fn default_batch_size() -> usize {
    16
}

fn default_accumulation() -> usize {
    1
}

fn default_caption_dropout() -> f64 {
    0.1
}

fn default_log_every() -> u64 {
    1
}

fn default_workers() -> usize {
    1
}

impl FinetuneConfig {
    /// Reads and checks a run file; `overrides` are `KEY=VALUE`, the key with its table (`schedule.steps=100`). Relative paths in it
    /// are relative to the file.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, the line and what to write instead.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let config = Self::parse(&text, path, folder_of(path), overrides)?;
        config.validate().map_err(|error| {
            // The file is not to blame for a key that the command line sets.
            let overridden =
                |key: &str| overrides.iter().any(|set| set.split_once('=').is_some_and(|(name, _)| name.trim() == key));
            match &error {
                ConfigError::Value { key, .. } if overridden(key) => error,
                _ => error.in_file(path, &text),
            }
        })?;
        Ok(config)
    }

    /// Parses a run file's text; `path` is named in errors, relative paths are taken from `folder`.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] and, for a wrong override, [`ConfigError::Value`].
    pub fn parse(text: &str, path: &Path, folder: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let parse = |message: String| ConfigError::Parse { path: path.to_owned(), message: message.trim_end().to_owned() };
        // On its own first: the messages then have the file's lines.
        let own: Self = toml::from_str(text).map_err(|error| parse(error.to_string()))?;
        let mut table: toml::Table = toml::from_str(text).map_err(|error| parse(error.to_string()))?;
        table::set(&mut table, overrides)?;
        // A preset can be an override.
        let preset = match table.get("preset") {
            Some(name) => Some(name.clone().try_into::<Preset>().map_err(|error| parse(error.to_string()))?),
            None => own.preset,
        };
        if let Some(preset) = preset {
            table = table::merged(preset.table(), table);
        }
        let mut config: Self = table.try_into().map_err(|error: toml::de::Error| parse(error.to_string()))?;
        let cache = config.cache.folder.iter_mut();
        let (configs, places) = config.model.paths_mut();
        for path in config.data.paths_mut().into_iter().chain(configs).chain(cache) {
            *path = resolve(folder, path);
        }
        for place in places {
            *place = place.clone().resolved(|path| resolve(folder, path));
        }
        Ok(config)
    }

    /// Refuses values that parse but are invalid.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |good: bool, key: &str, value: String, expected: &str| {
            if good { Ok(()) } else { Err(ConfigError::value(key, value, expected)) }
        };
        within("batch_size", self.batch_size, 1..=MOST_BATCH)?;
        let divides = self.accumulation > 0 && self.batch_size.is_multiple_of(self.accumulation);
        check(divides, "accumulation", self.accumulation.to_string(), "a divisor of batch_size")?;
        entries("devices", self.devices.len())?;
        let shared = self.accumulation.is_multiple_of(self.devices.len().max(1));
        check(shared, "accumulation", self.accumulation.to_string(), "a multiple of the number of devices")?;
        for device in &self.devices {
            check(device.parse::<DeviceChoice>().is_ok(), "devices", device.clone(), DeviceChoice::NAMES)?;
        }
        let dropout = self.caption_dropout;
        check((0.0..1.0).contains(&dropout), "caption_dropout", dropout.to_string(), "a number in [0, 1)")?;
        within("preprocess.size", self.preprocess.size, 8..=MOST_PIXELS)?;
        within("checkpoints.every", self.checkpoints.every, 1..=MOST_STEPS)?;
        within("checkpoints.keep", self.checkpoints.keep, 1..=MOST_STEPS as usize)?;
        within("log_every", self.log_every, 1..=MOST_STEPS)?;
        within("workers", self.workers, 0..=MOST_WORKERS)?;
        within("cache.mib", self.cache.mib, 0..=MOST_CACHE_MIB)?;
        within("model.text_length", self.model.text_length.unwrap_or(1), 1..=MOST_TOKENS)?;
        self.data.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate(&self.optimizer)?;
        self.validation.validate()?;
        self.samples.validate()?;
        let WatchConfig { smoothing, warn_above, stop_above, patience } = self.watch;
        check((0.0..1.0).contains(&smoothing), "watch.smoothing", smoothing.to_string(), "a number in [0, 1)")?;
        within("watch.warn_above", warn_above, 0.0..=1e12)?;
        within("watch.stop_above", stop_above, 0.0..=1e12)?;
        within("watch.patience", patience, 0..=MOST_STEPS)?;
        self.prompts.validate().map_err(|error| ConfigError::value("prompts", error, "limits that a text can satisfy"))?;
        if let Some(ema) = &self.ema {
            within("ema.update_after_step", ema.update_after_step, 0..=MOST_STEPS)?;
            within("ema.inv_gamma", ema.inv_gamma, 1e-12..=1e12)?;
            within("ema.power", ema.power, 1e-12..=1e12)?;
        }
        self.trainee().check().map_err(|error| match error {
            FinetuneError::Setting(SettingError { key, value, expected }) => {
                ConfigError::value(run_file_key(key), value, expected)
            }
            other => ConfigError::value("strategy", other, "settings that go together"),
        })
    }

    /// Least memory that training takes on the host, whatever computes.
    #[must_use]
    pub fn memory(&self) -> Estimate {
        let side = self.preprocess.size;
        let estimate = Estimate::new("preprocess.size, batch_size or samples.count")
            .with("the images of a batch", &[self.batch_size, side, side]);
        match self.samples.every {
            0 => estimate,
            _ => estimate.with("a row of the sample sheet", &[self.samples.count, 3, side, side]),
        }
    }

    /// The settings that the results depend on.
    #[must_use]
    pub fn trainee(&self) -> TraineeSettings {
        TraineeSettings {
            strategy: self.strategy.clone(),
            objective: self.objective,
            reconstruction: self.vae,
            adamw: self.optimizer.adamw(),
            learning_rates: self.optimizer.learning_rates(),
            max_grad_norm: (self.optimizer.clip_norm > 0.0).then_some(self.optimizer.clip_norm),
            ema: self.ema,
            dtype: self.precision.dtype(),
            gradient_checkpointing: self.gradient_checkpointing,
            seed: self.seed,
        }
    }

    /// The run file of this configuration, preset and defaults written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("every setting has a TOML form")
    }

    /// Folder of the cache of a run in `out`.
    #[must_use]
    pub fn cache_folder(&self, out: &Path) -> PathBuf {
        self.cache.folder.clone().unwrap_or_else(|| out.join("cache"))
    }
}

/// The run file's name of a setting.
fn run_file_key(key: &str) -> String {
    match key {
        "max_grad_norm" => "optimizer.clip_norm".to_owned(),
        "dtype" => "precision".to_owned(),
        "reconstruction.kl_weight" => "vae.kl_weight".to_owned(),
        other => other.strip_prefix("adamw.").map_or_else(
            || {
                other
                    .strip_prefix("learning_rates.")
                    .map_or_else(|| other.to_owned(), |part| format!("optimizer.{part}_learning_rate"))
            },
            |rest| format!("optimizer.{rest}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::Origin;
    use crate::hub::{Place, Want};

    fn parse(text: &str) -> Result<FinetuneConfig, ConfigError> {
        let config = FinetuneConfig::parse(text, Path::new("run.toml"), Path::new("folder"), &[])?;
        config.validate()?;
        Ok(config)
    }

    #[test]
    fn every_example_is_a_run_file() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut found = 0;
        for entry in std::fs::read_dir(&examples).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("finetune-") && name.ends_with(".toml") {
                let config = FinetuneConfig::read(&path, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
                // What is written into the run folder is equivalent.
                assert_eq!(
                    FinetuneConfig::parse(&config.to_toml(), &path, Path::new("/"), &[]).unwrap().to_toml(),
                    config.to_toml()
                );
                found += 1;
            }
        }
        assert_eq!(found, 5);
    }

    #[test]
    fn every_key_is_documented() {
        let docs = include_str!("../../../docs/finetune.md");
        let config = parse("preset = \"small\"\ndata = { format = \"phantom\" }").unwrap();
        let table: toml::Table = toml::from_str(&config.to_toml()).unwrap();
        for (key, value) in table {
            assert!(docs.contains(&format!("`{key}")) || docs.contains(&format!("`[{key}]`")), "{key}");
            let toml::Value::Table(inner) = value else { continue };
            // Documented in run-file.md.
            if key == "data" || key == "preprocess" {
                continue;
            }
            inner.keys().for_each(|name| assert!(docs.contains(name.as_str()), "{key}.{name}"));
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let text = "data = { format = \"table\", labels = \"a.csv\" }\n[model]\nbase = \"sd\"\nvae = { folder = \"/vae\" }";
        let config = parse(text).unwrap();
        assert_eq!(config.data.labels.unwrap(), Path::new("folder/a.csv"));
        assert_eq!(config.model.base, Some("folder/sd".into()));
        assert_eq!(config.model.vae, Origin::Folder("/vae".into()));
    }

    #[test]
    fn checkpoints_may_be_names_on_the_hub() {
        let text = "data = { format = \"phantom\" }\n[model]\nbase = \"owner/sd\"\ntext_encoder = { folder = \"a/b:x\" }\n\
                    unet = { scratch = \"c/d\" }\nvae = { folder = \"../vae/x\" }";
        let mut config = parse(text).unwrap();
        assert_eq!(config.model.unet, Origin::Scratch("folder/c/d".into()));
        let asked = config.model.checkpoints();
        let asked: Vec<_> =
            asked.iter().map(|asked| (asked.key.as_str(), asked.place.to_string(), asked.wanted.want)).collect();
        let expected = [
            ("model.base", "owner/sd", Want::Pipeline),
            ("model.text_encoder.folder", "a/b:x", Want::TextEncoder),
            ("model.vae.folder", "folder/../vae/x", Want::Vae),
        ];
        assert_eq!(asked, expected.map(|(key, place, want)| (key, place.to_owned(), want)));
        // Of the base, the tokenizer, the scheduler and the configurations remain.
        assert_eq!(config.model.checkpoints()[0].wanted.replaced, ["text_encoder", "unet", "vae"]);
        assert!(matches!(config.model.base, Some(Place::Hub { .. })));
    }

    #[test]
    fn settings_of_the_mathematics_have_the_run_files_names() {
        let message = |table: &str| parse(&format!("{table}\ndata = {{ format = \"phantom\" }}")).unwrap_err().to_string();
        assert!(message("optimizer = { betas = [1.5, 0.9] }").starts_with("optimizer.betas"));
        assert!(message("vae = { kl_weight = -1.0 }").starts_with("vae.kl_weight"));
        assert!(message("optimizer = { vae_learning_rate = -1.0 }").starts_with("optimizer.vae_learning_rate"));
        assert!(message("ema = { decay = 1.0 }").starts_with("ema.decay"));
        assert!(message("devices = [\"cpu\", \"cpu\"]").starts_with("accumulation"));
    }
}
