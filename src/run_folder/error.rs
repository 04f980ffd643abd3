//! Errors of run folders.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use roentgen_augment::AugmentError;
use roentgen_augment::record::Split;
use roentgen_classifier::ClassifierError;

use super::record::Difference;

/// Why a run folder can't be used. Each message ends with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunFolderError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// An image of the study can't be read.
    #[error(transparent)]
    Image(#[from] AugmentError),
    /// A folder of weights is no classifier's.
    #[error(transparent)]
    Weights(Box<ClassifierError>),
    /// Images of a pool that are radiographs of validation or test.
    #[error(
        "{images} synthetic image(s) are byte for byte files of radiographs of validation or test, such as `{image}` of `{radiograph}` ({split}); synthetic data never judges: check generator.images.from, and drop their rows"
    )]
    CopyInPool {
        /// How many.
        images: usize,
        /// The first of them.
        image: String,
        /// The radiograph.
        radiograph: String,
        /// Its split.
        split: Split,
    },
    /// Another process holds the folder.
    #[error("another roentgen process{holder} is writing {}; wait for it or stop it, or give another --out", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
        /// Its number and command, as far as known.
        holder: Holder,
    },
    /// The folder holds another run.
    #[error(
        "{} holds another run; since it was started, this changed:\n{}\nrepeat what it was started with to continue, or give another --out",
        path.display(),
        listed(differences)
    )]
    OtherRun {
        /// The folder.
        path: PathBuf,
        /// All differences that were found.
        differences: Vec<Difference>,
    },
    /// A file that describes the folder is damaged.
    #[error("{} can't be read as {what}: {message}; {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// The parser's message.
        message: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The folder holds results, but no description of their run.
    #[error(
        "{} holds results ({found}) but no run.json that says what they were made from; give another --out, or delete the folder to start again",
        path.display()
    )]
    NoRecord {
        /// The folder.
        path: PathBuf,
        /// The first result.
        found: &'static str,
    },
    /// The record of another version of this program, with missing or unknown entries.
    #[error("{} was written by {writer} of this program, {reason}; give another --out, or delete the folder to start again", path.display())]
    OtherVersion {
        /// The folder.
        path: PathBuf,
        /// `version 0.1.0`, `a later version`.
        writer: String,
        /// What is missing.
        reason: &'static str,
    },
}

impl From<ClassifierError> for RunFolderError {
    fn from(error: ClassifierError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl RunFolderError {
    /// For `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn listed(differences: &[Difference]) -> String {
    differences.iter().map(|difference| format!("  {difference}")).collect::<Vec<_>>().join("\n")
}

/// The process that holds a folder, as its lock file names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder(pub(super) Option<(u32, String)>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((process, command)) => write!(f, " (pid {process}, `{command}`)"),
            None => Ok(()),
        }
    }
}
