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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::frechet;
    use crate::evaluation::Rows;
    use crate::evaluation::fidelity::Moments;

    fn of(values: &[f64], width: usize) -> Moments {
        Moments::of(Rows::new(values, width).unwrap()).unwrap()
    }

    /// Rows m + a e_j and m - a e_j for each column j that has a spread: the mean is m, and the covariance is diagonal, 2 a² / (n - 1).
    fn cross(mean: &[f64], spread: &[f64]) -> Vec<f64> {
        let row = |(j, a): (usize, f64)| mean.iter().enumerate().map(move |(i, m)| if i == j { m + a } else { *m });
        let used = spread.iter().enumerate().filter(|(_, a)| **a != 0.0);
        used.flat_map(|(j, &a)| row((j, a)).chain(row((j, -a)))).collect()
    }

    /// Of diagonal Gaussians: |m1 - m2|² + sum of (s1 - s2)², s being standard deviations.
    fn closed_form(a: (&[f64], &[f64]), b: (&[f64], &[f64])) -> f64 {
        let deviations = |spread: &[f64]| {
            let rows = 2.0 * spread.iter().filter(|a| **a != 0.0).count() as f64;
            spread.iter().map(|a| a * (2.0 / (rows - 1.0)).sqrt()).collect::<Vec<_>>()
        };
        let square = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        square(a.0, b.0) + square(&deviations(a.1), &deviations(b.1))
    }

    /// Full rank (kept as covariances), and columns without spread (kept as rows, or as a covariance that has no Cholesky factor).
    #[test]
    fn diagonal_gaussians_are_at_the_distance_of_the_closed_form() {
        let full: (&[f64], &[f64]) = (&[1.0, 2.0, -3.0, 0.0], &[1.0, 0.5, 2.0, 3.0]);
        let other: (&[f64], &[f64]) = (&[0.0, 1.0, 5.0, 0.5], &[2.0, 0.25, 1.0, 1.0]);
        let flat: (&[f64], &[f64]) = (&[1.0, 1.0, 1.0, 1.0], &[3.0, 0.0, 1.0, 2.0]);
        let line: (&[f64], &[f64]) = (&[0.0, 0.0, 0.0, 1.0], &[0.0, 0.0, 4.0, 0.0]);
        let narrow: (&[f64], &[f64]) = (&[0.0, 0.0, 0.0, 1.0], &[0.0, 0.5, 4.0, 0.0]);
        let sets = [full, other, flat, line, narrow];
        for a in sets {
            for b in sets {
                let found = frechet(&of(&cross(a.0, a.1), 4), &of(&cross(b.0, b.1), 4)).unwrap();
                let expected = closed_form(a, b);
                // A direction in which one set varies by 1 and the other by what rounding left: 2 (1e-16)^½.
                assert!((found - expected).abs() < 1e-7, "{found} for {expected}");
            }
        }
    }

    /// Nothing spreads: what is left is the distance of the means, whichever form the moments have.
    #[test]
    fn identical_rows_are_points() {
        for rows in [2, 3, 9] {
            let (a, b) = (of(&[1.0, 2.0, 3.0].repeat(rows), 3), of(&[1.0, 5.0, 7.0].repeat(rows), 3));
            assert_eq!(frechet(&a, &b).unwrap(), 25.0);
            assert_eq!(frechet(&a, &a).unwrap(), 0.0);
        }
    }

    #[test]
    fn features_of_another_width_are_refused() {
        let error = frechet(&of(&[1.0, 2.0], 1), &of(&[1.0, 2.0, 3.0, 4.0], 2)).unwrap_err().to_string();
        assert!(error.contains("different networks"), "{error}");
    }

    /// Columns whose variances span twelve orders of magnitude, some of them dependent.
    #[test]
    fn a_set_is_at_no_distance_of_itself() {
        for (rows, width) in [(8, 30), (40, 30), (400, 30)] {
            let value = |at: usize| {
                let (row, column) = (at / width, at % width);
                let scale = 10f64.powf(-(column as f64) * 0.4);
                scale * ((row * 7919 + column.min(20) * 104_729) as f64).sin() + 3.0
            };
            let moments = of(&(0..rows * width).map(value).collect::<Vec<_>>(), width);
            let found = frechet(&moments, &moments.clone()).unwrap();
            assert!(found <= 1e-12 * moments.variance(), "{found:e} of {}", moments.variance());
        }
    }

    fn two_sets() -> impl Strategy<Value = (usize, Vec<f64>, Vec<f64>)> {
        (1..7usize).prop_flat_map(|width| {
            let set = move || (2..15usize).prop_flat_map(move |rows| prop::collection::vec(-10.0..10.0f64, rows * width));
            (Just(width), set(), set())
        })
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_at_least_the_distance_of_the_means((width, a, b) in two_sets()) {
            let (a, b) = (of(&a, width), of(&b, width));
            let (there, back) = (frechet(&a, &b).unwrap(), frechet(&b, &a).unwrap());
            let means: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b) * (a - b)).sum();
            let rounding = 1e-6 * (1.0 + a.variance() + b.variance());
            prop_assert!((there - back).abs() < rounding);
            prop_assert!(there >= means - rounding);
        }

        /// A Householder reflection: x - 2 v (v·x) / (v·v), and a shift.
        #[test]
        fn order_and_rotation_don_t_matter((width, a, b) in two_sets(), v in prop::collection::vec(0.1..1.0f64, 7), shift in -9.0..9.0f64) {
            let length: f64 = v[..width].iter().map(|v| v * v).sum();
            let turned = |values: &[f64]| {
                let row = |row: &[f64]| {
                    let along: f64 = row.iter().zip(&v).map(|(x, v)| x * v).sum::<f64>() * 2.0 / length;
                    row.iter().zip(&v).map(|(x, v)| x - along * v + shift).collect::<Vec<_>>()
                };
                of(&values.chunks(width).rev().flat_map(row).collect::<Vec<_>>(), width)
            };
            let plain = frechet(&of(&a, width), &of(&b, width)).unwrap();
            let moved = frechet(&turned(&a), &turned(&b)).unwrap();
            // The roots of eigenvalues that are 0 but for rounding.
            prop_assert!((plain - moved).abs() < 1e-4, "{} {}", plain, moved);
        }
    }
}
