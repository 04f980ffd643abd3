//! DICOM files: gray radiographs of one frame, by the elements that say how their pixels are read and by no others.

mod attributes;
mod codec;
mod elements;
mod fault;
mod shown;
mod stream;
mod syntax;
#[cfg(test)]
mod testing;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::attributes::{Attributes, Layout, stored};
use self::elements::{Found, PIXEL_DATA};
use self::shown::{Lut, Transform};
use self::syntax::{Codec, Encoding};
use super::decode::check_pixels;
use super::error::ImageFileError;
use crate::image::{GrayImage, MAX_PIXELS};

pub(super) use self::elements::is_dicom;
pub use self::fault::DicomFault;

const EXPORT: &str = "export the radiograph as a DICOM image of one frame, or drop its row";

/// Which values of a DICOM file become gray levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DicomValues {
    /// Those that are stored. White is the largest of `BitsStored`. As torchxrayvision reads them (`utils.read_xray_dcm`).
    #[default]
    Stored,
    /// Those that a viewer shows: after the modality LUT or rescale slope and intercept, the first VOI LUT or else the first window. As
    /// pydicom computes them (`apply_modality_lut`, then `apply_voi_lut`), with black and white at the ends of their range.
    Window,
}

/// A gray radiograph of a DICOM file, as stored.
///
/// In every picture of it, MONOCHROME1 is turned over, so that bones are bright, and padding is black.
pub struct DicomImage {
    layout: Layout,
    /// The bits that count of each sample.
    samples: Vec<u16>,
    transform: Result<Transform, DicomFault>,
}

impl DicomImage {
    /// Decodes the bytes of a file; `path` is only for the error.
    ///
    /// # Errors
    /// [`ImageFileError::Dicom`] names the element that is absent, wrong or not read; [`ImageFileError::TooManyPixels`].
    pub fn decode(file: &[u8], path: &Path) -> Result<Self, ImageFileError> {
        let dicom = |fault| ImageFileError::Dicom { path: path.to_owned(), fault };
        // A decoder that panics on a damaged stream is that file's fault, not the end of the program.
        let decoded = panic::catch_unwind(AssertUnwindSafe(|| Self::read(file, |size| check_pixels(size, path))));
        match decoded {
            Ok(Ok(image)) => Ok(image),
            Ok(Err(Refused::Fault(fault))) => Err(dicom(fault)),
            Ok(Err(Refused::Pixels(error))) => Err(error),
            Err(_) => Err(dicom(DicomFault::pixels("what the file says they are", "the decoder gave up on them"))),
        }
    }

    fn read(file: &[u8], check: impl Fn((usize, usize)) -> Result<(), ImageFileError>) -> Result<Self, Refused> {
        let (syntax, start) = elements::header(file)?;
        let inflated = match syntax.codec {
            Codec::Deflated => Some(elements::inflated(&file[start..])?),
            _ => None,
        };
        let mut found = elements::find(inflated.as_deref().unwrap_or(&file[start..]), syntax.encoding)?;
        let pixels = found.pixels.take().ok_or_else(|| without_pixels(&found))??;
        let attributes = Attributes::read(&found.wanted, syntax.encoding)?;
        let layout = attributes.layout()?;
        check((layout.width, layout.height)).map_err(Refused::Pixels)?;
        let samples = codec::samples(pixels, syntax, &layout)?;
        // Only a picture that is to be shown needs what it says.
        let transform = transform(&attributes, &found, &layout, syntax.encoding);
        Ok(Self { layout, samples, transform })
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.layout.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.layout.height
    }

    /// Whether the lowest value is white: MONOCHROME1.
    #[must_use]
    pub fn is_inverted(&self) -> bool {
        self.layout.inverted
    }

    /// Stored values, row by row: pydicom's `pixel_array`.
    pub fn stored(&self) -> impl ExactSizeIterator<Item = i32> {
        let Layout { bits, signed, .. } = self.layout;
        self.samples.iter().map(move |&sample| stored(sample, bits, signed))
    }

    /// Values after the modality LUT, or after rescale slope and intercept: pydicom's `apply_modality_lut`.
    ///
    /// # Errors
    /// An element that says how values are shown and can't be read.
    pub fn modality(&self) -> Result<Vec<f64>, DicomFault> {
        let transform = self.transform.as_ref().map_err(DicomFault::clone)?;
        Ok(self.stored().map(|value| transform.modality(value.into())).collect())
    }

    /// Modality values after the first VOI LUT, or else the first window: pydicom's `apply_voi_lut`.
    ///
    /// # Errors
    /// As [`modality`](Self::modality).
    pub fn voi(&self) -> Result<Vec<f64>, DicomFault> {
        let transform = self.transform.as_ref().map_err(DicomFault::clone)?;
        Ok(self.stored().map(|value| transform.voi(transform.modality(value.into()))).collect())
    }

