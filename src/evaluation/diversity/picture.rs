//! A gray image with its local means, ready to be compared with several others.

use super::error::DiversityError;
use super::filter::Taps;

/// Stabilising constants for values from 0 to 1: (0.01)² and (0.03)² (Wang et al. 2004, section III-B).
const LUMINANCE: f64 = 0.0001;
const CONTRAST: f64 = 0.0009;

/// One image at one scale.
#[derive(Clone, Debug)]
pub struct Picture {
    width: usize,
    pixels: Vec<f64>,
    /// Mean and variance in each window.
    means: Vec<f64>,
    variances: Vec<f64>,
}

/// Means over the windows of two images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// Of luminance, contrast and structure: SSIM.
    pub whole: f64,
    /// Of contrast and structure.
    pub contrast: f64,
}

impl Picture {
    /// `unbiased` is what a variance over a window is multiplied by: 1, or n / (n - 1) for that of a sample.
    pub fn new<const N: usize>(pixels: Vec<f64>, width: usize, taps: &Taps<N>, unbiased: f64) -> Self {
        let squares: Vec<f64> = pixels.iter().map(|x| x * x).collect();
        let means = taps.means(&pixels, width);
        let mut variances = taps.means(&squares, width);
        variances.iter_mut().zip(&means).for_each(|(square, mean)| *square = unbiased * (*square - mean * mean));
        Self { width, pixels, means, variances }
    }

    /// Checks that the pixels are `width x height` gray values from 0 to 1, no side shorter than `least`.
    pub fn checked<T: Copy + Into<f64>>(
        pixels: &[T],
        (width, height): (usize, usize),
        (measure, least): (&'static str, usize),
    ) -> Result<Vec<f64>, DiversityError> {
        if width.checked_mul(height) != Some(pixels.len()) {
            return Err(DiversityError::Size { found: pixels.len(), width, height });
        }
        if width.min(height) < least {
            return Err(DiversityError::TooSmall { measure, width, height, least });
        }
        let pixels: Vec<f64> = pixels.iter().map(|&value| value.into()).collect();
        match pixels.iter().position(|value| !(0.0..=1.0).contains(value)) {
            Some(at) => Err(DiversityError::Value { column: at % width, row: at / width, value: pixels[at] }),
            None => Ok(pixels),
        }
    }

    /// Compares with a picture of the same size, taps and factor.
    pub fn likeness<const N: usize>(&self, other: &Self, taps: &Taps<N>, unbiased: f64) -> Likeness {
        let products: Vec<f64> = self.pixels.iter().zip(&other.pixels).map(|(a, b)| a * b).collect();
        let products = taps.means(&products, self.width);
        let (mut whole, mut contrast) = (0.0, 0.0);
        let spread = self.variances.iter().zip(&other.variances);
        for (((product, a), b), (var_a, var_b)) in products.iter().zip(&self.means).zip(&other.means).zip(spread) {
            let covariance = unbiased * (product - a * b);
            let structure = (2.0 * covariance + CONTRAST) / (var_a + var_b + CONTRAST);
            contrast += structure;
            whole += structure * (2.0 * a * b + LUMINANCE) / (a * a + b * b + LUMINANCE);
        }
        let windows = products.len() as f64;
        Likeness { whole: whole / windows, contrast: contrast / windows }
    }
}
