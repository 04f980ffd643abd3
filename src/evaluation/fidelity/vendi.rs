//! The Vendi score.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par, Side};

use super::error::FidelityError;
use super::product::widened;
use crate::evaluation::rows::{Rows, RowsError};

/// Effective number of different images (Friedman and Dieng 2023): the exponential of the entropy of the eigenvalues of K / n, where K
/// holds the cosines of the features. From 1 (all the same) to the smaller of the number of images and the width.
///
/// # Errors
/// As [`Spectrum::of`].
pub fn vendi<T: Copy + Into<f64> + Sync>(rows: Rows<'_, T>) -> Result<f64, FidelityError> {
    Ok(Spectrum::of(rows)?.score(1.0))
}

/// Eigenvalues of a kernel whose trace is 1: how much there is of each independent kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Those above 0.
    values: Vec<f64>,
}

impl Spectrum {
    /// Of the cosines of rows. The matrix is as small as rows or columns allow.
    ///
    /// # Errors
    /// [`FidelityError::TooFew`] without a row, [`FidelityError::Zero`] for a row of zeros, [`FidelityError::Overflow`],
    /// [`FidelityError::Decomposition`].
    pub fn of<T: Copy + Into<f64> + Sync>(rows: Rows<'_, T>) -> Result<Self, FidelityError> {
        let (count, width) = (rows.len(), rows.width());
        if count == 0 {
            return Err(FidelityError::TooFew { what: "a Vendi score", set: "the set", found: 0, needed: 1, remedy: "" });
        }
        let mut directions = widened(&rows, |row| row, count, None);
        for (row, values) in directions.chunks_mut(width).enumerate() {
            // The largest first: squares of very large or very small numbers would leave the range.
            let largest = values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            if largest == 0.0 {
                return Err(FidelityError::Zero { row });
            }
            values.iter_mut().for_each(|value| *value /= largest);
            let length = values.iter().map(|value| value * value).sum::<f64>().sqrt() * (count as f64).sqrt();
            values.iter_mut().for_each(|value| *value /= length);
        }
        let directions = MatRef::from_row_major_slice(&directions, count, width);
        let tall = if count < width { directions.transpose() } else { directions };
        let mut kernel = Mat::zeros(tall.ncols(), tall.ncols());
        matmul(&mut kernel, Accum::Replace, tall.transpose(), tall, 1.0, Par::rayon(0));
        Self::eigenvalues(kernel)
    }

    /// Of given similarities, `count x count`: symmetric, positive on the diagonal, by whose roots they are divided. Row i counts
    /// `weights[i]` (they sum to 1), or all rows count the same.
    ///
    /// # Errors
    /// [`FidelityError::Rows`] if the similarities are not square, [`FidelityError::Kernel`] if they are not such, or if the weights are
    /// not; [`FidelityError::Decomposition`].
    pub fn of_similarities(similarities: Rows<'_, f64>, weights: Option<&[f64]>) -> Result<Self, FidelityError> {
        let count = similarities.len();
        for expected in [Some(count), weights.map(<[f64]>::len)].into_iter().flatten() {
            if similarities.width() != expected {
                return Err(RowsError::Width { found: similarities.width(), expected }.into());
            }
        }
        if let Some(weights) = weights {
            let sum = weights.iter().sum::<f64>();
            if let Some(row) = weights.iter().position(|&weight| weight < 0.0) {
                let expected = "weights of at least 0";
                return Err(FidelityError::Kernel { row, column: row, value: weights[row], expected });
            }
            if (sum - 1.0).abs() > 1e-6 {
                return Err(FidelityError::Kernel { row: 0, column: count - 1, value: sum, expected: "weights that sum to 1" });
            }
        }
        let at = |row: usize, column: usize| similarities.row(row)[column];
        for row in 0..count {
            if at(row, row) <= 0.0 {
                let expected = "more than 0 on the diagonal";
                return Err(FidelityError::Kernel { row, column: row, value: at(row, row), expected });
            }
            let scale = |column: usize| 1e-9 * (at(row, row) * at(column, column)).abs().sqrt();
            if let Some(column) = (0..row).find(|&column| (at(row, column) - at(column, row)).abs() > scale(column)) {
                let expected = "the same in both directions";
                return Err(FidelityError::Kernel { row, column, value: at(row, column), expected });
            }
        }
        let weight = |row: usize| weights.map_or(1.0 / count as f64, |weights| weights[row]);
        let root: Vec<f64> = (0..count).map(|row| (weight(row) / at(row, row)).sqrt()).collect();
        Self::eigenvalues(Mat::from_fn(count, count, |row, column| at(row, column) * root[row] * root[column]))
    }

