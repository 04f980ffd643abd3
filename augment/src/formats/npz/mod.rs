//! Arrays of a NumPy `.npz` archive.
//!
//! What an array claims to hold is compared with what the archive holds before memory is taken for it.

mod images;
mod matrix;

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use npyz::{DType, NpyFile, Order};
use zip::{CompressionMethod, ZipArchive};

use crate::AugmentError;
use crate::record::Label;

pub(super) use images::Images;
pub use matrix::Matrix;

/// Most bytes of an array: ChestMNIST at 224 pixels has 4 GiB.
const MAX_BYTES: u64 = 32 << 30;
/// Most bytes of an array of labels: eight for each of 14 findings of two million images.
const MAX_LABEL_BYTES: u64 = 256 << 20;
/// Most bytes of all names.
const MAX_NAME_BYTES: u64 = 1 << 20;
/// Most images of an array.
const MAX_IMAGES: usize = 10_000_000;
/// From this size on, an array that is packed much tighter than images can be is refused.
const SUSPICIOUS_BYTES: u64 = 1 << 30;
/// More than this many times its packed size is no image.
const MAX_RATIO: u64 = 100;
/// Most bytes of an array's header. That of a plain array has 128.
const MAX_HEADER: usize = 4 << 10;
/// Bytes that are decoded at once.
const CHUNK: usize = 1 << 16;
/// Most bytes of a name.
const MAX_NAME: usize = 1 << 10;

/// An open archive.
pub(super) struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

/// The label that a number is, or the number if it is none.
pub(super) type Mark = Result<Label, f32>;

/// An array, the last index running fastest.
#[derive(Debug, PartialEq)]
pub(super) struct Array<T> {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<T>,
}

/// The element type of an array.
#[derive(Clone, Copy)]
struct Kind {
    /// NumPy's letter: `b`, `i`, `u`, `f`, `U`, `S`, …
    letter: char,
    /// Bytes, or characters of `U`.
    size: usize,
    big_endian: bool,
}

/// Appends little-endian elements of so many bytes as values; false if they can't be such.
type Decode<T> = fn(&[u8], usize, &mut Vec<T>) -> bool;

