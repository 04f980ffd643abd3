//! Which value of an image is white.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ImageFileError;
use crate::image::{GrayDepth, GrayImage, PixelRange, RgbImage, Signed};

/// The white level of images with 16 bits per sample, which often hold values of fewer bits: radiographs of 12 bits in 16-bit PNGs reach
/// 4095 of 65535, and are nearly black to a network that takes 65535 for white.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BitDepth {
    /// White is what the file says: the largest value of `BitsStored` in a DICOM file, that of the file's type, 255 or 65535, in others.
    #[default]
    Full,
    /// White is `2^bits - 1` in images of 16 bits per sample, as torchxrayvision's `maxval`; 255 in those of 8. A larger value is an error.
    Bits(u8),
    /// Each image's smallest value is black and its largest is white; an image of one value is black.
    PerImageRange,
}

/// What a run file may say.
const EXPECTED: &str = "a number of bits from 8 to 16, \"full\" or \"per-image-range\"";

impl BitDepth {
    /// Refuses an image with a value above white; `describe` says which image.
    ///
    /// # Errors
    /// [`ImageFileError::AboveWhite`].
    pub fn check(self, image: &GrayImage, describe: impl FnOnce() -> String) -> Result<(), ImageFileError> {
        let (Self::Bits(bits), GrayDepth::U16(samples)) = (self, image.depth()) else { return Ok(()) };
        let (value, white) = (largest(samples), white_of(bits));
        if value <= white {
            return Ok(());
        }
        Err(ImageFileError::AboveWhite { image: describe(), value, white, bits, needed: needed(value) })
    }

    /// The image with 8 bits per sample, from black to white, the same in each channel.
    #[must_use]
    pub fn rgb(self, image: &GrayImage) -> RgbImage {
        let levels = self.levels(image);
        let eight = |level: f32| [(Signed::to_unit(levels.value(level)).clamp(0.0, 1.0) * 255.0).round() as u8; 3];
        let samples = match image.depth() {
            GrayDepth::U8(samples) => samples.iter().flat_map(|&level| eight(level.into())).collect(),
            GrayDepth::U16(samples) => samples.iter().flat_map(|&level| eight(level.into())).collect(),
        };
        RgbImage { width: image.width(), height: image.height(), samples }
    }

    /// The network's values of the levels of `image`.
    pub(super) fn levels(self, image: &GrayImage) -> Levels {
        let (low, white) = match (image.depth(), self) {
            (GrayDepth::U8(samples), Self::PerImageRange) => range(samples),
            (GrayDepth::U16(samples), Self::PerImageRange) => range(samples),
            (GrayDepth::U8(_), _) => (0, 255),
            (GrayDepth::U16(_), Self::Full) => (0, image.white()),
            (GrayDepth::U16(_), Self::Bits(bits)) => (0, white_of(bits)),
        };
        // All values of an image of one value are `low`.
        Levels { low: low.into(), span: f32::from(white - low).max(1.0) }
    }
}

/// The least number of bits that holds `value`, as a depth: at least 8.
pub(crate) fn needed(value: u16) -> u8 {
    (16 - value.leading_zeros() as u8).max(8)
}

/// The white level of a depth.
pub(crate) fn white_of(bits: u8) -> u16 {
    u16::MAX >> (16 - bits)
}

/// The largest of samples; 0 of none.
pub(crate) fn largest<T: Copy + Ord + Default>(samples: &[T]) -> T {
    samples.iter().fold(T::default(), |most, &sample| most.max(sample))
}

fn range<T: Copy + Ord + Default + Into<u16>>(samples: &[T]) -> (u16, u16) {
    let least = samples.iter().fold(None, |least: Option<T>, &sample| Some(least.map_or(sample, |least| least.min(sample))));
    (least.unwrap_or_default().into(), largest(samples).into())
}

/// A linear map from gray levels to the network's values.
#[derive(Clone, Copy)]
pub(super) struct Levels {
    low: f32,
    span: f32,
}

impl Levels {
    #[inline(always)]
    pub(super) fn value(self, level: impl Into<f32>) -> f32 {
        Signed::from_unit((level.into() - self.low) / self.span)
    }

    /// The values of all levels of 8 bits.
    pub(super) fn table(self) -> [f32; 256] {
        std::array::from_fn(|level| self.value(level as u8))
    }
}

impl fmt::Display for BitDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => write!(f, "\"full\""),
            Self::Bits(bits) => write!(f, "{bits}"),
            Self::PerImageRange => write!(f, "\"per-image-range\""),
        }
    }
}

impl Serialize for BitDepth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Full => serializer.serialize_str("full"),
            Self::Bits(bits) => serializer.serialize_u8(*bits),
            Self::PerImageRange => serializer.serialize_str("per-image-range"),
        }
    }
}

