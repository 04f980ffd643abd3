//! Antialiased resampling, as Pillow and torch do it.

use serde::{Deserialize, Serialize};

use super::resample::resample;
use crate::image::{GrayDepth, GrayImage, PixelRange, Pixels};

/// The kernel of a resampling; when shrinking it is widened by the factor (antialiasing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Mean over the covered area; nearest neighbour when enlarging.
    Area,
    /// Triangle, support 1. What torchxrayvision's models apply themselves.
    #[default]
    Bilinear,
    /// Catmull-Rom cubic (a = -0.5), support 2. Overshoots at edges.
    Bicubic,
    /// Windowed sinc, support 3. Overshoots at edges.
    Lanczos,
}

fn check(width: usize, height: usize) {
    assert!(width * height > 0, "a resize to {width}x{height}");
}

/// Resampled along one axis, then along the other, rounded and clipped to `0..=white` after each: what Pillow does to integers. The order
/// shows where a kernel overshoots. Pillow's own arithmetic is fixed-point with 22 fractional bits; f32 is as near to the exact sum.
fn resample_rounded<T: Copy + Into<f32>>(
    samples: &[T],
    size: (usize, usize),
    to: (usize, usize),
    (filter, white): (Filter, f32),
) -> Vec<f32> {
    let round = |mut samples: Vec<f32>| {
        samples.iter_mut().for_each(|sample| *sample = (*sample + 0.5).floor().clamp(0.0, white));
        samples
    };
    let between = if is_down_first(size, to) { (size.0, to.1) } else { (to.0, size.1) };
    let first = round(resample(size, between, filter, |y, row| {
        row.iter_mut().zip(&samples[y * size.0..]).for_each(|(to, from)| *to = (*from).into());
    }));
    round(resample(between, to, filter, |y, row| row.copy_from_slice(&first[y * between.0..][..between.0])))
}

/// Whether y is resampled before x: in Pillow 13.0.0 where the height shrinks by more than twice the pixels that the width does, in older
/// versions never (measured on 400 pairs of random sizes; the change is python-pillow/Pillow#9549).
fn is_down_first((width, height): (usize, usize), (columns, rows): (usize, usize)) -> bool {
    height > rows && height - rows > 2 * width.saturating_sub(columns)
}

impl GrayImage {
    /// The image at another size, rounded to its own depth after each pass as Pillow does (`Image.resize`).
    ///
    /// # Panics
    /// If `width` or `height` is 0.
    #[must_use]
    pub fn resize(&self, width: usize, height: usize, filter: Filter) -> Self {
        check(width, height);
        let size = (self.width(), self.height());
        match self.depth() {
            GrayDepth::U8(samples) => {
                let to = resample_rounded(samples, size, (width, height), (filter, 255.0));
                Self::from_u8(width, height, to.iter().map(|&v| v as u8).collect::<Vec<_>>())
            }
            GrayDepth::U16(samples) => {
                let to = resample_rounded(samples, size, (width, height), (filter, self.white().into()));
                let to: Vec<u16> = to.iter().map(|&v| v as u16).collect();
                Self::from_u16(width, height, to).with_white(self.white())
            }
        }
    }
}

impl<R: PixelRange> Pixels<R> {
    /// The picture at another size, without rounding or clipping: torch's `interpolate(antialias=True)`.
    ///
    /// [`Filter::Bicubic`] and [`Filter::Lanczos`] may leave the range, see [`Pixels::clamp`].
    ///
    /// # Panics
    /// If `width` or `height` is 0.
    #[must_use]
    pub fn resize(&self, width: usize, height: usize, filter: Filter) -> Self {
        check(width, height);
        let read = |y: usize, row: &mut [f32]| row.copy_from_slice(&self.values()[y * self.width()..][..self.width()]);
        Self::new(width, height, resample((self.width(), self.height()), (width, height), filter, read))
    }

    /// The picture with values outside the range set to its ends.
    #[must_use]
    pub fn clamp(&self) -> Self {
        Self::new(self.width(), self.height(), self.values().iter().map(|v| v.clamp(R::LOW, R::HIGH)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Signed;

    #[test]
    fn halving_by_area_takes_means() {
        let image = GrayImage::from_u8(4, 2, vec![0u8, 2, 10, 20, 4, 6, 30, 40]);
        assert_eq!(image.resize(2, 1, Filter::Area), GrayImage::from_u8(2, 1, vec![3u8, 25]));
    }

    #[test]
    fn a_flat_picture_stays_flat() {
        for filter in [Filter::Area, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let image = GrayImage::from_u16(7, 5, vec![1234u16; 35]);
            assert_eq!(image.resize(3, 9, filter), GrayImage::from_u16(3, 9, vec![1234u16; 27]));
            let pixels = image.to_pixels::<Signed>().resize(3, 9, filter);
            let expected = image.to_pixels::<Signed>().values()[0];
            assert!(pixels.values().iter().all(|v| (v - expected).abs() < 1e-6), "{filter:?}");
        }
    }

    /// Pillow 13.0.0: its result at these sizes is that of two calls in this order, and not of the other.
    #[test]
    fn x_is_resampled_first_unless_the_height_shrinks_far_more() {
        let image = |width: usize, height: usize| {
            let level = |i: usize| if i * i % 7 < 3 { 0 } else { 255 };
            GrayImage::from_u8(width, height, (0..width * height).map(level).collect::<Vec<u8>>())
        };
        for ((width, height), (columns, rows), is_down_first) in [
            ((75, 118), (32, 32), false),
            ((75, 119), (32, 32), true),
            ((64, 96), (32, 32), false),
            ((64, 97), (32, 32), true),
            ((48, 65), (43, 109), false),
            ((6, 6), (9, 4), true),
        ] {
            let image = image(width, height);
            let x_first = image.resize(columns, height, Filter::Lanczos).resize(columns, rows, Filter::Lanczos);
            let y_first = image.resize(width, rows, Filter::Lanczos).resize(columns, rows, Filter::Lanczos);
            assert_ne!(x_first, y_first);
            let expected = if is_down_first { y_first } else { x_first };
            assert_eq!(image.resize(columns, rows, Filter::Lanczos), expected, "{width}x{height} to {columns}x{rows}");
        }
    }

    #[test]
    fn overshoot_is_clamped() {
        let edge = GrayImage::from_u8(4, 1, vec![0u8, 0, 255, 255]).to_pixels::<Signed>().resize(16, 1, Filter::Bicubic);
        assert!(edge.values().iter().any(|v| v.abs() > 1.0));
        assert!(edge.clamp().values().iter().all(|v| v.abs() <= 1.0));
    }
}
