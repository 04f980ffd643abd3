//! Gray images as decoded, and gray pixels in the ranges that networks take.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::digest::Fingerprint;

/// A decoded gray image at its own depth.
#[derive(Clone, PartialEq, Eq)]
pub struct GrayImage {
    width: usize,
    height: usize,
    depth: GrayDepth,
    white: u16,
}

/// Row-major samples of a [`GrayImage`].
#[derive(Clone, PartialEq, Eq)]
pub enum GrayDepth {
    /// 0 to 255.
    U8(Arc<[u8]>),
    /// 0 to 65,535.
    U16(Arc<[u16]>),
}

impl GrayImage {
    /// An 8-bit image of `height * width` row-major samples.
    ///
    /// # Panics
    /// If the number of samples is not `width * height`, or either is 0.
    #[must_use]
    pub fn from_u8(width: usize, height: usize, samples: impl Into<Arc<[u8]>>) -> Self {
        let samples = samples.into();
        assert!(width * height > 0 && samples.len() == width * height, "{} samples for {width}x{height}", samples.len());
        Self { width, height, depth: GrayDepth::U8(samples), white: 255 }
    }

    /// A 16-bit image of `height * width` row-major samples.
    ///
    /// # Panics
    /// As [`GrayImage::from_u8`].
    #[must_use]
    pub fn from_u16(width: usize, height: usize, samples: impl Into<Arc<[u16]>>) -> Self {
        let samples = samples.into();
        assert!(width * height > 0 && samples.len() == width * height, "{} samples for {width}x{height}", samples.len());
        Self { width, height, depth: GrayDepth::U16(samples), white: u16::MAX }
    }

    /// The same image with another white, as a file may state it: see [`white`](Self::white).
    #[must_use]
    pub fn with_white(self, white: u16) -> Self {
        Self { white, ..self }
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The value of white: 255 or 65535, unless the file says that fewer bits count, as a DICOM file does.
    #[must_use]
    pub fn white(&self) -> u16 {
        self.white
    }

    /// The samples.
    #[must_use]
    pub fn depth(&self) -> &GrayDepth {
        &self.depth
    }

    /// Bytes that the samples take in memory.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match &self.depth {
            GrayDepth::U8(samples) => samples.len(),
            GrayDepth::U16(samples) => 2 * samples.len(),
        }
    }

    /// BLAKE3 of size, depth and samples: equal for equal pixels, whatever the file format.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        let sides = [self.width, self.height].map(|side| (side as u64).to_le_bytes());
        match &self.depth {
            GrayDepth::U8(samples) => Fingerprint::of(&[b"gray 8", &sides[0], &sides[1], samples]),
            GrayDepth::U16(samples) => {
                let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                let parts: [&[u8]; 4] = [b"gray 16", &sides[0], &sides[1], &bytes];
                let white = self.white.to_le_bytes();
                // Other pictures, if another white makes them so.
                if self.white == u16::MAX {
                    Fingerprint::of(&parts)
                } else {
                    Fingerprint::of(&[&parts[..], &[&white]].concat())
                }
            }
        }
    }

    /// The samples mapped linearly onto `R`, from 0 to [`white`](Self::white).
    #[must_use]
    pub fn to_pixels<R: PixelRange>(&self) -> Pixels<R> {
        let white = f32::from(self.white);
        let values: Arc<[f32]> = match &self.depth {
            GrayDepth::U8(samples) => samples.iter().map(|&v| R::from_unit(f32::from(v) / white)).collect(),
            GrayDepth::U16(samples) => samples.iter().map(|&v| R::from_unit(f32::from(v) / white)).collect(),
        };
        Pixels { width: self.width, height: self.height, values, range: PhantomData }
    }
}

impl fmt::Debug for GrayImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.depth {
            GrayDepth::U8(_) => 8,
            GrayDepth::U16(_) => 16,
        };
        write!(f, "GrayImage({}x{}, {bits} bit)", self.width, self.height)
    }
}

