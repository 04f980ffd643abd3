//! In what images are compared.

use std::borrow::Cow;
use std::fmt;

use roentgen_augment::image::{Filter, GrayImage, Preprocess};
use serde::{Deserialize, Serialize};

use super::MemorisationError;
use crate::evaluation::Rows;

/// Side of the pictures that are compared in pixels.
pub const SIDE: usize = 64;

/// What is compared, and by which distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Pictures made by [`picture`]: `sqrt(2 - 2 r)` with the correlation `r` of their pixels. 0 for a copy, whatever its brightness and
    /// contrast, about 1.4 for unrelated pictures, at most 2. It is the distance of the gate
    /// ([`NearestTraining`](roentgen_augment::gate::NearestTraining)), at twice its side.
    Pixels,
    /// Features of a network: 1 less the cosine of two rows. 0 for a copy, at most 2.
    Cosine,
    /// Features of a network: the Euclidean distance of two rows, in their own unit.
    Euclidean,
}

impl Space {
    /// The rows whose Euclidean distance orders pairs as this space does.
    pub(super) fn prepared<'a>(self, rows: Rows<'a, f32>, set: &'static str) -> Result<Cow<'a, [f32]>, MemorisationError> {
        if self != Self::Cosine {
            return Ok(Cow::Borrowed(rows.values()));
        }
        let mut units = Vec::with_capacity(rows.values().len());
        for row in 0..rows.len() {
            let values = rows.row(row);
            let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            if norm == 0.0 {
                return Err(MemorisationError::NoDirection { set, row });
            }
            units.extend(values.iter().map(|value| (f64::from(*value) / norm) as f32));
        }
        Ok(Cow::Owned(units))
    }

    /// The distance of two rows with that squared Euclidean distance.
    pub(super) fn distance(self, square: f64) -> f64 {
        match self {
            Self::Pixels | Self::Euclidean => square.sqrt(),
            Self::Cosine => square / 2.0,
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pixels => "pixels",
            Self::Cosine => "cosine",
            Self::Euclidean => "euclidean",
        })
    }
}

/// The row of an image in [`Space::Pixels`]: shrunk to [`SIDE`] by area, cropped or padded as `preprocess` says, less its mean, and of length
/// 1. An image without contrast is all 0, at distance 1 from every other.
#[must_use]
pub fn picture(image: &GrayImage, preprocess: &Preprocess) -> Vec<f32> {
    let prepare = Preprocess { size: SIDE, filter: Filter::Area, ..*preprocess };
    let mut row = prepare.apply(image).standardised();
    row.iter_mut().for_each(|value| *value /= SIDE as f32);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_do_not_know_brightness_and_contrast() {
        let image = |low: u8, step: u8| GrayImage::from_u8(8, 8, (0..64).map(|i| low + step * (i % 13)).collect::<Vec<_>>());
        let (one, other) = (picture(&image(3, 4), &Preprocess::default()), picture(&image(90, 12), &Preprocess::default()));
        assert_eq!(one.len(), SIDE * SIDE);
        let square: f32 = one.iter().zip(&other).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(square < 1e-9, "{square}");
        let length: f32 = one.iter().map(|value| value.powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
        let flat = picture(&GrayImage::from_u8(2, 2, [7; 4]), &Preprocess::default());
        assert!(flat.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_row_without_direction_has_no_cosine() {
        let values = [1.0, 2.0, 0.0, 0.0];
        let error = Space::Cosine.prepared(Rows::new(&values, 2).unwrap(), "training").unwrap_err();
        assert!(matches!(error, MemorisationError::NoDirection { set: "training", row: 1 }), "{error}");
        assert!(Space::Euclidean.prepared(Rows::new(&values, 2).unwrap(), "training").is_ok());
    }
}
