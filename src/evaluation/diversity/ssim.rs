//! SSIM: structural similarity at one scale.

use super::error::DiversityError;
use super::filter::Taps;
use super::picture::Picture;

/// The window in which pixels are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 11 x 11, Gaussian with sigma 1.5: Wang et al. 2004, pytorch-msssim 1.0; torchmetrics (which pads and then cuts the padding off again) and
    /// scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.
    Gaussian,
    /// 7 x 7, all pixels alike, covariances over n - 1: scikit-image's default.
    Uniform,
}

impl Window {
    pub(super) fn taps(self) -> Taps {
        match self {
            Self::Gaussian => Taps::gaussian(11, 1.5),
            Self::Uniform => Taps::uniform(7),
        }
    }

    /// What makes a variance over the window the one that is wanted.
    fn unbiased(self) -> f64 {
        match self {
            Self::Gaussian => 1.0,
            Self::Uniform => 49.0 / 48.0,
        }
    }
}

/// Structural similarity of two gray images (Wang et al. 2004, equation 13), averaged over all windows that lie within: 1 for equal images,
/// as pytorch-msssim 1.0's `ssim` with data range 1. Pixels are row-major from 0 to 1.
///
/// # Errors
/// [`DiversityError`] if sizes differ, a side is shorter than 11, or a pixel is not from 0 to 1.
pub fn ssim<T: Copy + Into<f64>>(a: &[T], b: &[T], width: usize, height: usize) -> Result<f64, DiversityError> {
    ssim_with(Window::Gaussian, a, b, width, height)
}

/// [`ssim`] in a window of choice.
///
/// # Errors
/// As [`ssim`]; the shortest side is that of the window.
pub fn ssim_with<T: Copy + Into<f64>>(
    window: Window,
    a: &[T],
    b: &[T],
    width: usize,
    height: usize,
) -> Result<f64, DiversityError> {
    let (taps, unbiased) = (window.taps(), window.unbiased());
    let picture = |pixels| {
        let pixels = Picture::checked(pixels, (width, height), ("SSIM", taps.len()))?;
        Ok(Picture::new(pixels, width, &taps, unbiased))
    };
    Ok(picture(a)?.likeness(&picture(b)?, &taps, unbiased).whole)
}
