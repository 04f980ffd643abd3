//! From a decoded image to the square picture that a network takes.

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::image::{Filter, GrayImage, Pixels, Signed, Window};

/// Largest side of a picture, in pixels: twice that of the largest detectors. More is considered a mistake, as a picture's
/// memory grows with the square of its side.
pub const MAX_SIDE: usize = 8192;

/// Refuses a side of a square picture that is 0 or above [`MAX_SIDE`]; `key` names the setting.
///
/// # Errors
/// [`AugmentError::BadSetting`].
pub fn check_side(key: &str, side: usize) -> Result<(), AugmentError> {
    if (1..=MAX_SIDE).contains(&side) {
        return Ok(());
    }
    Err(AugmentError::setting(key, side, format!("a side of 1 to {MAX_SIDE} pixels")))
}

/// What becomes of an image that isn't square.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Geometry {
    /// The largest centred square is kept (torchxrayvision).
    #[default]
    CenterCrop,
    /// Black is added on the shorter side (RoentGen-v2's training code).
    Pad,
    /// Both sides are scaled to the size: the aspect ratio is lost.
    Squash,
}

/// How decoded images become square pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocess {
    /// Side of the picture in pixels.
    pub size: usize,
    /// What becomes of an image that isn't square.
    pub geometry: Geometry,
    /// The resampling kernel.
    pub filter: Filter,
}

impl Default for Preprocess {
    /// 224 pixels, centre crop, bilinear.
    fn default() -> Self {
        Self { size: 224, geometry: Geometry::default(), filter: Filter::default() }
    }
}

impl Preprocess {
    /// The default at another size.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, ..Self::default() }
    }

    /// Refuses a size that no picture has.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] with the key `preprocess.size`.
    pub fn validate(&self) -> Result<(), AugmentError> {
        check_side("preprocess.size", self.size)
    }

    /// The picture of `image`: `size * size`, clipped to the range.
    ///
    /// Values are resampled unrounded, so 16-bit images keep their depth.
    ///
    /// # Panics
    /// If the size is 0.
    #[must_use]
    pub fn apply(&self, image: &GrayImage) -> Pixels<Signed> {
        let square = match self.geometry {
            Geometry::CenterCrop if image.width() != image.height() => {
                image.crop(Window::center_square(image.width(), image.height()))
            }
            Geometry::Pad if image.width() != image.height() => image.pad_to_square(),
            _ => image.clone(),
        };
        let pixels = square.to_pixels();
        if (pixels.width(), pixels.height()) == (self.size, self.size) {
            return pixels;
        }
        pixels.resize(self.size, self.size, self.filter).clamp()
    }

    /// Digest of the settings, for keys of caches that hold preprocessed pictures.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        let geometry: &[u8] = match self.geometry {
            Geometry::CenterCrop => b"center-crop",
            Geometry::Pad => b"pad",
            Geometry::Squash => b"squash",
        };
        let filter: &[u8] = match self.filter {
            Filter::Area => b"area",
            Filter::Bilinear => b"bilinear",
            Filter::Bicubic => b"bicubic",
            Filter::Lanczos => b"lanczos",
        };
        Fingerprint::of(&[b"preprocess 1", &(self.size as u64).to_le_bytes(), geometry, filter])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide() -> GrayImage {
        GrayImage::from_u8(4, 2, vec![0u8, 255, 255, 0, 0, 255, 255, 0])
    }

    #[test]
    fn each_geometry_keeps_what_it_says() {
        let of = |geometry| Preprocess { size: 2, geometry, filter: Filter::Area }.apply(&wide());
        assert_eq!(of(Geometry::CenterCrop).values(), [1.0; 4]);
        // Each quarter of the padded square is half black padding, a quarter black and a quarter white image.
        assert_eq!(of(Geometry::Pad).values(), [-0.5; 4]);
        assert_eq!(of(Geometry::Squash).values(), [0.0; 4]);
    }

    #[test]
    fn every_setting_changes_the_digest() {
        let base = Preprocess::default();
        let others = [
            Preprocess { size: 225, ..base },
            Preprocess { geometry: Geometry::Pad, ..base },
            Preprocess { filter: Filter::Bicubic, ..base },
        ];
        assert!(others.iter().all(|other| other.digest() != base.digest()));
        assert_eq!(Preprocess::new(224).digest(), base.digest());
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<Preprocess>(r#"{"size": 64, "geometry": "pad"}"#).is_ok());
        assert!(serde_json::from_str::<Preprocess>(r#"{"sise": 64}"#).is_err());
    }
}