impl<'de> Deserialize<'de> for BitDepth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = BitDepth;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_i64<E: de::Error>(self, bits: i64) -> Result<BitDepth, E> {
                let found = de::Unexpected::Signed(bits);
                match u8::try_from(bits) {
                    Ok(bits @ 8..=16) => Ok(BitDepth::Bits(bits)),
                    _ => Err(E::invalid_value(found, &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, bits: u64) -> Result<BitDepth, E> {
                self.visit_i64(i64::try_from(bits).unwrap_or(i64::MAX))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<BitDepth, E> {
                match name {
                    "full" => Ok(BitDepth::Full),
                    "per-image-range" => Ok(BitDepth::PerImageRange),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_is_what_the_depth_says() {
        let image = GrayImage::from_u16(3, 1, vec![0u16, 1365, 4095]);
        let values = |depth: BitDepth| {
            let levels = depth.levels(&image);
            [0u16, 1365, 4095].map(|level| levels.value(level))
        };
        // torchxrayvision's `normalize(x, maxval=4095)` over 1024: 2 * x / 4095 - 1.
        assert_eq!(values(BitDepth::Bits(12)), [-1.0, 2.0 * (1365.0f32 / 4095.0) - 1.0, 1.0]);
        assert_eq!(values(BitDepth::PerImageRange), values(BitDepth::Bits(12)));
        assert_eq!(values(BitDepth::Full), [0u16, 1365, 4095].map(|v| 2.0 * (f32::from(v) / 65535.0) - 1.0));
        assert_eq!(values(BitDepth::Bits(16)), values(BitDepth::Full));
    }

    #[test]
    fn colour_has_the_levels_of_gray() {
        let image = GrayImage::from_u16(3, 1, vec![0u16, 1365, 4095]);
        let first = |depth: BitDepth| depth.rgb(&image).samples.iter().step_by(3).copied().collect::<Vec<_>>();
        assert_eq!(first(BitDepth::Bits(12)), [0, 85, 255]);
        assert_eq!(first(BitDepth::PerImageRange), [0, 85, 255]);
        assert_eq!(first(BitDepth::Full), [0, 5, 16]);
        let eight = GrayImage::from_u8(256, 1, (0..=255).collect::<Vec<u8>>());
        assert!(BitDepth::Full.rgb(&eight).samples.chunks(3).enumerate().all(|(level, pixel)| *pixel == [level as u8; 3]));
    }

    #[test]
    fn eight_bits_keep_their_white() {
        let image = GrayImage::from_u8(2, 1, vec![51u8, 204]);
        for depth in [BitDepth::Full, BitDepth::Bits(12), BitDepth::Bits(8)] {
            assert_eq!(depth.levels(&image).table()[204], 2.0 * (204.0 / 255.0) - 1.0);
            assert!(depth.check(&image, String::new).is_ok());
        }
        let stretched = BitDepth::PerImageRange.levels(&image).table();
        assert_eq!((stretched[51], stretched[204]), (-1.0, 1.0));
    }

    #[test]
    fn an_image_of_one_value_is_black() {
        let image = GrayImage::from_u16(2, 1, vec![700u16, 700]);
        assert_eq!(BitDepth::PerImageRange.levels(&image).value(700u16), -1.0);
    }

    #[test]
    fn a_value_above_white_is_refused_with_a_depth_that_holds_it() {
        let image = GrayImage::from_u16(2, 1, vec![0u16, 4096]);
        let error = BitDepth::Bits(12).check(&image, || "a.png".to_owned()).unwrap_err().to_string();
        assert_eq!(
            error,
            "a.png has a value of 4096, above 4095, the white of preprocess.bit_depth = 12; write bit_depth = 13, \"full\" or \
             \"per-image-range\""
        );
        assert!(BitDepth::Bits(13).check(&image, String::new).is_ok());
        assert_eq!([0, 255, 256, 4095, 4096, 65535].map(needed), [8, 8, 9, 12, 13, 16]);
        assert_eq!([8, 12, 16].map(white_of), [255, 4095, 65535]);
    }

    #[test]
    fn run_files_write_a_number_or_a_name() {
        for (text, depth) in
            [("12", BitDepth::Bits(12)), ("\"full\"", BitDepth::Full), ("\"per-image-range\"", BitDepth::PerImageRange)]
        {
            assert_eq!(serde_json::from_str::<BitDepth>(text).unwrap(), depth);
            assert_eq!(serde_json::to_string(&depth).unwrap(), text);
            assert_eq!(depth.to_string(), text);
        }
        for text in ["7", "17", "-1", "1e3", "\"12\"", "\"auto\"", "true", "99999999999999999999"] {
            let error = serde_json::from_str::<BitDepth>(text).unwrap_err().to_string();
            assert!(error.contains("from 8 to 16, \"full\" or \"per-image-range\""), "{text}: {error}");
        }
    }
}
