//! What can be wrong with a file that changes a pipeline.

use std::path::PathBuf;

use crate::diffusion::DiffusionError;

/// Why a LoRA or an embedding can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The file: its bytes, its tensors.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// It is no adapter that is computed here, or does not fit the pipeline.
    #[error("{}: {message}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl AdapterError {
    pub(super) fn unusable(path: &std::path::Path, message: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_owned(), message: message.into() }
    }
}
