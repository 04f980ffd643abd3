//! Pictures that can't be compared.

/// Why there is no similarity.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiversityError {
    /// The pixels are not those of an image of this size.
    #[error("{found} pixels, expected {width} x {height}: both images must have one size; resize them first")]
    Size {
        /// Pixels given.
        found: usize,
        /// Width of the image.
        width: usize,
        /// Height of the image.
        height: usize,
    },
    /// A side is too short for the filter.
    #[error("{measure} of {width} x {height} pixels: the smaller side must be at least {least}")]
    TooSmall {
        /// SSIM or MS-SSIM.
        measure: &'static str,
        /// Width of the image.
        width: usize,
        /// Height of the image.
        height: usize,
        /// The shortest side that will do.
        least: usize,
    },
    /// A pixel that is no gray value.
    #[error("pixel {column}, {row} is {value}, expected a gray value from 0 to 1 (a byte is divided by 255)")]
    Value {
        /// Column, from 0.
        column: usize,
        /// Row, from 0.
        row: usize,
        /// What stands there.
        value: f64,
    },
    /// A prompt without a pair.
    #[error("diversity within a prompt needs at least 2 images of it, found {images}")]
    NoPair {
        /// Images of the prompt.
        images: usize,
    },
}
