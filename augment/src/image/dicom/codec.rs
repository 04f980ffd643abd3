//! The samples of an image, as they are stored, from their bytes.

use std::path::Path;

use dicom_object::OpenFileOptions;
use dicom_object::file::ReadPreamble;
use dicom_pixeldata::PixelDecoder;

use super::super::decode::Gray;
use super::super::jpeg::{JpegScale, decode_jpeg};
use super::attributes::{
    BITS_ALLOCATED, BITS_STORED, COLUMNS, Layout, PIXEL_REPRESENTATION, ROWS, SAMPLES_PER_PIXEL, with_header,
};
use super::elements::{PIXEL_DATA, PixelBytes};
use super::fault::DicomFault;
use super::stream::{Jpeg2000, JpegFrame};
use super::syntax::{Codec, Syntax};
use crate::image::{GrayDepth, GrayImage};

const PIXELS: (&str, (u16, u16)) = ("PixelData", PIXEL_DATA);
const LOSSLESS: &str = "lossless JPEG";
const JPEG: &str = "JPEG";
const JPEG_2000: &str = "JPEG 2000";
const RLE: &str = "RLE";
const DECOMPRESS: &str = "decompress it first, as with `gdcmconv --raw IN OUT`";

/// The samples of an image: for each pixel the bits that count, and no others.
pub(super) fn samples(pixels: PixelBytes<'_>, syntax: Syntax, layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    let fragments = match (pixels, syntax.codec) {
        (PixelBytes::Native { bytes, words }, Codec::Native | Codec::Deflated) => {
            let big_endian = syntax.encoding.big_endian;
            return native(bytes, big_endian, big_endian && words, layout);
        }
        (PixelBytes::Native { .. }, _) => {
            return Err(DicomFault::element(PIXELS, "of a stated length", "fragments, as the file is compressed"));
        }
        (PixelBytes::Fragments(parts), Codec::Native) => {
            return native(&parts.concat(), false, false, layout);
        }
        (PixelBytes::Fragments(_), Codec::Deflated) => {
            return Err(DicomFault::element(PIXELS, "in fragments", "a stated length, as the file is not compressed"));
        }
        (PixelBytes::Fragments(parts), _) => parts,
    };
    if fragments.is_empty() {
        return Err(DicomFault::element(PIXELS, "without a fragment", "one or more"));
    }
    match syntax.codec {
        Codec::Rle => rle(&fragments.concat(), layout),
        Codec::Jpeg2000 => jpeg_2000(&fragments.concat(), layout),
        _ => jpeg(&fragments.concat(), layout),
    }
}

/// The bits of a sample that count.
fn significant(layout: &Layout) -> impl Fn(u16) -> u16 {
    let (shift, mask) = (layout.shift, u16::MAX >> (16 - layout.bits));
    move |sample| sample >> shift & mask
}

fn native(bytes: &[u8], big_endian: bool, swapped: bool, layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    let count = layout.width * layout.height;
    let wanted = count * layout.bytes;
    if bytes.len() < wanted || bytes.len() / 2 >= wanted.max(2) {
        return Err(DicomFault::element(PIXELS, format!("{} bytes", bytes.len()), format!("{wanted} bytes")));
    }
    let significant = significant(layout);
    if layout.bytes == 1 {
        let sample = |at: usize| u16::from(bytes[if swapped { at ^ 1 } else { at }]);
        // Words have an even number of bytes.
        let complete = !swapped || bytes.len() >= wanted.next_multiple_of(2);
        return match complete {
            true => Ok((0..count).map(|at| significant(sample(at))).collect()),
            false => Err(DicomFault::element(PIXELS, format!("{} bytes", bytes.len()), format!("{} bytes", wanted + 1))),
        };
    }
    let words = bytes.as_chunks::<2>().0.iter().take(count);
    let word = |bytes: &[u8; 2]| if big_endian { u16::from_be_bytes(*bytes) } else { u16::from_le_bytes(*bytes) };
    Ok(words.map(|bytes| significant(word(bytes))).collect())
}

