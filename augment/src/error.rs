//! The crate's error.

use std::path::PathBuf;

/// Everything that can go wrong on the data side. Each message names the file, row, key or value, what was expected, and
/// what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentError {
    /// A label name outside every known vocabulary.
    #[error(
        "unknown finding `{name}`; did you mean `{suggestion}`? Labels outside the public vocabularies must be declared as custom findings"
    )]
    UnknownFinding {
        /// As written.
        name: String,
        /// Nearest known spelling.
        suggestion: String,
    },
    /// Two columns mean the same finding.
    #[error("finding `{name}` is listed twice (aliases count: `Pleural Effusion` is `Effusion`)")]
    DuplicateFinding {
        /// Canonical name.
        name: String,
    },
    /// No finding at all.
    #[error("a vocabulary needs at least one finding")]
    EmptyVocabulary,
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
}
