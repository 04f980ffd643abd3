//! A matrix of a NumPy `.npy` file.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use npyz::{DType, NpyFile, Order};

use super::{Kind, bad_array, each, header, last_index_fastest, read_error, unsigned};
use crate::AugmentError;

/// Rows of numbers, such as the embeddings that another program made: `np.save(path, array)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Numbers per row.
    pub width: usize,
    /// Row-major.
    pub values: Vec<f32>,
}

const EXPECTED: &str = "rows of numbers (NumPy: `np.save(path, array.astype('float32'))` of an array with two dimensions)";

impl Matrix {
    /// Reads a file with one array of two dimensions, of `float32` or `float64`, which is rounded to `f32`.
    ///
    /// # Errors
    /// [`AugmentError::Io`], or [`AugmentError::BadArray`] for another array, or a file that is shorter or longer than its header says.
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        let io = |source| AugmentError::Io { action: "read", path: path.to_owned(), source };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bad = |found: String| bad_array(path, &name, found, EXPECTED);
        let failed = |error| read_error(path, &name, EXPECTED, &error);
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut file = BufReader::new(file);
        let header = header(&mut file).map_err(failed)?.ok_or_else(|| bad("no array of numbers".to_owned()))?;
        let body = size.saturating_sub(header.len() as u64);
        let npy = NpyFile::new(Cursor::new(header).chain(file)).map_err(failed)?;
        let shape: Vec<usize> = npy.shape().iter().map(|&side| usize::try_from(side).unwrap_or(usize::MAX)).collect();
        let (order, descr) = match npy.dtype() {
            DType::Plain(kind) => (npy.order(), kind.to_string()),
            other => (npy.order(), other.descr()),
        };
        let found = format!("{descr} of shape {shape:?}");
        let (Some(kind @ Kind { letter: 'f', size: width @ (4 | 8), .. }), [rows, columns]) = (Kind::parse(&descr), &shape[..])
        else {
            return Err(bad(found));
        };
        let bytes = rows.checked_mul(*columns).and_then(|count| count.checked_mul(width));
        if *columns == 0 || bytes.is_none_or(|bytes| bytes as u64 != body) {
            return Err(bad(format!("{found}, for which the file has {body} bytes")));
        }
        let mut bytes = Vec::new();
        npy.into_inner().read_to_end(&mut bytes).map_err(failed)?;
        if kind.big_endian {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        let mut values = Vec::with_capacity(bytes.len() / width);
        each(&bytes, width, &mut values, |bytes| match bytes.len() {
            4 => f32::from_bits(unsigned(bytes) as u32),
            _ => f64::from_bits(unsigned(bytes)) as f32,
        });
        if order == Order::Fortran {
            values = last_index_fastest(&values, &shape);
        }
        Ok(Self { width: *columns, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of version 1 with that header and these bytes behind it.
    fn file(header: &str, bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::with_suffix(".npy").unwrap();
        let header = format!("{header:<117}\n");
        let length = (header.len() as u16).to_le_bytes();
        std::fs::write(file.path(), [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), bytes].concat()).unwrap();
        file
    }

    fn described(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}")
    }

    #[test]
    fn numbers_come_in_every_order() {
        let numbers = [1.5f32, 2.0, 3.0, 4.0, 5.0, -6.0];
        let little: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let big: Vec<u8> = numbers.iter().flat_map(|number| f64::from(*number).to_be_bytes()).collect();
        let read = |header: &str, bytes: &[u8]| Matrix::open(file(header, bytes).path()).unwrap();
        assert_eq!(read(&described("<f4", "False", "(2, 3)"), &little), Matrix { width: 3, values: numbers.to_vec() });
        assert_eq!(read(&described(">f8", "False", "(3, 2)"), &big), Matrix { width: 2, values: numbers.to_vec() });
        let turned = Matrix { width: 3, values: vec![1.5, 3.0, 5.0, 2.0, 4.0, -6.0] };
        assert_eq!(read(&described("<f4", "True", "(2, 3)"), &little), turned);
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let refused = |header: &str, bytes: &[u8]| Matrix::open(file(header, bytes).path()).unwrap_err().to_string();
        for (descr, shape, found) in [
            ("<i8", "(1, 2)", "<i8 of shape [1, 2]"),
            ("<f2", "(4, 2)", "<f2 of shape [4, 2]"),
            ("<f4", "(4,)", "<f4 of shape [4]"),
            ("<f4", "(4, 0)", "for which the file has 16 bytes"),
            ("<f4", "(2, 3)", "for which the file has 16 bytes"),
            ("<f4", "(1, 2)", "for which the file has 16 bytes"),
            ("<f4", "(4611686018427387904, 4)", "for which the file has 16 bytes"),
        ] {
            let error = refused(&described(descr, "False", shape), &[0; 16]);
            assert!(error.contains(found) && error.contains("np.save"), "{error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"\x93NUMPY").unwrap();
        assert!(Matrix::open(file.path()).unwrap_err().to_string().contains("cut off"));
        std::fs::write(file.path(), [7; 400]).unwrap();
        assert!(Matrix::open(file.path()).is_err());
    }
}
