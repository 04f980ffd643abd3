//! From a decoded image to the square picture that a network takes.

use serde::{Deserialize, Serialize};

use super::error::ImageFileError;
use super::geometry::padding;
use super::resample::{Padded, resample_padded};
use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::image::{BitDepth, DicomValues, Filter, GrayDepth, GrayImage, PixelRange, Pixels, Signed, Window};

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
    /// The white level of files; [`BitDepth::Full`] if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<BitDepth>,
    /// Which values of DICOM files are read; [`DicomValues::Stored`] if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dicom: Option<DicomValues>,
    /// Decode JPEG files at 1/2, 1/4 or 1/8 of their size where that is still as large as the picture: faster, and with other pixels.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub jpeg_scale: bool,
}

impl Default for Preprocess {
    /// 224 pixels, centre crop, bilinear.
    fn default() -> Self {
        Self {
            size: 224,
            geometry: Geometry::default(),
            filter: Filter::default(),
            bit_depth: None,
            dicom: None,
            jpeg_scale: false,
        }
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

    /// Whether an image of that size has at least the pixels of the picture along every side that is resampled.
    #[must_use]
    pub fn shrinks(&self, width: usize, height: usize) -> bool {
        let side = match self.geometry {
            Geometry::Pad => width.max(height),
            Geometry::CenterCrop | Geometry::Squash => width.min(height),
        };
        side >= self.size
    }

    /// The white level of files.
    #[must_use]
    pub fn depth(&self) -> BitDepth {
        self.bit_depth.unwrap_or_default()
    }

    /// Which values of DICOM files are read.
    #[must_use]
    pub fn dicom_values(&self) -> DicomValues {
        self.dicom.unwrap_or_default()
    }

    /// The picture of a generated `image`: `size * size`, clipped to the range. Its white is that of its type, whatever
    /// [`bit_depth`](Self::bit_depth) says of files.
    ///
    /// Values are resampled unrounded, so 16-bit images keep their depth.
    ///
    /// # Panics
    /// If the size is 0.
    #[must_use]
    pub fn apply(&self, image: &GrayImage) -> Pixels<Signed> {
        self.square(image, BitDepth::Full)
    }

    /// The picture of an `image` from a file, as [`apply`](Self::apply) with the white of [`bit_depth`](Self::bit_depth); `describe` says
    /// which image.
    ///
    /// # Errors
    /// [`ImageFileError::AboveWhite`].
    ///
    /// # Panics
    /// If the size is 0.
    pub fn picture(&self, image: &GrayImage, describe: impl FnOnce() -> String) -> Result<Pixels<Signed>, ImageFileError> {
        self.depth().check(image, describe)?;
        Ok(self.square(image, self.depth()))
    }

    /// Crops, pads and shrinks before anything but a few rows becomes floats.
    fn square(&self, image: &GrayImage, depth: BitDepth) -> Pixels<Signed> {
        let (width, height) = (image.width(), image.height());
        let whole = Window { left: 0, top: 0, width, height };
        let (window, pad) = match self.geometry {
            Geometry::CenterCrop => (Window::center_square(width, height), (0, 0)),
            Geometry::Pad => (whole, padding(width, height)),
            Geometry::Squash => (whole, (0, 0)),
        };
        let padded = match self.geometry {
            Geometry::Pad => (width.max(height), width.max(height)),
            _ => (window.width, window.height),
        };
        let (levels, columns) = (depth.levels(image), window.left..window.left + window.width);
        let table = levels.table();
        let read = |y: usize, row: &mut [f32]| {
            let start = (window.top + y - pad.1) * width;
            match image.depth() {
                GrayDepth::U8(samples) => {
                    let levels = &samples[start..][columns.clone()];
                    row.iter_mut().zip(levels).for_each(|(value, &level)| *value = table[usize::from(level)]);
                }
                GrayDepth::U16(samples) => {
                    let samples = &samples[start..][columns.clone()];
                    row.iter_mut().zip(samples).for_each(|(value, &level)| *value = levels.value(level));
                }
            }
        };
        let inside = (pad.0..pad.0 + window.width, pad.1..pad.1 + window.height);
        let padded = Padded { size: padded, columns: inside.0, rows: inside.1, fill: Signed::LOW };
        let mut values = resample_padded(padded, (self.size, self.size), self.filter, read);
        values.iter_mut().for_each(|value| *value = value.clamp(Signed::LOW, Signed::HIGH));
        Pixels::new(self.size, self.size, values)
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
        let size = (self.size as u64).to_le_bytes();
        let mut parts: Vec<&[u8]> = vec![b"preprocess 1", &size, geometry, filter];
        // Settings that came later count where they are not what was done before them.
        let depth = self.depth().to_string();
        if self.depth() != BitDepth::Full {
            parts.extend([b"bit depth".as_slice(), depth.as_bytes()]);
        }
        if self.dicom_values() == DicomValues::Window {
            parts.push(b"dicom window");
        }
        if self.jpeg_scale {
            parts.push(b"jpeg scale");
        }
        Fingerprint::of(&parts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn wide() -> GrayImage {
        GrayImage::from_u8(4, 2, vec![0u8, 255, 255, 0, 0, 255, 255, 0])
    }

    #[test]
    fn each_geometry_keeps_what_it_says() {
        let of = |geometry| Preprocess { geometry, filter: Filter::Area, ..Preprocess::new(2) }.apply(&wide());
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
            Preprocess { bit_depth: Some(BitDepth::Bits(12)), ..base },
            Preprocess { bit_depth: Some(BitDepth::Bits(13)), ..base },
            Preprocess { bit_depth: Some(BitDepth::PerImageRange), ..base },
            Preprocess { dicom: Some(DicomValues::Window), ..base },
            Preprocess { jpeg_scale: true, ..base },
        ];
        let digests: BTreeSet<_> = others.iter().map(|other| other.digest().to_string()).collect();
        assert_eq!(digests.len(), others.len());
        assert!(others.iter().all(|other| other.digest() != base.digest()));
        assert_eq!(Preprocess::new(224).digest(), base.digest());
        assert_eq!(Preprocess { bit_depth: Some(BitDepth::Full), ..base }.digest(), base.digest());
        assert_eq!(Preprocess { dicom: Some(DicomValues::Stored), ..base }.digest(), base.digest());
    }

    #[test]
    fn settings_of_earlier_versions_keep_digest_and_text() {
        // What the caches of earlier versions are keyed by, from before there was a bit depth.
        let before = "b384a206a3ed3af40009659f10146f773b7e1216b38dcc4e20512ed87476ec87";
        assert_eq!(Preprocess::default().digest().to_string(), before);
        let text = serde_json::to_string(&Preprocess::default()).unwrap();
        assert_eq!(text, r#"{"size":224,"geometry":"center-crop","filter":"bilinear"}"#);
    }

    /// What `apply` did before it read row by row: crop or pad, floats of everything, resample, clip.
    fn step_by_step(preprocess: &Preprocess, image: &GrayImage) -> Pixels<Signed> {
        let square = match preprocess.geometry {
            Geometry::CenterCrop => image.crop(Window::center_square(image.width(), image.height())),
            Geometry::Pad => image.pad_to_square(),
            Geometry::Squash => image.clone(),
        };
        square.to_pixels().resize(preprocess.size, preprocess.size, preprocess.filter).clamp()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn row_by_row_is_step_by_step(width in 1usize..70, height in 1usize..70, size in 1usize..70, seed: u32, deep: bool) {
            let level = |i: usize| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 16;
            let image = if deep {
                GrayImage::from_u16(width, height, (0..width * height).map(|i| level(i) as u16).collect::<Vec<_>>())
            } else {
                GrayImage::from_u8(width, height, (0..width * height).map(|i| level(i) as u8).collect::<Vec<_>>())
            };
            for geometry in [Geometry::CenterCrop, Geometry::Pad, Geometry::Squash] {
                for filter in [Filter::Area, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                    let preprocess = Preprocess { size, geometry, filter, ..Preprocess::default() };
                    let bits = |pixels: Pixels<Signed>| pixels.values().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    prop_assert_eq!(bits(preprocess.apply(&image)), bits(step_by_step(&preprocess, &image)));
                }
            }
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<Preprocess>(r#"{"size": 64, "geometry": "pad"}"#).is_ok());
        assert!(serde_json::from_str::<Preprocess>(r#"{"sise": 64}"#).is_err());
    }
}
