//! What users write where a checkpoint is expected.

use std::fmt;
use std::path::{Path, PathBuf};

use roentgen_augment::progress::Progress;
use serde::{Deserialize, Serialize};

use super::error::HubError;
use super::name::HubName;
use super::want::{Want, Wanted};
use super::{Found, Hub};

/// A checkpoint as a user names it: a path, or a model of the hub.
///
/// A path that exists is always a path. Anything else that has the form of a name on the hub is a name, and the rest is a path that does
/// not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum Place {
    /// A folder or file.
    Path(PathBuf),
    /// A model of the hub.
    Hub {
        /// As written; once it is found, with its commit.
        name: HubName,
        /// Its folder in the cache, once it is found.
        folder: Option<PathBuf>,
    },
}

/// A place, with the key or flag that names it and what it is to hold.
#[derive(Debug)]
pub struct Asked<'a> {
    /// `generator.diffusion.pipeline`, `--pipeline`, …
    pub key: String,
    /// The place.
    pub place: &'a mut Place,
    /// What it is to hold.
    pub wanted: Wanted,
}

impl<'a> Asked<'a> {
    /// Plain weights of `want` at the place that `key` names.
    #[must_use]
    pub fn new(key: &str, place: &'a mut Place, want: Want) -> Self {
        Self { key: key.to_owned(), place, wanted: want.into() }
    }
}

impl Place {
    /// Decides between path and name; `resolve` gives the path that a written one means.
    #[must_use]
    pub fn resolved(self, resolve: impl FnOnce(&Path) -> PathBuf) -> Self {
        let Self::Path(written) = self else { return self };
        let path = resolve(&written);
        match written.to_str().map(str::parse::<HubName>) {
            Some(Ok(name)) if !path.exists() => Self::Hub { name, folder: None },
            _ => Self::Path(path),
        }
    }

    /// The folder or file. A name that was not [settled](Self::settle) is a path that does not exist.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Hub { folder: Some(folder), .. } => folder.clone(),
            Self::Hub { name, folder: None } => PathBuf::from(name.to_string()),
        }
    }

    /// Finds the folder of a name, in the cache or on the hub. A path stays as it is, whether it exists or not.
    ///
    /// # Errors
    /// [`HubError`].
    pub fn settle(&mut self, wanted: Wanted, hub: &Hub, progress: &dyn Progress) -> Result<(), HubError> {
        if let Self::Hub { name, folder } = self
            && folder.is_none()
        {
            let found: Found = hub.find(name, wanted, progress)?;
            (*name, *folder) = (found.name, Some(found.folder));
        }
        Ok(())
    }
}

/// Finds the folder of every name among places; without one, the environment is not looked at.
///
/// # Errors
/// The first error, with the key of its place.
pub fn settle<'a>(asked: impl IntoIterator<Item = Asked<'a>>, progress: &dyn Progress) -> Result<(), (String, HubError)> {
    let mut hub = None;
    for Asked { key, place, wanted } in asked {
        if matches!(place, Place::Path(_)) {
            continue;
        }
        let hub = match &mut hub {
            Some(hub) => hub,
            none => none.insert(Hub::from_env().map_err(|error| (key.clone(), error))?),
        };
        place.settle(wanted, hub, progress).map_err(|error| (key, error))?;
    }
    Ok(())
}

impl From<PathBuf> for Place {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<&str> for Place {
    fn from(path: &str) -> Self {
        Self::Path(path.into())
    }
}

impl From<Place> for PathBuf {
    /// As it is written in a run file.
    fn from(place: Place) -> Self {
        match place {
            Place::Path(path) => path,
            Place::Hub { name, .. } => Self::from(name.to_string()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Hub { name, .. } => write!(f, "{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_exists_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let place = |text: &str| Place::from(text).resolved(|path| folder.path().join(path));
        let Place::Hub { name, .. } = place("owner/name@v1:unet") else { panic!("no name") };
        assert_eq!(name.to_string(), "owner/name@v1:unet");
        assert!(matches!(place("owner/name"), Place::Hub { .. }));
        std::fs::create_dir_all(folder.path().join("owner/name")).unwrap();
        assert_eq!(place("owner/name"), Place::Path(folder.path().join("owner/name")));
    }

    #[test]
    fn other_texts_are_paths_that_do_not_exist() {
        for text in ["model", "runs/a/b", "../x", "/x/y", "a/b.safetensors", ""] {
            let path = Path::new("f").join(text);
            assert_eq!(Place::from(text).resolved(|_| path.clone()), Place::Path(path), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        #[derive(Serialize, Deserialize)]
        struct Table {
            place: Place,
        }
        let commit = "5338d85b1f51a4844fd4f03a2f6b38529df9ea62";
        let name: HubName = "a/b:unet".parse().unwrap();
        let place = Place::Hub { name: name.at(commit), folder: Some("/cache".into()) };
        assert_eq!(place.path(), Path::new("/cache"));
        let text = toml::to_string(&Table { place }).unwrap();
        assert_eq!(text.trim(), format!("place = \"a/b@{commit}:unet\""));
        let again = toml::from_str::<Table>(&text).unwrap().place.resolved(|path| Path::new("/nowhere").join(path));
        assert!(matches!(&again, Place::Hub { name, .. } if *name == "a/b:unet".parse::<HubName>().unwrap().at(commit)));
        assert_eq!(again.to_string(), format!("a/b@{commit}:unet"));
    }
}
