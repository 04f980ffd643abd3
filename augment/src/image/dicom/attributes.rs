//! What the elements of a file say of its pixels.

use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, OpenFileOptions, Tag};

use super::fault::DicomFault;
use super::syntax::Encoding;

type Named = (&'static str, (u16, u16));

pub(super) const SAMPLES_PER_PIXEL: Named = ("SamplesPerPixel", (0x0028, 0x0002));
const PHOTOMETRIC: Named = ("PhotometricInterpretation", (0x0028, 0x0004));
const FRAMES: Named = ("NumberOfFrames", (0x0028, 0x0008));
pub(super) const ROWS: Named = ("Rows", (0x0028, 0x0010));
pub(super) const COLUMNS: Named = ("Columns", (0x0028, 0x0011));
pub(super) const BITS_ALLOCATED: Named = ("BitsAllocated", (0x0028, 0x0100));
pub(super) const BITS_STORED: Named = ("BitsStored", (0x0028, 0x0101));
const HIGH_BIT: Named = ("HighBit", (0x0028, 0x0102));
pub(super) const PIXEL_REPRESENTATION: Named = ("PixelRepresentation", (0x0028, 0x0103));
const PADDING: Named = ("PixelPaddingValue", (0x0028, 0x0120));
const PADDING_LIMIT: Named = ("PixelPaddingRangeLimit", (0x0028, 0x0121));
const WINDOW_CENTER: Named = ("WindowCenter", (0x0028, 0x1050));
const WINDOW_WIDTH: Named = ("WindowWidth", (0x0028, 0x1051));
const INTERCEPT: Named = ("RescaleIntercept", (0x0028, 0x1052));
const SLOPE: Named = ("RescaleSlope", (0x0028, 0x1053));
const VOI_FUNCTION: Named = ("VOILUTFunction", (0x0028, 0x1056));

const EXPORT: &str = "export the radiograph as a gray DICOM image of one frame, or drop its row";

/// The shape and depth of the pixels, in ranges that are read.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Bytes of a sample: 1 or 2.
    pub(super) bytes: usize,
    /// Bits of a sample that count: 8 to 16, at most those of its bytes.
    pub(super) bits: u32,
    /// Bits below them.
    pub(super) shift: u32,
    pub(super) signed: bool,
    /// Whether 0 is white.
    pub(super) inverted: bool,
    /// Samples that are no part of the radiograph, both ends included, as they are stored.
    pub(super) padding: Option<(i32, i32)>,
}

/// How stored values become what a viewer shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown {
    /// Slope and intercept.
    pub(super) rescale: Option<(f64, f64)>,
    pub(super) window: Option<Window>,
}

/// The first window of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) center: f64,
    pub(super) width: f64,
    pub(super) function: WindowFunction,
}

/// The curve of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WindowFunction {
    Linear,
    LinearExact,
    Sigmoid,
}

/// The elements of a file that are read.
pub(super) struct Attributes(DefaultDicomObject);

impl Attributes {
    /// Reads elements that are written one after the other.
    pub(super) fn read(elements: &[u8], encoding: Encoding) -> Result<Self, DicomFault> {
        let file = with_header(encoding.uid(), elements);
        // What the crate says of a fault may quote the file.
        let damaged =
            |_| DicomFault::element(("an element of the group", (0x0028, 0x0000)), "damaged", "what the standard says");
        let object = OpenFileOptions::new().read_preamble(ReadPreamble::Never).from_reader(&file[..]).map_err(damaged)?;
        Ok(Self(object))
    }

    fn number(&self, named: Named) -> Result<Option<i64>, DicomFault> {
        let Some(element) = self.0.get(Tag(named.1.0, named.1.1)) else { return Ok(None) };
        if element.to_str().is_ok_and(|text| text.trim_matches([' ', '\0']).is_empty()) {
            return Ok(None);
        }
        element.to_int().map(Some).map_err(|_| DicomFault::element(named, "no whole number", "one"))
    }

