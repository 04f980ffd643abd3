//! Antialiased resampling, as Pillow and torch do it.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

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

impl Filter {
    fn kernel(self) -> FilterType {
        match self {
            Self::Area => FilterType::Box,
            Self::Bilinear => FilterType::Bilinear,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }
}

/// Resamples `from` (row-major, `size.0` columns and `size.1` rows) to `to` columns and rows.
fn convolve(from: &[F32], size: (usize, usize), to: (usize, usize), filter: Filter) -> Vec<F32> {
    let side = |n: usize| u32::try_from(n).expect("an image side fits 32 bits");
    let view =
        TypedImageRef::new(side(size.0), side(size.1), from).expect("GrayImage and Pixels check their number of samples");
    let mut out = vec![F32::default(); to.0 * to.1];
    let mut target = TypedImage::from_pixels_slice(side(to.0), side(to.1), &mut out).expect("as many pixels as the target has");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter.kernel())).use_alpha(false);
    Resizer::new().resize_typed(&view, &mut target, &options).expect("the source window is the whole image");
    out
}

/// As [`convolve`] along x, then along y, rounded and clipped to `0..=white` after each: what Pillow does to integers. The order
/// shows where a kernel overshoots. Pillow's own arithmetic is fixed-point with 22 fractional bits; f32 is as near to the exact
/// sum, while the 8-bit kernels of the resampler are sometimes off by one level.
fn convolve_rounded(from: &[F32], size: (usize, usize), to: (usize, usize), (filter, white): (Filter, f32)) -> Vec<F32> {
    let round = |mut samples: Vec<F32>| {
        for sample in &mut samples {
            sample.0 = (sample.0 + 0.5).floor().clamp(0.0, white);
        }
        samples
    };
    let between = (to.0, size.1);
    round(convolve(&round(convolve(from, size, between, filter)), between, to, filter))
}

fn check(width: usize, height: usize) {
    assert!(width * height > 0, "a resize to {width}x{height}");
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
                let from: Vec<_> = samples.iter().map(|&v| F32::new(v.into())).collect();
                let to = convolve_rounded(&from, size, (width, height), (filter, 255.0));
                Self::from_u8(width, height, to.iter().map(|p| p.0 as u8).collect::<Vec<_>>())
            }
            GrayDepth::U16(samples) => {
                let from: Vec<_> = samples.iter().map(|&v| F32::new(v.into())).collect();
                let to = convolve_rounded(&from, size, (width, height), (filter, 65535.0));
                Self::from_u16(width, height, to.iter().map(|p| p.0 as u16).collect::<Vec<_>>())
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
        let from: Vec<F32> = self.values().iter().map(|&v| F32::new(v)).collect();
        let to = convolve(&from, (self.width(), self.height()), (width, height), filter);
        Self::new(width, height, to.iter().map(|p| p.0).collect::<Vec<_>>())
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

    #[test]
    fn x_is_resampled_before_y() {
        let image = GrayImage::from_u8(6, 6, (0..36u32).map(|i| if i * i % 7 < 3 { 0 } else { 255 }).collect::<Vec<u8>>());
        let x_first = image.resize(9, 6, Filter::Lanczos).resize(9, 4, Filter::Lanczos);
        let y_first = image.resize(6, 4, Filter::Lanczos).resize(9, 4, Filter::Lanczos);
        assert_ne!(x_first, y_first);
        assert_eq!(image.resize(9, 4, Filter::Lanczos), x_first);
    }

    #[test]
    fn overshoot_is_clamped() {
        let edge = GrayImage::from_u8(4, 1, vec![0u8, 0, 255, 255]).to_pixels::<Signed>().resize(16, 1, Filter::Bicubic);
        assert!(edge.values().iter().any(|v| v.abs() > 1.0));
        assert!(edge.clamp().values().iter().all(|v| v.abs() <= 1.0));
    }
}