/// PS3.5 annex G: the bytes of all samples of one significance, packed one after the other, the most significant first. Ours, because
/// `dicom-pixeldata` unpacks whatever a segment holds before it looks at the size of the image.
fn rle(stream: &[u8], layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    let word = |at: usize| Some(u32::from_le_bytes(*stream.get(4 * at..)?.first_chunk()?) as usize);
    let damaged = |found: &'static str| DicomFault::pixels(RLE, found);
    let segments = word(0).filter(|_| stream.len() >= 64).ok_or_else(|| damaged("its header is cut off"))?;
    if segments != layout.bytes {
        return Err(DicomFault::pixels(RLE, format!("it has {segments} segments and its samples {} bytes", layout.bytes)));
    }
    let count = layout.width * layout.height;
    // Of 128 samples, two bytes are left at best.
    if count.div_ceil(64) * layout.bytes > stream.len() {
        return Err(damaged("a segment is cut off"));
    }
    let mut samples = vec![0_u16; count];
    for segment in 0..segments {
        let bounds = |at| if at == segments { Some(stream.len()) } else { word(1 + at) };
        let packed = bounds(segment).zip(bounds(segment + 1)).and_then(|(from, to)| stream.get(from..to));
        let packed = packed.ok_or_else(|| damaged("its segments don't follow each other"))?;
        unpack(packed, &mut samples).ok_or_else(|| damaged("a segment is cut off"))?;
    }
    let significant = significant(layout);
    samples.iter_mut().for_each(|sample| *sample = significant(*sample));
    Ok(samples)
}

/// Adds a byte below those that samples have; `None` if there are too few.
fn unpack(mut packed: &[u8], samples: &mut [u16]) -> Option<()> {
    let mut at = 0;
    while at < samples.len() {
        let (&control, rest) = packed.split_first()?;
        // What runs over the end of the image is padding.
        let left = &mut samples[at..];
        match control {
            0..128 => {
                let bytes = rest.get(..usize::from(control) + 1)?;
                left.iter_mut().zip(bytes).for_each(|(sample, byte)| *sample = *sample << 8 | u16::from(*byte));
                (at, packed) = (at + bytes.len(), &rest[bytes.len()..]);
            }
            // Nothing, by definition.
            128 => packed = rest,
            129.. => {
                let (&byte, rest) = rest.split_first()?;
                let run = 257 - usize::from(control);
                left.iter_mut().take(run).for_each(|sample| *sample = *sample << 8 | u16::from(byte));
                (at, packed) = (at + run, rest);
            }
        }
    }
    Some(())
}

/// The stream's own header decides what it is: some files name another process of JPEG than theirs.
fn jpeg(stream: &[u8], layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    let frame = JpegFrame::of(stream).ok_or_else(|| DicomFault::pixels(JPEG, "the stream has no header"))?;
    agrees(JPEG, (frame.width, frame.height, frame.components), layout)?;
    match frame.process {
        0xC0..=0xC2 | 0xC9 | 0xCA if frame.precision == 8 => lossy(stream, layout),
        0xC0..=0xC2 | 0xC9 | 0xCA => {
            let what = format!("compressed as JPEG of {} bits", frame.precision);
            Err(DicomFault::not_read(what, DECOMPRESS))
        }
        0xC3 => lossless(stream, &frame, layout),
        0xF7 => Err(DicomFault::not_read("compressed as JPEG-LS", DECOMPRESS)),
        _ => Err(DicomFault::not_read("compressed by a rare process of JPEG", DECOMPRESS)),
    }
}

/// By the project's own decoder: the one below `dicom-pixeldata` reads a third of the legal combinations of sampling and scans wrongly.
fn lossy(stream: &[u8], layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    if layout.bits != 8 {
        return Err(DicomFault::element(BITS_STORED, layout.bits, "8, as the JPEG stream has 8"));
    }
    let mut gray = Gray::default();
    let failed = |_| DicomFault::pixels(JPEG, "the stream is cut off or damaged");
    decode_jpeg(stream, Path::new(""), JpegScale::FULL, &mut gray).map_err(failed)?;
    match GrayImage::from(gray).depth() {
        GrayDepth::U8(samples) if samples.len() == layout.width * layout.height => {
            Ok(samples.iter().map(|&sample| sample.into()).collect())
        }
        _ => Err(DicomFault::pixels(JPEG, "the stream has another size")),
    }
}

fn lossless(stream: &[u8], frame: &JpegFrame, layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    if (frame.precision > 8) != (layout.bytes == 2) || u32::from(frame.precision) < 8 {
        let expected = format!("that of samples of {} bits", frame.precision);
        return Err(DicomFault::element(BITS_ALLOCATED, 8 * layout.bytes, expected));
    }
    // The decoder predicts wrongly behind restarts and where lower bits are left out.
    if frame.restarts || frame.point_transform > 0 {
        return Err(DicomFault::not_read("compressed as lossless JPEG with restarts or fewer bits", DECOMPRESS));
    }
    // A sample takes a bit at least: memory is taken for no more.
    if 8 * stream.len() < layout.width * layout.height {
        return Err(DicomFault::pixels(LOSSLESS, "the stream is cut off"));
    }
    by_crate(stream, "1.2.840.10008.1.2.4.70", LOSSLESS, layout)
}

