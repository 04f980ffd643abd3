//! The run's folder: what was asked, what is done, and whether both belong together.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;
use roentgen_augment::digest::Fingerprint;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::data_record::DataRecord;
use super::error::RunError;
use crate::config::table::changes;
use crate::finetune::FinetuneConfig;

/// `run.json`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCard {
    /// Of this program.
    pub version: String,
    /// Of every random number.
    pub seed: u64,
    /// Where it was started.
    pub device: String,
    /// Pairs trained on, and validated on.
    pub pairs: [usize; 2],
    /// Weights under training.
    pub parameters: usize,
    /// Digest of what training started from.
    pub start: String,
    /// Digest of `data.csv`'s images and texts.
    pub data: String,
}

/// A folder that a run writes into and goes on from. Held until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

/// The settings that a run was started with, defaults written out.
const CONFIG: &str = "config.toml";
const CARD: &str = "run.json";
const DATA: &str = "data.csv";

impl RunFolder {
    /// Takes the folder, making it if it is not there.
    ///
    /// # Errors
    /// [`RunError::Busy`] if another process has it; [`RunError::Io`].
    pub fn open(path: &Path) -> Result<Self, RunError> {
        std::fs::create_dir_all(path).map_err(RunError::io("create", path))?;
        let file = path.join(".lock");
        let lock = File::options().create(true).append(true).open(&file).map_err(RunError::io("write", &file))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { path: path.to_owned() }),
            // File systems without locks have no two runs told apart.
            Err(TryLockError::Error(_)) => Ok(Self { path: path.to_owned(), _lock: lock }),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a run was started here, and with these settings: those that decide what is trained.
    ///
    /// # Errors
    /// [`RunError::OtherRun`] lists every key that differs.
    pub fn check_settings(&self, config: &FinetuneConfig) -> Result<(), RunError> {
        let path = self.path.join(CONFIG);
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
        let Ok(found) = toml::from_str::<Table>(&text) else { return Ok(()) };
        let now: Table = toml::from_str(&config.to_toml()).expect("what was written can be read");
        let changes = changes(&deciding(found, config), &deciding(now, config));
        if changes.is_empty() { Ok(()) } else { Err(self.other("settings", changes)) }
    }

    /// What was learnt from at the last start.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn data(&self) -> Result<Option<DataRecord>, RunError> {
        DataRecord::read(&self.path.join(DATA))
    }

    /// Compares a start with the one before it, and writes it down.
    ///
    /// # Errors
    /// [`RunError::OtherRun`] names what changed; [`RunError::Io`].
    pub fn begin(&self, config: &FinetuneConfig, card: &RunCard, data: &DataRecord) -> Result<(), RunError> {
        if let Some(earlier) = self.data()? {
            let changes = data.changes(&earlier);
            if !changes.is_empty() {
                return Err(self.other("data", changes));
            }
        }
        let path = self.path.join(CARD);
        let earlier: Option<RunCard> = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(earlier) = earlier.filter(|earlier| earlier.start != card.start) {
            let change = format!("  the weights or configurations of [model]: {}, now {}", earlier.start, card.start);
            return Err(self.other("weights", vec![change]));
        }
        data.write(&self.path.join(DATA))?;
        self.write(CARD, &serde_json::to_vec_pretty(card).expect("a card is plain numbers and texts"))?;
        self.write(CONFIG, config.to_toml().as_bytes())
    }

    /// Writes a file of the folder, whole or not at all.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(name);
        write_atomic(&path, |file| file.write_all(bytes)).map_err(RunError::io("write", &path))
    }

    fn other(&self, what: &'static str, changes: Vec<String>) -> RunError {
        RunError::OtherRun { path: self.path.clone(), what, changes }
    }
}

/// Settings without those that change no trained weight: words, places, threads, how often something is written or looked at. What
/// the places hold is compared by itself.
fn deciding(mut table: Table, config: &FinetuneConfig) -> Table {
    for key in [
        "preset",
        "title",
        "log_every",
        "workers",
        "devices",
        "exchange",
        "samples",
        "watch",
        "cache",
        "validation",
        "checkpoints",
    ] {
        table.remove(key);
    }
    let mut without = |name: &str, keys: &[&str]| {
        if let Some(toml::Value::Table(inner)) = table.get_mut(name) {
            keys.iter().for_each(|key| drop(inner.remove(*key)));
        }
    };
    without("data", &["name", "labels", "images", "cache_mib"]);
    if config.model.is_base() {
        without("model", &["base"]);
    }
    // Under a constant learning rate, a longer run begins like a shorter one.
    if config.schedule.shape == roentgen_classifier::training::LearningRateSchedule::Constant {
        without("schedule", &["steps"]);
    }
    table
}

/// Digest of everything in some folders and files of a pipeline: names and content.
///
/// # Errors
/// [`RunError::Io`].
pub fn content_digest(pipeline: &Path, parts: &[&str]) -> Result<Fingerprint, RunError> {
    let mut text = String::new();
    for part in parts {
        let folder = pipeline.join(part);
        if !folder.is_dir() {
            continue;
        }
        let read = || std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut files = read().map_err(RunError::io("read", &folder))?;
        files.retain(|file| file.is_file());
        files.sort();
        for file in files {
            let mut hasher = blake3::Hasher::new();
            let mut reader = File::open(&file).map_err(RunError::io("read", &file))?;
            std::io::copy(&mut reader, &mut hasher).map_err(RunError::io("read", &file))?;
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            text.push_str(&format!("{part}/{name} {}\n", hasher.finalize()));
        }
    }
    Ok(Fingerprint::of(&[text.as_bytes()]))
}
