//! The zip of PyTorch 1.6 and later: `NAME/data.pkl`, and a storage per entry of `NAME/data`.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::store::pytorch_reader::MAX_PICKLE_SIZE;
use zip::{CompressionMethod, ZipArchive};

use super::super::pickle::{self, Fault, Pickle, invalid};
use super::Values;

struct Zipped {
    archive: Mutex<ZipArchive<BufReader<File>>>,
    /// The same file, for values that are stored as they are.
    plain: Mutex<File>,
    /// `NAME/data/`.
    folder: String,
}

/// The pickle, its values, and the size of all of them, unpacked.
pub(super) fn open(path: &Path, file: BufReader<File>) -> Result<(Pickle, Arc<dyn Values>, u64), Fault> {
    let length = file.get_ref().metadata()?.len();
    let mut archive = ZipArchive::new(file).map_err(io::Error::from)?;
    let roots = archive.file_names().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = roots.filter(|root| root.is_empty() || root.ends_with('/')).min_by_key(|root| root.len()).map(str::to_owned);
    let root = root.ok_or_else(|| invalid("the zip has no data.pkl: it is no file of PyTorch"))?;
    let order = entry(&mut archive, &format!("{root}byteorder")).unwrap_or_default();
    if order.starts_with(b"big") {
        return Err(invalid("it was written on a big-endian machine: save it again on another").into());
    }
    let bytes = entry(&mut archive, &format!("{root}data.pkl"))?;
    let pickle = pickle::read(&mut Cursor::new(bytes))?;
    let most = unpacked(&mut archive, length)?;
    let (archive, plain) = (Mutex::new(archive), Mutex::new(File::open(path)?));
    Ok((pickle, Arc::new(Zipped { archive, plain, folder: format!("{root}data/") }), most))
}

fn entry(archive: &mut ZipArchive<BufReader<File>>, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.by_name(name)?.take(MAX_PICKLE_SIZE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The size of what an archive of `length` bytes can hold, unpacked.
fn unpacked(archive: &mut ZipArchive<BufReader<File>>, length: u64) -> io::Result<u64> {
    /// Of deflate, which no packed entry outdoes.
    const HIGHEST_RATIO: u64 = 1032;
    let mut total = 0u64;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i)?;
        total = total.saturating_add(entry.size().min(entry.compressed_size().min(length).saturating_mul(HIGHEST_RATIO)));
    }
    Ok(total)
}

impl Values for Zipped {
    fn read(&self, key: &str, start: usize, length: usize) -> io::Result<Vec<u8>> {
        let name = format!("{}{key}", self.folder);
        let mut archive = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entry = archive.by_name(&name)?;
        let end = start.checked_add(length).filter(|end| *end as u64 <= entry.size());
        let end =
            end.ok_or_else(|| invalid(&format!("its storage {key} has {} bytes, fewer than its tensors", entry.size())))?;
        // A part of an entry can't be compared with its checksum, and a checksum of 0 is none.
        let whole = end - start == entry.size() as usize && entry.crc32() != 0;
        match entry.data_start() {
            Some(data) if !whole && entry.compression() == CompressionMethod::Stored => {
                drop(entry);
                drop(archive);
                let mut file = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(data.saturating_add(start as u64)))?;
                exactly(&mut *file, length)
            }
            _ => {
                io::copy(&mut (&mut entry).take(start as u64), &mut io::sink())?;
                let bytes = exactly(&mut entry, length)?;
                // The checksum is looked at where the entry ends.
                if whole && entry.read(&mut [0])? > 0 {
                    return Err(invalid(&format!("its storage {key} is longer than the zip says")));
                }
                Ok(bytes)
            }
        }
    }
}

/// So many bytes; memory is taken as they arrive, whatever an archive says of its size.
fn exactly(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    const AT_FIRST: usize = 1 << 28;
    let mut bytes = Vec::with_capacity(length.min(AT_FIRST));
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}