    /// The gray levels: 8 bits where 8 are stored. Of more, those of [`DicomValues::Stored`] have `2^BitsStored - 1` as
    /// [`white`](GrayImage::white); those of [`DicomValues::Window`] are spread over 16 bits.
    ///
    /// # Errors
    /// Of [`DicomValues::Window`], as [`modality`](Self::modality).
    pub fn gray(self, values: DicomValues) -> Result<GrayImage, DicomFault> {
        let Layout { width, height, bits, signed, inverted, padding, .. } = self.layout;
        let codes = 1_usize << bits;
        let white = match values {
            DicomValues::Window if bits > 8 => u16::MAX,
            _ => (codes - 1) as u16,
        };
        let transform = match values {
            DicomValues::Stored => None,
            DicomValues::Window => Some(self.transform?),
        };
        // Everything here depends on the value alone.
        let level = |code: usize| {
            let value = stored(code as u16, bits, signed);
            if padding.is_some_and(|(least, most)| (least..=most).contains(&value)) {
                return 0;
            }
            let level = match &transform {
                None if signed => (value + (codes / 2) as i32) as u16,
                None => value as u16,
                Some(transform) => (transform.brightness(value.into()) * f64::from(white)).round() as u16,
            };
            if inverted { white - level } else { level }
        };
        let levels: Vec<u16> = (0..codes).map(level).collect();
        if bits == 8 {
            let samples: Vec<u8> = self.samples.iter().map(|&sample| levels[usize::from(sample)] as u8).collect();
            return Ok(GrayImage::from_u8(width, height, samples));
        }
        let mut samples = self.samples;
        samples.iter_mut().for_each(|sample| *sample = levels[usize::from(*sample)]);
        Ok(GrayImage::from_u16(width, height, samples).with_white(white))
    }
}

/// Decodes the bytes of a file to gray levels.
pub(super) fn decode(file: &[u8], path: &Path, values: DicomValues) -> Result<GrayImage, ImageFileError> {
    let image = DicomImage::decode(file, path)?;
    image.gray(values).map_err(|fault| ImageFileError::Dicom { path: path.to_owned(), fault })
}

/// How many pixels the image of a file has if more than 8 bits are stored, by the beginning of the file.
pub(super) fn deep_pixels(head: &[u8]) -> Option<usize> {
    look(head, |attributes, _| {
        let (width, height) = attributes.size().ok()?;
        let pixels = width.checked_mul(height).filter(|pixels| *pixels <= MAX_PIXELS)?;
        (attributes.bits().ok()? > 8).then_some(pixels)
    })
}

/// Whether a file that begins so says that its values are shown otherwise than they are stored.
pub(super) fn says_how_shown(head: &[u8]) -> bool {
    let has_table = |found: &Found<'_>| found.modality_lut.is_some() || found.voi_lut.is_some();
    look(head, |attributes, found| Some(has_table(found) || attributes.says_how_shown())).unwrap_or(false)
}

/// What the beginning of a file says, if it goes on to the pixels.
fn look<T>(head: &[u8], say: impl Fn(&Attributes, &Found<'_>) -> Option<T>) -> Option<T> {
    let looked = panic::catch_unwind(AssertUnwindSafe(|| {
        let (syntax, start) = elements::header(head).ok().filter(|(syntax, _)| syntax.codec != Codec::Deflated)?;
        let found = elements::find(&head[start..], syntax.encoding).ok()?;
        say(&Attributes::read(&found.wanted, syntax.encoding).ok()?, &found)
    }));
    looked.ok().flatten()
}

enum Refused {
    Fault(DicomFault),
    Pixels(ImageFileError),
}

impl From<DicomFault> for Refused {
    fn from(fault: DicomFault) -> Self {
        Self::Fault(fault)
    }
}

fn without_pixels(found: &Found<'_>) -> DicomFault {
    match (found.document, found.floating) {
        (true, _) => DicomFault::not_read("with an encapsulated document, such as a PDF", EXPORT),
        (_, true) => DicomFault::not_read("whose pixels are numbers with decimals", EXPORT),
        _ => DicomFault::element(
            ("PixelData", PIXEL_DATA),
            "absent, as in reports and presentation states",
            "the pixels of an image",
        ),
    }
}

fn transform(attributes: &Attributes, found: &Found<'_>, layout: &Layout, encoding: Encoding) -> Result<Transform, DicomFault> {
    let shown = attributes.shown()?;
    let lut = |raw: &Option<elements::RawLut<'_>>, signed| {
        raw.as_ref().map(|raw| Lut::read(raw, encoding.big_endian, signed)).transpose()
    };
    let modality = lut(&found.modality_lut, layout.signed)?;
    // What comes out of a modality table has no sign; what slope and intercept make may have one.
    let signed = modality.is_none() && (layout.signed || shown.rescale.is_some_and(|(_, intercept)| intercept < 0.0));
    let voi = lut(&found.voi_lut, signed)?;
    Ok(Transform::new(shown, modality, voi, layout))
}

#[cfg(test)]
mod tests;
