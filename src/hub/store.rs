//! What a download writes into the cache.

use std::io::Write;
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;

use super::cache::{Cache, CachedRepository, folder_name};
use super::error::HubError;
use super::name::HubName;

impl Cache {
    /// The lock file of a blob, where Python's library has it.
    pub(super) fn lock(&self, name: &HubName, etag: &str) -> PathBuf {
        self.root().join(".locks").join(folder_name(name)).join(format!("{etag}.lock"))
    }
}

impl CachedRepository {
    /// Records the commit of a branch or a tag.
    ///
    /// # Errors
    /// [`HubError::Io`].
    pub(super) fn set_reference(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.reference(revision);
        write_atomic(&path, |file| file.write_all(commit.as_bytes())).map_err(HubError::io("write", &path))
    }

    /// The file of a content.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Makes a file of a snapshot lead to a content, whatever it led to.
    ///
    /// # Errors
    /// [`HubError::Io`].
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        // Relative, so that the cache can be moved.
        let above = "../".repeat(file.split('/').count() + 1);
        let target = PathBuf::from(format!("{above}blobs/{etag}"));
        let link = || {
            let temporary =
                tempfile::Builder::new().prefix(".tmp-").make_in(folder, |path| make_link(&self.blob(etag), &target, path))?;
            temporary.persist(&path)?;
            Ok(())
        };
        link().map_err(HubError::io("link", &path))
    }
}

#[cfg(unix)]
fn make_link(_: &Path, target: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Where links need rights that users don't have, one content with two names.
#[cfg(not(unix))]
fn make_link(blob: &Path, _: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, path).or_else(|_| std::fs::copy(blob, path).map(drop))
}
