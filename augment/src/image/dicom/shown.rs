//! From stored values to what a viewer shows: PS3.3 C.11.1 (modality LUT) and C.11.2 (values of interest), by pydicom's arithmetic
//! (`pixels/processing.py`, pydicom 3.0.2).

use super::attributes::{Layout, Shown, Window, WindowFunction};
use super::elements::{LUT_DATA, LUT_DESCRIPTOR, RawLut};
use super::fault::DicomFault;

/// A look-up table.
#[derive(Clone, Debug)]
pub(super) struct Lut {
    /// The value that the first entry is of.
    first: i64,
    bits: u32,
    entries: Vec<u16>,
}

impl Lut {
    /// Reads a table; `signed` says whether its first value is, where its element doesn't.
    pub(super) fn read(raw: &RawLut<'_>, big_endian: bool, signed: bool) -> Result<Self, DicomFault> {
        let word = |bytes: &[u8; 2]| if big_endian { u16::from_be_bytes(*bytes) } else { u16::from_le_bytes(*bytes) };
        let bad = |name, tag, found: String, expected: &'static str| Err(DicomFault::element((name, tag), found, expected));
        let &[count, first, bits] = raw.descriptor.as_chunks::<2>().0 else {
            return bad("LUTDescriptor", LUT_DESCRIPTOR, format!("{} bytes", raw.descriptor.len()), "three numbers");
        };
        let count = match word(&count) {
            0 => 1 << 16,
            count => usize::from(count),
        };
        let first = if signed { i64::from(word(&first).cast_signed()) } else { i64::from(word(&first)) };
        let bits = u32::from(word(&bits));
        if !(8..=16).contains(&bits) {
            return bad("LUTDescriptor", LUT_DESCRIPTOR, format!("of {bits} bits"), "8 to 16 bits");
        }
        let entries: Vec<u16> = match raw.data.len() {
            length if length >= 2 * count => raw.data.as_chunks::<2>().0.iter().take(count).map(word).collect(),
            // Entries of 8 bits may be packed.
            length if bits == 8 && length >= count => raw.data[..count].iter().map(|&entry| entry.into()).collect(),
            length => return bad("LUTData", LUT_DATA, format!("{length} bytes"), "two for every entry"),
        };
        Ok(Self { first, bits, entries })
    }

    fn of(&self, value: f64) -> f64 {
        let at = (value - self.first as f64).clamp(0.0, (self.entries.len() - 1) as f64);
        self.entries[at as usize].into()
    }

    /// The values that entries can have.
    fn range(&self) -> (f64, f64) {
        (0.0, f64::from((1_u32 << self.bits) - 1))
    }
}

/// What becomes of a stored value.
pub(super) struct Transform {
    shown: Shown,
    modality: Option<Lut>,
    voi: Option<Lut>,
    /// The range of modality values: those of the least and of the largest stored value, or of the table's entries.
    range: (f64, f64),
}

impl Transform {
    pub(super) fn new(shown: Shown, modality: Option<Lut>, voi: Option<Lut>, layout: &Layout) -> Self {
        let all = 1_i64 << layout.bits;
        let least = if layout.signed { -all / 2 } else { 0 };
        let stored = (least as f64, (least + all - 1) as f64);
        let (low, high) = modality.as_ref().map_or(stored, Lut::range);
        let (slope, intercept) = shown.rescale.unwrap_or((1.0, 0.0));
        // pydicom rescales the range of a table too; a file has one or the other.
        let range = (low * slope + intercept, high * slope + intercept);
        Self { shown, modality, voi, range }
    }

    /// pydicom's `apply_modality_lut`: the table, or slope and intercept.
    pub(super) fn modality(&self, stored: f64) -> f64 {
        match (&self.modality, self.shown.rescale) {
            (Some(lut), _) => lut.of(stored),
            (None, Some((slope, intercept))) => stored * slope + intercept,
            (None, None) => stored,
        }
    }

    /// pydicom's `apply_voi_lut` of a modality value: the table, or else the window.
    pub(super) fn voi(&self, value: f64) -> f64 {
        match (&self.voi, self.shown.window) {
            (Some(lut), _) => lut.of(value),
            (None, Some(window)) => windowed(value, window, self.range),
            (None, None) => value,
        }
    }

    /// How bright a stored value is shown: 0 to 1.
    pub(super) fn brightness(&self, stored: f64) -> f64 {
        let (black, white) = match (&self.voi, self.shown.window) {
            (Some(lut), _) => lut.range(),
            (None, Some(_)) => self.range,
            // Without a window a negative slope turns the values round, and with them what is bright.
            (None, None) => (self.range.0.min(self.range.1), self.range.0.max(self.range.1)),
        };
        ((self.voi(self.modality(stored)) - black) / (white - black)).clamp(0.0, 1.0)
    }
}

fn windowed(value: f64, Window { center, width, function }: Window, (black, white): (f64, f64)) -> f64 {
    let span = white - black;
    let (center, width) = match function {
        WindowFunction::Linear => (center - 0.5, width - 1.0),
        WindowFunction::LinearExact => (center, width),
        WindowFunction::Sigmoid => return span / (1.0 + (-4.0 * (value - center) / width).exp()) + black,
    };
    if value <= center - width / 2.0 {
        black
    } else if value > center + width / 2.0 {
        white
    } else {
        ((value - center) / width + 0.5) * span + black
    }
}
