//! Reading image files, to the gray levels that Pillow gives.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use image::error::{DecodingError, ImageFormatHint};
use image::{ImageError, ImageFormat};

use super::error::ImageFileError;
use super::jpeg::{JpegScale, decode_jpeg};
use super::sniff::Kind;
use super::{bmp, dicom, png, sniff};
use crate::AugmentError;
use crate::image::{DicomValues, GrayDepth, GrayImage, Preprocess};

/// Most pixels of an image that is read: Pillow refuses more as a decompression bomb too (`2 * Image.MAX_IMAGE_PIXELS`). The largest
/// detectors have 30 million.
pub const MAX_PIXELS: usize = 178_956_970;

/// Most bytes of a file that is read at once.
const MAX_FILE: u64 = 1 << 30;

/// Most columns or rows of an image that is read.
pub const MAX_IMAGE_SIDE: usize = 1_000_000;

/// A decoded 8-bit colour image, for references that state colour results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbImage {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row-major red, green, blue.
    pub samples: Vec<u8>,
}

impl RgbImage {
    /// Reads a PNG, JPEG, BMP or DICOM file as Pillow's `convert("RGB")` does: alpha is dropped, never blended.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        let mut rgb = Self { width: 0, height: 0, samples: Vec::new() };
        decode(open(path)?, path, Reading::WHOLE, &mut rgb)?;
        Ok(rgb)
    }

    /// The image in gray, as Pillow's `convert("L")`.
    #[must_use]
    pub fn to_gray(&self) -> GrayImage {
        let gray = |&[r, g, b]: &[u8; 3]| luma([r, g, b].map(u32::from)) as u8;
        GrayImage::from_u8(self.width, self.height, self.samples.as_chunks::<3>().0.iter().map(gray).collect::<Vec<_>>())
    }
}

impl GrayImage {
    /// Reads a PNG, JPEG, BMP or DICOM file, 8 or 16 bits per sample; of DICOM the values that are stored.
    ///
    /// 16-bit files stay 16-bit; colour becomes luma, see [`GrayImage::decode`].
    ///
    /// # Errors
    /// [`AugmentError::Io`], [`ImageFileError::Decode`], [`ImageFileError::Jpeg`], [`ImageFileError::TruncatedJpeg`],
    /// [`ImageFileError::Dicom`], [`ImageFileError::NotReadFormat`] or [`ImageFileError::TooManyPixels`], each with the path.
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        Self::read(open(path)?, path, Reading::WHOLE)
    }

    /// As [`open`](Self::open), but a JPEG file may come at 1/2, 1/4 or 1/8 of its size, as long as `enough(width, height)` holds of what
    /// comes: libjpeg makes the smaller image from the coefficients, with other pixels than a resampling.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn open_scaled(path: &Path, enough: &dyn Fn(usize, usize) -> bool) -> Result<Self, AugmentError> {
        Self::read(open(path)?, path, Reading { scale: JpegScale(enough), ..Reading::WHOLE })
    }

    /// As [`open`](Self::open), as `preprocess` reads files: with its values of DICOM, and JPEG smaller if it says so.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn open_for(path: &Path, preprocess: &Preprocess) -> Result<Self, AugmentError> {
        Self::read_for(open(path)?, path, preprocess)
    }

    /// As [`open_for`](Self::open_for) of the bytes of a file; `path` is only for the error.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn decode_for(bytes: &[u8], path: &Path, preprocess: &Preprocess) -> Result<Self, AugmentError> {
        Self::read_for(Cursor::new(bytes), path, preprocess)
    }

    fn read_for(file: impl BufRead + Seek, path: &Path, preprocess: &Preprocess) -> Result<Self, AugmentError> {
        let enough = |width, height| preprocess.jpeg_scale && preprocess.shrinks(width, height);
        Self::read(file, path, Reading { scale: JpegScale(&enough), dicom: preprocess.dicom_values() })
    }

    /// Decodes the bytes of a PNG, JPEG, BMP or DICOM file; `path` is only for the error.
    ///
    /// Colour becomes `(19595 R + 38470 G + 7471 B + 32768) >> 16` (Pillow's `convert("L")`, ITU-R 601-2 luma); alpha is
    /// dropped, not blended.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self, AugmentError> {
        Self::read(Cursor::new(bytes), path, Reading::WHOLE)
    }

    fn read(file: impl BufRead + Seek, path: &Path, reading: Reading<'_>) -> Result<Self, AugmentError> {
        let mut gray = Gray::default();
        decode(file, path, reading, &mut gray)?;
        Ok(gray.into())
    }
}

impl From<Gray> for GrayImage {
    fn from(gray: Gray) -> Self {
        match gray.whole {
            Some(image) => image,
            None if gray.deep => Self::from_u16(gray.width, gray.height, gray.words),
            None => Self::from_u8(gray.width, gray.height, gray.bytes),
        }
    }
}

