//! The one reader of safetensors files, and the header for those who write them.
//!
//! The header is checked against the file's length before a tensor is promised; values are read a tensor at a time, when they are asked
//! for. They are neither read whole nor mapped: mapped pages count as memory of the process while its weights are copied.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use burn::store::burn_pack;
use burn::tensor::{Bytes, DType};
use safetensors::tensor::{Dtype, Metadata};
use serde_json::{Map, Value, json};

use super::stored::StoredTensor;
use crate::ClassifierError;

/// The limit of the safetensors format.
pub(super) const MAX_HEADER: u64 = 100_000_000;

/// A safetensors file whose header was read and checked.
#[derive(Debug)]
pub struct SafetensorsFile {
    /// Its tensors by name, unread.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// What its `__metadata__` says.
    pub notes: BTreeMap<String, String>,
}

/// Opens a safetensors file; of its values none is read yet.
///
/// # Errors
/// [`ClassifierError::Io`]; [`ClassifierError::DamagedWeights`] for a file that is cut short, is longer than its header says, or whose header
/// is no table of tensors that lie one behind the other, each as long as its type and shape make it.
pub fn open_safetensors(path: &Path) -> Result<SafetensorsFile, ClassifierError> {
    let io = |source| ClassifierError::Io { action: "read", path: path.to_owned(), source };
    let damaged = |message: String| ClassifierError::DamagedWeights { path: path.to_owned(), source: message.into() };
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut prefix = [0; 8];
    if length < 8 {
        return Err(damaged(format!("it has {length} bytes, too few for a safetensors file")));
    }
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER || header_length > length - 8 {
        let lfs = match prefix.starts_with(b"version ") {
            true => " (it is a Git LFS pointer: fetch the file itself with `git lfs pull`)",
            false => "",
        };
        return Err(damaged(format!("its header does not fit its {length} bytes{lfs}")));
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    // Of offsets, this checks that each tensor begins where the one before it ends and is as long as its type and shape make it.
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| damaged(format!("its header is no table of tensors ({error})")))?;
    let (expected, found) = (header.data_len() as u64, length - 8 - header_length);
    if expected != found {
        return Err(damaged(format!("its header lists {expected} bytes of tensors, the file holds {found}")));
    }
    let file = Arc::new(Mutex::new(file));
    let mut tensors = BTreeMap::new();
    for (name, info) in header.tensors() {
        // A dimension of 0 hides the others from the check of the length, and strides are computed from them.
        if info.shape.iter().filter(|size| **size > 0).try_fold(1usize, |product, size| product.checked_mul(*size)).is_none() {
            return Err(damaged(format!("`{name}` has the shape {:?}, which no memory holds", info.shape)));
        }
        let start = 8 + header_length + info.data_offsets.0 as u64;
        let bytes = info.data_offsets.1 - info.data_offsets.0;
        let stored = match float_type(info.dtype) {
            Some(dtype) => {
                let file = Arc::clone(&file);
                let read = move || read_at(&file, start, bytes).map(Bytes::from_bytes_vec);
                let shape = info.shape.clone();
                StoredTensor::Floats(burn_pack::Tensor::deferred(name.clone(), dtype, shape, None, bytes, read))
            }
            None => StoredTensor::Other { shape: info.shape.clone(), kind: format!("{:?}", info.dtype) },
        };
        tensors.insert(name, stored);
    }
    let notes = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(SafetensorsFile { tensors, notes })
}

/// The tensors of a file of 32-bit floats, unread, by name.
///
/// # Errors
/// Those of [`open_safetensors`]; [`ClassifierError::WeightType`] for a tensor of another type.
pub fn open_f32(path: &Path) -> Result<BTreeMap<String, burn_pack::Tensor>, ClassifierError> {
    let tensors = open_safetensors(path)?.tensors.into_iter().map(|(name, stored)| match stored {
        StoredTensor::Floats(tensor) if tensor.dtype == DType::F32 => Ok((name, tensor)),
        StoredTensor::Floats(tensor) => Err((name, format!("{:?}", tensor.dtype))),
        StoredTensor::Other { kind, .. } => Err((name, kind)),
    });
    let wrong_type = |(tensor, found)| ClassifierError::WeightType { path: path.to_owned(), tensor, found };
    tensors.collect::<Result<_, _>>().map_err(wrong_type)
}

