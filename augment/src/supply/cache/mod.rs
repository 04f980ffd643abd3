//! Synthetic samples on disk, each made once.
//!
//! A cache is a folder of self-describing PNGs ([`encode_sample`](crate::supply::encode_sample)) and an SQLite index beside them. The
//! PNGs are the truth: a sample is read by its name, without the index, and the index (sizes and times of use, for
//! the byte bound) is rebuilt from them if it is lost. A sample is written under a temporary name, synced and renamed, and
//! only then gets its row; so a kill loses at most the samples being written, and several processes can share a cache.

mod files;
mod index;
mod key;
mod report;
#[cfg(test)]
mod tests;
mod write;

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::ErrorCode;

use index::{Index, Row};
pub use key::CacheKey;
use report::Counters;
pub use report::{CacheReport, CorruptSample};

use crate::AugmentError;
use crate::atomic::write_atomic;
use crate::image::GrayImage;
use crate::supply::{SampleDefect, SampleOrigin, decode_sample};

/// Name of the SQLite file in the cache folder.
const INDEX: &str = "index.sqlite";

/// How a cache is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheOptions {
    /// Most bytes that the PNGs may take together; the least recently used are removed first. `None` for no bound.
    ///
    /// Processes that write at the same time can exceed it by the batches they are writing.
    pub max_bytes: Option<u64>,
}

/// A folder of synthetic samples, found by the request that made them.
pub struct SampleCache {
    folder: PathBuf,
    options: CacheOptions,
    /// `None` where the folder can't be written: such a cache can still be read.
    index: Option<Mutex<Index>>,
    /// Times of use that are not in the index yet: reading a sample must not write to SQLite.
    uses: Mutex<HashMap<CacheKey, i64>>,
    clock: AtomicI64,
    counters: Counters,
    /// Writes one file; a field so that tests can fill the disk.
    write: fn(&Path, &[u8]) -> io::Result<()>,
}

impl SampleCache {
    /// Opens the cache in `folder`, or makes one there.
    ///
    /// An index that is lost, damaged or of another version is rebuilt from the PNGs, which reads them all. A folder that
    /// can't be written is opened for reading.
    ///
    /// # Errors
    /// [`AugmentError::Io`] if there is no such folder and none can be made, [`AugmentError::CacheIndex`] if the index can't be
    /// opened.
    pub fn open(folder: impl AsRef<Path>, options: CacheOptions) -> Result<Self, AugmentError> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(folder.join("samples")).or_else(|source| {
            let exists = folder.join("samples").is_dir();
            if exists {
                Ok(())
            } else {
                Err(AugmentError::Io { action: "create the sample cache in", path: folder.clone(), source })
            }
        })?;
        let writable = tempfile::Builder::new().prefix(".tmp-").tempfile_in(&folder).is_ok();
        let (index, fresh) =
            if writable { open_index(&folder).map(|(index, fresh)| (Some(index), fresh))? } else { (None, false) };
        let cache = Self {
            folder,
            options,
            index: index.map(Mutex::new),
            uses: Mutex::default(),
            clock: AtomicI64::new(0),
            counters: Counters::default(),
            write: |path, bytes| write_atomic(path, |file| file.write_all(bytes)),
        };
        if fresh {
            cache.rebuild_index()?;
        } else if writable {
            files::list(&cache.folder)?;
        }
        Ok(cache)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The byte bound.
    #[must_use]
    pub fn max_bytes(&self) -> Option<u64> {
        self.options.max_bytes
    }

    /// The file that holds, or would hold, the sample of `key`.
    #[must_use]
    pub fn path_of(&self, key: CacheKey) -> PathBuf {
        files::path_of(&self.folder, key)
    }

    /// Whether there is a file for `key`. Whether it is intact is only known once it is read.
    #[must_use]
    pub fn contains(&self, key: CacheKey) -> bool {
        self.path_of(key).is_file()
    }

    /// The sample of `key`, if it is there and intact. A corrupt file is removed, noted in the [report](Self::report), and
    /// counts as absent.
    ///
    /// # Errors
    /// [`AugmentError::Io`] if the file is there but can't be read.
    pub fn get(&self, key: CacheKey) -> Result<Option<GrayImage>, AugmentError> {
        Ok(self.sample(key)?.map(|(image, _)| image))
    }

