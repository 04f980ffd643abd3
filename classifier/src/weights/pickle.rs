//! What a pickle would import, read without running it.
//!
//! Opcodes: CPython 3.14, `Lib/pickletools.py`.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Seek};

use burn::store::pytorch_reader::OpCode;

/// What a pickle imports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Imports {
    /// `module.name`, in order.
    pub(super) globals: Vec<String>,
    /// Persistent ids of classes, which PyTorch wrote before 1.6.
    pub(super) class_ids: Vec<ClassId>,
}

/// The persistent id `("module", class, source file, source text)`: in PyTorch it stands for the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClassId {
    /// Where in the file the BINPERSID opcode is.
    pub(super) offset: u64,
    /// Memo slot of the class.
    pub(super) slot: u32,
}

/// Stands for a name that is not two plain strings; no weights file hides what it imports.
const HIDDEN: &str = "(a hidden name)";

/// Longest text line accepted as a name or a number.
const MAX_LINE: u64 = 1 << 16;

/// Adds what one pickle imports; leaves `r` after its STOP.
pub(super) fn scan(r: &mut (impl BufRead + Seek), imports: &mut Imports) -> io::Result<()> {
    let mut strings = Strings::default();
    let mut class_id = ClassIdParts::default();
    loop {
        let code = byte(r)?;
        let op = OpCode::try_from(code).map_err(|code| invalid(&format!("{code:#04x} is not a pickle opcode")))?;
        match op {
            OpCode::Stop => return Ok(()),
            OpCode::Global => {
                let (module, name) = (line(r)?, line(r)?);
                imports.globals.push(format!("{module}.{name}"));
                strings.push(None);
                class_id.class();
            }
            OpCode::StackGlobal => {
                imports.globals.push(match &strings.last_two {
                    [Some(module), Some(name)] => format!("{module}.{name}"),
                    _ => HIDDEN.to_owned(),
                });
                strings.push(None);
            }
            OpCode::Ext1 | OpCode::Ext2 | OpCode::Ext4 => return Err(invalid("it uses the extension registry")),
            OpCode::Unicode
            | OpCode::ShortBinString
            | OpCode::ShortBinUnicode
            | OpCode::BinString
            | OpCode::BinUnicode
            | OpCode::BinUnicode8 => {
                strings.push(Some(string(r, op)?));
                class_id.string(&strings);
            }
            OpCode::Put | OpCode::BinPut | OpCode::LongBinPut => {
                let slot = slot(r, op)?;
                strings.memo.insert(slot, strings.last_two[1].clone());
                class_id.memoized(slot);
            }
            OpCode::Memoize => {
                strings.memo.insert(
                    u32::try_from(strings.memo.len()).map_err(|_| invalid("its memo overflows"))?,
                    strings.last_two[1].clone(),
                );
            }
            OpCode::Get | OpCode::BinGet | OpCode::LongBinGet => {
                let slot = slot(r, op)?;
                strings.push(strings.memo.get(&slot).cloned().flatten());
                class_id.string(&strings);
            }
            OpCode::Proto => skip(r, 1)?,
            OpCode::Frame => skip(r, 8)?,
            other => {
                skip_argument(r, other)?;
                strings.push(None);
                match other {
                    OpCode::Mark => class_id = ClassIdParts::Marked,
                    OpCode::BinPersId => {
                        if let ClassIdParts::Memoized(slot) = std::mem::take(&mut class_id) {
                            imports.class_ids.push(ClassId { offset: r.stream_position()? - 1, slot });
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn string(r: &mut impl BufRead, op: OpCode) -> io::Result<String> {
    let length = match op {
        OpCode::ShortBinUnicode | OpCode::ShortBinString => number(r, 1)?,
        OpCode::BinUnicode | OpCode::BinString => number(r, 4)?,
        OpCode::BinUnicode8 => number(r, 8)?,
        _ => return line(r),
    };
    let mut text = Vec::new();
    r.by_ref().take(length).read_to_end(&mut text)?;
    if (text.len() as u64) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The memo slot that a GET or PUT opcode names.
fn slot(r: &mut impl BufRead, op: OpCode) -> io::Result<u32> {
    let slot = match op {
        OpCode::BinGet | OpCode::BinPut => number(r, 1)?,
        OpCode::LongBinGet | OpCode::LongBinPut => number(r, 4)?,
        _ => line(r)?.parse().map_err(|_| invalid("a memo slot is not a number"))?,
    };
    u32::try_from(slot).map_err(|_| invalid("a memo slot is too large"))
}

/// Skips the argument of an opcode that does not push a string.
fn skip_argument(r: &mut impl BufRead, op: OpCode) -> io::Result<()> {
    match op {
        OpCode::Int | OpCode::Long | OpCode::Float | OpCode::PersId => line(r).map(|_| ()),
        OpCode::BinInt1 => skip(r, 1),
        OpCode::BinInt2 => skip(r, 2),
        OpCode::BinInt => skip(r, 4),
        OpCode::BinFloat => skip(r, 8),
        OpCode::ShortBinBytes | OpCode::Long1 => number(r, 1).and_then(|n| skip(r, n)),
        OpCode::BinBytes | OpCode::Long4 => number(r, 4).and_then(|n| skip(r, n)),
        OpCode::BinBytes8 | OpCode::ByteArray8 => number(r, 8).and_then(|n| skip(r, n)),
        _ => Ok(()),
    }
}

/// How much of a [`ClassId`] was seen: MARK, `"module"`, the class, its memo slot, then anything up to BINPERSID.
#[derive(Clone, Copy, Default)]
enum ClassIdParts {
    #[default]
    Nothing,
    Marked,
    Named,
    Class,
    Memoized(u32),
}

impl ClassIdParts {
    fn string(&mut self, strings: &Strings) {
        *self = match *self {
            Self::Memoized(slot) => Self::Memoized(slot),
            Self::Marked if strings.last_two[1].as_deref() == Some("module") => Self::Named,
            _ => Self::Nothing,
        };
    }

    fn class(&mut self) {
        *self = if matches!(self, Self::Named) { Self::Class } else { Self::Nothing };
    }

    fn memoized(&mut self, slot: u32) {
        if matches!(self, Self::Class) {
            *self = Self::Memoized(slot);
        }
    }
}

/// The two values on top of the stack as far as they are strings, and the strings in the memo.
///
/// Any opcode but a plain push makes the top unknown, so that no order of pushes and pops hides a name.
#[derive(Default)]
struct Strings {
    last_two: [Option<String>; 2],
    memo: HashMap<u32, Option<String>>,
}

impl Strings {
    fn push(&mut self, text: Option<String>) {
        self.last_two.rotate_left(1);
        self.last_two[1] = text;
    }
}

fn byte(r: &mut impl BufRead) -> io::Result<u8> {
    let mut byte = [0];
    r.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// A little-endian number of `bytes` bytes.
fn number(r: &mut impl BufRead, bytes: usize) -> io::Result<u64> {
    let mut number = [0; 8];
    r.read_exact(&mut number[..bytes])?;
    Ok(u64::from_le_bytes(number))
}

fn skip(r: &mut impl BufRead, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut r.by_ref().take(bytes), &mut io::sink())?;
    if skipped < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn line(r: &mut impl BufRead) -> io::Result<String> {
    let mut text = Vec::new();
    r.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)?;
    if text.pop() == Some(b'\n') {
        Ok(String::from_utf8_lossy(&text).into_owned())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

pub(super) fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn names(pickle: &[u8]) -> Vec<String> {
        let mut imports = Imports::default();
        scan(&mut Cursor::new(pickle), &mut imports).unwrap();
        imports.globals
    }

    #[test]
    fn detours_to_a_name_are_seen() {
        // Each in the opcodes of CPython's pickletools; the comments give the stack.
        for (pickle, name) in [
            (&b"\x80\x04\x8c\x05posix\x8c\x06system\x93."[..], "posix.system"),
            // Both strings through the memo.
            (b"\x80\x04\x8c\x05posix\x940\x8c\x06system\x940h\x00h\x01\x93.", "posix.system"),
            // A third string is pushed and popped again: whatever is on top, no class of ours.
            (b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x05torch0\x93.", HIDDEN),
            (b"\x80\x02c__builtin__\neval\n.", "__builtin__.eval"),
        ] {
            assert_eq!(names(pickle), [name]);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = scan(&mut Cursor::new(bytes), &mut Imports::default());
        }
    }
}
