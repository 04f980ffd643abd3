//! JPEG files, to the pixels of libjpeg-turbo, which are those of Pillow and torchvision.
//!
//! The decoder is mozjpeg's, a fork of libjpeg-turbo with the same decoding. What counts as whole is Pillow's rule: the rows of the first
//! image must all be there; bytes after its end are ignored; a second start of image inside it is an error.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use mozjpeg::{ColorSpace, Decompress};

use super::decode::{Target, check_pixels};
use super::error::ImageFileError;

/// How many rows are decoded at a time: enough to hide the cost of a call, few enough to stay in the cache.
const ROWS: usize = 16;

/// Whether a JPEG file may come smaller: if what comes is enough.
#[derive(Clone, Copy)]
pub(super) struct JpegScale<'a>(pub(super) &'a dyn Fn(usize, usize) -> bool);

impl JpegScale<'_> {
    /// Every file at its own size.
    pub(super) const FULL: JpegScale<'static> = JpegScale(&|_, _| false);

    /// Eighths of the size that are decoded. libjpeg rounds up.
    fn eighths(self, (width, height): (usize, usize)) -> u8 {
        let enough = |eighths: &u8| {
            let scaled = |side: usize| (side * usize::from(*eighths)).div_ceil(8);
            (self.0)(scaled(width), scaled(height))
        };
        [1, 2, 4].into_iter().find(enough).unwrap_or(8)
    }
}

/// Decodes the bytes of a JPEG file into `target`; `path` is only for the error.
///
/// One component gives gray, three give RGB, four give RGB by Pillow's formula for inverted CMYK (`cmyk2rgb` in its `Convert.c`).
///
/// # Errors
/// [`ImageFileError::TruncatedJpeg`] where the file ends before its last row, [`ImageFileError::TooManyPixels`], and [`ImageFileError::Jpeg`] for
/// everything else that libjpeg refuses.
pub(super) fn decode_jpeg(
    bytes: &[u8],
    path: &Path,
    scale: JpegScale<'_>,
    target: &mut impl Target,
) -> Result<(), ImageFileError> {
    let ended = Cell::new(false);
    // The crate turns libjpeg's fatal errors into unwinding, which ends here.
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode(WholeFile { bytes, ended: &ended }, path, scale, target)));
    let message = match decoded {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(JpegFault::Pixels(error))) => return Err(error),
        Ok(Err(JpegFault::File(error))) => error.to_string(),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => text.trim_start_matches("libjpeg fatal error: ").to_owned(),
            Err(_) => "the decoder gave up".to_owned(),
        },
    };
    if message.starts_with("Unsupported JPEG") {
        return Err(ImageFileError::NotReadFormat {
            path: path.to_owned(),
            kind: "a lossless JPEG file, or one of 12 or 16 bits",
        });
    }
    if ended.get() {
        return Err(ImageFileError::TruncatedJpeg { path: path.to_owned() });
    }
    Err(ImageFileError::Jpeg { path: path.to_owned(), message })
}

/// Why a file gives no image.
enum JpegFault {
    Pixels(ImageFileError),
    File(io::Error),
}

impl From<io::Error> for JpegFault {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

fn decode(file: WholeFile<'_>, path: &Path, scale: JpegScale<'_>, target: &mut impl Target) -> Result<(), JpegFault> {
    let ended = file.ended;
    let mut header = Decompress::new_reader(file)?;
    check_pixels(header.size(), path).map_err(JpegFault::Pixels)?;
    header.scale(scale.eighths(header.size()));
    let components = header.components().len();
    let (mut rows, channels) = match components {
        1 => (header.grayscale()?, 1),
        3 => (header.rgb()?, 3),
        4 => (header.to_colorspace(ColorSpace::JCS_CMYK)?, 4),
        n => return Err(io::Error::other(format!("{n} components; 1 (gray), 3 (colour) or 4 (CMYK) can be read")).into()),
    };
    let (width, height) = (rows.width(), rows.height());
    target.begin((width, height), false);
    let mut band = vec![0; ROWS * width * channels];
    let mut left = height;
    while left > 0 {
        let count = left.min(ROWS);
        let made = rows.read_scanlines_into::<u8>(&mut band[..count * width * channels])?;
        match channels {
            1 => target.gray(made),
            3 => target.rgb(made, 3),
            _ => {
                for ink in made.as_chunks_mut::<4>().0 {
                    let [r, g, b] = rgb_of_inverted_cmyk(*ink);
                    *ink = [r, g, b, 0];
                }
                target.rgb(made, 4);
            }
        }
        left -= count;
    }
    // All rows are there. What libjpeg still reads is the end of the image, which Pillow does not insist on; an error before the
    // file's end it does report.
    match panic::catch_unwind(AssertUnwindSafe(|| rows.finish())) {
        Err(payload) if !ended.get() => panic::resume_unwind(payload),
        _ => Ok(()),
    }
}

/// Pillow reads four components as Adobe writes them, inverted (`CMYK;I`), and converts by `cmyk2rgb`.
fn rgb_of_inverted_cmyk([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    // (255 - ink) is Pillow's ink, so its `255 - black` is this file's k.
    [c, m, y].map(|ink| k - rounded_product(255 - ink, k))
}

/// Pillow's `MULDIV255`: `a * b / 255`, rounded, for bytes.
fn rounded_product(a: u8, b: u8) -> u8 {
    let product = u32::from(a) * u32::from(b) + 128;
    (((product >> 8) + product) >> 8) as u8
}

/// The bytes of a file, which says when more of them were asked for than there are: libjpeg would make up an end.
struct WholeFile<'a> {
    bytes: &'a [u8],
    ended: &'a Cell<bool>,
}

impl Read for WholeFile<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }
}