/// How files are read where there is a choice.
#[derive(Clone, Copy)]
struct Reading<'a> {
    scale: JpegScale<'a>,
    dicom: DicomValues,
}

impl Reading<'_> {
    /// JPEG at its own size, DICOM as stored.
    const WHOLE: Reading<'static> = Reading { scale: JpegScale::FULL, dicom: DicomValues::Stored };
}

fn open(path: &Path) -> Result<BufReader<File>, AugmentError> {
    let file = File::open(path).map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// Where decoders put pixels: first the size, then rows from the top, any number at a time.
pub(super) trait Target {
    /// Makes room for an image of `size`, with 16 bits per sample if `deep`.
    fn begin(&mut self, size: (usize, usize), deep: bool);

    /// Rows of gray levels.
    fn gray(&mut self, samples: &[u8]);

    /// Rows of gray levels of 16 bits, big-endian.
    fn gray16(&mut self, samples: &[u8]);

    /// Rows of red, green and blue, or of these and something that doesn't count, in `channels` bytes.
    fn rgb(&mut self, samples: &[u8], channels: usize);

    /// As [`rgb`](Self::rgb) with samples of 16 bits, big-endian; `channels` counts samples.
    fn rgb16(&mut self, samples: &[u8], channels: usize);

    /// All of a gray image at once, instead of size and rows.
    fn whole(&mut self, image: GrayImage);
}

/// A gray image in the making, in the memory that it will have.
#[derive(Default)]
pub(super) struct Gray {
    width: usize,
    height: usize,
    deep: bool,
    bytes: Arc<[u8]>,
    words: Arc<[u16]>,
    /// Samples that are there.
    filled: usize,
    whole: Option<GrayImage>,
}

impl Gray {
    fn put(&mut self, samples: impl ExactSizeIterator<Item = u8>) {
        let count = samples.len();
        let bytes = Arc::get_mut(&mut self.bytes).expect("nobody else has it yet");
        bytes[self.filled..][..count].iter_mut().zip(samples).for_each(|(to, from)| *to = from);
        self.filled += count;
    }

    fn put16(&mut self, samples: impl ExactSizeIterator<Item = u16>) {
        let count = samples.len();
        let words = Arc::get_mut(&mut self.words).expect("nobody else has it yet");
        words[self.filled..][..count].iter_mut().zip(samples).for_each(|(to, from)| *to = from);
        self.filled += count;
    }
}

impl Target for Gray {
    fn begin(&mut self, size: (usize, usize), deep: bool) {
        (self.width, self.height) = size;
        self.deep = deep;
        let samples = self.width * self.height;
        match deep {
            false => self.bytes = std::iter::repeat_n(0, samples).collect(),
            true => self.words = std::iter::repeat_n(0, samples).collect(),
        }
    }

    fn gray(&mut self, samples: &[u8]) {
        let bytes = Arc::get_mut(&mut self.bytes).expect("nobody else has it yet");
        bytes[self.filled..][..samples.len()].copy_from_slice(samples);
        self.filled += samples.len();
    }

    fn gray16(&mut self, samples: &[u8]) {
        self.put16(samples.as_chunks::<2>().0.iter().map(|&sample| u16::from_be_bytes(sample)));
    }

    fn rgb(&mut self, samples: &[u8], channels: usize) {
        match channels {
            3 => self.put(samples.as_chunks::<3>().0.iter().map(|&[r, g, b]| luma([r, g, b].map(u32::from)) as u8)),
            _ => {
                self.put(samples.chunks_exact(channels).map(|pixel| luma([pixel[0], pixel[1], pixel[2]].map(u32::from)) as u8))
            }
        }
    }

    fn rgb16(&mut self, samples: &[u8], channels: usize) {
        let sample = |pixel: &[u8], at: usize| u32::from(u16::from_be_bytes([pixel[2 * at], pixel[2 * at + 1]]));
        let pixels = samples.chunks_exact(2 * channels);
        self.put16(pixels.map(|pixel| luma([0, 1, 2].map(|at| sample(pixel, at))) as u16));
    }

    fn whole(&mut self, image: GrayImage) {
        self.whole = Some(image);
    }
}

impl Target for RgbImage {
    fn begin(&mut self, size: (usize, usize), _: bool) {
        (self.width, self.height) = size;
    }

    fn gray(&mut self, samples: &[u8]) {
        self.samples.extend(samples.iter().flat_map(|&level| [level; 3]));
    }

    fn gray16(&mut self, samples: &[u8]) {
        self.samples.extend(samples.chunks_exact(2).flat_map(|sample| [sample[0]; 3]));
    }

    fn rgb(&mut self, samples: &[u8], channels: usize) {
        self.samples.extend(samples.chunks_exact(channels).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]));
    }

    fn rgb16(&mut self, samples: &[u8], channels: usize) {
        self.samples.extend(samples.chunks_exact(2 * channels).flat_map(|pixel| [pixel[0], pixel[2], pixel[4]]));
    }

    fn whole(&mut self, image: GrayImage) {
        self.begin((image.width(), image.height()), false);
        let eight = |level: u16| (u32::from(level) * 255 / u32::from(image.white())).min(255) as u8;
        match image.depth() {
            GrayDepth::U8(samples) => self.gray(samples),
            GrayDepth::U16(samples) => self.samples.extend(samples.iter().flat_map(|&level| [eight(level); 3])),
        }
    }
}

