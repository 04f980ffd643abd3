//! Where generated images go: a local folder, or a bucket of an object store.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use roentgen_augment::write_atomic;
use tokio::runtime::Runtime;
use url::Url;

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
/// Files are whole or absent: on disk they are written under another name, synced and renamed, and an object store shows an object when
/// all of it is there.
#[derive(Clone)]
pub struct Store(Place);

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Bucket { store: Arc<dyn ObjectStore>, prefix: Key, url: Arc<str>, runtime: Arc<Runtime> },
}

impl Store {
    /// A local folder, made when something is written.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self(Place::Folder(path.to_owned()))
    }

    /// An object store; `url` is what messages call it.
    ///
    /// # Errors
    /// [`StoreError::Runtime`].
    pub fn bucket(store: Arc<dyn ObjectStore>, prefix: Key, url: &str) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::Runtime)?;
        Ok(Self(Place::Bucket { store, prefix, url: url.into(), runtime: Arc::new(runtime) }))
    }

    /// A folder, or an object store by its URL; its credentials come from the environment, as its own tools read them
    /// (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME`, …).
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(place: &StorePlace) -> Result<Self, StoreError> {
        let url = match place {
            StorePlace::Folder(path) => return Ok(Self::folder(path)),
            StorePlace::Url(url) => url,
        };
        let refused = |error: object_store::Error| StoreError::Open { url: url.to_string(), message: error.to_string() };
        // Settings of other programs are no settings of a store, and are passed over.
        let settings = std::env::vars().map(|(key, value)| (key.to_ascii_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(url, settings).map_err(refused)?;
        Self::bucket(Arc::from(store), prefix, url.as_str())
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
            Place::Bucket { store, prefix, runtime, .. } => {
                let read = async { store.get(&prefix.clone().join(name)).await?.bytes().await };
                match runtime.block_on(read) {
                    Ok(bytes) => Ok(Some(bytes.to_vec())),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(io::Error::other(error)),
                }
            }
        }
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// If it can't be written; the old file, if there was one, is untouched.
    pub fn write(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        match &self.0 {
            Place::Folder(folder) => write_atomic(&folder.join(name), |file| file.write_all(&bytes)),
            Place::Bucket { store, prefix, runtime, .. } => {
                let put = runtime.block_on(store.put(&prefix.clone().join(name), bytes.into()));
                put.map(|_| ()).map_err(io::Error::other)
            }
        }
    }

    /// Names of all files, in order.
    ///
    /// # Errors
    /// If they can't be listed; a folder that is not there has none.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = match &self.0 {
            Place::Folder(folder) => match std::fs::read_dir(folder) {
                Ok(entries) => {
                    let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
                    entries.map(name).collect::<io::Result<_>>()?
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            },
            Place::Bucket { store, prefix, runtime, .. } => {
                let listed = runtime.block_on(store.list_with_delimiter(Some(prefix))).map_err(io::Error::other)?;
                listed.objects.into_iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect()
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    /// A file's place, for messages.
    #[must_use]
    pub fn describe(&self, name: &str) -> PathBuf {
        match &self.0 {
            Place::Folder(folder) => folder.join(name),
            Place::Bucket { url, .. } => PathBuf::from(format!("{}/{name}", url.trim_end_matches('/'))),
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
    Url(Url),
}

impl FromStr for StorePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("file", path)) => Ok(Self::Folder(PathBuf::from(path))),
            Some(_) => text.parse().map(Self::Url).map_err(|error| format!("not a URL: {error}")),
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn behaves(store: &Store) {
        assert_eq!(store.list().unwrap(), Vec::<String>::new());
        assert_eq!(store.read("b.png").unwrap(), None);
        store.write("b.png", vec![1, 2]).unwrap();
        store.write("a.png", vec![3]).unwrap();
        store.write("b.png", vec![4]).unwrap();
        assert_eq!(store.read("b.png").unwrap(), Some(vec![4]));
        assert_eq!(store.list().unwrap(), ["a.png", "b.png"]);
        assert!(store.describe("a.png").to_string_lossy().ends_with("set/a.png"));
    }

    #[test]
    fn folders_and_buckets_behave_alike() {
        let folder = tempfile::tempdir().unwrap();
        behaves(&Store::folder(&folder.path().join("set")));
        let shared: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        behaves(&Store::bucket(shared.clone(), Key::from("deep/set"), "memory:///deep/set").unwrap());
        // What one program wrote another finds, under this prefix alone.
        let again = Store::bucket(shared.clone(), Key::from("deep/set"), "memory:///deep/set/").unwrap();
        assert_eq!(again.list().unwrap().len(), 2);
        behaves(&Store::bucket(shared, Key::from("other/set"), "memory:///other/set").unwrap());
    }

    #[test]
    fn places_are_told_apart() {
        let place = |text: &str| text.parse::<StorePlace>();
        assert_eq!(place("runs/set"), Ok(StorePlace::Folder("runs/set".into())));
        assert_eq!(place("file:///data/set"), Ok(StorePlace::Folder("/data/set".into())));
        assert!(matches!(place("s3://bucket/set"), Ok(StorePlace::Url(_))));
        assert!(place("s3://bad host/").is_err());
        let unknown = Store::open(&place("nowhere://x/y").unwrap()).unwrap_err().to_string();
        assert!(unknown.contains("nowhere://x/y") && unknown.contains("s3://"), "{unknown}");
    }
}
