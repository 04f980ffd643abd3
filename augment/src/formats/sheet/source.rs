//! The bytes of a table as UTF-8.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// Most bytes of a table that can't be read twice, such as a pipe.
const MAX_PIPED: u64 = 1 << 30;

const GZIP: &[u8] = b"\x1f\x8b";
/// What a zip archive starts with, and thereby an Excel workbook.
const ZIP: &[u8] = b"PK\x03\x04";
const PARQUET: &[u8] = b"PAR1";
const UTF_16_LE: &[u8] = b"\xff\xfe";
const UTF_16_BE: &[u8] = b"\xfe\xff";

/// A table's bytes, which are read several times.
#[derive(Debug)]
pub(super) enum Source {
    File,
    /// What came out of a pipe.
    Memory(Vec<u8>),
}

/// A file that is no text at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoText {
    #[error("a zip archive, perhaps an Excel workbook; save the table as `CSV UTF-8`")]
    Zip,
    #[error("a Parquet file; write the table as CSV")]
    Parquet,
    #[error("its byte order mark says UTF-16, but it isn't; save the table as UTF-8")]
    Utf16,
    #[error("more than {MAX_PIPED} bytes out of a pipe; write the table to a file")]
    Piped,
}

impl Source {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_file() {
            return Ok(Self::File);
        }
        let mut bytes = Vec::new();
        file.take(MAX_PIPED + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_PIPED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, NoText::Piped));
        }
        Ok(Self::Memory(bytes))
    }

    /// The text from its beginning, unpacked and as UTF-8. UTF-8 itself is not checked here.
    pub(super) fn open<'a>(&'a self, path: &Path) -> io::Result<Box<dyn BufRead + 'a>> {
        let (start, packed): (_, Box<dyn BufRead + 'a>) = match self {
            Self::File => peek(BufReader::with_capacity(1 << 16, File::open(path)?))?,
            Self::Memory(bytes) => peek(&bytes[..])?,
        };
        let (start, text) = match start.starts_with(GZIP) {
            true => peek(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(packed)))?,
            false => (start, packed),
        };
        let refused = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        match &start[..] {
            start if start.starts_with(ZIP) => refused(NoText::Zip),
            start if start.starts_with(PARQUET) => refused(NoText::Parquet),
            start if start.starts_with(UTF_16_LE) => Ok(Box::new(BufReader::new(Utf16::new(text, u16::from_le_bytes)))),
            start if start.starts_with(UTF_16_BE) => Ok(Box::new(BufReader::new(Utf16::new(text, u16::from_be_bytes)))),
            _ => Ok(text),
        }
    }
}

/// The first four bytes, and a reader that has them still before it.
fn peek<'a>(mut reader: impl BufRead + 'a) -> io::Result<(Vec<u8>, Box<dyn BufRead + 'a>)> {
    let mut start = Vec::new();
    reader.by_ref().take(4).read_to_end(&mut start)?;
    Ok((start.clone(), Box::new(Cursor::new(start).chain(reader))))
}

/// UTF-16 as UTF-8.
struct Utf16<R> {
    source: R,
    unit: fn([u8; 2]) -> u16,
    /// The first half of a pair that the last chunk ended with.
    high: Option<u16>,
    text: Cursor<Vec<u8>>,
}

impl<R: BufRead> Utf16<R> {
    fn new(source: R, unit: fn([u8; 2]) -> u16) -> Self {
        Self { source, unit, high: None, text: Cursor::default() }
    }

    /// Decodes the next chunk; an empty one is the end.
    fn decode(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.source.by_ref().take(1 << 13).read_to_end(&mut bytes)?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, NoText::Utf16);
        let (pairs, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(bad());
        }
        let mut units: Vec<u16> = self.high.take().into_iter().chain(pairs.iter().map(|pair| (self.unit)(*pair))).collect();
        if !pairs.is_empty() && units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.high = units.pop();
        }
        let text: String = char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| bad())?;
        self.text = Cursor::new(text.into_bytes());
        Ok(())
    }
}

impl<R: BufRead> Read for Utf16<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(into)?;
        if read > 0 || into.is_empty() {
            return Ok(read);
        }
        self.decode()?;
        // A chunk that holds only half of a pair is followed by another.
        if self.text.get_ref().is_empty() && self.high.is_some() {
            self.decode()?;
        }
        self.text.read(into)
    }
}
