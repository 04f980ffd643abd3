//! SSIM: structural similarity at one scale.

use super::error::DiversityError;
use super::filter::Taps;
use super::picture::Picture;

/// The window in which pixels are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 11 x 11, Gaussian with sigma 1.5, wherever it lies within the image: Wang et al. 2004, pytorch-msssim 1.0, scikit-image 0.26 with
    /// `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.
    Gaussian,
    /// The same around every pixel, the image being mirrored at its border: torchmetrics 1.9.
    Mirrored,
    /// 7 x 7, all pixels alike, covariances over n - 1, wherever it lies within the image: scikit-image's default.
    Uniform,
}

/// Taps of the Gaussian window.
pub(super) fn gaussian() -> Taps<11> {
    Taps::gaussian(1.5)
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
    let size = (width, height);
    match window {
        Window::Gaussian => compare(a, b, size, &gaussian(), 1.0, 0),
        Window::Mirrored => compare(a, b, size, &gaussian(), 1.0, 5),
        Window::Uniform => compare(a, b, size, &Taps::<7>::uniform(), 49.0 / 48.0, 0),
    }
}

fn compare<T: Copy + Into<f64>, const N: usize>(
    a: &[T],
    b: &[T],
    size: (usize, usize),
    taps: &Taps<N>,
    unbiased: f64,
    border: usize,
) -> Result<f64, DiversityError> {
    let picture = |pixels| {
        let pixels = Picture::checked(pixels, size, ("SSIM", N))?;
        let (pixels, width) = mirrored(&pixels, size.0, border);
        Ok(Picture::new(pixels, width, taps, unbiased))
    };
    Ok(picture(a)?.likeness(&picture(b)?, taps, unbiased).whole)
}

/// The image with `by` more pixels on each side, and its new width: what lies as far inside of the outermost pixels, which are not repeated.
pub(super) fn mirrored(pixels: &[f64], width: usize, by: usize) -> (Vec<f64>, usize) {
    let height = pixels.len() / width;
    let inside = |at: usize, length: usize| at.abs_diff(by).min((2 * (length - 1) + by).saturating_sub(at));
    let row = |row: usize| {
        let line = &pixels[inside(row, height) * width..][..width];
        (0..width + 2 * by).map(|column| line[inside(column, width)])
    };
    ((0..height + 2 * by).flat_map(row).collect(), width + 2 * by)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Window, mirrored, ssim, ssim_with};
    use crate::evaluation::diversity::DiversityError;

    /// numpy.pad's "reflect".
    #[test]
    fn borders_are_mirrored_without_repeating_them() {
        let (row, width) = mirrored(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 1);
        assert_eq!(width, 5);
        assert_eq!(row[..5], [5.0, 4.0, 5.0, 6.0, 5.0]);
        assert_eq!(row[5..10], [2.0, 1.0, 2.0, 3.0, 2.0]);
        assert_eq!(row[15..], [2.0, 1.0, 2.0, 3.0, 2.0]);
    }

    #[test]
    fn pictures_that_can_t_be_compared_are_refused() {
        let gray = vec![0.5f32; 20 * 11];
        assert!(ssim(&gray, &gray, 20, 11).is_ok());
        let refused = |pixels: &[f32], width, height| ssim(&gray, pixels, width, height).unwrap_err();
        assert_eq!(refused(&gray[1..], 20, 11), DiversityError::Size { found: 219, width: 20, height: 11 });
        assert_eq!(refused(&[], usize::MAX, 2), DiversityError::Size { found: 220, width: usize::MAX, height: 2 });
        let small = refused(&gray, 22, 10);
        assert!(small.to_string().contains("SSIM of 22 x 10 pixels: the smaller side must be at least 11"), "{small}");
        for wrong in [f32::NAN, -0.1, 1.5, 128.0] {
            let mut pixels = gray.clone();
            pixels[23] = wrong;
            let error = refused(&pixels, 20, 11).to_string();
            assert!(error.starts_with("pixel 3, 1 is ") && error.contains("divided by 255"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn equal_pictures_are_alike_and_order_doesn_t_matter(
            a in prop::collection::vec(0.0..=1.0f64, 13 * 12), b in prop::collection::vec(0.0..=1.0f64, 13 * 12)
        ) {
            for window in [Window::Gaussian, Window::Mirrored, Window::Uniform] {
                let of = |a: &[f64], b: &[f64]| ssim_with(window, a, b, 13, 12).unwrap();
                prop_assert!((of(&a, &a) - 1.0).abs() < 1e-12);
                prop_assert!((of(&a, &b) - of(&b, &a)).abs() < 1e-14);
                prop_assert!(of(&a, &b) < 1.0 && of(&a, &b) > -1.0);
            }
        }
    }
}