/// Writes tensors of 32-bit floats in their order; of those that are deferred, one at a time is in memory.
///
/// # Errors
/// Those of `out`, and of a tensor that can't be read.
///
/// # Panics
/// If a tensor is of another type.
pub fn write_f32(out: &mut impl Write, tensors: &BTreeMap<String, burn_pack::Tensor>) -> io::Result<()> {
    assert!(tensors.values().all(|tensor| tensor.dtype == DType::F32), "tensors are of 32-bit floats");
    let shapes = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice()));
    out.write_all(&safetensors_header(shapes, DType::F32.size(), "F32"))?;
    for tensor in tensors.values() {
        out.write_all(&tensor.to_bytes().map_err(io::Error::other)?)?;
    }
    Ok(())
}

/// What stands before the values: the header with its length, padded so that values are aligned. `format` is what transformers asks
/// for.
pub fn safetensors_header<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>, size: usize, dtype: &str) -> Vec<u8> {
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

/// `length` was compared with the file's when it was opened.
fn read_at(file: &Mutex<File>, start: u64, length: usize) -> Result<Vec<u8>, burn_pack::Error> {
    // Every read begins with a seek: what another reader left behind does no harm.
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| burn_pack::Error::IoError(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use safetensors::tensor::TensorView;

    use super::super::testing::folder;
    use super::*;

    /// Opens these bytes and reads every value; what a tensor promises must lie in the file.
    fn read_all(bytes: &[u8]) -> Result<BTreeMap<String, Vec<usize>>, ClassifierError> {
        let folder = folder();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let file = open_safetensors(&path)?;
        let mut shapes = BTreeMap::new();
        let mut promised = 0;
        for (name, stored) in file.tensors {
            shapes.insert(name.clone(), stored.shape());
            if let StoredTensor::Floats(tensor) = &stored {
                promised += tensor.to_bytes().unwrap().len();
                stored.floats(&path, &name)?;
            }
        }
        assert!(promised <= bytes.len(), "{promised} bytes of tensors in a file of {}", bytes.len());
        Ok(shapes)
    }

    fn with_header(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 1);
        bytes
    }

    fn whole() -> Vec<u8> {
        let bytes = [1u8; 24];
        let view = |dtype, shape: &[usize], size: usize| TensorView::new(dtype, shape.to_vec(), &bytes[..size]).unwrap();
        let tensors = [
            ("a.weight", view(Dtype::F32, &[2, 3], 24)),
            ("alpha", view(Dtype::F64, &[], 8)),
            ("half", view(Dtype::BF16, &[1, 0, 3], 0)),
            ("ids", view(Dtype::I64, &[2], 16)),
        ];
        safetensors::serialize(tensors, Some(std::collections::HashMap::from([("k".to_owned(), "v".to_owned())]))).unwrap()
    }

    #[test]
    fn numbers_without_dimensions_empty_tensors_and_notes_are_read() {
        let shapes = read_all(&whole()).unwrap();
        assert_eq!(shapes["alpha"], [0usize; 0]);
        assert_eq!(shapes["half"], [1, 0, 3]);
        assert_eq!(shapes["ids"], [2]);
    }

    #[test]
    fn cut_and_lengthened_files_are_refused() {
        let whole = whole();
        for length in 0..whole.len() {
            let result = read_all(&whole[..length]);
            assert!(matches!(result, Err(ClassifierError::DamagedWeights { .. })), "{length} bytes: {result:?}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(matches!(read_all(&longer), Err(ClassifierError::DamagedWeights { .. })));
    }

    #[test]
    fn doctored_headers_are_refused_by_name() {
        let tensor = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"t": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
        };
        let huge = u64::MAX;
        for (header, data) in [
            (tensor("F32", "[2]", "[8, 0]"), 8),
            (tensor("F32", "[2]", "[0, 4]"), 4),
            (tensor("F32", "[2]", "[4, 12]"), 12),
            (tensor("F32", "[2]", &format!("[0, {huge}]")), 8),
            (tensor("F32", &format!("[{huge}]"), "[0, 8]"), 8),
            (tensor("F32", "[4294967296, 4294967296]", "[0, 0]"), 0),
            (tensor("F32", "[0, 4294967296, 4294967296]", "[0, 0]"), 0),
            (tensor("F32", "[4294967296, 0, 4294967296]", "[0, 0]"), 0),
            (tensor("F32", "[-1]", "[0, 4]"), 4),
            (tensor("F32", "[1.5]", "[0, 6]"), 6),
            (tensor("F31", "[1]", "[0, 4]"), 4),
            (tensor("F32", "2", "[0, 8]"), 8),
            (r#"{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#.to_owned(), 8),
            (r#"{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}"#.to_owned(), 8),
            (r#"{"__metadata__": {"format": 3}}"#.to_owned(), 0),
            ("[]".to_owned(), 0),
            ("{".to_owned(), 0),
            (String::new(), 0),
            ("[".repeat(100_000), 0),
        ] {
            let result = read_all(&with_header(&header, data));
            let shown: String = header.chars().take(200).collect();
            let Err(error @ ClassifierError::DamagedWeights { .. }) = result else { panic!("{shown} gave {result:?}") };
            assert!(error.to_string().contains("weights.safetensors"), "{error}");
        }
        // A header of almost the whole address space.
        for length in [u64::MAX, u64::MAX - 7, 1 << 62, MAX_HEADER + 1, 1000] {
            let bytes = [&length.to_le_bytes()[..], b"{}"].concat();
            assert!(matches!(read_all(&bytes), Err(ClassifierError::DamagedWeights { .. })), "{length}");
        }
    }

    #[test]
    fn a_pointer_of_git_lfs_is_named() {
        let error = read_all(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap_err();
        assert!(crate::error::chain(&error).contains("git lfs pull"), "{error}");
    }

    #[test]
    fn a_file_that_shrinks_after_it_was_opened_is_an_error() {
        let folder = folder();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, whole()).unwrap();
        let file = open_safetensors(&path).unwrap();
        std::fs::write(&path, &whole()[..64]).unwrap();
        let results: Vec<_> = file.tensors.iter().map(|(name, stored)| stored.floats(&path, name)).collect();
        assert!(results.iter().any(|result| matches!(result, Err(ClassifierError::DamagedWeights { .. }))));
    }

    proptest! {
        #[test]
        fn no_change_of_a_file_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            length in any::<prop::sample::Index>(),
            cuts in any::<bool>(),
        ) {
            let mut bytes = whole();
            for (place, value) in changes {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if cuts {
                bytes.truncate(length.index(bytes.len()));
            }
            let _ = read_all(&bytes);
        }

        #[test]
        fn no_numbers_in_a_header_panic(
            shape in prop::collection::vec(prop_oneof![0u64..5, any::<u64>()], 0..5),
            ends in prop::array::uniform2(prop_oneof![0u64..40, any::<u64>()]),
            dtype in prop::sample::select(vec!["F32", "F64", "BF16", "F16", "I64", "BOOL", "F8_E4M3", "F4", "C64", "X"]),
            data in 0usize..40,
        ) {
            let header = json!({ "t": { "dtype": dtype, "shape": shape, "data_offsets": ends } });
            let _ = read_all(&with_header(&header.to_string(), data));
        }
    }
}
