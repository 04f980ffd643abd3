//! MS-SSIM: structural similarity at five scales.

use super::error::DiversityError;
use super::filter::Taps;
use super::picture::Picture;
use super::ssim::Window;

/// Weights of the scales, finest first (Wang, Simoncelli and Bovik 2003, section 4.2).
const WEIGHTS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];

/// The shortest side that leaves a window at the coarsest scale, as pytorch-msssim counts: more than 10 x 2⁴.
const LEAST: usize = 161;

/// What halving makes of a side that is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddSide {
    /// A row or column of zeros is put before it, which darkens that edge: pytorch-msssim 1.0.
    Pad,
    /// Its last row or column is left out: torchmetrics.
    Drop,
}

/// Multi-scale structural similarity of two gray images, as pytorch-msssim 1.0's `ms_ssim` with data range 1: window 11 x 11, sigma 1.5,
/// means of 2 x 2 pixels from scale to scale, terms below 0 taken as 0. Pixels are row-major from 0 to 1; 1 for equal images.
///
/// # Errors
/// [`DiversityError`] if sizes differ, a side is shorter than 161, or a pixel is not from 0 to 1.
pub fn ms_ssim<T: Copy + Into<f64>>(a: &[T], b: &[T], width: usize, height: usize) -> Result<f64, DiversityError> {
    ms_ssim_with(OddSide::Pad, a, b, width, height)
}

/// [`ms_ssim`] with odd sides halved as one likes.
///
/// # Errors
/// As [`ms_ssim`].
pub fn ms_ssim_with<T: Copy + Into<f64>>(
    odd: OddSide,
    a: &[T],
    b: &[T],
    width: usize,
    height: usize,
) -> Result<f64, DiversityError> {
    Ok(Pyramid::new(a, (width, height), odd)?.likeness(&Pyramid::new(b, (width, height), odd)?))
}

/// One image at five scales, with what every comparison needs of it.
pub(super) struct Pyramid {
    taps: Taps,
    scales: [Picture; WEIGHTS.len()],
}

impl Pyramid {
    pub fn new<T: Copy + Into<f64>>(pixels: &[T], size: (usize, usize), odd: OddSide) -> Result<Self, DiversityError> {
        let taps = Window::Gaussian.taps();
        let mut pixels = Picture::checked(pixels, size, ("MS-SSIM", LEAST))?;
        let mut width = size.0;
        let scales = std::array::from_fn(|scale| {
            if scale > 0 {
                (pixels, width) = halved(&pixels, width, odd);
            }
            Picture::new(pixels.clone(), width, &taps, 1.0)
        });
        Ok(Self { taps, scales })
    }

    /// MS-SSIM with a pyramid of the same size.
    pub fn likeness(&self, other: &Self) -> f64 {
        let last = WEIGHTS.len() - 1;
        let scales = self.scales.iter().zip(&other.scales).enumerate();
        let term = |(scale, (a, b)): (usize, (&Picture, &Picture))| {
            let likeness = a.likeness(b, &self.taps, 1.0);
            let value = if scale == last { likeness.whole } else { likeness.contrast };
            value.max(0.0).powf(WEIGHTS[scale])
        };
        scales.map(term).product()
    }
}

/// Means of 2 x 2 pixels, and the new width.
fn halved(pixels: &[f64], width: usize, odd: OddSide) -> (Vec<f64>, usize) {
    let height = pixels.len() / width;
    let side = |length: usize| match odd {
        OddSide::Pad => length.div_ceil(2),
        OddSide::Drop => length / 2,
    };
    // Where padded, everything moves on by one: the first mean is of one pixel and a zero.
    let before = |length: usize| if odd == OddSide::Pad { length % 2 } else { 0 };
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
