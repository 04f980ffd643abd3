//! Where the elements of a DICOM file lie.
//!
//! The few that say how pixels are read are taken out. All others, of which many name the patient, are stepped over by their lengths and never
//! decoded: what isn't read can't get into a message. The steps are bounded by the bytes that are there, whatever the file claims.

use std::io::Read;
use std::ops::Range;

use flate2::read::DeflateDecoder;

use super::fault::{DicomFault, Tag};
use super::syntax::{Codec, EXPLICIT, Encoding, IMPLICIT, Syntax};
use crate::image::MAX_PIXELS;

pub(super) const PIXEL_DATA: Tag = (0x7FE0, 0x0010);
const MODALITY_LUT: Tag = (0x0028, 0x3000);
const VOI_LUT: Tag = (0x0028, 0x3010);
pub(super) const LUT_DESCRIPTOR: Tag = (0x0028, 0x3002);
pub(super) const LUT_DATA: Tag = (0x0028, 0x3006);
const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);
const ITEM: Tag = (0xFFFE, 0xE000);
const ITEM_END: Tag = (0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = (0xFFFE, 0xE0DD);
const UNDEFINED: u32 = u32::MAX;

/// Elements with what pixels are, and nothing about anybody.
const WANTED: [Tag; 16] = [
    (0x0028, 0x0002),
    (0x0028, 0x0004),
    (0x0028, 0x0008),
    (0x0028, 0x0010),
    (0x0028, 0x0011),
    (0x0028, 0x0100),
    (0x0028, 0x0101),
    (0x0028, 0x0102),
    (0x0028, 0x0103),
    (0x0028, 0x0120),
    (0x0028, 0x0121),
    (0x0028, 0x1050),
    (0x0028, 0x1051),
    (0x0028, 0x1052),
    (0x0028, 0x1053),
    (0x0028, 0x1056),
];
/// Most bytes of one of them: windows have a number and a name for each of some.
const MOST_BYTES: usize = 1 << 16;
/// Most sequences within sequences.
const MOST_DEEP: usize = 64;
/// Most bytes of a deflated file beside its pixels.
const MOST_BESIDE: u64 = 16 << 20;

/// Types whose lengths have four bytes.
const LONG: [&[u8; 2]; 13] = [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"];

/// All others.
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST",
    b"TM", b"UI", b"UL", b"US",
];

/// Whether a file that begins so is a DICOM file beyond doubt, with a preamble or without.
pub(in crate::image) fn is_dicom(head: &[u8]) -> bool {
    head.get(128..132) == Some(b"DICM") || without_preamble(head).is_some()
}

/// Where the elements of a file without a preamble begin, and how they are written: with a header of the file, or bare as before 1993.
fn without_preamble(head: &[u8]) -> Option<(usize, Option<Encoding>)> {
    let begins =
        |mark: &[u8], word: &[u8]| head.starts_with(mark) && head.get(mark.len()..).is_some_and(|h| h.starts_with(word));
    if head.starts_with(b"DICM\x02\0") {
        return Some((4, None));
    }
    if head.starts_with(b"\x02\0\0\0UL\x04\0") {
        return Some((0, None));
    }
    // Character set, or kind of image: the first elements of nearly all images.
    let explicit = [(&b"\x08\0\x05\0CS\x0a\0"[..], &b"ISO_IR"[..]), (b"\x08\0\x08\0CS", b"")];
    if explicit.iter().any(|(mark, word)| begins(mark, word)) && head.len() > 16 {
        return Some((0, Some(EXPLICIT)));
    }
    let implicit = [(&b"\x08\0\x05\0\x0a\0\0\0"[..], &b"ISO_IR"[..]), (b"\x08\0\0\0\x04\0\0\0", b"")];
    implicit.iter().any(|(mark, word)| begins(mark, word)).then_some((0, Some(IMPLICIT)))
}

/// How a file is written, and where its data begin.
pub(super) fn header(file: &[u8]) -> Result<(Syntax, usize), DicomFault> {
    let (mut at, bare) = match file.get(128..132) {
        Some(b"DICM") => (132, None),
        _ => without_preamble(file).unwrap_or((0, Some(IMPLICIT))),
    };
    if let Some(encoding) = bare {
        return Ok((Syntax { encoding, codec: Codec::Native }, at));
    }
    let mut uid = None;
    let mut elements = Elements::new(&file[at..], EXPLICIT);
    // The length of this group is often wrong; its number never is.
    while elements.peek_group() == Some(2) {
        let element = elements.step()?;
        if element.tag == TRANSFER_SYNTAX {
            uid = Some(&elements.data[element.value]);
        }
    }
    at += elements.at;
    let text = uid.map(|uid| String::from_utf8_lossy(uid).trim_end_matches(['\0', ' ']).to_owned());
    match text {
        Some(uid) => Ok((Syntax::of(&uid)?, at)),
        None => Err(DicomFault::element(("TransferSyntaxUID", TRANSFER_SYNTAX), "absent", "one, in the header of the file")),
    }
}

/// The data of a deflated file, as far as an image can need them.
pub(super) fn inflated(deflated: &[u8]) -> Result<Vec<u8>, DicomFault> {
    let most = 2 * MAX_PIXELS as u64 + MOST_BESIDE;
    let mut data = Vec::new();
    let failed = |_| DicomFault::pixels("deflated data", "the stream is cut off or damaged");
    DeflateDecoder::new(deflated).take(most + 1).read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 > most {
        return Err(DicomFault::pixels("deflated data", "they are larger than any image that is read"));
    }
    Ok(data)
}

/// What of a file says how its pixels are read.
pub(super) struct Found<'a> {
    /// The wanted elements as they are written, one after the other.
    pub(super) wanted: Vec<u8>,
    pub(super) modality_lut: Option<RawLut<'a>>,
    pub(super) voi_lut: Option<RawLut<'a>>,
    /// Whether there is a document, such as a PDF, instead of pixels.
    pub(super) document: bool,
    /// Whether pixels are numbers with decimals.
    pub(super) floating: bool,
    /// The pixels, if there are any. Their bytes may be missing.
    pub(super) pixels: Option<Result<PixelBytes<'a>, DicomFault>>,
}

