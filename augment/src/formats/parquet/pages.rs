//! The headers of pages, looked at before the `parquet` crate is: it takes the memory that they claim.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::file::metadata::ColumnChunkMetaData;

/// Most bytes of a page. Writers keep pages to some megabytes, and one of images to some hundred images.
const MAX_PAGE: i64 = 512 << 20;
/// Structures within structures in a header.
const MOST_DEEP: u32 = 8;

/// Encodings whose memory is bounded by their page: PLAIN, PLAIN_DICTIONARY, RLE and RLE_DICTIONARY.
const BOUNDED: [i64; 4] = [0, 2, 3, 8];

/// What a header says.
#[derive(Default)]
struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
    encoding: i64,
}

/// Steps from page to page of a column's part, and says what is wrong with one of them.
///
/// # Errors
/// Why the file can't be read; within, a fault of it and what was expected.
pub(super) fn look(
    file: &mut BufReader<File>,
    column: &ColumnChunkMetaData,
    rows: i64,
    list: bool,
) -> io::Result<Result<(), Fault>> {
    let (start, bytes) = column.byte_range();
    let end = start + bytes;
    file.seek(SeekFrom::Start(start))?;
    while file.stream_position()? < end {
        let header = match (Compact { file: &mut *file, left: end }).header() {
            Ok(header) => header,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Err(Fault::Damaged));
            }
            Err(error) => return Err(error),
        };
        let at = file.stream_position()?;
        let Header { kind, uncompressed, compressed, values, encoding } = header;
        let fits = compressed >= 0 && uncompressed >= 0 && at.checked_add(compressed as u64).is_some_and(|page| page <= end);
        if !fits || values < 0 {
            return Ok(Err(Fault::Damaged));
        }
        if uncompressed > MAX_PAGE {
            return Ok(Err(Fault::Large(uncompressed)));
        }
        let most = match kind {
            // Every value of a dictionary takes a byte at least.
            2 => uncompressed,
            0 | 3 if !list => rows,
            0 | 3 => uncompressed.saturating_mul(1 << 12).min(100_000_000),
            _ => i64::MAX,
        };
        if values > most {
            return Ok(Err(Fault::Damaged));
        }
        if kind != 1 && !BOUNDED.contains(&encoding) {
            return Ok(Err(Fault::Encoding(encoding)));
        }
        file.seek_relative(compressed)?;
    }
    Ok(Ok(()))
}

/// What is wrong with a page.
pub(super) enum Fault {
    Damaged,
    /// More bytes than a page may have.
    Large(i64),
    /// An encoding that is not read, by its number.
    Encoding(i64),
}

impl Fault {
    /// What there is, and what there should be.
    pub(super) fn words(&self) -> (String, String) {
        match self {
            Self::Damaged => ("damaged or cut off".to_owned(), "a whole Parquet file; fetch it again".to_owned()),
            Self::Large(bytes) => (
                format!("in pages of {bytes} bytes"),
                format!("at most {MAX_PAGE}; write it with smaller row groups, as with `row_group_size=100` of pyarrow"),
            ),
            Self::Encoding(number) => {
                let names = [
                    "",
                    "",
                    "",
                    "",
                    "BIT_PACKED",
                    "DELTA_BINARY_PACKED",
                    "DELTA_LENGTH_BYTE_ARRAY",
                    "DELTA_BYTE_ARRAY",
                    "",
                    "BYTE_STREAM_SPLIT",
                ];
                let name = usize::try_from(*number).ok().and_then(|number| names.get(number)).filter(|name| !name.is_empty());
                let name = name.map_or_else(|| number.to_string(), |name| (*name).to_owned());
                (format!("in the encoding {name}"), "plain values or a dictionary, as pyarrow writes by default".to_owned())
            }
        }
    }
}

/// Thrift's compact protocol, as far as a page's header needs it.
struct Compact<'a> {
    file: &'a mut BufReader<File>,
    /// Where the column's part ends.
    left: u64,
}

impl Compact<'_> {
    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.file.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn unsigned(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    fn signed(&mut self) -> io::Result<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Number and type of the next field; `None` at the end of the structure.
    fn field(&mut self, last: i64) -> io::Result<Option<(i64, u8)>> {
        let byte = self.byte()?;
        Ok(match (byte >> 4, byte & 15) {
            (_, 0) => None,
            (0, kind) => Some((self.signed()?, kind)),
            (more, kind) => Some((last.saturating_add(more.into()), kind)),
        })
    }

    fn header(&mut self) -> io::Result<Header> {
        let (mut header, mut last) = (Header::default(), 0);
        while let Some((number, kind)) = self.field(last)? {
            last = number;
            match (number, kind) {
                (1, 5) => header.kind = self.signed()?,
                (2, 5) => header.uncompressed = self.signed()?,
                (3, 5) => header.compressed = self.signed()?,
                // Data pages, dictionaries, and data pages of the second version.
                (5 | 7, 12) => self.inner(&mut header, 2)?,
                (8, 12) => self.inner(&mut header, 4)?,
                _ => self.skip(kind, 0)?,
            }
        }
        Ok(header)
    }

    fn inner(&mut self, header: &mut Header, encoding: i64) -> io::Result<()> {
        let mut last = 0;
        while let Some((number, kind)) = self.field(last)? {
            last = number;
            match (number, kind) {
                (1, 5) => header.values = self.signed()?,
                (number, 5) if number == encoding => header.encoding = self.signed()?,
                _ => self.skip(kind, 1)?,
            }
        }
        Ok(())
    }

    fn skip(&mut self, kind: u8, depth: u32) -> io::Result<()> {
        if depth > MOST_DEEP || self.file.stream_position()? > self.left {
            return Err(damaged());
        }
        match kind {
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.unsigned()?),
            7 => self.file.seek_relative(8)?,
            8 => {
                let length = self.unsigned()?;
                if length > self.left {
                    return Err(damaged());
                }
                self.file.seek_relative(length as i64)?;
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.unsigned()? } else { u64::from(byte >> 4) };
                for _ in 0..count {
                    // Truth values take a byte each in lists.
                    let kind = byte & 15;
                    self.skip(if kind < 3 { 3 } else { kind }, depth + 1)?;
                    if self.file.stream_position()? > self.left {
                        return Err(damaged());
                    }
                }
            }
            12 => {
                let mut last = 0;
                while let Some((number, kind)) = self.field(last)? {
                    last = number;
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return Err(damaged()),
        }
        Ok(())
    }
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
