//! What can go wrong with a diffusion model.

use std::path::PathBuf;

use roentgen_classifier::ClassifierError;
use roentgen_classifier::weights::Difference;

/// Everything that can go wrong with a diffusion model. Each message names the file, key or tensor, what was expected, and what to
/// do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffusionError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `create`, `write`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file that a checkpoint folder must have is not there.
    #[error("{} has no {expected}; {hint}", folder.display())]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// Names of the file, any of which would do.
        expected: String,
        /// What to do.
        hint: String,
    },
    /// A configuration file is not a JSON object.
    #[error("{}: not the JSON object that a configuration is; download or save it again", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A configuration option has a value that this program does not compute.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Option {
        /// The file.
        path: PathBuf,
        /// The option.
        key: String,
        /// Its value.
        found: String,
        /// What this program knows.
        expected: String,
    },
    /// A configuration option that this program does not know; it may change every number, so it is not ignored.
    #[error("{}: unknown option `{key}` (= {value}), which may change every number; this program does not compute such a model", path.display())]
    UnknownOption {
        /// The file.
        path: PathBuf,
        /// The option.
        key: String,
        /// Its value.
        value: String,
    },
    /// A folder or file is a model of another kind.
    #[error("{} is {found}; {expected}", path.display())]
    OtherModel {
        /// The folder or file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The tokenizer's files don't make a tokenizer.
    #[error("{}: not a usable tokenizer: {message}", path.display())]
    Tokenizer {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Two parts of a pipeline don't fit together.
    #[error("{}: {message}", path.display())]
    Mismatch {
        /// The pipeline's folder.
        path: PathBuf,
        /// Both parts, both values, what to do.
        message: String,
    },
    /// A setting is out of its range.
    #[error("{key} is {value}, expected {expected}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// As given.
        value: String,
        /// The range.
        expected: String,
    },
    /// A weights file is truncated or otherwise broken.
    #[error("{}: the weights file is damaged or cut short: {message}; download or save it again", path.display())]
    DamagedWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file's tensors are not those of the model.
    #[error("{}: the weights do not fit the model of its config.json:{difference}", path.display())]
    WeightsDiffer {
        /// The file or index.
        path: PathBuf,
        /// Every tensor concerned.
        difference: Box<Difference>,
    },
    /// A weight is NaN or infinite.
    #[error("{}: `{tensor}` holds {value} at flat index {index}; the checkpoint is broken, use an earlier one", path.display())]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Row-major position.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A tensor's type is not a floating-point type.
    #[error("{}: `{tensor}` is of type {found}, expected F32, F16, BF16 or F64: take the checkpoint in one of these", path.display())]
    WeightType {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A PyTorch file that can't be read safely.
    #[error(transparent)]
    Pytorch(ClassifierError),
    /// A generated image is NaN or infinite.
    #[error(
        "image {image} has values that are not finite after step {step}; use --dtype f32, a lower guidance, or other weights"
    )]
    NonFiniteImage {
        /// Position in the request.
        image: usize,
        /// Sampler step, from 1.
        step: usize,
    },
    /// All images of a set are alike or flat: no set of radiographs is.
    #[error(
        "all {images} images of {} are {fault}; its settings do not go together or its weights are damaged: look at its prediction and \
         its files with `roentgen inspect {}`",
        folder.display(), folder.display()
    )]
    Degenerate {
        /// The checkpoint's folder.
        folder: PathBuf,
        /// Images of the set so far.
        images: usize,
        /// What they are.
        fault: String,
    },
    /// A callback asked to stop.
    #[error("stopped after step {step}")]
    Stopped {
        /// Sampler step, from 1.
        step: usize,
    },
}

/// Of the readers of weights files, which the classifier has too.
impl From<ClassifierError> for DiffusionError {
    fn from(error: ClassifierError) -> Self {
        match error {
            ClassifierError::Io { action, path, source } => Self::Io { action, path, source },
            ClassifierError::DamagedWeights { path, source } => Self::DamagedWeights { path, message: source.to_string() },
            ClassifierError::WeightType { path, tensor, found } => Self::WeightType { path, tensor, found },
            ClassifierError::NonFiniteWeight { path, tensor, index, value } => {
                Self::NonFiniteWeight { path, tensor, index, value }
            }
            ClassifierError::NotWeights { path, looks_like } => {
                Self::OtherModel { path, found: looks_like, expected: "expected a safetensors or PyTorch file".to_owned() }
            }
            other => Self::Pytorch(other),
        }
    }
}
