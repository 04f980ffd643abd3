//! The crate's error.

use std::io;
use std::path::{Path, PathBuf};

use roentgen_augment::AugmentError;

use crate::networks::Family;
use crate::weights::Difference;

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
        source: io::Error,
    },
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The data side failed.
    #[error(transparent)]
    Data(#[from] AugmentError),
    /// A statistic got tables that do not fit together.
    #[error(transparent)]
    Metrics(#[from] crate::metrics::MetricsError),
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
    /// A checkpoint can't be read.
    #[error(
        "{} can't be read: {message}; delete the folder to go on from an earlier checkpoint, or train into another folder",
        path.display()
    )]
    DamagedCheckpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong.
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
    /// A file holds a network of another kind.
    #[error("{} holds a {found}, the net is a {expected}: give weights of a {expected}, or make a {found}", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// Kind of the net.
        expected: Family,
        /// Kind of the file's.
        found: Family,
    },
    /// A file is not a classifier of ours, torchvision's, torchxrayvision's or transformers'.
    #[error(
        "{} is no classifier that can be read: it looks like {looks_like}; give a .safetensors or PyTorch file of a DenseNet, ResNet or \
         ConvNeXt, of this program, torchvision or torchxrayvision, or a DINOv2 of this program or transformers",
        path.display()
    )]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        looks_like: String,
    },
    /// A weights file is truncated or otherwise broken.
    #[error("{}: the weights file is damaged or cut short; download or save it again", path.display())]
    DamagedWeights {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pickle names code that weights never need.
    #[error(
        "{}: refused, because loading it in Python would call `{global}`, which weights never need (nothing was run here); if you \
         trust the file, save its `state_dict()` alone and load that",
        path.display()
    )]
    UnsafePickle {
        /// The file.
        path: PathBuf,
        /// `module.name` as written in the pickle.
        global: String,
    },
    /// A file's tensors are not those of the net.
    #[error("{}: the weights do not fit the net:{difference}\n{}", path.display(), difference.advice())]
    WeightsDiffer {
        /// The file.
        path: PathBuf,
        /// Every tensor concerned.
        difference: Box<Difference>,
    },
    /// A weight is NaN or infinite.
    #[error("{}: `{tensor}` has {value} at element {index}; training diverged, take an earlier checkpoint", path.display())]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// Its name in the file.
        tensor: String,
        /// Element in row-major order.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A weight is not stored as a floating-point number.
    #[error("{}: `{tensor}` is stored as {found}, expected F16, BF16, F32 or F64; save the net in floating point", path.display())]
    WeightType {
        /// The file.
        path: PathBuf,
        /// Its name in the file.
        tensor: String,
        /// The stored type.
        found: String,
    },
    /// The card of one of our files is absent or wrong.
    #[error("the card of {}: {message}", path.display())]
    Card {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A line of a predictions file can't be read.
    #[error("{} line {line}: found `{found}`, expected {expected}", path.display())]
    Predictions {
        /// The file.
        path: PathBuf,
        /// Line, from 1 with the header.
        line: usize,
        /// As written.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// A setting out of its range, or two that don't go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value}, expected {expected}")]
pub struct SettingError {
    /// Name of the setting.
    pub key: &'static str,
    /// As given.
    pub value: String,
    /// The range, or what to do.
    pub expected: String,
}

impl SettingError {
    /// Refuses `value` unless it is `good`.
    ///
    /// # Errors
    /// The refusal.
    pub fn unless(good: bool, key: &'static str, value: impl ToString, expected: &str) -> Result<(), Self> {
        if good { Ok(()) } else { Err(Self { key, value: value.to_string(), expected: expected.to_owned() }) }
    }
}

impl ClassifierError {
    /// For `map_err` after an operation on a file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// An error and its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
