//! The Fréchet distance of two Gaussians.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

use super::error::FidelityError;
use super::moments::Moments;

/// Squared Fréchet distance of the Gaussians with these moments: |m1 - m2|² + tr S1 + tr S2 - 2 tr (S1 S2)^½ (Dowson and Landau 1982;
/// "FID" where the features are Inception's, Heusel et al. 2017, equation 6). At least 0.
///
/// tr (S1 S2)^½ is the sum of the singular values of F1 F2^T for any factors of S = F^T F. No root is taken of an eigenvalue that is zero
/// but for rounding, so singular covariances do no harm, no constant is added to a diagonal, and a set is at distance 0 of itself up to
/// rounding of its variance. With few rows the factors are small, and so is the work: sets of 50 images cost what a 50 x 50 matrix costs.
///
/// The distance of two finite samples of one distribution is above 0, and the more so the fewer the rows: compare it with that of real
/// images among themselves, at equal sizes.
///
/// # Errors
/// [`FidelityError::Rows`] if the widths differ, [`FidelityError::Decomposition`].
pub fn frechet(a: &Moments, b: &Moments) -> Result<f64, FidelityError> {
    a.comparable(b)?;
    let (left, right) = (a.factor()?, b.factor()?);
    let mut products = Mat::zeros(left.nrows(), right.nrows());
    matmul(&mut products, Accum::Replace, left, right.transpose(), 1.0, Par::rayon(0));
    let size = products.nrows();
    let failed = |_| FidelityError::Decomposition { what: "singular values", size };
    let root: f64 = products.singular_values().map_err(failed)?.iter().sum();
    let apart: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b) * (a - b)).sum();
    Ok((apart + (a.variance() + b.variance() - 2.0 * root)).max(0.0))
}
