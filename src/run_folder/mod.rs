//! A run folder: the settings, data and results of a run, and the check that a start belongs to them.
//!
//! Every command that writes results uses it. It locks the folder, compares the start with the record of the first one,
//! refuses another run with every difference by name, and records what it starts with. See `docs/run-folder.md`.
//!
//! | file | what it holds |
//! |---|---|
//! | `lock` | one writer at a time |
//! | `record` | `run.json`: settings, digests, and how two of them differ |
//! | `data_record` | `data.csv`: every row with the digest of its image |
//! | `study`, `finetune` | what `compare`, `train` and `fill`, and `finetune`, record; what may change |

mod data_record;
mod error;
mod finetune;
mod lock;
mod record;
mod study;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;

pub use data_record::{DataRecord, RecordedRow, file_digest, order_digest, stamp};
pub use error::{Holder, RunFolderError};
pub use finetune::{FinetuneFound, FinetuneStart, pipeline_digest};
pub use lock::FolderLock;
pub use record::{Difference, Record, Settings, differences};
pub use study::{StudyCommand, StudyStart};

use record::Found;

/// The record of a run's start.
const RECORD: &str = "run.json";
/// The rows for training and evaluation.
const DATA: &str = "data.csv";
/// Its settings as a run file, for people.
const CONFIG: &str = "config.toml";
/// Digests of the arms' synthetic images, in version 0.1.0 of the program.
const OLD_POOLS: &str = "pools.json";
/// Files that only a run writes.
const RESULTS: [&str; 6] = ["arms", "checkpoints", "metrics.jsonl", "model.safetensors", "pipeline", "report.json"];

/// A folder that a run writes to and continues from; locked until this is dropped or the process ends.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: FolderLock,
    notes: Vec<String>,
}

impl RunFolder {
    /// Locks the folder for `command` alone, creating it if it is missing.
    ///
    /// # Errors
    /// [`RunFolderError::Busy`] if another process has it; [`RunFolderError::Io`].
    pub fn take(path: &Path, command: &str) -> Result<Self, RunFolderError> {
        FolderLock::exclusive(path, command).map(|lock| Self::new(path, lock))
    }

