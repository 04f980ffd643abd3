//! MS-SSIM: structural similarity at five scales.

use super::error::DiversityError;
use super::picture::Picture;
use super::ssim::{gaussian, mirrored};

/// Weights of the scales, finest first (Wang, Simoncelli and Bovik 2003, section 4.2).
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// The shortest side that leaves a window at the coarsest scale, as pytorch-msssim counts: more than 10 x 2⁴.
const LEAST: usize = 161;

/// Whose convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// pytorch-msssim 1.0. Before an odd side is halved, a row or column of zeros is put before it, which darkens that edge.
    PytorchMsssim,
    /// torchmetrics 1.9. The last row or column of an odd side is left out, and the coarsest scale is mirrored at its border.
    Torchmetrics,
}

/// Multi-scale structural similarity of two gray images, as pytorch-msssim 1.0's `ms_ssim` with data range 1: window 11 x 11, sigma 1.5,
/// means of 2 x 2 pixels from scale to scale, terms below 0 taken as 0. Pixels are row-major from 0 to 1; 1 for equal images.
///
/// # Errors
/// [`DiversityError`] if sizes differ, a side is shorter than 161, or a pixel is not from 0 to 1.
pub fn ms_ssim<T: Copy + Into<f64>>(a: &[T], b: &[T], width: usize, height: usize) -> Result<f64, DiversityError> {
    ms_ssim_with(Convention::PytorchMsssim, a, b, width, height)
}

/// [`ms_ssim`] by a convention of choice.
///
/// # Errors
/// As [`ms_ssim`].
pub fn ms_ssim_with<T: Copy + Into<f64>>(
    convention: Convention,
    a: &[T],
    b: &[T],
    width: usize,
    height: usize,
) -> Result<f64, DiversityError> {
    let size = (width, height);
    Ok(Pyramid::new(a, size, convention)?.likeness(&Pyramid::new(b, size, convention)?))
}

/// One image at five scales, with what every comparison needs of it.
pub(super) struct Pyramid {
    scales: [Picture; WEIGHTS.len()],
}

impl Pyramid {
    pub fn new<T: Copy + Into<f64>>(
        pixels: &[T],
        size: (usize, usize),
        convention: Convention,
    ) -> Result<Self, DiversityError> {
        let taps = gaussian();
        let mut pixels = Picture::checked(pixels, size, ("MS-SSIM", LEAST))?;
        let mut width = size.0;
        let scales = std::array::from_fn(|scale| {
            if scale > 0 {
                (pixels, width) = halved(&pixels, width, convention);
            }
            if scale == WEIGHTS.len() - 1 && convention == Convention::Torchmetrics {
                (pixels, width) = mirrored(&pixels, width, 5);
            }
            Picture::new(pixels.clone(), width, &taps, 1.0)
        });
        Ok(Self { scales })
    }

    /// MS-SSIM with a pyramid of the same size.
    pub fn likeness(&self, other: &Self) -> f64 {
        let (taps, last) = (gaussian(), WEIGHTS.len() - 1);
        let scales = self.scales.iter().zip(&other.scales).enumerate();
        let term = |(scale, (a, b)): (usize, (&Picture, &Picture))| {
            let likeness = a.likeness(b, &taps, 1.0);
            let value = if scale == last { likeness.whole } else { likeness.contrast };
            value.max(0.0).powf(WEIGHTS[scale])
        };
        scales.map(term).product()
    }
}

/// Means of 2 x 2 pixels, and the new width.
fn halved(pixels: &[f64], width: usize, convention: Convention) -> (Vec<f64>, usize) {
    let height = pixels.len() / width;
    // Where padded, everything moves on by one: the first mean is of one pixel and a zero.
    let before = |length: usize| match convention {
        Convention::PytorchMsssim => length % 2,
        Convention::Torchmetrics => 0,
    };
    let side = |length: usize| (length + before(length)) / 2;
    let (left, top) = (before(width), before(height));
    let (across, down) = (side(width), side(height));
    let mut half = Vec::with_capacity(across * down);
    let mut sums = vec![0.0; width];
    for row in 0..down {
        let second = (2 * row + 1 - top) * width;
        sums.copy_from_slice(&pixels[second..][..width]);
        if let Some(first) = second.checked_sub(width) {
            sums.iter_mut().zip(&pixels[first..][..width]).for_each(|(sum, value)| *sum += value);
        }
        half.extend(sums[..left].iter().map(|sum| sum / 4.0));
        half.extend(sums[left..].chunks_exact(2).map(|pair| (pair[0] + pair[1]) / 4.0));
    }
    (half, across)
}

#[cfg(test)]
mod tests {
    use super::{Convention, halved, ms_ssim, ms_ssim_with};

    /// A picture with detail at every scale.
    fn picture(width: usize, height: usize, phase: f64) -> Vec<f64> {
        let wave = |at: usize, length: f64| ((at % width) as f64 / length + phase).sin() * ((at / width) as f64 / length).cos();
        (0..width * height).map(|at| 0.5 + 0.2 * wave(at, 2.0) + 0.2 * wave(at, 30.0)).collect()
    }

    /// By hand: torch's avg_pool2d counts the zeros of its padding.
    #[test]
    fn odd_sides_are_padded_or_dropped() {
        let pixels = [4.0, 8.0, 12.0, 16.0, 20.0, 24.0];
        assert_eq!(halved(&pixels, 3, Convention::PytorchMsssim), (vec![5.0, (8.0 + 12.0 + 20.0 + 24.0) / 4.0], 2));
        assert_eq!(halved(&pixels, 3, Convention::Torchmetrics), (vec![(4.0 + 8.0 + 16.0 + 20.0) / 4.0], 1));
        assert_eq!(halved(&pixels, 2, Convention::PytorchMsssim), (vec![3.0, (12.0 + 16.0 + 20.0 + 24.0) / 4.0], 1));
        assert_eq!(halved(&pixels, 2, Convention::Torchmetrics), (vec![(4.0 + 8.0 + 12.0 + 16.0) / 4.0], 1));
        assert_eq!(halved(&pixels[..1], 1, Convention::PytorchMsssim), (vec![1.0], 1));
    }

    #[test]
    fn equal_pictures_are_alike_and_an_inverted_one_is_not() {
        for (width, height) in [(161, 161), (170, 165), (176, 192)] {
            let (a, b) = (picture(width, height, 0.0), picture(width, height, 0.7));
            let inverted: Vec<f64> = a.iter().map(|x| 1.0 - x).collect();
            for convention in [Convention::PytorchMsssim, Convention::Torchmetrics] {
                let of = |a: &[f64], b: &[f64]| ms_ssim_with(convention, a, b, width, height).unwrap();
                assert!((of(&a, &a) - 1.0).abs() < 1e-12);
                assert!((of(&a, &b) - of(&b, &a)).abs() < 1e-14);
                assert!(of(&a, &b) > 0.01 && of(&a, &b) < 0.99);
                // Negative terms have no roots.
                assert_eq!(of(&a, &inverted), 0.0);
            }
        }
    }

    #[test]
    fn small_pictures_are_refused() {
        let gray = vec![0.5f32; 160 * 200];
        let error = ms_ssim(&gray, &gray, 200, 160).unwrap_err().to_string();
        assert_eq!(error, "MS-SSIM of 200 x 160 pixels: the smaller side must be at least 161");
    }
}
