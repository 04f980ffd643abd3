//! Files of PyTorch before 1.6: five pickles (a magic number, the protocol, the system, the object, the keys of its storages), then the
//! storages in the order of the keys, each behind its number of elements. A plain pickle is one alone, without tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::pickle::{self, Fault, Pickle, invalid};
use super::Values;

struct Legacy {
    file: Mutex<File>,
    /// Of each storage, by its key.
    starts: BTreeMap<String, u64>,
}

/// The pickle of the object, its values, and the size of the file.
pub(super) fn open(path: &Path, mut file: BufReader<File>) -> Result<(Pickle, Arc<dyn Values>, u64), Fault> {
    let length = file.get_ref().metadata()?.len();
    let first = pickle::read(&mut file)?;
    let mut starts = BTreeMap::new();
    let object = if file.fill_buf()?.is_empty() {
        first
    } else {
        let (_protocol, system) = (pickle::read(&mut file)?, pickle::read(&mut file)?);
        if system.says("little_endian", false) {
            return Err(invalid("it was written on a big-endian machine: save it again on another").into());
        }
        let object = pickle::read(&mut file)?;
        let keys = pickle::read(&mut file)?.keys().ok_or_else(|| invalid("it has no list of its storages"))?;
        for key in keys {
            starts.insert(key.clone(), storage(&object, &key, &mut file, length)?);
        }
        object
    };
    match object.storages.keys().find(|key| !starts.contains_key(*key)) {
        Some(key) => Err(invalid(&format!("its storage {key} is not in the file")).into()),
        None => Ok((object, Arc::new(Legacy { file: Mutex::new(File::open(path)?), starts }), length)),
    }
}

/// Where the values of the storage `key` begin, which are next in the file and are skipped.
fn storage(object: &Pickle, key: &str, file: &mut BufReader<File>, length: u64) -> Result<u64, Fault> {
    let mut count = [0; 8];
    file.read_exact(&mut count)?;
    let storage = object.storages.get(key).ok_or_else(|| invalid(&format!("nothing is known of its storage {key}")))?;
    let Some(size) = storage.kind.size() else {
        return Err(invalid(&format!("its storage {key} is of an unknown type ({:?})", storage.kind)).into());
    };
    if u64::from_le_bytes(count) != storage.elements as u64 {
        return Err(invalid(&format!("its storage {key} has another size than its tensors say")).into());
    }
    let start = file.stream_position()?;
    let end = (storage.elements as u64).checked_mul(size as u64).and_then(|bytes| start.checked_add(bytes));
    match end.filter(|end| *end <= length) {
        Some(end) => {
            file.seek(SeekFrom::Start(end))?;
            Ok(start)
        }
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

impl Values for Legacy {
    fn read(&self, key: &str, start: usize, length: usize) -> io::Result<Vec<u8>> {
        let begin = self.starts.get(key).and_then(|begin| begin.checked_add(start as u64));
        let begin = begin.ok_or_else(|| invalid(&format!("its storage {key} is not in the file")))?;
        let mut bytes = vec![0; length];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
