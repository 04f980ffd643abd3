//! The outputs of frozen networks for images and texts, kept on disk.
//!
//! One file per tensor, named by the digest of its sources: pixels or text, and weights. A file is written under a temporary
//! name and renamed, and holds a digest of its content: a damaged one is made again. Reading gives the bits that were computed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{DType, TensorData};
use roentgen_augment::atomic::write_atomic;
use roentgen_augment::digest::Fingerprint;
use serde::{Deserialize, Serialize};

use super::error::RunError;

/// The `[cache]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Folder of the cache, which runs may share; `cache` in the run's folder if absent.
    pub folder: Option<PathBuf>,
    /// MiB on disk; 0 computes everything each time. What does not fit is computed when it is needed.
    pub mib: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { folder: None, mib: 16 * 1024 }
    }
}

/// Tensors of 32-bit floats on disk, up to a number of bytes.
///
/// Files are admitted until the bound is reached and then stay: training visits every image once per epoch, and under that
/// pattern any eviction removes what is needed next.
#[derive(Debug)]
pub struct CodeCache {
    folder: PathBuf,
    bound: u64,
    bytes: AtomicU64,
}

const EXTENSION: &str = "code";
const DIGEST: usize = 32;

impl CodeCache {
    /// Opens a cache of at most `bound` bytes; with 0, nothing is read or written.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn open(folder: &Path, bound: u64) -> Result<Self, RunError> {
        let mut bytes = 0;
        if bound > 0 {
            std::fs::create_dir_all(folder).map_err(RunError::io("create", folder))?;
            bytes = size(folder).map_err(RunError::io("read", folder))?;
        }
        Ok(Self { folder: folder.to_owned(), bound, bytes: AtomicU64::new(bytes) })
    }

    fn path(&self, key: Fingerprint) -> PathBuf {
        let name = key.to_string();
        self.folder.join(&name[..2]).join(format!("{name}.{EXTENSION}"))
    }

    /// The tensor of a key, if it is there and intact.
    #[must_use]
    pub fn get(&self, key: Fingerprint) -> Option<TensorData> {
        if self.bound == 0 {
            return None;
        }
        decode(&std::fs::read(self.path(key)).ok()?)
    }

    /// Keeps a tensor of 32-bit floats, if there is room.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn put(&self, key: Fingerprint, data: &TensorData) -> Result<(), RunError> {
        let bytes = encode(data);
        let path = self.path(key);
        let before = std::fs::metadata(&path).map_or(0, |file| file.len());
        let more = (bytes.len() as u64).saturating_sub(before);
        if self.bytes.load(Ordering::Relaxed) + more > self.bound {
            return Ok(());
        }
        write_atomic(&path, |out| out.write_all(&bytes)).map_err(RunError::io("write", &path))?;
        self.bytes.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }
}

fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for shard in std::fs::read_dir(folder)? {
        let shard = shard?.path();
        if !shard.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(shard)? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == EXTENSION) {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

/// Digest of the rest, number of dimensions, each, values.
fn encode(data: &TensorData) -> Vec<u8> {
    assert_eq!(data.dtype(), DType::F32, "codes are of 32-bit floats");
    let mut bytes = vec![0; DIGEST];
    bytes.extend((data.shape().len() as u64).to_le_bytes());
    data.shape().iter().for_each(|side| bytes.extend((*side as u64).to_le_bytes()));
    bytes.extend(data.as_bytes());
    let digest = *blake3::hash(&bytes[DIGEST..]).as_bytes();
    bytes[..DIGEST].copy_from_slice(&digest);
    bytes
}

fn decode(bytes: &[u8]) -> Option<TensorData> {
    let (digest, rest) = bytes.split_at_checked(DIGEST)?;
    if blake3::hash(rest).as_bytes() != digest {
        return None;
    }
    let mut numbers = rest.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().expect("chunks of eight")));
    let dimensions = numbers.next()? as usize;
    let shape: Vec<usize> = numbers.take(dimensions).map(|side| side as usize).collect();
    let values = rest.get(8 * (1 + dimensions)..)?;
    let values = values.chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().expect("chunks of four")));
    Some(TensorData::new(values.collect::<Vec<f32>>(), shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(value: f32) -> TensorData {
        TensorData::new(vec![value, -0.0, f32::NAN, 1e-40], [1, 2, 2])
    }

    fn key(name: &str) -> Fingerprint {
        Fingerprint::of(&[name.as_bytes()])
    }

    fn bits(data: &TensorData) -> Vec<u8> {
        data.as_bytes().to_vec()
    }

    #[test]
    fn bits_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(folder.path(), 1 << 20).unwrap();
        assert!(cache.get(key("a")).is_none());
        cache.put(key("a"), &code(0.1)).unwrap();
        let found = cache.get(key("a")).unwrap();
        assert_eq!((bits(&found), found.shape()), (bits(&code(0.1)), code(0.1).shape()));
        let again = CodeCache::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(bits(&again.get(key("a")).unwrap()), bits(&code(0.1)));
        assert_eq!(again.bytes.into_inner(), cache.bytes.into_inner());
    }

    #[test]
    fn damage_is_a_miss() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(folder.path(), 1 << 20).unwrap();
        cache.put(key("a"), &code(0.1)).unwrap();
        let path = cache.path(key("a"));
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(cache.get(key("a")).is_none(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
            assert!(cache.get(key("a")).is_none(), "changed at {at}");
        }
        cache.put(key("a"), &code(0.1)).unwrap();
        assert!(cache.get(key("a")).is_some());
    }

    #[test]
    fn the_bound_holds() {
        let folder = tempfile::tempdir().unwrap();
        let each = encode(&code(0.0)).len() as u64;
        let cache = CodeCache::open(folder.path(), 2 * each + each / 2).unwrap();
        (0..5).for_each(|i| cache.put(key(&i.to_string()), &code(i as f32)).unwrap());
        assert_eq!(cache.bytes.load(Ordering::Relaxed), 2 * each);
        assert!(cache.get(key("1")).is_some() && cache.get(key("2")).is_none());
        let off = CodeCache::open(&folder.path().join("none"), 0).unwrap();
        off.put(key("a"), &code(0.0)).unwrap();
        assert!(off.get(key("a")).is_none() && !folder.path().join("none").exists());
    }
}