    /// As [`SampleCache::get`], with the file's description of the sample.
    ///
    /// # Errors
    /// As [`SampleCache::get`].
    pub fn sample(&self, key: CacheKey) -> Result<Option<(GrayImage, SampleOrigin)>, AugmentError> {
        let path = self.path_of(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Counters::add(&self.counters.misses, 1);
                return Ok(None);
            }
            Err(source) => return Err(AugmentError::Io { action: "read", path, source }),
        };
        match decode_of(key, &bytes) {
            Ok(sample) => {
                Counters::add(&self.counters.hits, 1);
                lock(&self.uses).insert(key, self.now());
                Ok(Some(sample))
            }
            Err(defect) => {
                Counters::add(&self.counters.misses, 1);
                self.discard(path, defect);
                Ok(None)
            }
        }
    }

    /// Rebuilds the index from the PNGs: reads each, removes the corrupt ones and the temporary files of killed processes.
    ///
    /// Returns the number of samples. Times of use are lost, so the next evictions take them in the order of their files'
    /// modification times.
    ///
    /// # Errors
    /// [`AugmentError::Io`] if a file can't be read, [`AugmentError::CacheIndex`] if the index can't be written.
    pub fn rebuild_index(&self) -> Result<usize, AugmentError> {
        let mut rows = Vec::new();
        for (key, path) in files::list(&self.folder)? {
            let failed = |source| AugmentError::Io { action: "read", path: path.clone(), source };
            let bytes = match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                read => read.map_err(failed)?,
            };
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified()).unwrap_or(UNIX_EPOCH);
            match decode_of(key, &bytes) {
                Ok(_) => rows.push(Row { key, bytes: bytes.len() as u64, used: micros(modified) }),
                Err(defect) => self.discard(path, defect),
            }
        }
        let mut index = self.index()?;
        index.record(&rows).map_err(|source| self.index_error("write", source))?;
        let keys = index.keys().map_err(|source| self.index_error("read", source))?;
        let gone: Vec<_> = keys.into_iter().filter(|key| !self.contains(*key)).collect();
        index.forget(&gone).map_err(|source| self.index_error("write", source))?;
        Ok(rows.len())
    }

    /// Writes the times of use to the index. Done by every [`put`](Self::put), and when the cache is dropped.
    ///
    /// A sample that was read but has no row (its process was killed in between) gets one.
    ///
    /// # Errors
    /// [`AugmentError::CacheIndex`] if the index can't be written.
    pub fn flush(&self) -> Result<(), AugmentError> {
        if self.index.is_none() {
            return Ok(());
        }
        let mut index = self.index()?;
        self.flush_uses(&mut index)
    }

    /// Bytes of all PNGs, as the index counts them.
    ///
    /// # Errors
    /// [`AugmentError::CacheIndex`] if the index can't be read.
    pub fn bytes(&self) -> Result<u64, AugmentError> {
        self.index()?.bytes().map_err(|source| self.index_error("read", source))
    }

    /// Number of samples, as the index counts them.
    ///
    /// # Errors
    /// As [`SampleCache::bytes`].
    pub fn count(&self) -> Result<u64, AugmentError> {
        self.index()?.len().map_err(|source| self.index_error("read", source))
    }

    /// What happened since the cache was opened.
    #[must_use]
    pub fn report(&self) -> CacheReport {
        self.counters.report()
    }

    fn flush_uses(&self, index: &mut Index) -> Result<(), AugmentError> {
        let uses: Vec<_> = std::mem::take(&mut *lock(&self.uses)).into_iter().collect();
        if uses.is_empty() {
            return Ok(());
        }
        let failed = |source| self.index_error("write", source);
        let unknown = index.touch(&uses).map_err(failed)?;
        let adopt = |key: &CacheKey| {
            let bytes = fs::metadata(self.path_of(*key)).ok()?.len();
            Some(Row { key: *key, bytes, used: self.now() })
        };
        let rows: Vec<_> = unknown.iter().filter_map(adopt).collect();
        index.record(&rows).map_err(failed)?;
        Counters::add(&self.counters.adopted, rows.len() as u64);
        Ok(())
    }

    /// Removes a corrupt file. Failing to remove it is not an error: it stays a miss, and a new sample replaces it.
    fn discard(&self, path: PathBuf, defect: SampleDefect) {
        let _ = files::remove(&path);
        self.counters.corrupt(path, defect);
    }

    fn index(&self) -> Result<MutexGuard<'_, Index>, AugmentError> {
        let read_only = || AugmentError::CacheWrite { path: self.folder.clone(), source: ErrorKind::PermissionDenied.into() };
        self.index.as_ref().map(lock).ok_or_else(read_only)
    }

    fn index_error(&self, action: &'static str, source: rusqlite::Error) -> AugmentError {
        AugmentError::CacheIndex { action, path: index_path(&self.folder), source }
    }

    /// Microseconds since the Unix epoch, never the same twice in a process, so that uses have an order.
    fn now(&self) -> i64 {
        let wall = micros(SystemTime::now());
        self.clock.fetch_max(wall, Ordering::Relaxed);
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for SampleCache {
    fn drop(&mut self) {
        // Lost times of use cost nothing but the order of eviction.
        let _ = self.flush();
    }
}

/// Opens the index of a cache folder; a file that is not a database is removed first. `true` if it has to be filled.
fn open_index(folder: &Path) -> Result<(Index, bool), AugmentError> {
    let path = index_path(folder);
    let opened = Index::open(&path).or_else(|error| {
        let damaged = matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
        if !damaged {
            return Err(error);
        }
        for suffix in ["", "-wal", "-shm"] {
            // A file that stays makes the second opening fail with the reason.
            let _ = files::remove(&folder.join(format!("{INDEX}{suffix}")));
        }
        Index::open(&path)
    });
    opened.map_err(|source| AugmentError::CacheIndex { action: "open", path, source })
}

fn index_path(folder: &Path) -> PathBuf {
    folder.join(INDEX)
}

/// Decodes a sample and checks that it is the one its name says.
fn decode_of(key: CacheKey, bytes: &[u8]) -> Result<(GrayImage, SampleOrigin), SampleDefect> {
    let (image, origin) = decode_sample(bytes)?;
    if CacheKey::new(&origin.request, origin.fingerprint) != key {
        return Err(SampleDefect::OtherRequest);
    }
    Ok((image, origin))
}

/// Microseconds since the Unix epoch.
fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
