//! Why a model of the hub can't be had.

use std::io;
use std::path::PathBuf;

use crate::diffusion::DiffusionError;

/// Why a model of the hub can't be had. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A variable of the environment has an impossible value.
    #[error("{variable} is `{value}`, expected {expected}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write`, `link`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not in the cache, and the network may not be used.
    #[error("{name} is not complete in the cache {}: {reason}; {remedy}", cache.display())]
    NotCached {
        /// As it was asked for.
        name: String,
        /// The folder of the cache.
        cache: PathBuf,
        /// What is missing.
        reason: String,
        /// Why it is not downloaded, and what to do.
        remedy: &'static str,
    },
    /// The repository does not hold what was asked for.
    #[error("{name} is no {what}: {reason}")]
    NotThere {
        /// As it was asked for.
        name: String,
        /// `pipeline in diffusers' layout`, …
        what: &'static str,
        /// What is missing, and what to write instead.
        reason: String,
    },
    /// Its configurations are of a model that this program does not compute; no weight was downloaded.
    #[error("{name} can't be used, and its weights were not downloaded")]
    Unusable {
        /// As it was asked for.
        name: String,
        /// Why.
        #[source]
        source: Box<DiffusionError>,
    },
    /// There is no such repository, or the token may not see it.
    #[error(
        "{endpoint} has no model {repository}, or keeps it private: check the spelling, and whether a folder of that name was meant, \
         which does not exist here; for a private model set HF_TOKEN to a token that may read it"
    )]
    NoRepository {
        /// Address of the hub.
        endpoint: String,
        /// `owner/name`.
        repository: String,
    },
    /// There is no such branch, tag or commit.
    #[error(
        "{repository} has no revision `{revision}`: name a branch, a tag or a commit of {endpoint}/{repository}/commits/main, or \
         leave `@{revision}` out"
    )]
    NoRevision {
        /// Address of the hub.
        endpoint: String,
        /// `owner/name`.
        repository: String,
        /// As it was asked for.
        revision: String,
    },
    /// The owner gives the files to those who asked for them.
    #[error("{repository} is given to those who accept its terms: accept them at {endpoint}/{repository}, {then}")]
    Gated {
        /// Address of the hub.
        endpoint: String,
        /// `owner/name`.
        repository: String,
        /// What to do about the token.
        then: &'static str,
    },
    /// The hub can't be reached.
    #[error(
        "cannot reach {endpoint}: {cause}. Without a network, download the model elsewhere (`hf download {repository}`), copy the \
         folder here, and give its path; or copy the cache and set HF_HOME. If a folder was meant: there is none of that name here"
    )]
    Unreachable {
        /// Address of the hub.
        endpoint: String,
        /// `owner/name`.
        repository: String,
        /// The last failure.
        cause: String,
    },
    /// A download broke off, again and again.
    #[error(
        "the download of {file} of {repository} broke off after {have} of {size} bytes: {cause}; what has arrived is kept: the same \
         command continues"
    )]
    BrokenOff {
        /// `owner/name`.
        repository: String,
        /// The file of the repository.
        file: String,
        /// Bytes on disk.
        have: u64,
        /// Bytes of the file.
        size: u64,
        /// The last failure.
        cause: String,
    },
    /// What arrived is not what the hub lists.
    #[error(
        "{file} of {repository} arrived with another content than the hub lists (SHA-256 {found}, expected {expected}); it was \
         deleted: try again, and look at proxies in between if it happens again"
    )]
    OtherContent {
        /// `owner/name`.
        repository: String,
        /// The file of the repository.
        file: String,
        /// Digest of what arrived.
        found: String,
        /// Digest that the hub lists.
        expected: String,
    },
    /// An answer that the hub does not give.
    #[error("{url} answered with {answer}, which the Hugging Face hub does not: look at HF_ENDPOINT and at proxies in between")]
    Answer {
        /// Of the request.
        url: String,
        /// What is odd.
        answer: String,
    },
}

impl HubError {
    /// For `map_err`.
    pub(super) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