impl Npz {
    pub(super) fn open(path: &Path) -> Result<Self, AugmentError> {
        let file = File::open(path).map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })?;
        let archive =
            ZipArchive::new(BufReader::new(file)).map_err(|source| AugmentError::Archive { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), archive })
    }

    /// Names of the arrays.
    pub(super) fn arrays(&self) -> Vec<String> {
        self.archive.file_names().map(|name| name.trim_end_matches(".npy").to_owned()).collect()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{name}.npy")).is_some()
    }

    pub(super) fn bad_array(&self, name: &str, found: impl Into<String>, expected: &str) -> AugmentError {
        bad_array(&self.path, name, found, expected)
    }

    /// An array of labels as numbers or truth values: 1, 0, -1 (uncertain) or NaN (blank).
    pub(super) fn labels(&mut self, name: &str) -> Result<Array<Mark>, AugmentError> {
        self.read(name, "numbers, one per image and finding", MAX_LABEL_BYTES, |kind| {
            let decode: Decode<Mark> = match (kind.letter, kind.size) {
                ('b' | 'u', 1 | 2 | 4 | 8) => {
                    |bytes, size, into| each(bytes, size, into, |bytes| label(unsigned(bytes) as f64))
                }
                ('i', 1 | 2 | 4 | 8) => |bytes, size, into| each(bytes, size, into, |bytes| label(signed(bytes) as f64)),
                ('f', 4) => {
                    |bytes, size, into| each(bytes, size, into, |bytes| label(f32::from_bits(unsigned(bytes) as u32).into()))
                }
                ('f', 8) => |bytes, size, into| each(bytes, size, into, |bytes| label(f64::from_bits(unsigned(bytes)))),
                _ => return None,
            };
            Some(decode)
        })
    }

    /// An array of names, `[N]`.
    pub(super) fn names(&mut self, name: &str) -> Result<Vec<String>, AugmentError> {
        let expected = "a list of names as text (NumPy: `np.array(names, dtype=str)`)";
        let array = self.read(name, expected, MAX_NAME_BYTES, |kind| {
            let decode: Decode<String> = match kind.letter {
                'U' => |bytes, size, into| texts(bytes, size, into, wide_text),
                'S' => |bytes, size, into| texts(bytes, size, into, |bytes| String::from_utf8(bytes.to_vec()).ok()),
                _ => return None,
            };
            (kind.bytes()? <= MAX_NAME).then_some(decode)
        })?;
        match array.shape[..] {
            [_] => Ok(array.values),
            _ => Err(self.bad_array(name, format!("of shape {:?}", array.shape), expected)),
        }
    }

    /// Opens array `name`, which may have `most` bytes, and reads it with the function that `decode` has for its kind.
    fn read<T: Clone>(
        &mut self,
        name: &str,
        expected: &str,
        most: u64,
        decode: impl FnOnce(Kind) -> Option<Decode<T>>,
    ) -> Result<Array<T>, AugmentError> {
        let path = self.path.clone();
        let Open { shape, order, kind, width, count, found, decode, mut reader, .. } =
            self.open_array(name, expected, most, decode)?;
        let bad = |found: String| bad_array(&path, name, found, expected);
        let failed = |error: io::Error| read_error(&path, name, expected, &error);
        let mut values = Vec::new();
        values.try_reserve_exact(count).map_err(|_| bad(format!("{found}, too large for the memory")))?;
        let per_chunk = (CHUNK / width).max(1);
        let mut chunk = vec![0; width * per_chunk.min(count)];
        while values.len() < count {
            let part = &mut chunk[..width * per_chunk.min(count - values.len())];
            reader.read_exact(part).map_err(failed)?;
            if kind.big_endian {
                let unit = if kind.letter == 'U' { 4 } else { width };
                part.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
            }
            if !decode(part, width, &mut values) {
                return Err(bad(format!("{found}, not all of it text")));
            }
        }
        // At the end the archive's checksum is compared.
        reader.read(&mut [0]).map_err(failed)?;
        if order == Order::Fortran {
            values = last_index_fastest(&values, &shape);
        }
        Ok(Array { shape, values })
    }

    /// Opens array `name`, which may have `most` bytes and must be of a kind that `accept` takes, and compares what it claims with what the
    /// archive holds.
    fn open_array<D>(
        &mut self,
        name: &str,
        expected: &str,
        most: u64,
        accept: impl FnOnce(Kind) -> Option<D>,
    ) -> Result<Open<D, impl Read>, AugmentError> {
        if !self.contains(name) {
            return Err(self.bad_array(name, format!("not there (there are: {})", self.arrays().join(", ")), expected));
        }
        let archive = |source| AugmentError::Archive { path: self.path.clone(), source };
        let mut entry = self.archive.by_name(&format!("{name}.npy")).map_err(archive)?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        let stored = if entry.compression() == CompressionMethod::Stored { entry.data_start() } else { None };
        let bad = |found: String| bad_array(&self.path, name, found, expected);
        let failed = |error: io::Error| read_error(&self.path, name, expected, &error);
        let header = header(&mut entry).map_err(failed)?.ok_or_else(|| bad("no array of numbers or text".to_owned()))?;
        let begun = header.len() as u64;
        let body = size.saturating_sub(begun);
        let npy = NpyFile::new(Cursor::new(header).chain(entry)).map_err(failed)?;
        let shape: Vec<usize> = npy.shape().iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        let (dtype, order) = (npy.dtype(), npy.order());
        let descr = match &dtype {
            DType::Plain(kind) => kind.to_string(),
            other => other.descr(),
        };
        let found = format!("{descr} of shape {shape:?}");
        let accepted = Kind::parse(&descr).and_then(|kind| Some((kind, kind.bytes()?, accept(kind)?)));
        let Some((kind, width, decode)) = accepted else {
            return Err(bad(if descr.contains('O') { format!("{found}, which holds Python objects") } else { found }));
        };
        let count = shape.iter().try_fold(1_usize, |n, &side| n.checked_mul(side));
        let bytes = count.and_then(|count| count.checked_mul(width));
        let (Some(count), true) = (count, bytes.is_some_and(|bytes| bytes as u64 == body)) else {
            return Err(bad(format!("{found}, for which the archive has {body} bytes")));
        };
        let is_bomb = body > SUSPICIOUS_BYTES && body / MAX_RATIO > packed;
        if is_bomb || body > most {
            return Err(bad(format!("{found}, {body} bytes out of {packed} in the archive; more than such an array needs")));
        }
        let stored = stored.map(|start| start + begun);
        Ok(Open { shape, order, kind, width, count, found, decode, stored, reader: npy.into_inner() })
    }
}

