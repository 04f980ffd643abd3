//! A prefix of an object store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;
use url::Url;

use super::StoreError;

/// Objects under one prefix. Calls wait for the network: the work between them is minutes of generation.
#[derive(Clone)]
pub(super) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    url: Arc<str>,
    runtime: Arc<Runtime>,
}

impl Bucket {
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Key, url: &str) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StoreError::Runtime)?;
        Ok(Self { store, prefix, url: url.into(), runtime: Arc::new(runtime) })
    }

    pub fn open(url: &str) -> Result<Self, StoreError> {
        let refused = |message: String| StoreError::Open { url: url.to_owned(), message };
        let parsed: Url = url.parse().map_err(|error: url::ParseError| refused(error.to_string()))?;
        // Variables of other programs are not settings of a store, and are skipped.
        let settings = std::env::vars().map(|(key, value)| (key.to_ascii_lowercase(), value));
        let (store, prefix) = object_store::parse_url_opts(&parsed, settings).map_err(|error| refused(error.to_string()))?;
        Self::new(Arc::from(store), prefix, url)
    }

    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let read = async { self.store.get(&self.key(name)).await?.bytes().await };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(root(&error)),
        }
    }

    pub fn write(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let put = self.runtime.block_on(self.store.put(&self.key(name), bytes.into()));
        put.map(|_| ()).map_err(|error| root(&error))
    }

    pub fn describe(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("{}/{name}", self.url.trim_end_matches('/')))
    }

    fn key(&self, name: &str) -> Key {
        self.prefix.clone().join(name)
    }
}

/// The store's own message: the errors around it repeat it.
fn root(error: &object_store::Error) -> io::Error {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    io::Error::other(innermost.to_string())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::super::Store;
    use super::super::tests::behaves;
    use super::*;

    #[test]
    fn buckets_behave_as_folders_do() {
        let shared: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let open = |prefix: &str, url: &str| Store::bucket(shared.clone(), Key::from(prefix), url).unwrap();
        behaves(&open("deep/set", "memory:///deep/set"));
        // Another store of this prefix finds what one wrote, and one of another prefix doesn't.
        assert_eq!(open("deep/set", "memory:///deep/set/").read("b.png").unwrap(), Some(vec![4]));
        behaves(&open("other/set", "memory:///other/set"));
        let unknown = Bucket::open("nowhere://x/y").err().unwrap().to_string();
        assert!(unknown.contains("nowhere://x/y"), "{unknown}");
    }
}
