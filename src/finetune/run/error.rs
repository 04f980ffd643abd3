//! Errors that end a run.

use std::io;
use std::path::{Path, PathBuf};

use roentgen_augment::AugmentError;
use roentgen_augment::record::Split;
use roentgen_classifier::ClassifierError;

use super::replicas::Lost;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::diffusion::DiffusionError;
use crate::finetune::FinetuneError;
use crate::run_folder::RunFolderError;

/// Everything that can end a fine-tuning run. The last checkpoint always stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A key of the run file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data set can't be opened.
    #[error(transparent)]
    Data(#[from] DataError),
    /// An image or a row.
    #[error(transparent)]
    Image(#[from] AugmentError),
    /// Fine-tuning itself.
    #[error(transparent)]
    Finetune(#[from] FinetuneError),
    /// The logs and the checkpoints.
    #[error(transparent)]
    Training(#[from] ClassifierError),
    /// The pipeline that it starts from.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// A file.
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
    /// A checkpoint could not be written.
    #[error("cannot save step {step} to {}; {}", path.display(), after_a_failed_save(source, *kept))]
    Save {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The step.
        step: u64,
        /// The newest checkpoint that is there; 0 for none.
        kept: u64,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The run folder.
    #[error(transparent)]
    Folder(#[from] RunFolderError),
    /// No row has a text to learn from.
    #[error(
        "no text is left for the {rows} images of the {split} split ({reasons}); relax [prompts.cleaning], or use prompts.from = \
         \"template\" to learn from labels"
    )]
    NoPrompts {
        /// The split.
        split: Split,
        /// Its images.
        rows: usize,
        /// How many each rule dropped.
        reasons: String,
    },
    /// A device's thread ended.
    #[error(
        "one of the devices failed, see above; run the same command again to continue from the last checkpoint, with fewer devices \
             or a higher accumulation if its memory was full"
    )]
    DeviceLost,
    /// The loss diverged.
    #[error(
        "step {step}: the run diverges, its smoothed loss {smoothed:.3} is {ratio:.0} times the best ({best:.3}); {}: start again in \
         another folder with a lower learning rate, or raise watch.stop_above",
        last_good(*kept)
    )]
    Diverged {
        /// Optimiser steps taken.
        step: u64,
        /// Smoothed loss.
        smoothed: f64,
        /// Its best.
        best: f64,
        /// One over the other.
        ratio: f64,
        /// The newest checkpoint; 0 for none.
        kept: u64,
    },
    /// The loss or a gradient is not finite.
    #[error("{}", last_good(*kept))]
    NonFinite {
        /// The newest checkpoint; 0 for none.
        kept: u64,
        /// The cause.
        #[source]
        source: FinetuneError,
    },
}

impl RunError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn last_good(kept: u64) -> String {
    match kept {
        0 => "nothing was saved before".to_owned(),
        kept => format!("the checkpoint of step {kept} is the last good one"),
    }
}

fn after_a_failed_save(source: &io::Error, kept: u64) -> String {
    let remedy = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "free space on the disk (or lower checkpoints.keep)"
        }
        _ => "make the folder writable",
    };
    let rest = match kept {
        0 => "there is no earlier checkpoint, so the run starts again".to_owned(),
        kept => format!("the checkpoint of step {kept} is intact, and the run continues from it"),
    };
    format!("{remedy} and run the same command again: {rest}")
}

impl From<Lost> for RunError {
    fn from(_: Lost) -> Self {
        Self::DeviceLost
    }
}