/// An array of which the header is read.
struct Open<D, R> {
    shape: Vec<usize>,
    order: Order,
    kind: Kind,
    /// Bytes of an element.
    width: usize,
    /// Elements.
    count: usize,
    /// Kind and shape in words.
    found: String,
    decode: D,
    /// Where in the archive's file the elements are, if they are not packed.
    stored: Option<u64>,
    /// The elements.
    reader: R,
}

fn read_error(path: &Path, name: &str, expected: &str, error: &io::Error) -> AugmentError {
    let found = match error.kind() {
        io::ErrorKind::UnexpectedEof => "cut off before its end".to_owned(),
        _ => format!("damaged ({error})"),
    };
    bad_array(path, name, found, expected)
}

impl Kind {
    /// `<i8`, `|u1`, `<U12`, …
    fn parse(name: &str) -> Option<Self> {
        let mut characters = name.trim_matches('\'').chars();
        let (order, letter) = (characters.next()?, characters.next()?);
        Some(Self { letter, size: characters.as_str().parse().ok()?, big_endian: order == '>' })
    }

    /// Bytes of an element; none for an element without any.
    fn bytes(&self) -> Option<usize> {
        let bytes = if self.letter == 'U' { self.size.checked_mul(4)? } else { self.size };
        (bytes > 0).then_some(bytes)
    }
}

/// The header of an array with everything before it; `None` if it is not that of a plain array.
fn header(entry: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut header = vec![0; 10];
    entry.read_exact(&mut header)?;
    // Version 1 has two bytes for the length, versions 2 and 3 have four.
    let length = match header[6] {
        1 => usize::from(u16::from_le_bytes([header[8], header[9]])),
        _ => {
            header.extend([0; 2]);
            entry.read_exact(&mut header[10..])?;
            u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize
        }
    };
    if !header.starts_with(b"\x93NUMPY") || length > MAX_HEADER {
        return Ok(None);
    }
    let start = header.len();
    header.resize(start + length, 0);
    entry.read_exact(&mut header[start..])?;
    // Types within types, which the parser follows to any depth.
    let nested = header.iter().filter(|byte| b"([{".contains(byte)).count() > 8;
    Ok((!nested).then_some(header))
}

fn bad_array(path: &Path, name: &str, found: impl Into<String>, expected: &str) -> AugmentError {
    AugmentError::BadArray { path: path.to_owned(), array: name.to_owned(), found: found.into(), expected: expected.to_owned() }
}

fn label(value: f64) -> Mark {
    match value {
        1.0 => Ok(Label::Positive),
        0.0 => Ok(Label::Negative),
        -1.0 => Ok(Label::Uncertain),
        value if value.is_nan() => Ok(Label::Missing),
        value => Err(value as f32),
    }
}

/// Appends what `value` makes of every element.
fn each<T>(bytes: &[u8], size: usize, into: &mut Vec<T>, value: impl Fn(&[u8]) -> T) -> bool {
    into.extend(bytes.chunks_exact(size).map(value));
    true
}

/// Appends every element as text without the zeros at its end.
fn texts(bytes: &[u8], size: usize, into: &mut Vec<String>, text: impl Fn(&[u8]) -> Option<String>) -> bool {
    bytes.chunks_exact(size).all(|bytes| {
        let text = text(bytes).map(|text| text.trim_end_matches('\0').to_owned());
        text.map(|text| into.push(text)).is_some()
    })
}