    /// Locks the folder together with other processes that share it, all of which write the same.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn share(path: &Path) -> Result<Self, RunFolderError> {
        FolderLock::shared(path).map(|lock| Self::new(path, lock))
    }

    fn new(path: &Path, lock: FolderLock) -> Self {
        let unlocked = (!lock.is_held).then(|| {
            format!("the file system of {} has no locks: make sure that no other process writes to it", path.display())
        });
        Self { path: path.to_owned(), _lock: lock, notes: unlocked.into_iter().collect() }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes for the user: that it can't be locked, or that an older version of the program recorded less.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes a file of the folder, completely or not at all.
    ///
    /// # Errors
    /// [`RunFolderError::Io`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunFolderError> {
        let path = self.path.join(name);
        write_atomic(&path, |file| file.write_all(bytes)).map_err(RunFolderError::io("write", &path))
    }

    /// Compares a value that becomes known only after the start with that of earlier starts, or records it if it is the first.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`]; [`RunFolderError::NoRecord`] if nothing was started in the folder.
    pub fn claim(&self, name: &str, value: &str) -> Result<(), RunFolderError> {
        let Some(Found::Record(mut record)) = self.found()? else {
            return Err(RunFolderError::NoRecord { path: self.path.clone(), found: "none yet" });
        };
        match record.claims.get(name) {
            Some(recorded) if recorded == value => Ok(()),
            Some(recorded) => self.refuse(vec![Difference::value(name, Some(recorded), Some(&value.to_owned()))]),
            None => {
                record.claims.insert(name.to_owned(), value.to_owned());
                self.write(RECORD, &record.to_json())
            }
        }
    }

    /// Waits until no other process that shares the folder is between comparing and recording.
    fn settle(&self) -> Result<FolderLock, RunFolderError> {
        FolderLock::wait(&self.path, ".record.lock")
    }

    /// The folder's record; `None` if nothing was started in it.
    fn found(&self) -> Result<Option<Found>, RunFolderError> {
        let path = self.path.join(RECORD);
        match std::fs::read(&path) {
            Ok(bytes) => Found::parse(&bytes, &path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match RESULTS.into_iter().find(|name| self.path.join(name).exists()) {
                    Some(found) => Err(RunFolderError::NoRecord { path: self.path.clone(), found }),
                    None => Ok(None),
                }
            }
            Err(error) => Err(RunFolderError::io("read", &path)(error)),
        }
    }

    /// A text file of the folder; `None` if it does not exist.
    fn read(&self, name: &str) -> Result<Option<String>, RunFolderError> {
        let path = self.path.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RunFolderError::io("read", &path)(error)),
        }
    }

    /// The settings of the last start as they were written for people. They must be there if an old version recorded them nowhere else;
    /// damaged ones are always refused, as somebody changed them.
    fn config(&self, is_old: bool) -> Result<Option<String>, RunFolderError> {
        let damaged = |message: String| RunFolderError::Damaged {
            path: self.path.join(CONFIG),
            what: "the settings of a run",
            message,
            remedy: match is_old {
                true => "restore the file, which alone has the settings, or give another --out",
                false => "delete the file to have it written again: run.json holds the settings too",
            },
        };
        match self.read(CONFIG) {
            Ok(None) if is_old => Err(damaged("there is no such file".to_owned())),
            Ok(None) => Ok(None),
            Ok(Some(text)) => match toml::from_str::<toml::Table>(&text) {
                Ok(_) => Ok(Some(text)),
                Err(error) => Err(damaged(error.to_string().trim_end().to_owned())),
            },
            Err(RunFolderError::Io { source, .. }) => Err(damaged(source.to_string())),
            Err(other) => Err(other),
        }
    }

    /// Compares a start with the record of an earlier one, if there is one, and records it.
    fn begin(&self, mut now: Record, earlier: Option<Record>, data: &DataRecord, config: &str) -> Result<(), RunFolderError> {
        let path = self.path.join(DATA);
        if let Some(earlier) = earlier {
            let mut differences = earlier.settings_differences(&now);
            let digests = earlier.digest_differences(&now);
            let is_data = |difference: &Difference| matches!(difference, Difference::Value { key, .. } if key == "data");
            // Rows are more specific than their digest.
            let rows = match DataRecord::read(&path)? {
                Some(rows) if digests.iter().any(is_data) => data.changes(&rows),
                _ => Vec::new(),
            };
            let spelt_out = !rows.is_empty();
            differences.extend(digests.into_iter().filter(|difference| !(spelt_out && is_data(difference))));
            differences.extend(rows.into_iter().map(Difference::Data));
            self.refuse(differences)?;
            now.claims = earlier.claims;
        }
        data.write(&path)?;
        self.write(RECORD, &now.to_json())?;
        self.write(CONFIG, config.as_bytes())
    }

    /// The rows of the last start, whose digests need not be made again. They must be those of the record: a file that was cut short may
    /// well be a table.
    fn known_data(&self, earlier: Option<&Record>) -> Result<DataRecord, RunFolderError> {
        let path = self.path.join(DATA);
        let Some(rows) = DataRecord::read(&path)? else { return Ok(DataRecord::default()) };
        match earlier.and_then(|earlier| earlier.digests.get("data")) {
            Some(digest) if *digest != rows.digest_of_all().to_string() => {
                Err(DataRecord::damaged(&path, "its digest is not that of run.json".to_owned()))
            }
            _ => Ok(rows),
        }
    }

    fn refuse(&self, differences: Vec<Difference>) -> Result<(), RunFolderError> {
        if differences.is_empty() {
            return Ok(());
        }
        Err(RunFolderError::OtherRun { path: self.path.clone(), differences })
    }

    fn other_version(&self, writer: String, reason: &'static str) -> RunFolderError {
        RunFolderError::OtherVersion { path: self.path.clone(), writer, reason }
    }

    fn note_old(&mut self, what: &str) {
        self.notes.push(format!(
            "{} was started by version 0.1.0 of this program, which recorded no digest of {what}: whether they are the same can't be checked",
            self.path.display()
        ));
    }
}
