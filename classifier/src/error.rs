//! The crate's error.

use std::path::PathBuf;

use roentgen_augment::AugmentError;

/// Everything that can go wrong on the learning side. Each message names the file, key or value, what was expected, and what to
/// do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifierError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `create`, `write`, `rename`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A setting is out of its range.
    #[error("{key} is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// As given.
        value: String,
        /// The range.
        expected: &'static str,
    },
    /// The data side failed.
    #[error(transparent)]
    Data(#[from] AugmentError),
    /// The loss of a training step was not a number.
    #[error(
        "the loss at step {step} is {loss}: training stopped, the last good checkpoint is that of step {last_good}; lower the \
         learning rate, clip gradients or check the images"
    )]
    NonFiniteLoss {
        /// Optimiser step, from 1.
        step: usize,
        /// The loss.
        loss: f64,
        /// Step of the newest checkpoint, 0 if there is none.
        last_good: usize,
    },
    /// No finding of the validation set has both classes.
    #[error(
        "macro AUROC is undefined on the validation set: none of the {findings} findings has both a positive and a negative among \
         its {images} images; choose another split, or select the checkpoint by loss"
    )]
    UndefinedSelection {
        /// Findings in the vocabulary.
        findings: usize,
        /// Validation images.
        images: usize,
    },
    /// Training stopped on an error inside burn.
    #[error("training stopped: {message}")]
    Training {
        /// burn's message.
        message: String,
    },
    /// A checkpoint does not belong to this run.
    #[error("{}: the checkpoint is of another run: {difference}; train into another folder or delete this one", path.display())]
    OtherRun {
        /// The run folder.
        path: PathBuf,
        /// What differs.
        difference: String,
    },
}
