//! Why a run file can't be used.

use std::path::{Path, PathBuf};

use super::table;

/// Why a run file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the run file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not TOML, or a key or value is not one of a run file's.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, key and what is allowed.
        message: String,
    },
    /// A value that parses but is invalid.
    #[error("{place}{key} is {value}, expected {expected}")]
    Value {
        /// File and line, as far as they are known.
        place: String,
        /// Full name of the key.
        key: String,
        /// As written.
        value: String,
        /// What was expected.
        expected: String,
    },
}

impl ConfigError {
    /// An invalid value.
    pub(crate) fn value(key: impl Into<String>, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::Value { place: String::new(), key: key.into(), value: value.to_string(), expected: expected.into() }
    }

    /// The same error of a table that lies at `there` instead of `here`.
    pub(crate) fn below(self, here: &str, there: &str) -> Self {
        match self {
            Self::Value { place, key, value, expected } => {
                let key = key.strip_prefix(here).map_or_else(|| key.clone(), |rest| format!("{there}{rest}"));
                Self::Value { place, key, value, expected }
            }
            other => other,
        }
    }

    /// An invalid value of a flag.
    #[must_use]
    pub fn flag(flag: &str, value: impl ToString, expected: impl Into<String>) -> Self {
        Self::value(flag, value, expected)
    }

    /// The same error with the file, and the line where `text` sets the key.
    pub(crate) fn in_file(self, path: &Path, text: &str) -> Self {
        match self {
            Self::Value { key, value, expected, .. } => {
                let place = match table::line_of(text, &key) {
                    Some(line) => format!("{}, line {line}: ", path.display()),
                    None => format!("{}: ", path.display()),
                };
                Self::Value { place, key, value, expected }
            }
            other => other,
        }
    }
}
