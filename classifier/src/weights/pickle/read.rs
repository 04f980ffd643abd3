//! The bytes of a pickle: numbers, texts and the arguments of opcodes.

use std::io::{self, BufRead, Read};

use burn::store::pytorch_reader::{MAX_PICKLE_SIZE, OpCode};

use super::{Value, invalid};

/// Longest text line accepted as a name or a number.
const MAX_LINE: u64 = 1 << 16;

/// A pickle's bytes, no more of them than a pickle may have.
pub(super) struct Input<'a, R> {
    source: io::Take<&'a mut R>,
}

impl<'a, R: BufRead> Input<'a, R> {
    pub(super) fn new(source: &'a mut R) -> Self {
        Self { source: source.take(MAX_PICKLE_SIZE) }
    }

    pub(super) fn byte(&mut self) -> io::Result<u8> {
        self.number(1).map(|byte| byte as u8)
    }

    /// A little-endian number of `bytes` bytes.
    fn number(&mut self, bytes: usize) -> io::Result<u64> {
        let mut number = [0; 8];
        self.source.read_exact(&mut number[..bytes])?;
        Ok(u64::from_le_bytes(number))
    }

    pub(super) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.source.by_ref().take(bytes), &mut io::sink())?;
        if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    pub(super) fn line(&mut self) -> io::Result<String> {
        let mut text = Vec::new();
        self.source.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)?;
        if text.pop() == Some(b'\n') {
            Ok(String::from_utf8_lossy(&text).into_owned())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn text(&mut self, length: u64) -> io::Result<Value> {
        let mut text = Vec::new();
        self.source.by_ref().take(length).read_to_end(&mut text)?;
        if (text.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Value::Text(String::from_utf8_lossy(&text).into()))
    }

    /// The memo slot that a GET or PUT opcode names.
    pub(super) fn slot(&mut self, op: OpCode) -> io::Result<u32> {
        let slot = match op {
            OpCode::BinGet | OpCode::BinPut => self.number(1)?,
            OpCode::LongBinGet | OpCode::LongBinPut => self.number(4)?,
            _ => self.line()?.parse().map_err(|_| invalid("a memo slot is not a number"))?,
        };
        u32::try_from(slot).map_err(|_| invalid("a memo slot is too large"))
    }

    /// The value that stands in the bytes themselves; `None` for opcodes that make it of others.
    pub(super) fn literal(&mut self, op: OpCode) -> io::Result<Option<Value>> {
        Ok(Some(match op {
            OpCode::None => Value::Other,
            OpCode::NewTrue => Value::Truth(true),
            OpCode::NewFalse => Value::Truth(false),
            OpCode::Int | OpCode::Long => match self.line()?.trim_end_matches('L') {
                "00" => Value::Truth(false),
                "01" => Value::Truth(true),
                number => number.parse().map_or(Value::Other, Value::Int),
            },
            OpCode::BinInt1 => Value::Int(self.number(1)? as i64),
            OpCode::BinInt2 => Value::Int(self.number(2)? as i64),
            OpCode::BinInt => Value::Int(i64::from(self.number(4)? as u32 as i32)),
            OpCode::Long1 => {
                let length = self.number(1)?;
                self.long(length)?
            }
            OpCode::Long4 => {
                let length = self.number(4)?;
                self.long(length)?
            }
            OpCode::Float | OpCode::PersId => self.line().map(|_| Value::Other)?,
            OpCode::BinFloat => self.skip(8).map(|()| Value::Other)?,
            OpCode::Unicode => Value::Text(self.line()?.into()),
            OpCode::ShortBinUnicode | OpCode::ShortBinString => {
                let length = self.number(1)?;
                self.text(length)?
            }
            OpCode::BinUnicode | OpCode::BinString => {
                let length = self.number(4)?;
                self.text(length)?
            }
            OpCode::BinUnicode8 => {
                let length = self.number(8)?;
                self.text(length)?
            }
            OpCode::ShortBinBytes => self.bytes(1)?,
            OpCode::BinBytes => self.bytes(4)?,
            OpCode::BinBytes8 | OpCode::ByteArray8 => self.bytes(8)?,
            _ => return Ok(None),
        }))
    }

    fn bytes(&mut self, width: usize) -> io::Result<Value> {
        let length = self.number(width)?;
        self.skip(length).map(|()| Value::Other)
    }

    /// A whole number of any length, in two's complement; one of more than 64 bits is no number that tensors have.
    fn long(&mut self, length: u64) -> io::Result<Value> {
        if !(1..=8).contains(&length) {
            self.skip(length)?;
            return Ok(if length == 0 { Value::Int(0) } else { Value::Other });
        }
        let unused = 64 - 8 * length as u32;
        Ok(Value::Int(((self.number(length as usize)? << unused) as i64) >> unused))
    }
}