    fn wanted(&self, named: Named) -> Result<i64, DicomFault> {
        self.number(named)?.ok_or_else(|| DicomFault::element(named, "absent", "a whole number"))
    }

    fn numbers(&self, named: Named) -> Result<Option<Vec<f64>>, DicomFault> {
        let Some(element) = self.0.get(Tag(named.1.0, named.1.1)) else { return Ok(None) };
        if element.to_str().is_ok_and(|text| text.trim_matches([' ', '\0']).is_empty()) {
            return Ok(None);
        }
        let numbers = element.to_multi_float64().ok().filter(|numbers| numbers.iter().all(|number| number.is_finite()));
        numbers.map(Some).ok_or_else(|| DicomFault::element(named, "no number", "numbers"))
    }

    fn first(&self, named: Named) -> Result<Option<f64>, DicomFault> {
        Ok(self.numbers(named)?.and_then(|numbers| numbers.first().copied()))
    }

    fn word(&self, named: Named) -> Option<String> {
        let text = self.0.get(Tag(named.1.0, named.1.1))?.to_str().ok()?;
        Some(text.split('\\').next()?.trim_matches([' ', '\0']).to_ascii_uppercase()).filter(|word| !word.is_empty())
    }

    /// The size of the image alone: columns and rows.
    pub(super) fn size(&self) -> Result<(usize, usize), DicomFault> {
        let side = |named| {
            let side = self.wanted(named)?;
            let found = usize::try_from(side).ok().filter(|side| *side > 0 && *side <= usize::from(u16::MAX));
            found.ok_or_else(|| DicomFault::element(named, side, "1 to 65535"))
        };
        Ok((side(COLUMNS)?, side(ROWS)?))
    }

    /// Bits of a sample that count.
    pub(super) fn bits(&self) -> Result<u32, DicomFault> {
        let bits = self.wanted(BITS_STORED)?;
        u32::try_from(bits)
            .ok()
            .filter(|bits| (8..=16).contains(bits))
            .ok_or_else(|| DicomFault::element(BITS_STORED, bits, "8 to 16"))
    }

    /// How the pixels lie.
    pub(super) fn layout(&self) -> Result<Layout, DicomFault> {
        let frames = self.number(FRAMES)?.unwrap_or(1);
        if frames > 1 {
            return Err(DicomFault::not_read(format!("of {frames} frames"), EXPORT));
        }
        let inverted = match self.word(PHOTOMETRIC).as_deref() {
            Some("MONOCHROME1") => true,
            Some("MONOCHROME2") => false,
            Some(
                colour @ ("RGB" | "PALETTE COLOR" | "YBR_FULL" | "YBR_FULL_422" | "YBR_PARTIAL_420" | "YBR_ICT" | "YBR_RCT"),
            ) => {
                return Err(DicomFault::not_read(format!("in colour ({colour})"), EXPORT));
            }
            Some(_) => return Err(DicomFault::element(PHOTOMETRIC, "another", "MONOCHROME1 or MONOCHROME2")),
            None => return Err(DicomFault::element(PHOTOMETRIC, "absent", "MONOCHROME1 or MONOCHROME2")),
        };
        let samples = self.number(SAMPLES_PER_PIXEL)?.unwrap_or(1);
        if samples != 1 {
            return Err(DicomFault::element(SAMPLES_PER_PIXEL, samples, "1, as the image is gray"));
        }
        let (width, height) = self.size()?;
        let allocated = self.wanted(BITS_ALLOCATED)?;
        let bits = self.bits()?;
        let bytes = match allocated {
            8 if bits == 8 => 1,
            16 => 2,
            8 => return Err(DicomFault::element(BITS_STORED, bits, "8, as BitsAllocated (0028,0100) is 8")),
            other => return Err(DicomFault::element(BITS_ALLOCATED, other, "8 or 16")),
        };
        let high = self.number(HIGH_BIT)?.unwrap_or(i64::from(bits) - 1);
        let shift = u32::try_from(high + 1 - i64::from(bits)).ok().filter(|shift| shift + bits <= 8 * bytes as u32);
        let Some(shift) = shift else {
            return Err(DicomFault::element(HIGH_BIT, high, format!("{} to {}", bits - 1, 8 * bytes - 1)));
        };
        let signed = match self.number(PIXEL_REPRESENTATION)?.unwrap_or(0) {
            0 => false,
            1 => true,
            other => return Err(DicomFault::element(PIXEL_REPRESENTATION, other, "0 or 1")),
        };
        // The type of these is said by the representation of the pixels; their bits are the same.
        let stored = |value: i64| stored(value as u16, bits, signed);
        let padding = self.number(PADDING)?.map(stored);
        let limit = self.number(PADDING_LIMIT)?.map(stored);
        let padding = padding.map(|value| (value.min(limit.unwrap_or(value)), value.max(limit.unwrap_or(value))));
        Ok(Layout { width, height, bytes, bits, shift, signed, inverted, padding })
    }

