//! Models by their names on the Hugging Face hub: from `owner/name` to a folder.
//!
//! The command line and run files give a [`Place`], which is a path or a name; [`Place::settle`] turns a name into the folder of a
//! snapshot in the cache that the Hugging Face libraries share, and everything else works on folders. What the cache has is used without
//! a request; what it lacks is downloaded, if the program was built with the feature `hub` (it is by default).
//!
//! | file | what it holds |
//! |---|---|
//! | `name`, `place` | names, and what users write where a checkpoint is expected |
//! | `want` | which files of a repository are needed |
//! | `cache`, `store` | the layout of the cache: what it has, and how a file is added |
//! | `http`, `proxy` | requests and the way that they take |
//! | `client`, `download` | the hub's answers, and files from there into the cache |

mod cache;
#[cfg(feature = "hub")]
mod client;
#[cfg(feature = "hub")]
mod download;
mod error;
#[cfg(feature = "hub")]
mod http;
mod name;
mod place;
#[cfg(feature = "hub")]
mod proxy;
#[cfg(feature = "hub")]
mod store;
mod want;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use roentgen_augment::progress::Progress;

pub use cache::{Cache, snapshot_name};
pub use error::HubError;
pub use name::{HubName, NotAHubName};
pub use place::{Asked, Place, settle};
pub use want::{Want, Wanted};

/// The hub's address, unless `HF_ENDPOINT` names a mirror.
const ENDPOINT: &str = "https://huggingface.co";

/// Where models come from: the cache, and the hub if it may be asked.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "the cache alone is used"))]
pub struct Hub {
    cache: Cache,
    endpoint: String,
    token: Option<String>,
    offline: bool,
    /// Before the first repetition of a request that failed; doubled for each further one.
    pause: Duration,
}

/// A model of the hub in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// With its commit as the revision.
    pub name: HubName,
    /// The folder that was asked for: of the snapshot, or in it.
    pub folder: PathBuf,
}

impl Hub {
    /// A cache and the hub itself, without a token.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self { cache, endpoint: ENDPOINT.to_owned(), token: None, offline: false, pause: Duration::from_secs(1) }
    }

    /// As the environment says, by the variables of Python's library: `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` or the file
    /// that `hf auth login` wrote, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`HubError::Environment`] for an address that is none, and where there is no home folder.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_variables(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn from_variables(get: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Result<Self, HubError> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let text = |name: &str| get(name).map(|value| value.to_string_lossy().trim().to_owned());
        // As in a shell, `~` is the home folder.
        let path = |name: &str| {
            let path = PathBuf::from(get(name)?);
            match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => Some(home.join(rest)),
                _ => Some(path),
            }
        };
        let hf_home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| home.as_ref().map(|home| home.join(".cache/huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hf_home.as_ref().map(|home| home.join("hub")))
            .ok_or_else(|| environment("HF_HOME", "", "a folder for the cache, as there is no home folder"))?;
        // Links in the cache are relative to it; a relative path would be another one in another folder.
        let cache = std::path::absolute(&cache).unwrap_or(cache);
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()).trim_end_matches('/').to_owned();
        let plain = endpoint.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain
            || !["https://", "http://"].iter().any(|scheme| endpoint.strip_prefix(scheme).is_some_and(|host| !host.is_empty()))
        {
            return Err(environment("HF_ENDPOINT", &endpoint, "an address such as https://huggingface.co"));
        }
        let yes =
            |name: &str| text(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()));
        let token_file = path("HF_TOKEN_PATH").or_else(|| hf_home.map(|home| home.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| Some(std::fs::read_to_string(token_file?).ok()?.trim().to_owned()))
            .filter(|token| !token.is_empty());
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            // Not its value: messages are pasted into issues.
            return Err(environment("HF_TOKEN", "…", "a token of letters, digits and underscores, such as hf_abc"));
        }
        let offline = yes("HF_HUB_OFFLINE") || (get("HF_HUB_OFFLINE").is_none() && yes("TRANSFORMERS_OFFLINE"));
        Ok(Self { endpoint, token, offline, ..Self::new(Cache::new(&cache)) })
    }

    /// Asks another address, such as a mirror's.
    #[must_use]
    pub fn with_endpoint(self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.trim_end_matches('/').to_owned(), ..self }
    }

    /// With a token for private and gated models.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Never asks the hub.
    #[must_use]
    pub fn offline(self) -> Self {
        Self { offline: true, ..self }
    }

    /// The pause before the first repetition of a request that failed, a second otherwise.
    #[must_use]
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// The folder or file of a model: as it is in the cache, without any request, or downloaded. A branch or tag that the cache knows is
    /// the commit that it was when it was downloaded. Where the cache has weights of another variant only than the one that is asked for,
    /// the hub is asked for that commit's.
    ///
    /// # Errors
    /// [`HubError`] says what is missing or refused, and what to do.
    pub fn find(&self, name: &HubName, wanted: impl Into<Wanted>, progress: &dyn Progress) -> Result<Found, HubError> {
        let wanted = wanted.into();
        let repository = self.cache.repository(name);
        let commit = match repository.complete(name, &wanted)? {
            Ok(complete) => self.first_choice(name, &wanted, complete, progress)?,
            Err(reason) => self.complete(name, &wanted, reason, progress)?,
        };
        let snapshot = repository.snapshot(&commit);
        let folder = if name.folder().is_empty() { snapshot } else { snapshot.join(name.folder()) };
        Ok(Found { name: name.at(&commit), folder })
    }

    /// Downloads the variant that was asked for where the cache has another one; the commit. Where the hub does not answer, or has the
    /// model no longer, the cache has to do.
    #[cfg(feature = "hub")]
    fn first_choice(
        &self,
        name: &HubName,
        wanted: &Wanted,
        complete: cache::Complete,
        progress: &dyn Progress,
    ) -> Result<String, HubError> {
        if self.offline || !complete.is_second_choice {
            return Ok(complete.commit);
        }
        match download::download(self, &name.at(&complete.commit), wanted, progress) {
            Err(
                HubError::Unreachable { .. }
                | HubError::NoRepository { .. }
                | HubError::NoRevision { .. }
                | HubError::Gated { .. },
            ) => Ok(complete.commit),
            other => other,
        }
    }

    #[cfg(not(feature = "hub"))]
    fn first_choice(&self, _: &HubName, _: &Wanted, complete: cache::Complete, _: &dyn Progress) -> Result<String, HubError> {
        Ok(complete.commit)
    }

    /// Downloads what the cache lacks, for the given reason; the commit.
    #[cfg(feature = "hub")]
    fn complete(&self, name: &HubName, wanted: &Wanted, reason: String, progress: &dyn Progress) -> Result<String, HubError> {
        if self.offline {
            return Err(self.not_cached(name, reason, "unset HF_HUB_OFFLINE to have it downloaded"));
        }
        download::download(self, name, wanted, progress)
    }

    #[cfg(not(feature = "hub"))]
    fn complete(&self, name: &HubName, _: &Wanted, reason: String, _: &dyn Progress) -> Result<String, HubError> {
        let remedy =
            "this program was built without downloads (feature `hub`): download it with `hf download`, or give a folder";
        Err(self.not_cached(name, reason, remedy))
    }

    fn not_cached(&self, name: &HubName, reason: String, remedy: &'static str) -> HubError {
        HubError::NotCached { name: name.to_string(), cache: self.cache.root().to_owned(), reason, remedy }
    }
}

