//! Where an answer ends.

use std::io::{self, BufRead, BufReader, Read};

use super::{Stream, invalid};

/// Bytes of the line before a chunk.
const MOST_LINE: u64 = 1 << 10;

/// What follows the head.
pub(in crate::hub) struct Body {
    pub(super) stream: BufReader<Stream>,
    pub(super) length: Length,
}

/// How a body ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// After this many bytes.
    Known(u64),
    /// After the last chunk; so many bytes are left of this one, of which a line break has to follow.
    Chunks { left: u64, is_first: bool },
    /// With the connection.
    Open,
}

impl Length {
    pub(super) fn of(method: &str, status: u16, fields: &[(String, String)]) -> io::Result<Self> {
        let field = |name: &str| fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        if method == "HEAD" || matches!(status, 204 | 304) {
            return Ok(Self::Known(0));
        }
        match (field("transfer-encoding"), field("content-length")) {
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Ok(Self::Chunks { left: 0, is_first: true }),
            (Some(coding), _) => Err(invalid(&format!("its transfer-encoding is {coding}"))),
            (None, Some(length)) => length.parse().map(Self::Known).map_err(|_| invalid("its content-length is no number")),
            (None, None) => Ok(Self::Open),
        }
    }
}

impl Read for Body {
    /// An end before the announced one is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match &mut self.length {
            Length::Open => return self.stream.read(buffer),
            Length::Known(left) => left,
            Length::Chunks { left, is_first } => {
                if *left == 0 {
                    *left = next_chunk(&mut self.stream, *is_first)?;
                    *is_first = false;
                    if *left == 0 {
                        self.length = Length::Known(0);
                        return Ok(0);
                    }
                }
                left
            }
        };
        if *left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        }
        *left -= read as u64;
        Ok(read)
    }
}

/// The length of the next chunk, after the line break of the one before.
fn next_chunk(stream: &mut impl BufRead, is_first: bool) -> io::Result<u64> {
    let mut line = || {
        let mut line = Vec::new();
        stream.by_ref().take(MOST_LINE).read_until(b'\n', &mut line)?;
        match line.ends_with(b"\n") {
            true => Ok(String::from_utf8_lossy(&line).trim().to_owned()),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed")),
        }
    };
    if !is_first && !line()?.is_empty() {
        return Err(invalid("a chunk is longer than announced"));
    }
    let length = line()?;
    u64::from_str_radix(length.split(';').next().unwrap_or_default().trim(), 16).map_err(|_| invalid("a chunk has no length"))
}
