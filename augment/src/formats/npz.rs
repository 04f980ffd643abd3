//! Arrays of a NumPy `.npz` archive.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use npyz::{DType, NpyFile, Order};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::AugmentError;

/// An open archive.
pub(super) struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

/// An array of bytes or integers.
#[derive(Debug, PartialEq)]
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<T>,
}

impl Npz {
    pub(super) fn open(path: &Path) -> Result<Self, AugmentError> {
        let file = File::open(path).map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })?;
        let archive =
            ZipArchive::new(BufReader::new(file)).map_err(|source| AugmentError::Archive { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), archive })
    }

    /// Names of the arrays.
    pub(super) fn names(&self) -> Vec<String> {
        self.archive.file_names().map(|name| name.trim_end_matches(".npy").to_owned()).collect()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{name}.npy")).is_some()
    }

    pub(super) fn bad_array(&self, name: &str, found: impl Into<String>, expected: &str) -> AugmentError {
        bad_array(&self.path, name, found, expected)
    }

    /// An array of `uint8` images: `[N, H, W]`.
    pub(super) fn images(&mut self, name: &str) -> Result<Array<u8>, AugmentError> {
        let array = self.read(name, "uint8 images [N, H, W]", |kind, reader, count| {
            if kind != "u1" {
                return Ok(None);
            }
            let mut values = Vec::new();
            reader.take(count).read_to_end(&mut values)?;
            Ok(Some(values))
        })?;
        // An array without images may claim sides whose product overflows.
        let sound = |side: &usize| *side > 0 && u32::try_from(*side).is_ok();
        match array.shape[..] {
            [count, height, width] if count > 0 && sound(&height) && sound(&width) => Ok(array),
            _ => Err(self.bad_array(name, format!("of shape {:?}", array.shape), "uint8 images [N, H, W], none of them empty")),
        }
    }

    /// An array of integers of any width.
    pub(super) fn integers(&mut self, name: &str) -> Result<Array<i64>, AugmentError> {
        self.read(name, "integers", |kind, reader, count| {
            let (signed, width) = match kind {
                "b1" | "u1" => (false, 1),
                "i1" => (true, 1),
                "u2" => (false, 2),
                "i2" => (true, 2),
                "u4" => (false, 4),
                "i4" => (true, 4),
                "i8" => (true, 8),
                _ => return Ok(None),
            };
            let mut bytes = Vec::new();
            reader.take(count.saturating_mul(width as u64)).read_to_end(&mut bytes)?;
            Ok(Some(bytes.chunks_exact(width).map(|chunk| little_endian(chunk, signed)).collect()))
        })
    }

    /// Opens array `name` and reads it with `read(kind, reader, count)`, `kind` being NumPy's type without byte order.
    fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&str, &mut dyn Read, u64) -> std::io::Result<Option<Vec<T>>>,
    ) -> Result<Array<T>, AugmentError> {
        if !self.contains(name) {
            return Err(self.bad_array(name, format!("not there (there are: {})", self.names().join(", ")), expected));
        }
        let archive = |source| AugmentError::Archive { path: self.path.clone(), source };
        let entry = self.archive.by_name(&format!("{name}.npy")).map_err(archive)?;
        let npy = NpyFile::new(entry).map_err(|e| archive(ZipError::Io(e)))?;
        let shape: Vec<usize> = npy.shape().iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        let kind = match npy.dtype() {
            DType::Plain(kind) => kind.to_string(),
            other => other.descr(),
        };
        let (count, order) = (shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side)), npy.order());
        let found = format!("{kind} of shape {shape:?}");
        // Big-endian and column-major arrays are valid NumPy, but no data set read here is written so.
        let Some(count) = count.filter(|_| order == Order::C && !kind.starts_with('>')) else {
            return Err(bad_array(&self.path, name, found, expected));
        };
        let values = read(kind.trim_start_matches(['<', '|', '=']), &mut npy.into_inner(), count as u64)
            .map_err(|e| archive(ZipError::Io(e)))?;
        match values {
            Some(values) if values.len() == count => Ok(Array { shape, values }),
            Some(values) => Err(bad_array(&self.path, name, format!("{found} with {} values", values.len()), expected)),
            None => Err(bad_array(&self.path, name, found, expected)),
        }
    }
}

fn bad_array(path: &Path, name: &str, found: impl Into<String>, expected: &str) -> AugmentError {
    AugmentError::BadArray { path: path.to_owned(), array: name.to_owned(), found: found.into(), expected: expected.to_owned() }
}

fn little_endian(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|&high| high >= 0x80);
    let mut wide = [if negative { 0xFF } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use npyz::WriterBuilder;

    use super::*;

    /// Writes arrays of bytes, `(name, shape, values)`, as NumPy's `savez_compressed` does.
    pub(in crate::formats) fn write_npz(path: &Path, arrays: &[(&str, &[u64], Vec<u8>)]) {
        let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, shape, values) in arrays {
            archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
            let mut bytes = Vec::new();
            let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
            writer.extend(values.iter().copied()).unwrap();
            writer.finish().unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
    }

    #[test]
    fn arrays_are_read_and_faults_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        write_npz(&path, &[("images", &[2, 1, 2], vec![1, 2, 3, 4]), ("labels", &[2], vec![0, 1])]);
        let mut npz = Npz::open(&path).unwrap();
        assert_eq!(npz.images("images").unwrap(), Array { shape: vec![2, 1, 2], values: vec![1, 2, 3, 4] });
        assert_eq!(npz.integers("labels").unwrap().values, [0, 1]);
        let missing = npz.images("train_images").unwrap_err().to_string();
        assert!(missing.contains("array `train_images` is not there (there are: images, labels)"), "{missing}");
        let flat = npz.images("labels").unwrap_err().to_string();
        assert!(flat.contains("of shape [2], expected uint8 images [N, H, W]"), "{flat}");
    }

    #[test]
    fn a_shape_larger_than_its_data_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let header = |descr: &str, shape: &str| {
            let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
            [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes(), text.as_bytes(), &[7; 3]].concat()
        };
        // Eight bytes for each of 2^61 values are too large a number to represent.
        for (descr, shape) in [("<i8", "(2305843009213693952,)"), ("|u1", "(4,)")] {
            let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
            archive.start_file("labels.npy", zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&header(descr, shape)).unwrap();
            archive.finish().unwrap();
            let error = Npz::open(&path).unwrap().integers("labels").unwrap_err().to_string();
            assert!(error.contains("array `labels`") && error.contains("values, expected integers"), "{error}");
        }
    }

    #[test]
    fn a_cut_off_archive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        write_npz(&path, &[("images", &[2, 1, 2], vec![1, 2, 3, 4])]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(Npz::open(&path), Err(AugmentError::Archive { .. })));
    }

    #[test]
    fn integers_keep_their_sign() {
        assert_eq!(little_endian(&[0xFE, 0xFF], true), -2);
        assert_eq!(little_endian(&[0xFE, 0xFF], false), 65534);
    }
}
