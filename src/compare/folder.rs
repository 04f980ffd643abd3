//! The run folder: what was asked, what is done, and whether both belong together.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use roentgen_augment::atomic::write_atomic;
use roentgen_augment::dataset::{Splits, TrainSet};
use roentgen_augment::digest::Fingerprint;
use serde::{Deserialize, Serialize};

use super::Pools;
use crate::config::{ArmConfig, BootstrapConfig, RunConfig, SupplyMode};

/// Name of the digests of the arms' pools.
const POOLS: &str = "pools.json";

/// Why a run folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds another run.
    #[error("{} holds another run: {what} changed since it was started; give another --out, or delete the folder", path.display())]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// `the settings` or `the data`.
        what: &'static str,
    },
    /// The folder holds runs of an arm that were trained with other synthetic images.
    #[error(
        "{} holds runs of arm `{arm}` with other synthetic images: the generator's weights or sampling, the prompts, or what the gate let \
         through changed since they were trained; give another --out, or delete the folder",
        path.display()
    )]
    OtherImages {
        /// The folder.
        path: PathBuf,
        /// The arm.
        arm: String,
    },
    /// `run.json` or `pools.json` is damaged.
    #[error("{} is not a run's record: {message}; give another --out, or delete the folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        message: String,
    },
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RunRecord {
    version: String,
    /// Digest of the settings that a trained run depends on.
    settings: String,
    /// Digest of every row's name, patient, labels and split.
    data: String,
}

/// A folder that a run writes into and can be continued from.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Opens `path` for this run, making it if it is not there.
    ///
    /// # Errors
    /// [`FolderError::OtherRun`] if settings or data differ from those the folder was started with.
    pub fn open(path: &Path, config: &RunConfig, train: &TrainSet, splits: &Splits) -> Result<Self, FolderError> {
        let record = RunRecord {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: Fingerprint::of(&[deciding(config).to_toml().as_bytes()]).to_string(),
            data: data_digest(train, splits).to_string(),
        };
        let folder = Self(path.to_owned());
        let file = path.join("run.json");
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                let found: RunRecord = serde_json::from_str(&text)
                    .map_err(|error| FolderError::Damaged { path: file.clone(), message: error.to_string() })?;
                let what = match () {
                    () if found.settings != record.settings => "the settings",
                    () if found.data != record.data => "the data",
                    () => {
                        folder.write("config.toml", config.to_toml().as_bytes())?;
                        return Ok(folder);
                    }
                };
                Err(FolderError::OtherRun { path: path.to_owned(), what })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                folder.write("config.toml", config.to_toml().as_bytes())?;
                let text = serde_json::to_string_pretty(&record).expect("a record is plain strings");
                folder.write("run.json", text.as_bytes())?;
                Ok(folder)
            }
            Err(source) => Err(FolderError::Io { action: "read", path: file, source }),
        }
    }

    /// Takes the folder for runs with these pools, one an arm; the first call writes down which images they are.
    ///
    /// # Errors
    /// [`FolderError::OtherImages`] if the folder was taken for others: runs of two generators would pass for runs of one.
    pub fn claim_pools(&self, arms: &[ArmConfig], pools: &Pools) -> Result<(), FolderError> {
        let path = self.0.join(POOLS);
        let mut claimed: BTreeMap<String, String> = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .map_err(|error| FolderError::Damaged { path: path.clone(), message: error.to_string() })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(FolderError::Io { action: "read", path, source }),
        };
        for (arm, pool) in arms.iter().zip(&pools.arms) {
            let Some(pool) = pool else { continue };
            let digest = pool.digest().to_string();
            if *claimed.entry(arm.name.clone()).or_insert_with(|| digest.clone()) != digest {
                return Err(FolderError::OtherImages { path: self.0.clone(), arm: arm.name.clone() });
            }
        }
        let text = serde_json::to_string_pretty(&claimed).expect("a map of strings");
        self.write(POOLS, text.as_bytes())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Folder of one run of one arm.
    #[must_use]
    pub fn seed(&self, arm: &str, seed: u64) -> PathBuf {
        self.0.join("arms").join(arm).join(format!("seed-{seed}"))
    }

    /// Writes a file of the folder, whole or not at all.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.0.join(name);
        write_atomic(&path, |file| file.write_all(bytes)).map_err(|source| FolderError::Io { action: "write", path, source })
    }
}

/// The settings with everything left out that changes no trained run: words, places, threads, statistics, and how many seeds.
/// What the places hold is in the data's digest.
fn deciding(config: &RunConfig) -> RunConfig {
    let mut config = config.clone();
    config.title.clear();
    config.baseline.clear();
    config.seeds.clear();
    config.bootstrap = BootstrapConfig::default();
    (config.training.workers, config.training.eval_batch_size) = (1, 1);
    (config.data.name, config.data.labels, config.data.images, config.data.cache_mib) = (None, None, None, 0);
    config.arms.iter_mut().for_each(|arm| arm.description.clear());
    if let Some(generator) = &mut config.generator {
        (generator.cache, generator.cache_mib, generator.supply) = (None, None, SupplyMode::default());
        if let Some(diffusion) = &mut generator.diffusion {
            diffusion.trained_on = None;
            diffusion.pipeline = without_detours(&diffusion.pipeline);
        }
    }
    config
}

/// The path without `x/..`: a run file in another folder names the same pipeline by a detour.
fn without_detours(path: &Path) -> PathBuf {
    let mut direct = PathBuf::new();
    for component in path.components() {
        let is_detour =
            component == Component::ParentDir && matches!(direct.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::CurDir => {}
            _ if is_detour => drop(direct.pop()),
            other => direct.push(other),
        }
    }
    direct
}

fn data_digest(train: &TrainSet, splits: &Splits) -> Fingerprint {
    let mut text = String::new();
    let sets = [("train", train.data()), ("valid", splits.valid().data()), ("test", splits.test().data())];
    for (name, data) in sets {
        for row in data.rows() {
            let record = &row.record;
            let patient = record.patient_id.as_ref().map_or("", |patient| patient.as_str());
            let labels: Vec<_> = record.labels.iter().map(|label| label.cell()).collect();
            text.push_str(&format!("{name}\t{}\t{patient}\t{}\n", record.id, labels.join(",")));
        }
    }
    Fingerprint::of(&[text.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../examples/demo.toml");

    fn demo() -> RunConfig {
        RunConfig::parse(DEMO, Path::new("demo.toml"), Path::new("examples")).unwrap()
    }

    #[test]
    fn only_what_changes_a_trained_run_decides() {
        let digest = |change: fn(&mut RunConfig)| {
            let mut config = demo();
            change(&mut config);
            deciding(&config).to_toml()
        };
        let same = digest(|_| {});
        assert_eq!(digest(|config| config.title = "Another".into()), same);
        assert_eq!(digest(|config| config.seeds.push(9)), same);
        assert_eq!(digest(|config| config.bootstrap.replicates = 7), same);
        assert_eq!(digest(|config| config.data.labels = Some("elsewhere.csv".into())), same);
        let named = |pipeline: &str| {
            let mut config = demo();
            config.generator.as_mut().unwrap().diffusion.as_mut().unwrap().pipeline = pipeline.into();
            deciding(&config).to_toml()
        };
        assert_eq!(named("runs/demo/generator/pipeline"), same);
        assert_ne!(named("runs/other/pipeline"), same);
        assert_ne!(digest(|config| config.training.learning_rate = 1e-4), same);
        assert_ne!(digest(|config| config.preprocess.size = 96), same);
        assert_ne!(digest(|config| config.arms[1].pool = Some(5)), same);
    }
}
