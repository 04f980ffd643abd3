//! Where generated images go: a local folder, or with the feature `s3`, `gcs` or `azure` a bucket.

#[cfg(feature = "buckets")]
mod bucket;

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use roentgen_augment::atomic::write_atomic;

/// Why a place can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Not the URL of an object store that this build knows.
    #[error(
        "cannot open {url}: {message}; give a folder, or s3://, gs:// or az:// with a program built with the feature `s3`, `gcs` or `azure`"
    )]
    Open {
        /// As given.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// The runtime of network requests can't be started.
    #[error("cannot start the network runtime")]
    Runtime(#[source] io::Error),
}

/// A flat folder of files: on disk, or under a prefix of an object store.
///
/// Files are complete or absent: on disk they are written under a temporary name, synced and renamed, and an object store shows
/// an object when all of it is there.
#[derive(Clone)]
pub struct Store(Place);

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    #[cfg(feature = "buckets")]
    Bucket(bucket::Bucket),
}

impl Store {
    /// A local folder, created when something is written.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self(Place::Folder(path.to_owned()))
    }

    /// An object store; messages call it `url`.
    ///
    /// # Errors
    /// [`StoreError::Runtime`].
    #[cfg(feature = "buckets")]
    pub fn bucket(
        store: std::sync::Arc<dyn object_store::ObjectStore>,
        prefix: object_store::path::Path,
        url: &str,
    ) -> Result<Self, StoreError> {
        Ok(Self(Place::Bucket(bucket::Bucket::new(store, prefix, url)?)))
    }

    /// A folder, or an object store by its URL; its credentials come from the environment, as its own tools read them
    /// (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, …).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(place: &StorePlace) -> Result<Self, StoreError> {
        match place {
            StorePlace::Folder(path) => Ok(Self::folder(path)),
            #[cfg(feature = "buckets")]
            StorePlace::Url(url) => Ok(Self(Place::Bucket(bucket::Bucket::open(url)?))),
            #[cfg(not(feature = "buckets"))]
            StorePlace::Url(url) => {
                Err(StoreError::Open { url: url.clone(), message: "this build supports no object store".to_owned() })
            }
        }
    }

    /// A file's bytes; `None` if there is none of that name.
    ///
    /// # Errors
    /// If it is there and can't be read.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.0 {
            Place::Folder(folder) => match std::fs::read(folder.join(name)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            #[cfg(feature = "buckets")]
            Place::Bucket(bucket) => bucket.read(name),
        }
    }

    /// Writes a file, completely or not at all.
    ///
    /// # Errors
    /// If it can't be written; the old file, if there was one, is untouched.
    pub fn write(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        match &self.0 {
            Place::Folder(folder) => write_atomic(&folder.join(name), |file| file.write_all(&bytes)),
            #[cfg(feature = "buckets")]
            Place::Bucket(bucket) => bucket.write(name, bytes),
        }
    }

    /// The folder, if it is on disk.
    #[must_use]
    pub fn local_folder(&self) -> Option<&Path> {
        match &self.0 {
            Place::Folder(folder) => Some(folder),
            #[cfg(feature = "buckets")]
            Place::Bucket(_) => None,
        }
    }

    /// A file's place, for messages.
    #[must_use]
    pub fn describe(&self, name: &str) -> PathBuf {
        match &self.0 {
            Place::Folder(folder) => folder.join(name),
            #[cfg(feature = "buckets")]
            Place::Bucket(bucket) => bucket.describe(name),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.describe("").display())
    }
}

/// A place as a user types it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A path.
    Folder(PathBuf),
    /// `s3://bucket/prefix` and the like.
    Url(String),
}

impl FromStr for StorePlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.split_once("://") {
            Some(("file", path)) => Self::Folder(PathBuf::from(path)),
            Some(_) => Self::Url(text.to_owned()),
            None => Self::Folder(PathBuf::from(text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every kind of store does. It is empty, and its name ends in `set`.
    pub(super) fn behaves(store: &Store) {
        assert_eq!(store.read("b.png").unwrap(), None);
        store.write("b.png", vec![1, 2]).unwrap();
        store.write("a.png", vec![3]).unwrap();
        store.write("b.png", vec![4]).unwrap();
        assert_eq!(store.read("b.png").unwrap(), Some(vec![4]));
        assert_eq!(store.read("a.png").unwrap(), Some(vec![3]));
        assert!(store.describe("a.png").to_string_lossy().ends_with("set/a.png"));
    }

    #[test]
    fn folders_behave() {
        let folder = tempfile::tempdir().unwrap();
        behaves(&Store::folder(&folder.path().join("set")));
    }

    #[test]
    fn places_are_told_apart() {
        let Ok(folder) = "runs/set".parse::<StorePlace>();
        assert_eq!(folder, StorePlace::Folder("runs/set".into()));
        let Ok(file) = "file:///data/set".parse::<StorePlace>();
        assert_eq!(file, StorePlace::Folder("/data/set".into()));
        let Ok(unknown) = "nowhere://x/y".parse::<StorePlace>();
        let message = Store::open(&unknown).unwrap_err().to_string();
        assert!(message.contains("nowhere://x/y") && message.contains("s3://"), "{message}");
    }
}