/// ITU-R 601-2 luma in Pillow's 16-bit fixed point (`L24` in its `Convert.c`). The weights' sum is 2^16, so samples of 16 bits fit too.
#[inline(always)]
fn luma([r, g, b]: [u32; 3]) -> u32 {
    (19595 * r + 38470 * g + 7471 * b + 32768) >> 16
}

fn decode(
    mut file: impl BufRead + Seek,
    path: &Path,
    reading: Reading<'_>,
    target: &mut impl Target,
) -> Result<(), AugmentError> {
    let failed = |hint, cause: Box<dyn std::error::Error + Send + Sync>| ImageFileError::Decode {
        path: path.to_owned(),
        source: ImageError::Decoding(DecodingError::new(hint, cause)),
    };
    let unread = |source| AugmentError::Io { action: "read", path: path.to_owned(), source };
    let kind = match sniff::format_of(file.fill_buf().map_err(unread)?) {
        Ok(kind) => kind,
        Err(kind) => return Err(ImageFileError::NotReadFormat { path: path.to_owned(), kind }.into()),
    };
    let check = |size: (usize, usize)| check_pixels(size, path);
    // A decoder that panics on a damaged file is that file's fault, not the end of the program.
    let (decoded, format) = match kind {
        Kind::Jpeg => return Ok(decode_jpeg(&whole(&mut file).map_err(unread)?, path, reading.scale, target)?),
        Kind::Dicom => {
            target.whole(dicom::decode(&whole(&mut file).map_err(unread)?, path, reading.dicom)?);
            return Ok(());
        }
        Kind::Png => (panic::catch_unwind(AssertUnwindSafe(|| png::decode(file, check, target))), ImageFormat::Png),
        Kind::Bmp => (panic::catch_unwind(AssertUnwindSafe(|| bmp::decode(file, check, target))), ImageFormat::Bmp),
    };
    match decoded {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Fault::Pixels(error))) => Err(error.into()),
        Ok(Err(Fault::File(cause))) => Err(failed(ImageFormatHint::Exact(format), cause).into()),
        Err(_) => Err(failed(ImageFormatHint::Unknown, "the decoder gave up on it".into()).into()),
    }
}

/// Bytes at the beginning of a file in which its size is looked for: all before the pixels, in most DICOM files.
pub(crate) const HEAD: usize = 1 << 16;

/// How many pixels the image at `path` has if it has more than 8 bits per sample, by its header; PNG and DICOM files may.
pub(super) fn deep_pixels(path: &Path) -> Option<usize> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    deep_pixels_of(&head)
}

/// As [`deep_pixels`] of a file that begins so.
pub(crate) fn deep_pixels_of(head: &[u8]) -> Option<usize> {
    match sniff::format_of(head) {
        Ok(Kind::Png) if head.get(12..16) == Some(b"IHDR") && head.get(24) == Some(&16) => {
            let side = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
            side(16).checked_mul(side(20))
        }
        Ok(Kind::Dicom) => dicom::deep_pixels(head),
        _ => None,
    }
}

/// Whether the file at `path` is DICOM and says that its values are shown otherwise than they are stored.
pub(super) fn says_how_shown(path: &Path) -> bool {
    let mut head = Vec::new();
    let file = File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    file.is_ok() && says_how_shown_of(&head)
}

/// As [`says_how_shown`] of a file that begins so.
pub(crate) fn says_how_shown_of(head: &[u8]) -> bool {
    sniff::format_of(head) == Ok(Kind::Dicom) && dicom::says_how_shown(head)
}

fn whole(file: &mut (impl BufRead + Seek)) -> io::Result<Vec<u8>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    if length > MAX_FILE {
        return Err(io::Error::other(format!("{length} bytes; the largest image that is read has fewer than {MAX_FILE}")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a file gives no image.
pub(super) enum Fault {
    /// It is larger than any that is read.
    Pixels(ImageFileError),
    /// Something in it is wrong.
    File(Box<dyn std::error::Error + Send + Sync>),
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Fault {
    fn from(cause: E) -> Self {
        Self::File(cause.into())
    }
}

/// Refuses an image that is larger than any that is read, before memory is taken for it.
pub(super) fn check_pixels((width, height): (usize, usize), path: &Path) -> Result<(), ImageFileError> {
    let fits = width.checked_mul(height).is_some_and(|pixels| pixels <= MAX_PIXELS) && width.max(height) <= MAX_IMAGE_SIDE;
    if fits { Ok(()) } else { Err(ImageFileError::TooManyPixels { path: path.to_owned(), width, height }) }
}

#[cfg(test)]
mod tests;
