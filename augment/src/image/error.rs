//! Why an image file gives no picture.

use std::path::PathBuf;

use super::decode::{MAX_IMAGE_SIDE, MAX_PIXELS};
use crate::image::DicomFault;

/// What is wrong with an image or its file. Each message names it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFileError {
    /// An image file that can't be decoded.
    #[error("cannot decode {}: it is damaged or not a PNG, JPEG, BMP or DICOM image; replace it or drop its row", path.display())]
    Decode {
        /// The file, or the archive entry.
        path: PathBuf,
        /// The cause.
        #[source]
        source: image::ImageError,
    },
    /// A file of a format that is not read.
    #[error("cannot decode {}: it is {kind}; PNG, JPEG, BMP and DICOM are read: convert it to one of them, or drop its row", path.display())]
    NotReadFormat {
        /// The file.
        path: PathBuf,
        /// What it is (`a TIFF file`).
        kind: &'static str,
    },
    /// An image that is larger than any that is read.
    #[error(
        "cannot decode {}: {width}x{height} pixels; images of at most {} pixels and {} per side are read: shrink it or drop its row",
        path.display(),
        MAX_PIXELS,
        MAX_IMAGE_SIDE
    )]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
    },
    /// A JPEG file that libjpeg refuses.
    #[error("cannot decode {}: libjpeg says \"{message}\"; fetch the file again or drop its row", path.display())]
    Jpeg {
        /// The file, or the archive entry.
        path: PathBuf,
        /// libjpeg's words.
        message: String,
    },
    /// A JPEG file that ends before the last row of its image.
    #[error("cannot decode {}: the JPEG stream is cut off before its last row; fetch the file again", path.display())]
    TruncatedJpeg {
        /// The file.
        path: PathBuf,
    },
    /// A DICOM file that gives no image.
    #[error("cannot decode {}: {fault}", path.display())]
    Dicom {
        /// The file, or the archive entry.
        path: PathBuf,
        /// What is wrong with it.
        fault: DicomFault,
    },
    /// An image with a value above white.
    #[error(
        "{image} has a value of {value}, above {white}, the white of preprocess.bit_depth = {bits}; write bit_depth = {needed}, \"full\" or \"per-image-range\""
    )]
    AboveWhite {
        /// Where it is.
        image: String,
        /// Its largest value.
        value: u16,
        /// The value of white.
        white: u16,
        /// The depth that was stated.
        bits: u8,
        /// The least depth that holds the value.
        needed: u8,
    },
    /// An image that can't be encoded.
    #[error("cannot encode {} as PNG", path.display())]
    Encode {
        /// The file it was meant for.
        path: PathBuf,
        /// The cause.
        #[source]
        source: png::EncodingError,
    },
}