    fn eigenvalues(kernel: Mat<f64>) -> Result<Self, FidelityError> {
        let failed = |_| FidelityError::Decomposition { what: "eigenvalues", size: kernel.nrows() };
        let values = kernel.self_adjoint_eigenvalues(Side::Lower).map_err(failed)?;
        Ok(Self { values: values.into_iter().filter(|&value| value > 0.0).collect() })
    }

    /// The score of an order (Pasarkar and Dieng 2024, equation 2): (sum of the eigenvalues' `order`-th powers)^(1 / (1 - `order`)). Order 1
    /// is [`vendi`], which is its limit; infinity counts the most frequent kind alone; below 1, rare kinds count more.
    #[must_use]
    pub fn score(&self, order: f64) -> f64 {
        if order == 1.0 {
            return (-self.values.iter().map(|value| value * value.ln()).sum::<f64>()).exp();
        }
        if order.is_infinite() {
            return self.values.iter().fold(0.0f64, |largest, &value| largest.max(value)).recip();
        }
        self.values.iter().map(|value| value.powf(order)).sum::<f64>().powf(1.0 / (1.0 - order))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Spectrum, vendi};
    use crate::evaluation::Rows;
    use crate::evaluation::fidelity::FidelityError;

    fn of(values: &[f64], width: usize) -> f64 {
        vendi(Rows::new(values, width).unwrap()).unwrap()
    }

    #[test]
    fn it_counts_kinds() {
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        near(of(&[3.0, 4.0], 2), 1.0);
        near(of(&[0.3, 0.4, 0.5].repeat(6), 3), 1.0);
        near(of(&[1.0, 0.0, 0.0, 2.0], 2), 2.0);
        // Kinds of one and of three: 1/4 and 3/4, whatever their lengths.
        let kinds = [1.0, 0.0, 0.0, 1.0, 0.0, 1e-200, 0.0, 1e200];
        near(of(&kinds, 2), (-(0.25f64 * 0.25f64.ln() + 0.75 * 0.75f64.ln())).exp());
        let spectrum = Spectrum::of(Rows::new(&kinds, 2).unwrap()).unwrap();
        near(spectrum.score(2.0), 1.0 / (0.0625 + 0.5625));
        near(spectrum.score(f64::INFINITY), 4.0 / 3.0);
    }

    #[test]
    fn what_has_no_direction_is_refused() {
        let none: &[f64] = &[];
        assert!(vendi(Rows::new(none, 2).unwrap()).unwrap_err().to_string().contains("at least 1 image"));
        assert_eq!(vendi(Rows::new(&[1.0, 0.0, 0.0, 0.0], 2).unwrap()).unwrap_err(), FidelityError::Zero { row: 1 });
    }

    #[test]
    fn similarities_are_symmetric_and_weights_sum_to_one() {
        let refused = |similarities: &[f64], weights: Option<&[f64]>| {
            Spectrum::of_similarities(Rows::new(similarities, 2).unwrap(), weights).unwrap_err().to_string()
        };
        assert!(refused(&[1.0, 0.5], None).contains("rows of 2 numbers"));
        assert!(refused(&[1.0, 0.5, 0.4, 1.0], None).contains("both directions"));
        assert!(refused(&[1.0, 0.5, 0.5, 0.0], None).contains("diagonal"));
        assert!(refused(&[1.0, 0.5, 0.5, 1.0], Some(&[1.0])).contains("rows of 2 numbers"));
        assert!(refused(&[1.0, 0.5, 0.5, 1.0], Some(&[0.5, 0.6])).contains("sum to 1"));
        assert!(refused(&[1.0, 0.5, 0.5, 1.0], Some(&[1.5, -0.5])).contains("at least 0"));
    }

    proptest! {
        /// Empty columns make the other of both matrices the smaller one.
        #[test]
        fn it_lies_between_one_and_the_rank_whichever_matrix_is_smaller(
            (width, values) in (1..6usize).prop_flat_map(|width| (Just(width), (1..9usize).prop_flat_map(move |rows| {
                prop::collection::vec(prop_oneof![-2.0..-0.1f64, 0.1..2.0f64], rows * width)
            })))
        ) {
            let rows = values.len() / width;
            let score = of(&values, width);
            prop_assert!(score > 1.0 - 1e-9 && score < rows.min(width) as f64 + 1e-9, "{}", score);
            let padded: Vec<f64> = values.chunks(width).flat_map(|row| [row, &[0.0; 10]].concat()).collect();
            prop_assert!((of(&padded, width + 10) - score).abs() < 1e-9);
            let scaled: Vec<f64> = values.chunks(width).rev().flat_map(|row| row.iter().map(|x| 3.0 * x)).collect();
            prop_assert!((of(&scaled, width) - score).abs() < 1e-9);
        }
    }
}