fn jpeg_2000(stream: &[u8], layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    let header = Jpeg2000::of(stream).ok_or_else(|| DicomFault::pixels(JPEG_2000, "the stream has no header"))?;
    agrees(JPEG_2000, (header.width, header.height, header.components), layout)?;
    if header.tiles > 4096 || header.small_precincts {
        return Err(DicomFault::not_read("compressed as JPEG 2000 in very small parts", DECOMPRESS));
    }
    if header.signed != layout.signed {
        let (found, expected) =
            if layout.signed { (1, "0, as in the JPEG 2000 stream") } else { (0, "1, as in the JPEG 2000 stream") };
        return Err(DicomFault::element(PIXEL_REPRESENTATION, found, expected));
    }
    if header.bits > 8 * layout.bytes as u32 {
        let expected = format!("that of samples of {} bits", header.bits);
        return Err(DicomFault::element(BITS_ALLOCATED, 8 * layout.bytes, expected));
    }
    let bytes = layout.width * layout.height * layout.bytes;
    if bytes >= 16 << 20 && stream.len() < bytes / 64 {
        return Err(DicomFault::not_read("compressed more than 64 times as JPEG 2000", DECOMPRESS));
    }
    by_crate(stream, "1.2.840.10008.1.2.4.90", JPEG_2000, layout)
}

/// Refuses a stream of another shape than the elements say.
fn agrees(codec: &'static str, (width, height, components): (usize, usize, usize), layout: &Layout) -> Result<(), DicomFault> {
    let expected = |what: &str| format!("{what}, as in the {codec} stream");
    if components != 1 {
        return Err(DicomFault::element(SAMPLES_PER_PIXEL, 1, expected(&components.to_string())));
    }
    if width != layout.width {
        return Err(DicomFault::element(COLUMNS, layout.width, expected(&width.to_string())));
    }
    if height != layout.height {
        return Err(DicomFault::element(ROWS, layout.height, expected(&height.to_string())));
    }
    Ok(())
}

/// Decodes a stream with `dicom-pixeldata`, in a file that holds nothing but what it needs.
fn by_crate(stream: &[u8], syntax: &'static str, codec: &'static str, layout: &Layout) -> Result<Vec<u16>, DicomFault> {
    let mut elements = Vec::with_capacity(stream.len() + 256);
    let mut short = |tag: u16, vr: &[u8; 2], value: &[u8]| {
        elements.extend([0x28, 0]);
        elements.extend(tag.to_le_bytes());
        elements.extend(vr);
        elements.extend((value.len() as u16).to_le_bytes());
        elements.extend(value);
    };
    let allocated = 8 * layout.bytes as u16;
    short(0x0002, b"US", &1_u16.to_le_bytes());
    short(0x0004, b"CS", b"MONOCHROME2 ");
    short(0x0010, b"US", &(layout.height as u16).to_le_bytes());
    short(0x0011, b"US", &(layout.width as u16).to_le_bytes());
    short(0x0100, b"US", &allocated.to_le_bytes());
    short(0x0101, b"US", &allocated.to_le_bytes());
    short(0x0102, b"US", &(allocated - 1).to_le_bytes());
    short(0x0103, b"US", &0_u16.to_le_bytes());
    elements.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0");
    let even = stream.len().next_multiple_of(2);
    elements.extend((even as u32).to_le_bytes());
    elements.extend(stream);
    elements.resize(elements.len() + even - stream.len(), 0);
    elements.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    let file = with_header(syntax, &elements);
    drop(elements);
    let damaged = || DicomFault::pixels(codec, "the stream is cut off or damaged");
    let object = OpenFileOptions::new().read_preamble(ReadPreamble::Never).from_reader(&file[..]).map_err(|_| damaged())?;
    drop(file);
    let decoded = object.decode_pixel_data_frame(0).map_err(|_| damaged())?;
    let count = layout.width * layout.height;
    if decoded.data().len() != count * layout.bytes {
        return Err(damaged());
    }
    let samples: Vec<u16> = match layout.bytes {
        1 => decoded.data().iter().map(|&sample| sample.into()).collect(),
        _ => decoded.data().as_chunks::<2>().0.iter().map(|&bytes| u16::from_le_bytes(bytes)).collect(),
    };
    let mask = u16::MAX >> (16 - layout.bits);
    // Signed samples may be extended beyond their bits.
    if !layout.signed && samples.iter().any(|sample| *sample > mask) {
        return Err(DicomFault::element(BITS_STORED, layout.bits, format!("more, as the {codec} stream has larger samples")));
    }
    Ok(samples.into_iter().map(|sample| sample & mask).collect())
}