impl BufRead for WholeFile<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() {
            self.ended.set(true);
            return Err(io::Error::other("the file ends too early"));
        }
        Ok(self.bytes)
    }

    fn consume(&mut self, amount: usize) {
        self.bytes = &self.bytes[amount..];
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::fixtures;
    use super::*;
    use crate::AugmentError;
    use crate::image::{GrayDepth, GrayImage};

    fn gray(bytes: &[u8]) -> Result<Vec<u8>, AugmentError> {
        let image = GrayImage::decode(bytes, Path::new("a.jpg"))?;
        assert_eq!((image.width(), image.height()), (45, 37));
        match image.depth() {
            GrayDepth::U8(levels) => Ok(levels.to_vec()),
            GrayDepth::U16(_) => unreachable!("JPEG has 8 bits"),
        }
    }

    #[test]
    fn every_sampling_and_scan_has_pillows_pixels() {
        let files = fixtures("jpeg.zip");
        let jpegs: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(".jpg")).collect();
        assert_eq!(jpegs.len(), 97);
        for (name, bytes) in jpegs {
            let ours = gray(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let pillows = &files[&name.replace(".jpg", ".gray")];
            let furthest = ours.iter().zip(pillows).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            // Pillow 13.0.0 brings libjpeg-turbo 3.2.0; its decoding is integer arithmetic throughout, so one level is for versions.
            assert!(ours.len() == pillows.len() && furthest <= 1, "{name}: {furthest} levels off");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_named_as_cut() {
        let files = fixtures("jpeg.zip");
        for name in ["420-interleaved.jpg", "420-separate.jpg", "444-progressive.jpg", "gray.jpg", "cmyk.jpg"] {
            let whole = &files[name];
            for cut in (3..whole.len() - 2).step_by(13) {
                let error = gray(&whole[..cut]).expect_err(name);
                assert!(
                    matches!(error, AugmentError::Image(ImageFileError::TruncatedJpeg { .. })),
                    "{name} cut at {cut}: {error}"
                );
            }
        }
    }

    #[test]
    fn two_files_glued_together_are_pillows_verdict() {
        let files = fixtures("jpeg.zip");
        let whole = &files["420-interleaved.jpg"];
        let expected = gray(whole).unwrap();
        // Bytes after the end do not matter.
        assert_eq!(gray(&[whole.as_slice(), whole].concat()).unwrap(), expected);
        assert_eq!(gray(&[whole.as_slice(), b"trailing bytes"].concat()).unwrap(), expected);
        // A resumed download that began again inside the first image: Pillow 13.0.0 raises "broken data stream".
        for cut in [whole.len() / 2, whole.len() * 3 / 4, whole.len() - 40] {
            let error = gray(&[&whole[..cut], whole.as_slice()].concat()).unwrap_err();
            assert!(error.to_string().contains("a.jpg"), "{error}");
        }
    }

    #[test]
    fn processes_that_libjpeg_lacks_are_named() {
        let whole = &fixtures("jpeg.zip")["gray.jpg"];
        let frame = whole.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        // SOF3 is lossless; the sample precision stands four bytes behind the marker.
        for (at, byte) in [(frame + 1, 0xC3), (frame + 4, 12), (frame + 4, 16)] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            let error = gray(&bytes).unwrap_err().to_string();
            let expected = "cannot decode a.jpg: it is a lossless JPEG file, or one of 12 or 16 bits; PNG, JPEG, BMP and DICOM are read: convert it";
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn changed_bytes_never_panic() {
        let files = fixtures("jpeg.zip");
        for name in ["420-interleaved.jpg", "mixed-separate.jpg", "410-progressive.jpg", "arithmetic.jpg"] {
            for at in 2..files[name].len().min(900) {
                let mut bytes = files[name].clone();
                bytes[at] ^= 0x5A;
                let _ = GrayImage::decode(&bytes, Path::new("a.jpg"));
            }
        }
    }
}
