//! PyTorch files of all versions, read as data.
//!
//! Nothing that a pickle names is called, and neither does anything here. A file that names what weights never need is refused all the
//! same: in Python it would run, and users share files. Classes of packages that need not be installed, such as those that a training
//! framework puts into its checkpoints, are objects without content.

mod legacy;
mod zipped;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use burn::store::pytorch_reader::{MAX_PICKLE_SIZE, PickleValue, PytorchReader};
use burn::store::{bridge, burn_pack};
use burn::tensor::Bytes;

use super::pickle::{self, Fault, Kind, TensorRef, invalid, tensors};
use super::source::damaged;
use super::stored::StoredTensor;
use crate::ClassifierError;

/// The values of a file, which lie outside its pickle.
trait Values: Send + Sync {
    /// `length` bytes of the storage `key`, from `start`.
    fn read(&self, key: &str, start: usize, length: usize) -> io::Result<Vec<u8>>;
}

/// Opens a PyTorch file of any net: its tensors, unread, by their dotted path.
///
/// # Errors
/// [`ClassifierError::UnsafePickle`] names what a pickle would run; [`ClassifierError::DamagedWeights`] for a truncated file.
pub fn open_pytorch(path: &Path) -> Result<BTreeMap<String, StoredTensor>, ClassifierError> {
    open(path).map_err(|fault| match fault {
        Fault::Damaged(error) => damaged(path, error),
        Fault::Unsafe(global) => ClassifierError::UnsafePickle { path: path.to_owned(), global },
    })
}

