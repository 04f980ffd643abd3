//! Reading image files, to the gray levels that Pillow gives.

use std::fs;
use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use image::error::{DecodingError, ImageFormatHint};
use image::{DynamicImage, ImageError, ImageFormat, ImageReader};

use super::jpeg::decode_jpeg;
use crate::AugmentError;
use crate::image::GrayImage;

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
    /// Reads a PNG, JPEG or BMP file as Pillow's `convert("RGB")` does: alpha is dropped, never blended.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        let rgb = decode(&read(path)?, path)?.into_rgb8();
        Ok(Self { width: rgb.width() as usize, height: rgb.height() as usize, samples: rgb.into_raw() })
    }
}

impl GrayImage {
    /// Reads a PNG, JPEG or BMP file, 8 or 16 bits per sample.
    ///
    /// 16-bit files stay 16-bit; colour becomes luma, see [`GrayImage::decode`].
    ///
    /// # Errors
    /// [`AugmentError::Io`], [`AugmentError::Decode`], [`AugmentError::Jpeg`] or [`AugmentError::TruncatedJpeg`], each with the path.
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        Self::decode(&read(path)?, path)
    }

    /// Decodes the bytes of a PNG, JPEG or BMP file; `path` is only for the error.
    ///
    /// Colour becomes `(19595 R + 38470 G + 7471 B + 32768) >> 16` (Pillow's `convert("L")`, ITU-R 601-2 luma); alpha is
    /// dropped, not blended.
    ///
    /// # Errors
    /// As [`GrayImage::open`].
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self, AugmentError> {
        let image = decode(bytes, path)?;
        let (width, height) = (image.width() as usize, image.height() as usize);
        Ok(match image {
            DynamicImage::ImageLuma8(gray) => Self::from_u8(width, height, gray.into_raw()),
            DynamicImage::ImageLuma16(gray) => Self::from_u16(width, height, gray.into_raw()),
            DynamicImage::ImageLumaA8(gray) => Self::from_u8(width, height, gray.pixels().map(|p| p.0[0]).collect::<Vec<_>>()),
            DynamicImage::ImageLumaA16(gray) => {
                Self::from_u16(width, height, gray.pixels().map(|p| p.0[0]).collect::<Vec<_>>())
            }
            DynamicImage::ImageRgb16(_) | DynamicImage::ImageRgba16(_) => {
                let samples = image.into_rgb16().pixels().map(|p| luma(p.0.map(u64::from)) as u16).collect::<Vec<_>>();
                Self::from_u16(width, height, samples)
            }
            other => {
                let samples = other.into_rgb8().pixels().map(|p| luma(p.0.map(u64::from)) as u8).collect::<Vec<_>>();
                Self::from_u8(width, height, samples)
            }
        })
    }
}

/// ITU-R 601-2 luma in Pillow's 16-bit fixed point (`L24` in its `Convert.c`).
fn luma([r, g, b]: [u64; 3]) -> u64 {
    (19595 * r + 38470 * g + 7471 * b + 32768) >> 16
}

fn read(path: &Path) -> Result<Vec<u8>, AugmentError> {
    fs::read(path).map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })
}

fn decode(bytes: &[u8], path: &Path) -> Result<DynamicImage, AugmentError> {
    let failed = |source| AugmentError::Decode { path: path.to_owned(), source };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| failed(ImageError::IoError(e)))?;
    if reader.format() == Some(ImageFormat::Jpeg) {
        return decode_jpeg(bytes, path);
    }
    // A decoder that panics on a damaged file is that file's fault, not the end of the program.
    panic::catch_unwind(AssertUnwindSafe(|| reader.decode())).unwrap_or_else(|_| Err(gave_up())).map_err(failed)
}

/// The error of a decoder that panicked.
fn gave_up() -> ImageError {
    ImageError::Decoding(DecodingError::new(ImageFormatHint::Unknown, "the decoder gave up on it"))
}

#[cfg(test)]
mod tests {
    use image::ExtendedColorType;

    use super::*;

    fn encoded(format: ImageFormat, samples: &[u8], color: ExtendedColorType) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image::write_buffer_with_format(&mut bytes, samples, 64, 64, color, format).unwrap();
        bytes.into_inner()
    }

    /// 64x64 gray levels that no codec predicts well, so that a JPEG scan takes most of its file.
    fn texture() -> Vec<u8> {
        (0..64 * 64u32).map(|i| (i * i % 251) as u8).collect()
    }

    #[test]
    fn gray_survives_png_and_bmp() {
        for format in [ImageFormat::Png, ImageFormat::Bmp] {
            let image = GrayImage::decode(&encoded(format, &texture(), ExtendedColorType::L8), Path::new("texture")).unwrap();
            assert_eq!(image, GrayImage::from_u8(64, 64, texture()));
        }
    }

    #[test]
    fn luma_weights_are_pillows() {
        // Pillow 13.0.0: Image.new("RGB", (1, 1), c).convert("L") for pure red, green, blue and white.
        let lumas = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]].map(luma);
        assert_eq!(lumas, [76, 150, 29, 255]);
    }

    #[test]
    fn cut_off_files_are_named() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp] {
            let whole = encoded(format, &texture(), ExtendedColorType::L8);
            assert!(GrayImage::decode(&whole, Path::new("whole")).is_ok());
            for cut in (0..whole.len() - 16).step_by(7) {
                let error = GrayImage::decode(&whole[..cut], Path::new("cut.img")).unwrap_err().to_string();
                assert!(error.contains("cut.img"), "{format:?} cut at {cut}: {error}");
            }
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = GrayImage::open(Path::new("no/such.png")).unwrap_err().to_string();
        assert_eq!(error, "cannot read no/such.png");
    }
}
