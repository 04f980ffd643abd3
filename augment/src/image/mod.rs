//! Pictures: gray pixels, reading and writing files, resampling, and the square picture that a network takes.

mod cache;
mod decode;
mod encode;
mod geometry;
mod jpeg;
mod pixels;
mod preprocess;
mod resize;
mod skimage;
mod source;
mod torch;

pub use cache::ImageCache;
pub use decode::RgbImage;
pub use encode::encode_png;
pub use geometry::{Window, shorter_side_to};
pub use pixels::{GrayDepth, GrayImage, PixelRange, Pixels, Signed, Xrv};
pub use preprocess::{Geometry, MAX_SIDE, Preprocess, check_side};
pub use resize::Filter;
pub use source::{ImageArray, ImageFiles, ImageFunction, ImageSource};