fn environment(variable: &'static str, value: &str, expected: &'static str) -> HubError {
    HubError::Environment { variable, value: value.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Result<Hub, HubError> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        Hub::from_variables(|name| variables.get(name).map(OsString::from), Some("/users/me".into()))
    }

    fn cache(variables: &[(&str, &str)]) -> PathBuf {
        hub(variables).unwrap().cache.root().to_owned()
    }

    // huggingface_hub 2.4.0, `constants.py`.
    #[test]
    fn the_cache_is_where_pythons_library_has_it() {
        assert_eq!(cache(&[]), Path::new("/users/me/.cache/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")]), Path::new("/users/me/hf/hub"));
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")]), Path::new("/old"));
        assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/o")]), Path::new("/c"));
        assert!(cache(&[("HF_HUB_CACHE", "here")]).is_absolute());
        let message = Hub::from_variables(|_| None, None).unwrap_err().to_string();
        assert!(message.starts_with("HF_HOME is"), "{message}");
    }

    #[test]
    fn offline_tokens_and_mirrors_are_read() {
        for (value, expected) in [("1", true), ("True", true), ("on", true), ("0", false), ("", false), ("no", false)] {
            assert_eq!(hub(&[("HF_HUB_OFFLINE", value)]).unwrap().offline, expected, "{value}");
        }
        assert!(hub(&[("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline);
        assert!(!hub(&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")]).unwrap().offline);

        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(hub(&[("HF_HOME", home)]).unwrap().token, None);
        std::fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        assert_eq!(hub(&[("HF_HOME", home)]).unwrap().token.as_deref(), Some("hf_file"));
        assert_eq!(hub(&[("HF_HOME", home), ("HF_TOKEN", " hf_x ")]).unwrap().token.as_deref(), Some("hf_x"));
        let message = hub(&[("HF_TOKEN", "hf_secret\nx")]).unwrap_err().to_string();
        assert!(message.contains("HF_TOKEN") && !message.contains("secret"), "{message}");

        assert_eq!(hub(&[("HF_ENDPOINT", "http://127.0.0.1:1/")]).unwrap().endpoint, "http://127.0.0.1:1");
        for address in ["huggingface.co", "ftp://x", "https://", "https://a b"] {
            assert!(hub(&[("HF_ENDPOINT", address)]).is_err(), "{address}");
        }
    }
}