/// Little-endian.
fn unsigned(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// Little-endian.
fn signed(bytes: &[u8]) -> i64 {
    let spare = 64 - 8 * bytes.len() as u32;
    (unsigned(bytes) << spare).cast_signed() >> spare
}

/// Characters of four bytes.
fn wide_text(bytes: &[u8]) -> Option<String> {
    let (characters, _) = bytes.as_chunks::<4>();
    characters.iter().map(|bytes| char::from_u32(u32::from_le_bytes(*bytes))).collect()
}

/// Values whose first index runs fastest, as those of a pandas table, in the other order.
fn last_index_fastest<T: Clone>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut index = vec![0; shape.len()];
    let mut ordered = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let place = index.iter().zip(shape).rev().fold(0, |place, (index, side)| place * side + index);
        ordered.push(values[place].clone());
        for (index, side) in index.iter_mut().zip(shape).rev() {
            *index += 1;
            if *index < *side {
                break;
            }
            *index = 0;
        }
    }
    ordered
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
            let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
            archive.start_file(format!("{name}.npy"), stored).unwrap();
            let mut bytes = Vec::new();
            let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
            writer.extend(values.iter().copied()).unwrap();
            writer.finish().unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
    }

    /// Adds an array `findings` of text.
    pub(in crate::formats) fn add_names(path: &Path, names: &[&str]) {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut archive = zip::ZipWriter::new_append(file).unwrap();
        archive.start_file("findings.npy", zip::write::SimpleFileOptions::default()).unwrap();
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap();
        let wide = |name: &&str| name.chars().chain(std::iter::repeat('\0')).take(longest).map(u32::from).collect::<Vec<_>>();
        let body: Vec<u8> = names.iter().flat_map(wide).flat_map(u32::to_le_bytes).collect();
        archive.write_all(&npy(&format!("'<U{longest}'"), false, &format!("({},)", names.len()), &body)).unwrap();
        archive.finish().unwrap();
    }

    #[test]
    fn arrays_are_read_and_faults_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        write_npz(&path, &[("images", &[2, 1, 2], vec![1, 2, 3, 4]), ("labels", &[2], vec![0, 1])]);
        let mut npz = Npz::open(&path).unwrap();
        let images = npz.images(&["images"]).unwrap();
        assert_eq!((images.counts, images.width, images.height), (vec![2], 2, 1));
        assert_eq!(npz.labels("labels").unwrap().values, [Ok(Label::Negative), Ok(Label::Positive)]);
        let missing = npz.images(&["train_images"]).err().unwrap().to_string();
        assert!(missing.contains("array `train_images` is not there (there are: images, labels)"), "{missing}");
        let flat = npz.images(&["labels"]).err().unwrap().to_string();
        assert!(flat.contains("of shape [2], expected 1 to 10 million uint8 images [N, H, W]"), "{flat}");
    }

    /// The bytes of an array as NumPy writes it.
    fn npy(descr: &str, fortran: bool, shape: &str, body: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes(), text.as_bytes(), body].concat()
    }

    /// An archive with these bytes as its array `labels`.
    fn open(bytes: &[u8]) -> (tempfile::TempDir, Npz) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        archive.start_file("labels.npy", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
        archive.finish().unwrap();
        let npz = Npz::open(&path).unwrap();
        (folder, npz)
    }

    fn labels(descr: &str, fortran: bool, shape: &str, body: &[u8]) -> Result<Vec<Mark>, String> {
        let (_folder, mut npz) = open(&npy(descr, fortran, shape, body));
        npz.labels("labels").map(|array| array.values).map_err(|error| error.to_string())
    }

    const P: Mark = Ok(Label::Positive);
    const N: Mark = Ok(Label::Negative);

    #[test]
    fn labels_of_every_type_and_order_are_read() {
        let ordered = [P, N, N, P, P, N];
        for (descr, fortran, body) in [
            ("'|u1'", false, vec![1, 0, 0, 1, 1, 0]),
            ("'|b1'", false, vec![1, 0, 0, 1, 1, 0]),
            // A pandas table: column after column.
            ("'|i1'", true, vec![1, 0, 1, 0, 1, 0]),
            ("'<i8'", false, [1_i64, 0, 0, 1, 1, 0].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("'<u8'", true, [1_u64, 0, 1, 0, 1, 0].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("'>i2'", false, [1_i16, 0, 0, 1, 1, 0].iter().flat_map(|v| v.to_be_bytes()).collect()),
            ("'<f4'", false, [1_f32, 0.0, 0.0, 1.0, 1.0, 0.0].iter().flat_map(|v| v.to_le_bytes()).collect()),
            ("'>f8'", false, [1_f64, 0.0, 0.0, 1.0, 1.0, 0.0].iter().flat_map(|v| v.to_be_bytes()).collect()),
        ] {
            assert_eq!(labels(descr, fortran, "(3, 2)", &body), Ok(ordered.to_vec()), "{descr}");
        }
        let special: Vec<u8> = [-1_f32, f32::NAN, 0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(labels("'<f4'", false, "(3,)", &special), Ok(vec![Ok(Label::Uncertain), Ok(Label::Missing), Err(0.5)]));
        assert_eq!(labels("'|i1'", false, "(2,)", &[0xff, 0x80]), Ok(vec![Ok(Label::Uncertain), Err(-128.0)]));
    }

    #[test]
    fn names_are_text_of_either_kind() {
        let wide: Vec<u8> = ["Mass", "é"]
            .iter()
            .flat_map(|n| n.chars().chain(['\0'; 4]).take(4).collect::<Vec<_>>())
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        let swapped: Vec<u8> = wide.chunks(4).flat_map(|c| c.iter().rev().copied().collect::<Vec<_>>()).collect();
        for (descr, body) in [("'<U4'", &wide), ("'>U4'", &swapped), ("'|S4'", &b"Mass\xc3\xa9\0\0".to_vec())] {
            let (_folder, mut npz) = open(&npy(descr, false, "(2,)", body));
            assert_eq!(npz.names("labels").unwrap(), ["Mass", "é"], "{descr}");
        }
        for (descr, body) in
            [("'|O'", &b"pickled"[..]), ("'<U0'", &[]), ("'<i8'", &[0; 16]), ("'<U1'", &[0xff; 8]), ("'|S2'", b"a\xff12")]
        {
            let (_folder, mut npz) = open(&npy(descr, false, "(2,)", body));
            let error = npz.names("labels").unwrap_err().to_string();
            assert!(error.contains("array `labels` is ") && error.contains("dtype=str"), "{error}");
        }
    }

    #[test]
    fn what_an_array_claims_is_compared_with_what_there_is() {
        let error = labels("'|O'", false, "(2,)", &[1, 0]).unwrap_err();
        assert!(error.contains("array `labels` is |O of shape [2], which holds Python objects, expected numbers"), "{error}");
        for (descr, shape) in [
            // Eight bytes for each of 2^61 values are too large a number to represent.
            ("'<i8'", "(2305843009213693952,)"),
            ("'|u1'", "(4,)"),
            ("'|u1'", "(2,)"),
            ("'|u1'", "(18446744073709551615, 18446744073709551615)"),
            ("'<c16'", "(1,)"),
            ("[('a', '<i4'), ('b', '<i4')]", "(1,)"),
            ("'|V3'", "(1,)"),
        ] {
            let error = labels(descr, false, shape, &[1; 3]).unwrap_err();
            assert!(error.contains("array `labels` is ") && error.contains(", expected numbers"), "{error}");
        }
        for bytes in
            [&b""[..], b"\x93NUMPY", b"no array at all", b"\x93NUMPY\x02\0\xff\xff\xff\xff{", b"\x93NUMPY\x07\0\x04\0{}\n\n"]
        {
            let error = open(bytes).1.labels("labels").unwrap_err().to_string();
            assert!(error.contains("array `labels` is ") && error.contains(", expected numbers"), "{error}");
        }
        let deep = format!("{}'<i4'{}", "[('a', ".repeat(600), ")]".repeat(600));
        assert!(labels(&deep, false, "(1,)", &[0; 4]).unwrap_err().contains("no array of numbers or text"));
    }

    #[test]
    fn more_than_an_array_needs_is_refused_before_memory_is_taken() {
        // Zeros that are packed to a thousandth: labels, and one image.
        for (descr, shape, bytes) in
            [("'|u1'", "(268435457,)", MAX_LABEL_BYTES + 1), ("'|u1'", "(1, 65536, 16400)", 65536 * 16400)]
        {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.npz");
            let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
            archive.start_file("labels.npy", zip::write::SimpleFileOptions::default().compression_level(Some(1))).unwrap();
            archive.write_all(&npy(descr, false, shape, &[])).unwrap();
            std::io::copy(&mut std::io::repeat(0).take(bytes), &mut archive).unwrap();
            archive.finish().unwrap();
            let mut npz = Npz::open(&path).unwrap();
            let error = match bytes {
                ..SUSPICIOUS_BYTES => npz.labels("labels").unwrap_err().to_string(),
                _ => npz.images(&["labels"]).err().unwrap().to_string(),
            };
            assert!(error.contains("array `labels` is |u1") && error.contains("more than such an array needs"), "{error}");
        }
    }

    #[test]
    fn damage_within_an_array_is_found_by_its_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        write_npz(&path, &[("labels", &[3], vec![1, 0, 1])]);
        let mut bytes = std::fs::read(&path).unwrap();
        // Stored as they are, three label bytes follow the header's line end.
        let at = bytes.windows(4).position(|w| w == b"\n\x01\0\x01").expect("the body is stored");
        bytes[at + 2] = 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Npz::open(&path).unwrap().labels("labels").unwrap_err().to_string();
        assert!(error.contains("array `labels` is damaged"), "{error}");
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
}
