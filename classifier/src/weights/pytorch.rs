//! PyTorch files of every age.
//!
//! [`PytorchReader`] reads them as data and never calls what a pickle names, and neither does anything here. A file that names more
//! than tensors and modules need is refused all the same: in Python it would run, and a user passes files on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Cursor, Read, Write};
use std::path::Path;

use burn::store::bridge;
use burn::store::pytorch_reader::{MAX_PICKLE_SIZE, PytorchReader};
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
        // The reader keeps the file open, so its name may go.
        PytorchReader::new(plain.path())
    };
    let tensors = reader.map_err(|e| damaged(path, e))?.into_tensors().into_values().map(bridge::from_pytorch);
    Ok(tensors.map(|tensor| (tensor.name.clone(), StoredTensor::of(tensor))).collect())
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
    use zip::write::SimpleFileOptions;

    use super::super::testing::{fixture, folder};
    use super::*;
    use crate::DenseNet;

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