/// The text that the dictionary in a PyTorch file has under `key`; `None` if it has none there.
///
/// # Errors
/// As [`open_pytorch`].
pub fn pytorch_text(path: &Path, key: &str) -> Result<Option<String>, ClassifierError> {
    match PytorchReader::read_pickle_data(path, None).map_err(|error| damaged(path, error))? {
        PickleValue::Dict(mut entries) => match entries.remove(key) {
            Some(PickleValue::String(text)) => Ok(Some(text)),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn open(path: &Path) -> Result<BTreeMap<String, StoredTensor>, Fault> {
    let mut file = BufReader::new(File::open(path)?);
    let start = file.fill_buf()?;
    if start.starts_with(b"PK") {
        let (pickle, values, most) = zipped::open(path, file)?;
        stored(tensors(&pickle)?, &values, most)
    } else if start.first() == Some(&0x80) {
        let (pickle, values, most) = legacy::open(path, file)?;
        stored(tensors(&pickle)?, &values, most)
    } else {
        open_tar(path, file)
    }
}

/// Tensors that read themselves from `values`; `most` is the size of all of a file's values, unpacked.
fn stored(
    tensors: BTreeMap<String, Rc<TensorRef>>,
    values: &Arc<dyn Values>,
    most: u64,
) -> Result<BTreeMap<String, StoredTensor>, Fault> {
    let stored = |(name, tensor): (String, Rc<TensorRef>)| {
        let shape = tensor.shape.clone();
        let Kind::Floats(dtype) = tensor.kind else {
            let kind = match &tensor.kind {
                Kind::Other(kind, _) => kind.clone(),
                _ => "bytes".to_owned(),
            };
            return Ok((name, StoredTensor::Other { shape, kind }));
        };
        let Some(view) = View::of(&tensor, dtype.size()).filter(|view| view.bytes.max(view.length) as u64 <= most) else {
            return Err(invalid(&format!("`{name}` of shape {shape:?} is larger than the whole file")).into());
        };
        let bytes = view.bytes;
        let values = Arc::clone(values);
        let read = move || {
            let read = view.read(values.as_ref()).map(Bytes::from_bytes_vec);
            read.map_err(|error| burn_pack::Error::IoError(error.to_string()))
        };
        Ok((name.clone(), StoredTensor::Floats(burn_pack::Tensor::deferred(name, dtype, shape, None, bytes, read))))
    };
    tensors.into_iter().map(stored).collect()
}

/// Where a tensor's values are, in bytes.
struct View {
    key: String,
    start: usize,
    /// From the first to after the last.
    length: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    size: usize,
    /// Of the tensor.
    bytes: usize,
}

impl View {
    /// `None` where no number says how large it is. With a stride of 0 a few bytes stand for as many values as a pickle likes.
    fn of(tensor: &TensorRef, size: usize) -> Option<Self> {
        let bytes = tensor.shape.iter().try_fold(size, |bytes, size| bytes.checked_mul(*size))?;
        let (start, length) = (tensor.offset.checked_mul(size)?, tensor.extent()?.checked_mul(size)?);
        let (shape, strides) = (tensor.shape.clone(), tensor.strides.clone());
        Some(Self { key: tensor.storage.key.clone(), start, length, shape, strides, size, bytes })
    }

    /// The values, row-major.
    fn read(&self, values: &dyn Values) -> io::Result<Vec<u8>> {
        let stored = values.read(&self.key, self.start, self.length)?;
        if self.is_plain() {
            return Ok(stored);
        }
        let mut ordered = Vec::with_capacity(self.bytes);
        for position in 0..self.bytes / self.size {
            let (mut rest, mut place) = (position, 0);
            for (size, stride) in self.shape.iter().zip(&self.strides).rev() {
                place += rest % size * stride;
                rest /= size;
            }
            ordered.extend_from_slice(&stored[place * self.size..(place + 1) * self.size]);
        }
        Ok(ordered)
    }

    /// Whether the values lie row-major, one behind the other.
    fn is_plain(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == expected;
            expected *= size;
            fits
        }) || self.bytes == 0
    }
}

/// The tar of PyTorch before 0.1.10, with objects in the entry `pickle` and tables of numbers in the others. burn reads it.
fn open_tar(path: &Path, mut file: BufReader<File>) -> Result<BTreeMap<String, StoredTensor>, Fault> {
    const BLOCK: u64 = 512;
    let most = file.get_ref().metadata()?.len();
    let mut header = [0; BLOCK as usize];
    while file.read_exact(&mut header).is_ok() && header[0] != 0 {
        let text = |field: std::ops::Range<usize>| String::from_utf8_lossy(&header[field]).trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&text(124..136), 8).map_err(|_| invalid("it is no file of PyTorch"))?;
        let mut entry = (&mut file).take(size.div_ceil(BLOCK).saturating_mul(BLOCK));
        if text(0..100).trim_start_matches("./") == "pickle" {
            let mut content = Vec::new();
            entry.by_ref().take(MAX_PICKLE_SIZE).read_to_end(&mut content)?;
            pickle::read(&mut Cursor::new(content))?;
        }
        io::copy(&mut entry, &mut io::sink())?;
    }
    let tensors = PytorchReader::new(path).map_err(|error| Fault::Damaged(io::Error::other(error)))?.into_tensors();
    tensors
        .into_values()
        .map(bridge::from_pytorch)
        .map(|tensor| {
            let bytes = tensor.shape.iter().try_fold(tensor.dtype.size(), |bytes, size| bytes.checked_mul(*size));
            match bytes.is_some_and(|bytes| bytes as u64 <= most) {
                true => Ok((tensor.name.clone(), StoredTensor::of(tensor))),
                false => Err(invalid(&format!("`{}` is larger than the whole file", tensor.name)).into()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use zip::ZipArchive;
    use zip::write::SimpleFileOptions;

    use super::super::save_state_dict;
    use super::super::testing::{fixture, folder, trained};
    use super::*;
    use crate::networks::Network;

    /// `os.system("id")` in protocol 2.
    const GLOBAL: &[u8] = b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.";

    fn zipped(pickle: &[u8]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("archive/data.pkl", SimpleFileOptions::default()).unwrap();
        zip.write_all(pickle).unwrap();
        zip.finish().unwrap().into_inner()
    }

    fn tarred(pickle: &[u8]) -> Vec<u8> {
        let mut tar = vec![0; 512];
        tar[..6].copy_from_slice(b"pickle");
        tar[124..135].copy_from_slice(format!("{:011o}", pickle.len()).as_bytes());
        tar[257..262].copy_from_slice(b"ustar");
        tar.extend_from_slice(pickle);
        tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
        tar
    }

    #[test]
    fn calls_are_refused_by_name_in_every_container() {
        let folder = folder();
        let path = folder.path().join("evil.pt");
        for content in [GLOBAL.to_vec(), zipped(GLOBAL), tarred(GLOBAL)] {
            std::fs::write(&path, content).unwrap();
            let error = Network::load(&path, &burn::tensor::Device::flex()).unwrap_err();
            assert!(matches!(&error, ClassifierError::UnsafePickle { global, .. } if global == "os.system"), "{error}");
            assert!(error.to_string().contains("`os.system`"), "{error}");
        }
    }

    /// The net of the tests as a state dict whose pickle has `to` in place of the first `from`.
    fn doctored(from: &[u8], to: &[u8]) -> Vec<u8> {
        let folder = folder();
        let path = folder.path().join("net.pt");
        save_state_dict(&trained(), &path).unwrap();
        let mut archive = ZipArchive::new(File::open(&path).unwrap()).unwrap();
        let mut out = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for i in 0..archive.len() {
            let mut entry = archive.by_index(i).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            if entry.name().ends_with(".pkl") {
                let place = bytes.windows(from.len()).position(|window| window == from).expect("the pickle has this");
                bytes.splice(place..place + from.len(), to.iter().copied());
            }
            let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            out.start_file(entry.name(), options).unwrap();
            out.write_all(&bytes).unwrap();
        }
        out.finish().unwrap().into_inner()
    }

    #[test]
    fn a_tensor_larger_than_its_file_is_refused_before_it_is_read() {
        let folder = folder();
        let path = folder.path().join("net.pt");
        // The shape and stride of a norm's weight.
        let plain = b"(J\x05\0\0\0t(J\x01\0\0\0t";
        std::fs::write(&path, doctored(plain, plain)).unwrap();
        assert!(open_pytorch(&path).unwrap().contains_key("features.norm0.weight"));
        std::fs::write(&path, doctored(plain, b"(J\xff\xff\xff\x7ft(J\0\0\0\0t")).unwrap();
        let error = crate::error::chain(&open_pytorch(&path).unwrap_err());
        assert!(error.contains("net.pt") && error.contains("[2147483647] is larger than the whole file"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_change_of_a_file_panics(
            legacy in any::<bool>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            length in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let folder = folder();
            let path = folder.path().join("net.pt");
            let mut bytes = match legacy {
                true => std::fs::read(fixture("torchvision/model_legacy.pth")).unwrap(),
                false => {
                    save_state_dict(&trained(), &path).unwrap();
                    std::fs::read(&path).unwrap()
                }
            };
            for (place, value) in changes {
                // Most of a file is values: the pickle is at its start.
                let place = place.index(bytes.len().min(8192));
                bytes[place] = value;
            }
            if let Some(length) = length {
                bytes.truncate(length.index(bytes.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(tensors) = open_pytorch(&path) {
                for (name, stored) in tensors {
                    let _ = stored.floats(&path, &name);
                }
            }
        }
    }

    #[test]
    fn values_in_any_order_become_row_major() {
        struct Bytes(Vec<u8>);
        impl Values for Bytes {
            fn read(&self, _: &str, start: usize, length: usize) -> io::Result<Vec<u8>> {
                Ok(self.0[start..start + length].to_vec())
            }
        }
        let view = |shape: [usize; 2], strides: [usize; 2]| View {
            key: String::new(),
            start: 2,
            length: 10,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            size: 2,
            bytes: 2 * shape[0] * shape[1],
        };
        let stored = Bytes((0..12).collect());
        let read = |view: View| view.read(&stored).unwrap();
        // 2-byte values 1 to 5 lie from byte 2 on.
        assert_eq!(read(view([1, 5], [9, 1])), (2..12).collect::<Vec<u8>>());
        assert_eq!(read(view([2, 2], [1, 3])), [2, 3, 8, 9, 4, 5, 10, 11]);
        assert_eq!(read(view([2, 3], [0, 2])), [2, 3, 6, 7, 10, 11, 2, 3, 6, 7, 10, 11]);
    }
}
