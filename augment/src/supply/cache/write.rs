//! Writing to the cache, within its byte bound.

use std::collections::HashSet;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::files::remove;
use super::index::{Index, Row};
use super::report::Counters;
use super::{CacheKey, SampleCache};
use crate::AugmentError;
use crate::image::{GrayImage, ImageFileError};
use crate::supply::{SampleOrigin, encode_sample};

impl SampleCache {
    /// Stores samples.
    ///
    /// With a byte bound, samples outside `keep` are evicted first; the ones of this call and of `keep` never are. Where no
    /// room is left the rest is not kept; the number of those is returned.
    ///
    /// # Errors
    /// [`AugmentError::CacheWrite`] if a file can't be written (no permission, full disk): samples written before it stay.
    /// [`AugmentError::CacheIndex`] if the index can't be.
    pub fn put(&self, samples: &[(GrayImage, SampleOrigin)], keep: &HashSet<CacheKey>) -> Result<usize, AugmentError> {
        let encoded: Vec<(CacheKey, Vec<u8>)> = samples
            .par_iter()
            .map(|(image, origin)| {
                let key = CacheKey::new(&origin.request, origin.fingerprint);
                let path = || self.path_of(key);
                let bytes = encode_sample(image, origin).map_err(|source| ImageFileError::Encode { path: path(), source })?;
                Ok((key, bytes))
            })
            .collect::<Result<_, AugmentError>>()?;
        let mut index = self.index()?;
        let kept = self.make_room(&mut index, &encoded, keep)?;
        let mut rows = Vec::with_capacity(kept);
        let written = encoded[..kept].iter().try_for_each(|(key, bytes)| {
            let path = self.path_of(*key);
            (self.write)(&path, bytes).map_err(|source| AugmentError::CacheWrite { path, source })?;
            rows.push(Row { key: *key, bytes: bytes.len() as u64, used: self.now() });
            Ok(())
        });
        index.record(&rows).map_err(|source| self.index_error("write", source))?;
        Counters::add(&self.counters.written, rows.len() as u64);
        let refused = encoded.len() - kept;
        Counters::add(&self.counters.not_kept, refused as u64);
        written.map(|()| refused)
    }

    /// Evicts until `encoded` fits; how many of its samples, from the first, there is room for.
    fn make_room(
        &self,
        index: &mut Index,
        encoded: &[(CacheKey, Vec<u8>)],
        keep: &HashSet<CacheKey>,
    ) -> Result<usize, AugmentError> {
        self.flush_uses(index)?;
        let Some(max_bytes) = self.options.max_bytes else { return Ok(encoded.len()) };
        let failed = |source| self.index_error("read", source);
        let mut keep = keep.clone();
        keep.extend(encoded.iter().map(|(key, _)| *key));
        let mut growth = 0;
        for (key, bytes) in encoded {
            growth += (bytes.len() as u64).saturating_sub(index.bytes_of(*key).map_err(failed)?.unwrap_or(0));
        }
        // Files go before rows: a kill between the two leaves rows without files, which count too much until they are evicted
        // themselves, never files that nobody counts.
        let victims = index.victims(max_bytes.saturating_sub(growth), &keep).map_err(failed)?;
        for path in victims.iter().map(|key| self.path_of(*key)) {
            remove(&path).map_err(|source| AugmentError::Io { action: "evict", path, source })?;
        }
        index.forget(&victims).map_err(failed)?;
        Counters::add(&self.counters.evicted, victims.len() as u64);
        let mut left = max_bytes.saturating_sub(index.bytes().map_err(failed)?);
        let mut kept = 0;
        for (key, bytes) in encoded {
            let growth = (bytes.len() as u64).saturating_sub(index.bytes_of(*key).map_err(failed)?.unwrap_or(0));
            let Some(rest) = left.checked_sub(growth) else { break };
            left = rest;
            kept += 1;
        }
        Ok(kept)
    }
}
