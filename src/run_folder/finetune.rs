//! The record of `finetune`.

use std::collections::BTreeMap;
use std::path::Path;

use roentgen_augment::digest::Fingerprint;
use roentgen_classifier::training::LearningRateSchedule;
use serde_json::Value;
use toml::Table;

use super::data_record::{DataRecord, file_digest};
use super::error::RunFolderError;
use super::record::{Found, Record};
use super::{CONFIG, RunFolder};
use crate::finetune::FinetuneConfig;

/// Settings that change no trained weight: texts, paths, threads, devices, intervals of logging and evaluation. What the paths
/// lead to is compared separately.
const MAY_CHANGE: [&str; 18] = [
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
    "data.name",
    "data.labels",
    "data.images",
    "data.columns",
    "data.delimiter",
    "data.missing",
    "data.cache_mib",
];

/// Name of the digest of what training starts from.
const MODEL: &str = "weights and configurations of [model]";
/// Name of the digest of the order of pairs.
const ORDER: &str = "order of the rows";

/// A start of the trainer in a locked folder.
pub struct FinetuneStart {
    folder: RunFolder,
    earlier: Option<Record>,
    known: DataRecord,
    settings: Record,
    config: String,
}

/// The values that are known once images and weights were read.
pub struct FinetuneFound<'a> {
    /// Digest of what training starts from.
    pub model: Fingerprint,
    /// The pairs.
    pub data: &'a DataRecord,
    /// Digest of their order.
    pub order: Fingerprint,
    /// Further entries, for people.
    pub facts: BTreeMap<String, Value>,
}

impl FinetuneStart {
    /// Locks `path` for this start, creating it if it is missing, and compares the settings with those of earlier ones.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`] names every setting that changed; [`RunFolderError::Busy`]; and whatever else is wrong with the
    /// folder.
    pub fn open(path: &Path, config: &FinetuneConfig) -> Result<Self, RunFolderError> {
        let folder = RunFolder::take(path, "finetune")?;
        let earlier = match folder.found()? {
            None => None,
            Some(Found::Record(record)) => {
                folder.config(false)?;
                Some(*record)
            }
            Some(Found::Old(value)) => Some(old(&folder, &value)?),
        };
        let settings = record(config);
        if let Some(earlier) = &earlier {
            folder.refuse(earlier.settings_differences(&settings))?;
        }
        let known = folder.known_data(earlier.as_ref())?;
        Ok(Self { folder, earlier, known, settings, config: config.to_toml() })
    }

    /// The pairs of the last start, whose digests need not be made again.
    #[must_use]
    pub fn known(&self) -> &DataRecord {
        &self.known
    }

    /// Compares data and weights with those of earlier starts, and records everything.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`] names what changed.
    pub fn begin(self, found: FinetuneFound<'_>) -> Result<RunFolder, RunFolderError> {
        let Self { folder, earlier, mut settings, config, .. } = self;
        settings.digests = BTreeMap::from([
            (MODEL.to_owned(), found.model.to_string()),
            (ORDER.to_owned(), found.order.to_string()),
            ("data".to_owned(), found.data.digest_of_all().to_string()),
        ]);
        settings.facts = found.facts;
        folder.begin(settings, earlier, found.data, &config)?;
        Ok(folder)
    }
}

fn record(config: &FinetuneConfig) -> Record {
    let table: Table = toml::from_str(&config.to_toml()).expect("what was written can be read");
    let mut may_change = MAY_CHANGE.to_vec();
    if config.model.is_base() {
        may_change.push("model.base");
    }
    // With a constant learning rate, a longer run begins like a shorter one.
    if config.schedule.shape == LearningRateSchedule::Constant {
        may_change.push("schedule.steps");
    }
    Record::new("finetune", &table, &may_change)
}

/// The record of version 0.1.0: digests in `run.json`, settings in `config.toml`.
fn old(folder: &RunFolder, value: &Value) -> Result<Record, RunFolderError> {
    let text = folder.config(true)?.unwrap_or_default();
    let path = folder.path().join(CONFIG);
    let config = FinetuneConfig::parse(&text, &path, Path::new(""), &[]).map_err(|error| RunFolderError::Damaged {
        path,
        what: "the settings of a run",
        message: error.to_string(),
        remedy: "restore the file, which alone has the settings, or give another --out",
    })?;
    let mut earlier = record(&config);
    for (name, key) in [(MODEL, "start"), ("data", "data")] {
        let Some(digest) = value.get(key).and_then(Value::as_str) else {
            let writer = "version 0.1.0".to_owned();
            return Err(folder.other_version(writer, "for another command than `finetune`"));
        };
        earlier.digests.insert(name.to_owned(), digest.to_owned());
    }
    earlier.is_partial = true;
    Ok(earlier)
}

/// Digest of everything in some folders of a pipeline: names and content.
///
/// # Errors
/// [`RunFolderError::Io`]; [`RunFolderError::Image`] for a file that can't be read.
pub fn pipeline_digest(pipeline: &Path, parts: &[&str]) -> Result<Fingerprint, RunFolderError> {
    let mut text = String::new();
    for part in parts {
        let folder = pipeline.join(part);
        if !folder.is_dir() {
            continue;
        }
        let read = || std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        let mut files = read().map_err(RunFolderError::io("read", &folder))?;
        files.retain(|file| file.is_file());
        files.sort();
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            text.push_str(&format!("{part}/{name} {}\n", file_digest(&file)?));
        }
    }
    Ok(Fingerprint::of(&[text.as_bytes()]))
}