    /// How stored values are to be shown.
    pub(super) fn shown(&self) -> Result<Shown, DicomFault> {
        // As in pydicom: both, or none.
        let rescale = self.first(SLOPE)?.zip(self.first(INTERCEPT)?);
        if rescale.is_some_and(|(slope, _)| slope == 0.0) {
            return Err(DicomFault::element(SLOPE, 0, "another number"));
        }
        let center = self.first(WINDOW_CENTER)?;
        let width = self.first(WINDOW_WIDTH)?;
        let function = match self.word(VOI_FUNCTION).as_deref() {
            None | Some("LINEAR") => WindowFunction::Linear,
            Some("LINEAR_EXACT") => WindowFunction::LinearExact,
            Some("SIGMOID") => WindowFunction::Sigmoid,
            Some(_) => return Err(DicomFault::element(VOI_FUNCTION, "another", "LINEAR, LINEAR_EXACT or SIGMOID")),
        };
        let window = match (center, width) {
            (Some(center), Some(width)) => {
                let (fits, expected) = match function {
                    WindowFunction::Linear => (width >= 1.0, "at least 1"),
                    _ => (width > 0.0, "more than 0"),
                };
                if !fits {
                    return Err(DicomFault::element(WINDOW_WIDTH, width, expected));
                }
                Some(Window { center, width, function })
            }
            (None, None) => None,
            (Some(_), None) => return Err(DicomFault::element(WINDOW_WIDTH, "absent", "a number, as there is a WindowCenter")),
            (None, Some(_)) => return Err(DicomFault::element(WINDOW_CENTER, "absent", "a number, as there is a WindowWidth")),
        };
        Ok(Shown { rescale, window })
    }

    /// Whether the file says that its values are shown otherwise than they are stored.
    pub(super) fn says_how_shown(&self) -> bool {
        self.shown().is_ok_and(|shown| shown.window.is_some() || shown.rescale.is_some_and(|rescale| rescale != (1.0, 0.0)))
    }
}

/// The value that the lower `bits` of a sample are.
pub(super) fn stored(sample: u16, bits: u32, signed: bool) -> i32 {
    let value = i32::from(sample & (u16::MAX >> (16 - bits)));
    if signed && value >> (bits - 1) == 1 { value - (1 << bits) } else { value }
}

/// A file of elements that are written as the transfer syntax says, without a preamble.
pub(super) fn with_header(syntax: &'static str, elements: &[u8]) -> Vec<u8> {
    let header = FileMetaTableBuilder::new().transfer_syntax(syntax);
    // Neither is an identifier of anything.
    let header = header.media_storage_sop_class_uid("1.2").media_storage_sop_instance_uid("1.2").build();
    let mut file = b"DICM".to_vec();
    header.and_then(|header| header.write(&mut file)).expect("memory takes a header with a transfer syntax");
    file.extend_from_slice(elements);
    file
}