/// A value range that some network takes. Ranges are types, so that one can't be used in place of another.
pub trait PixelRange: Copy + fmt::Debug + Send + Sync + 'static {
    /// Value of black.
    const LOW: f32;
    /// Value of white.
    const HIGH: f32;

    /// Maps `[0, 1]` onto the range.
    #[must_use]
    fn from_unit(value: f32) -> f32 {
        Self::LOW + (Self::HIGH - Self::LOW) * value
    }

    /// Maps the range onto `[0, 1]`.
    #[must_use]
    fn to_unit(value: f32) -> f32 {
        (value - Self::LOW) / (Self::HIGH - Self::LOW)
    }
}

/// `[-1, 1]`: Stable Diffusion's range, and that of every [`CxrSample`](crate::record::CxrSample).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed;

impl PixelRange for Signed {
    const LOW: f32 = -1.0;
    const HIGH: f32 = 1.0;

    fn from_unit(value: f32) -> f32 {
        2.0 * value - 1.0
    }
}

/// `[-1024, 1024]`: torchxrayvision's range (`datasets.normalize`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xrv;

impl PixelRange for Xrv {
    const LOW: f32 = -1024.0;
    const HIGH: f32 = 1024.0;

    fn from_unit(value: f32) -> f32 {
        (2.0 * value - 1.0) * 1024.0
    }
}

/// Gray pixels in the range `R`, row-major, shared and immutable.
#[derive(Clone, PartialEq)]
pub struct Pixels<R> {
    width: usize,
    height: usize,
    values: Arc<[f32]>,
    range: PhantomData<R>,
}

impl<R: PixelRange> Pixels<R> {
    /// Pixels of `height * width` row-major values that are in the range already.
    ///
    /// # Panics
    /// If the number of values is not `width * height`, or either is 0.
    #[must_use]
    pub fn new(width: usize, height: usize, values: impl Into<Arc<[f32]>>) -> Self {
        let values = values.into();
        assert!(width * height > 0 && values.len() == width * height, "{} values for {width}x{height}", values.len());
        Self { width, height, values, range: PhantomData }
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Row-major values.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same picture in another range.
    #[must_use]
    pub fn convert<S: PixelRange>(&self) -> Pixels<S> {
        Pixels::new(self.width, self.height, self.values.iter().map(|&v| S::from_unit(R::to_unit(v))).collect::<Arc<[f32]>>())
    }

    /// The values less their mean, divided by their standard deviation; all 0 for a picture without contrast.
    #[must_use]
    pub fn standardised(&self) -> Vec<f32> {
        let count = self.values.len() as f64;
        let mean = self.values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let deviation = (self.values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count).sqrt();
        // Below this part of the range, all contrast is rounding.
        let scale = if deviation > 5e-6 * f64::from(R::HIGH - R::LOW) { deviation.recip() } else { 0.0 };
        self.values.iter().map(|value| ((f64::from(*value) - mean) * scale) as f32).collect()
    }

    /// The picture rounded to 8 bits; values outside the range are clipped.
    #[must_use]
    pub fn to_gray8(&self) -> GrayImage {
        let samples: Arc<[u8]> = self.values.iter().map(|&v| (R::to_unit(v).clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        GrayImage::from_u8(self.width, self.height, samples)
    }
}

impl<R: PixelRange> fmt::Debug for Pixels<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pixels({}x{} in [{}, {}])", self.width, self.height, R::LOW, R::HIGH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_range_maps_to_full_range() {
        let image = GrayImage::from_u8(3, 1, vec![0u8, 51, 255]);
        assert_eq!(image.to_pixels::<Xrv>().values(), [-1024.0, -614.4, 1024.0]);
        assert_eq!(GrayImage::from_u16(2, 1, vec![0u16, 65535]).to_pixels::<Signed>().values(), [-1.0, 1.0]);
    }

    #[test]
    fn eight_bits_survive_every_range() {
        let image = GrayImage::from_u8(256, 1, (0..=255u8).collect::<Vec<_>>());
        assert_eq!(image.to_pixels::<Xrv>().convert::<Signed>().to_gray8(), image);
    }
}
