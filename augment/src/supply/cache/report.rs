//! What a cache has done since it was opened.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::supply::SampleDefect;

/// A file of the cache that was not what was written. It has been removed, and the sample is made again when requested.
#[derive(Clone, Debug)]
pub struct CorruptSample {
    /// Where it was.
    pub path: PathBuf,
    /// What was wrong.
    pub defect: Arc<SampleDefect>,
}

/// What this process has seen of a cache since it opened it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CacheReport {
    /// Samples read.
    pub hits: u64,
    /// Requested samples that were missing or corrupt.
    pub misses: u64,
    /// Samples written.
    pub written: u64,
    /// Samples removed for the byte bound.
    pub evicted: u64,
    /// Samples not kept, because the byte bound left no room beside their own batch.
    pub not_kept: u64,
    /// Files without an index row that got one (left by a killed process or a lost index).
    pub adopted: u64,
    /// Files that were not as written.
    pub corrupt: Vec<CorruptSample>,
}

/// Counters behind a [`CacheReport`].
#[derive(Default)]
pub(super) struct Counters {
    pub hits: AtomicU64,
    pub misses: AtomicU64,
    pub written: AtomicU64,
    pub evicted: AtomicU64,
    pub not_kept: AtomicU64,
    pub adopted: AtomicU64,
    pub corrupt: Mutex<Vec<CorruptSample>>,
}

impl Counters {
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub fn corrupt(&self, path: PathBuf, defect: SampleDefect) {
        let entry = CorruptSample { path, defect: Arc::new(defect) };
        self.corrupt.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    pub fn report(&self) -> CacheReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheReport {
            hits: read(&self.hits),
            misses: read(&self.misses),
            written: read(&self.written),
            evicted: read(&self.evicted),
            not_kept: read(&self.not_kept),
            adopted: read(&self.adopted),
            corrupt: self.corrupt.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
