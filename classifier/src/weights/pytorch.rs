//! PyTorch files of all versions.
//!
//! [`PytorchReader`] reads them as data and never calls what a pickle names, and neither does anything here. A file that names more
//! than tensors and modules need is refused all the same: in Python it would run, and users share files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::path::Path;

use burn::store::bridge;
use burn::store::pytorch_reader::{MAX_PICKLE_SIZE, PickleValue, PytorchReader};
use zip::ZipArchive;

use super::pickle::{ClassId, Imports, invalid, scan};
use super::source::damaged;
use super::stored::StoredTensor;
use crate::ClassifierError;

/// Packages whose classes a weights file may name.
const PACKAGES: [&str; 5] = ["torch", "torchvision", "torchxrayvision", "numpy", "collections"];

/// Single names beyond those: plain containers, numbers, and what pickle itself needs.
const NAMES: [&str; 8] = [
    "_codecs.encode",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "argparse.Namespace",
    "datetime.datetime",
    "datetime.date",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
];

const BUILTINS: [&str; 14] = [
    "set",
    "frozenset",
    "dict",
    "list",
    "tuple",
    "int",
    "float",
    "bool",
    "str",
    "bytes",
    "bytearray",
    "complex",
    "slice",
    "object",
];

/// Pickles in a file of PyTorch before 1.6: magic number, protocol, system, the object, storage keys.
const LEGACY_PICKLES: usize = 5;

/// Opens a PyTorch file of any net: its tensors, unread, by their dotted path.
///
/// # Errors
/// [`ClassifierError::UnsafePickle`] names what a pickle would run; [`ClassifierError::DamagedWeights`] for a truncated file.
pub fn open_pytorch(path: &Path) -> Result<BTreeMap<String, StoredTensor>, ClassifierError> {
    let imports = imports_of(path).map_err(|e| damaged(path, e))?;
    if let Some(global) = imports.globals.into_iter().find(|name| !is_allowed(name)) {
        return Err(ClassifierError::UnsafePickle { path: path.to_owned(), global });
    }
    let reader = if imports.class_ids.is_empty() {
        PytorchReader::new(path)
    } else {
        let plain = without_class_ids(path, &imports.class_ids).map_err(|e| damaged(path, e))?;
        // The reader keeps the file open, so its name may be removed.
        PytorchReader::new(plain.path())
    };
    let most = most_bytes(path).map_err(|e| damaged(path, e))?;
    let mut tensors = BTreeMap::new();
    for tensor in reader.map_err(|e| damaged(path, e))?.into_tensors().into_values().map(bridge::from_pytorch) {
        // With a stride of 0 a few bytes stand for as many values as a pickle likes.
        let bytes = tensor.shape.iter().try_fold(tensor.dtype.size(), |bytes, size| bytes.checked_mul(*size));
        if bytes.is_none_or(|bytes| bytes as u64 > most) {
            let (name, shape) = (&tensor.name, tensor.shape.to_vec());
            return Err(damaged(path, invalid(&format!("`{name}` of shape {shape:?} is larger than the whole file"))));
        }
        tensors.insert(tensor.name.clone(), StoredTensor::of(tensor));
    }
    Ok(tensors)
}