/// A look-up table as it is written.
pub(super) struct RawLut<'a> {
    pub(super) descriptor: &'a [u8],
    pub(super) data: &'a [u8],
}

/// The bytes of the pixels.
pub(super) enum PixelBytes<'a> {
    /// As they are, and whether they are written as words.
    Native { bytes: &'a [u8], words: bool },
    /// Compressed, in parts.
    Fragments(Vec<&'a [u8]>),
}

/// Looks through the data of a file, up to its pixels.
pub(super) fn find(data: &[u8], encoding: Encoding) -> Result<Found<'_>, DicomFault> {
    let mut elements = Elements::new(data, encoding);
    let (wanted, document, floating) = (Vec::new(), false, false);
    let mut found = Found { wanted, modality_lut: None, voi_lut: None, document, floating, pixels: None };
    while let Some(tag) = elements.peek() {
        if tag == PIXEL_DATA {
            found.pixels = Some(elements.pixels());
            break;
        }
        let element = elements.step()?;
        let value = &data[element.value.clone()];
        match tag {
            (0x0042, 0x0011) => found.document = true,
            (0x7FE0, 0x0008 | 0x0009) => found.floating = true,
            MODALITY_LUT => found.modality_lut = lut(value, element.inner(encoding)),
            VOI_LUT => found.voi_lut = lut(value, element.inner(encoding)),
            // What the crate would not step over as a whole, it would follow with a length of its own, and memory for as many bytes.
            _ if WANTED.contains(&tag) && !element.is_whole(encoding) => {
                return Err(DicomFault::Damaged { tag, at: element.start });
            }
            _ if WANTED.contains(&tag) && value.len() <= MOST_BYTES && !element.undefined => {
                found.wanted.extend_from_slice(&data[element.start..element.value.end]);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The first look-up table of a sequence; a damaged one is none.
fn lut(sequence: &[u8], encoding: Encoding) -> Option<RawLut<'_>> {
    let mut items = Elements::new(sequence, encoding);
    let item = items.header().ok().filter(|item| item.tag == ITEM)?;
    let end = if item.length == UNDEFINED { sequence.len() } else { items.end(item.length)? };
    let mut elements = Elements::new(&sequence[items.at..end], encoding);
    let (mut descriptor, mut data) = (None, None);
    while let Some(tag) = elements.peek().filter(|tag| *tag != ITEM_END) {
        let element = elements.step().ok()?;
        match tag {
            LUT_DESCRIPTOR => descriptor = Some(&elements.data[element.value]),
            LUT_DATA => data = Some(&elements.data[element.value]),
            _ => {}
        }
    }
    Some(RawLut { descriptor: descriptor?, data: data? })
}

struct Header {
    tag: Tag,
    vr: [u8; 2],
    length: u32,
    start: usize,
}

struct Element {
    tag: Tag,
    vr: [u8; 2],
    start: usize,
    value: Range<usize>,
    undefined: bool,
}

impl Element {
    /// Whether its type is one of the standard's, holds no elements, and has values that fill its length.
    fn is_whole(&self, encoding: Encoding) -> bool {
        let is_known = SHORT.contains(&&self.vr) || LONG.contains(&&self.vr);
        let value = match &self.vr {
            // By the dictionary, numbers of two bytes or text, which has an even length too.
            _ if !encoding.explicit => 2,
            b"SQ" => return false,
            b"US" | b"SS" | b"OW" => 2,
            b"UL" | b"SL" | b"FL" | b"AT" | b"OF" | b"OL" => 4,
            b"FD" | b"OD" | b"OV" | b"SV" | b"UV" => 8,
            _ => 1,
        };
        (is_known || !encoding.explicit) && self.value.len().is_multiple_of(value)
    }

    /// How the elements within it are written: those of a sequence whose type nobody knew are implicit.
    fn inner(&self, encoding: Encoding) -> Encoding {
        if self.vr == *b"UN" { IMPLICIT } else { encoding }
    }
}

/// Steps from element to element.
struct Elements<'a> {
    data: &'a [u8],
    at: usize,
    encoding: Encoding,
}

impl<'a> Elements<'a> {
    fn new(data: &'a [u8], encoding: Encoding) -> Self {
        Self { data, at: 0, encoding }
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = [*self.data.get(at)?, *self.data.get(at + 1)?];
        Some(if self.encoding.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let (first, second) = (u32::from(self.u16(at)?), u32::from(self.u16(at + 2)?));
        Some(if self.encoding.big_endian { first << 16 | second } else { second << 16 | first })
    }

    fn peek_group(&self) -> Option<u16> {
        self.u16(self.at)
    }

    /// The next tag; `None` at the end.
    fn peek(&self) -> Option<Tag> {
        Some((self.u16(self.at)?, self.u16(self.at + 2)?))
    }

    /// The place so many bytes on, if it is not beyond the end.
    fn end(&self, length: u32) -> Option<usize> {
        self.at.checked_add(length as usize).filter(|end| *end <= self.data.len())
    }

    /// Reads tag, type and length of the next element.
    fn header(&mut self) -> Result<Header, DicomFault> {
        let start = self.at;
        let tag = self.peek().ok_or(DicomFault::Damaged { tag: (0, 0), at: start })?;
        let damaged = || DicomFault::Damaged { tag, at: start };
        let is_delimiter = tag.0 == ITEM.0;
        if is_delimiter || !self.encoding.explicit {
            let length = self.u32(start + 4).ok_or_else(damaged)?;
            self.at = start + 8;
            return Ok(Header { tag, vr: *b"  ", length, start });
        }
        let vr: [u8; 2] = self.data.get(start + 4..start + 6).and_then(|vr| vr.try_into().ok()).ok_or_else(damaged)?;
        if !vr.iter().all(u8::is_ascii_uppercase) {
            return Err(damaged());
        }
        let (length, header) = match LONG.contains(&&vr) {
            true => (self.u32(start + 8).ok_or_else(damaged)?, 12),
            false => (u32::from(self.u16(start + 6).ok_or_else(damaged)?), 8),
        };
        self.at = start + header;
        Ok(Header { tag, vr, length, start })
    }

    /// Steps over the next element.
    fn step(&mut self) -> Result<Element, DicomFault> {
        let Header { tag, vr, length, start } = self.header()?;
        let from = self.at;
        let undefined = length == UNDEFINED;
        let damaged = DicomFault::Damaged { tag, at: start };
        if undefined {
            self.step_out(vr, &damaged)?;
        } else {
            self.at = self.end(length).ok_or(damaged)?;
        }
        Ok(Element { tag, vr, start, value: from..self.at, undefined })
    }

    /// Steps to the end of a sequence whose length is not said, however deep sequences lie in it.
    fn step_out(&mut self, vr: [u8; 2], damaged: &DicomFault) -> Result<(), DicomFault> {
        let outer = self.encoding;
        // The encoding around each level that is open; sequences and items alternate.
        let mut open = vec![outer];
        self.encoding = if vr == *b"UN" { IMPLICIT } else { outer };
        let mut walk = || -> Option<()> {
            while !open.is_empty() {
                let in_sequence = open.len() % 2 == 1;
                let header = self.header().ok()?;
                match (in_sequence, header.tag) {
                    (true, SEQUENCE_END) | (false, ITEM_END) => self.encoding = open.pop()?,
                    (false, tag) if tag.0 == ITEM.0 => return None,
                    (true, tag) if tag != ITEM => return None,
                    _ if header.length == UNDEFINED => {
                        open.push(self.encoding);
                        if header.vr == *b"UN" {
                            self.encoding = IMPLICIT;
                        }
                        if open.len() > 2 * MOST_DEEP {
                            return None;
                        }
                    }
                    _ => self.at = self.end(header.length)?,
                }
            }
            Some(())
        };
        let walked = walk();
        self.encoding = outer;
        walked.ok_or_else(|| damaged.clone())
    }

    /// The pixels, whose element is next.
    fn pixels(&mut self) -> Result<PixelBytes<'a>, DicomFault> {
        let header = self.header()?;
        let damaged = || DicomFault::Damaged { tag: PIXEL_DATA, at: header.start };
        if header.length != UNDEFINED {
            let end = self.end(header.length).ok_or_else(damaged)?;
            let words = header.vr != *b"OB";
            return Ok(PixelBytes::Native { bytes: &self.data[self.at..end], words });
        }
        let mut parts = Vec::new();
        loop {
            let item = self.header().map_err(|_| damaged())?;
            match item.tag {
                SEQUENCE_END => break,
                ITEM => {
                    let end = self.end(item.length).ok_or_else(damaged)?;
                    parts.push(&self.data[self.at..end]);
                    self.at = end;
                }
                _ => return Err(damaged()),
            }
        }
        // The first is a table of offsets.
        match parts.is_empty() {
            true => Err(damaged()),
            false => Ok(PixelBytes::Fragments(parts.split_off(1))),
        }
    }
}
