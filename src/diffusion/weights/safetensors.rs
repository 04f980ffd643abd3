//! Safetensors files, read and written a tensor at a time.
//!
//! Neither read whole nor mapped: mapped pages count as memory of the process while its weights are copied.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::store::burn_pack;
use burn::tensor::{Bytes, DType};
use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Map, Value, json};

use super::files::Stored;
use crate::diffusion::DiffusionError;

/// The limit of the safetensors format.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a file, unread.
pub(super) fn open(path: &Path) -> Result<HashMap<String, Stored>, DiffusionError> {
    let io = |source| DiffusionError::Io { action: "read", path: path.to_owned(), source };
    let damaged = |message: String| DiffusionError::DamagedWeights { path: path.to_owned(), message };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut prefix = [0; 8];
    if length < 8 {
        return Err(damaged(format!("it has {length} bytes, too few for a safetensors file")));
    }
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER || header_length > length - 8 {
        let start = String::from_utf8_lossy(&prefix).into_owned();
        let lfs = if start.starts_with("version ") {
            " (it is a Git LFS pointer: fetch the file itself with `git lfs pull`)"
        } else {
            ""
        };
        return Err(damaged(format!("its header does not fit its {length} bytes{lfs}")));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(format!("its header is no table of tensors ({error})")))?;
    let (expected, found) = (header.data_len() as u64, length - 8 - header_length);
    if expected != found {
        return Err(damaged(format!("its header lists {expected} bytes of tensors, the file holds {found}")));
    }
    let file = Arc::new(Mutex::new(file));
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let start = 8 + header_length + info.data_offsets.0 as u64;
        let bytes = info.data_offsets.1 - info.data_offsets.0;
        let file = Arc::clone(&file);
        let read = move || read_at(&file, start, bytes).map(Bytes::from_bytes_vec);
        let stored = match float_type(info.dtype) {
            Some(dtype) => {
                Stored::Floats(burn_pack::Tensor::deferred(name.clone(), dtype, info.shape.clone(), None, bytes, read))
            }
            None => Stored::Other { shape: info.shape.clone(), kind: format!("{:?}", info.dtype) },
        };
        (name, stored)
    });
    Ok(tensors.collect())
}

/// The tensors of a file of 32-bit floats, unread, by name.
///
/// # Errors
/// [`DiffusionError::Io`]; [`DiffusionError::DamagedWeights`]; [`DiffusionError::WeightType`] for a tensor of another type.
pub(crate) fn open_f32(path: &Path) -> Result<BTreeMap<String, burn_pack::Tensor>, DiffusionError> {
    let tensors = open(path)?.into_iter().map(|(name, stored)| match stored {
        Stored::Floats(tensor) if tensor.dtype == DType::F32 => Ok((name, tensor)),
        Stored::Floats(tensor) => Err((name, format!("{:?}", tensor.dtype))),
        Stored::Other { kind, .. } => Err((name, kind)),
    });
    let wrong_type = |(tensor, found)| DiffusionError::WeightType { path: path.to_owned(), tensor, found };
    tensors.collect::<Result<_, _>>().map_err(wrong_type)
}

/// Writes tensors of 32-bit floats in their order; of those that are deferred, one at a time is in memory.
///
/// # Errors
/// Those of `out`, and of a tensor that can't be read.
///
/// # Panics
/// If a tensor is of another type.
pub(crate) fn write_f32(out: &mut impl Write, tensors: &BTreeMap<String, burn_pack::Tensor>) -> io::Result<()> {
    assert!(tensors.values().all(|tensor| tensor.dtype == DType::F32), "tensors are of 32-bit floats");
    let shapes = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice()));
    out.write_all(&header(shapes, DType::F32.size(), "F32"))?;
    for tensor in tensors.values() {
        out.write_all(&tensor.to_bytes().map_err(io::Error::other)?)?;
    }
    Ok(())
}

/// What stands before the values: the header with its length, padded so that values are aligned. `format` is what transformers asks
/// for.
pub(super) fn header<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>, size: usize, dtype: &str) -> Vec<u8> {
    const ALIGNMENT: usize = 8;
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut start = 0;
    for (name, shape) in tensors {
        let end = start + shape.iter().product::<usize>() * size;
        entries.insert(name.to_owned(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
        start = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    bytes
}

fn float_type(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F64 => Some(DType::F64),
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

fn read_at(file: &Mutex<File>, start: u64, length: usize) -> Result<Vec<u8>, burn_pack::Error> {
    let mut file = file.lock().expect("no reader panics while it holds the file");
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| burn_pack::Error::IoError(error.to_string()))?;
    Ok(bytes)
}
