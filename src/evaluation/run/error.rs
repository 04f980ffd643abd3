//! Why there is no evaluation.

use std::path::PathBuf;

use roentgen_augment::AugmentError;

use crate::config::{ConfigError, EvaluationConfig};
use crate::evaluation::RowsError;
use crate::evaluation::correctness::CorrectnessError;
use crate::evaluation::features::{FeatureError, kinds};
use crate::evaluation::images::ImageSetError;
use crate::evaluation::memorisation::MemorisationError;
use crate::evaluation::query::QueryError;
use crate::evaluation::text::{DecoderError, TextError};

/// Why there is no evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// No network was given.
    #[error("nothing says what to compare images by: give at least one network as KIND:PATH\n{}", kinds())]
    NoNetwork,
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A set of images can't be used.
    #[error(transparent)]
    Images(#[from] ImageSetError),
    /// An image can't be read.
    #[error(transparent)]
    Read(#[from] AugmentError),
    /// There are no features.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Features of the sets can't be compared.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// The training set can't be compared with.
    #[error(transparent)]
    Memorisation(#[from] MemorisationError),
    /// A judge says nothing.
    #[error(transparent)]
    Correctness(#[from] CorrectnessError),
    /// Embeddings of texts can't be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Texts that ask for images can't be used.
    #[error("{}: {what}", path.display())]
    Texts {
        /// Their table, or the file of their embeddings.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Reports can't be compared.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The report decoder can't read the images.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// A finding that is asked for is none of a set's.
    #[error("{set} has no labels of {finding}: it has {known}")]
    NoFinding {
        /// The finding.
        finding: String,
        /// The set.
        set: String,
        /// Its findings.
        known: String,
    },
    /// A result can't be written.
    #[error("can't write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl EvaluationConfig {
    /// Refuses settings that parse but are invalid, and those without a network.
    ///
    /// # Errors
    /// [`EvaluationError::Config`], [`EvaluationError::NoNetwork`].
    pub(super) fn check(&self) -> Result<(), EvaluationError> {
        self.validate()?;
        if self.networks.is_empty() { Err(EvaluationError::NoNetwork) } else { Ok(()) }
    }
}
