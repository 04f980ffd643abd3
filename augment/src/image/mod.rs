//! Pictures: gray pixels, reading and writing files, resampling, and the square picture that a network takes.

mod bmp;
mod cache;
mod decode;
mod depth;
mod dicom;
mod encode;
mod error;
mod geometry;
mod jpeg;
mod pixels;
mod png;
mod preprocess;
mod resample;
mod resize;
mod skimage;
mod sniff;
mod source;
#[cfg(test)]
mod testing;
mod torch;

pub use cache::ImageCache;
pub(crate) use decode::{HEAD, deep_pixels_of, says_how_shown_of};
pub use decode::{MAX_IMAGE_SIDE, MAX_PIXELS, RgbImage};
pub use depth::BitDepth;
pub(crate) use depth::{needed, white_of};
pub use dicom::{DicomFault, DicomImage, DicomValues};
pub use encode::encode_png;
pub use error::ImageFileError;
pub use geometry::{Window, shorter_side_to};
pub use pixels::{GrayDepth, GrayImage, PixelRange, Pixels, Signed, Xrv};
pub use preprocess::{Geometry, MAX_SIDE, Preprocess, check_side};
pub use resize::Filter;
pub use sniff::EXTENSIONS;
pub use source::{ImageArray, ImageFiles, ImageFunction, ImageSource};