/// The text that the dictionary in a PyTorch file has under `key`; `None` if it has none there.
///
/// # Errors
/// As [`open_pytorch`].
pub fn pytorch_text(path: &Path, key: &str) -> Result<Option<String>, ClassifierError> {
    match PytorchReader::read_pickle_data(path, None).map_err(|e| damaged(path, e))? {
        PickleValue::Dict(mut entries) => match entries.remove(key) {
            Some(PickleValue::String(text)) => Ok(Some(text)),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

/// The size of what the file holds, unpacked.
fn most_bytes(path: &Path) -> io::Result<u64> {
    /// Of deflate, which no packed entry outdoes.
    const HIGHEST_RATIO: u64 = 1032;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut start = [0; 2];
    if file.read(&mut start)? < 2 || start != *b"PK" {
        return Ok(length);
    }
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    let mut total = 0u64;
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i)?;
        total = total.saturating_add(entry.size().min(entry.compressed_size().saturating_mul(HIGHEST_RATIO)));
    }
    Ok(total)
}

fn is_allowed(global: &str) -> bool {
    let package = global.split('.').next().unwrap_or_default();
    let builtin = global.strip_prefix("builtins.").or_else(|| global.strip_prefix("__builtin__."));
    PACKAGES.contains(&package) || NAMES.contains(&global) || builtin.is_some_and(|name| BUILTINS.contains(&name))
}

fn imports_of(path: &Path) -> io::Result<Imports> {
    let mut file = BufReader::new(File::open(path)?);
    let start = file.fill_buf()?;
    let mut imports = Imports::default();
    if start.starts_with(b"PK") {
        let mut archive = ZipArchive::new(file)?;
        let pickles: Vec<_> = archive.file_names().filter(|name| name.ends_with(".pkl")).map(str::to_owned).collect();
        for pickle in pickles {
            let mut bytes = Vec::new();
            archive.by_name(&pickle)?.take(MAX_PICKLE_SIZE).read_to_end(&mut bytes)?;
            scan(&mut Cursor::new(bytes), &mut imports)?;
        }
    } else if start.first() == Some(&0x80) {
        for i in 0..LEGACY_PICKLES {
            // A plain pickle is one alone.
            if i > 0 && file.fill_buf()?.is_empty() {
                break;
            }
            scan(&mut file, &mut imports)?;
        }
    } else {
        scan_tar(&mut file, &mut imports)?;
    }
    Ok(imports)
}

/// The tar of PyTorch before 0.1.10: its objects are in the entry `pickle`, the others are tables of numbers.
fn scan_tar(file: &mut impl BufRead, imports: &mut Imports) -> io::Result<()> {
    const BLOCK: u64 = 512;
    let mut header = [0; BLOCK as usize];
    while file.read_exact(&mut header).is_ok() && header[0] != 0 {
        let text = |field: std::ops::Range<usize>| String::from_utf8_lossy(&header[field]).trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&text(124..136), 8).map_err(|_| invalid("a tar entry has no size"))?;
        let mut entry = file.take(size.div_ceil(BLOCK).saturating_mul(BLOCK));
        if text(0..100).trim_start_matches("./") == "pickle" {
            let mut content = Vec::new();
            entry.by_ref().take(MAX_PICKLE_SIZE).read_to_end(&mut content)?;
            scan(&mut Cursor::new(content), imports)?;
        }
        io::copy(&mut entry, &mut io::sink())?;
    }
    Ok(())
}

/// A copy of a file of PyTorch before 1.6 in which each class stands for itself, not for its persistent id, which the reader does
/// not know.
///
/// The class is in the pickle's memo, so BINPERSID becomes POP and LONG_BINGET.
fn without_class_ids(path: &Path, class_ids: &[ClassId]) -> io::Result<tempfile::NamedTempFile> {
    const POP: u8 = b'0';
    const LONG_BINGET: u8 = b'j';
    let mut file = BufReader::new(File::open(path)?);
    let mut copy = tempfile::NamedTempFile::new()?;
    let mut out = BufWriter::new(copy.as_file_mut());
    let mut position = 0;
    for ClassId { offset, slot } in class_ids {
        io::copy(&mut (&mut file).take(offset - position), &mut out)?;
        file.read_exact(&mut [0])?;
        out.write_all(&[POP, LONG_BINGET])?;
        out.write_all(&slot.to_le_bytes())?;
        position = offset + 1;
    }
    io::copy(&mut file, &mut out)?;
    out.flush()?;
    drop(out);
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zip::write::SimpleFileOptions;

    use super::super::save_state_dict;
    use super::super::testing::{fixture, folder, trained};
    use super::*;
    use crate::networks::DenseNet;

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
            let error = DenseNet::load(&path, &burn::tensor::Device::flex()).unwrap_err();
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
    fn published_forms_pass() {
        for file in [
            "torchvision/model_legacy.pth",
            "torchxrayvision/model_full_module.pt",
            "torchxrayvision/model_full_module_legacy.pt",
        ] {
            let imports = imports_of(&fixture(file)).unwrap();
            assert!(imports.globals.iter().all(|name| is_allowed(name)), "{imports:?}");
            assert!(imports.globals.iter().any(|name| name == "torch._utils._rebuild_tensor_v2"), "{file}");
        }
    }

    #[test]
    fn only_weights_names_are_allowed() {
        for name in ["collections.OrderedDict", "torch.nn.modules.conv.Conv2d", "builtins.set"] {
            assert!(is_allowed(name), "{name}");
        }
        for name in ["posix.system", "__builtin__.eval", "torchevil.Net", "builtins", "(a hidden name)"] {
            assert!(!is_allowed(name), "{name}");
        }
    }
}
