//! Where samples are stored: `samples/ab/abcd….png`, sharded by the first two digits of the key.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::CacheKey;
use crate::AugmentError;

/// Age from which a temporary file is not a write in progress but a leftover of a killed process.
pub(super) const STALE: Duration = Duration::from_secs(3600);

/// The file of `key` in the cache folder `root`.
pub(super) fn path_of(root: &Path, key: CacheKey) -> PathBuf {
    let digits = key.to_string();
    root.join("samples").join(&digits[..2]).join(format!("{digits}.png"))
}

/// The samples of the cache folder, by name; temporary files of killed processes are removed on the way.
pub(super) fn list(root: &Path) -> Result<Vec<(CacheKey, PathBuf)>, AugmentError> {
    let mut found = Vec::new();
    for shard in entries(&root.join("samples"))? {
        for path in entries(&shard)? {
            let is_png = path.extension() == Some(OsStr::new("png"));
            match path.file_stem().and_then(OsStr::to_str).and_then(CacheKey::from_hex) {
                Some(key) if is_png && path_of(root, key) == path => found.push((key, path)),
                _ => remove_stale(&path),
            }
        }
    }
    Ok(found)
}

/// Removes a file; one that is gone already is fine.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Files of a folder, or subfolders of it; none if it isn't there or isn't a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// A leftover that can't be removed does no harm: it is never read, so failing to remove it is not an error.
fn remove_stale(path: &Path) {
    let is_temporary = path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(".tmp-"));
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|then| SystemTime::now().duration_since(then).ok());
    if is_temporary && age.is_some_and(|age| age > STALE) {
        let _ = fs::remove_file(path);
    }
}
