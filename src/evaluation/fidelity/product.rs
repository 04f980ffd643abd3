//! Features widened to f64, and products of blocks of features.

use faer::linalg::matmul::matmul;
use faer::traits::RealField;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::evaluation::rows::Rows;

/// The rows that `row` numbers from 0 to `count`, less `shift`, in f64: `count x width`, row-major.
pub fn widened<T: Copy + Into<f64> + Sync>(
    rows: &Rows<'_, T>,
    row: impl Fn(usize) -> usize + Sync,
    count: usize,
    shift: Option<&[f64]>,
) -> Vec<f64> {
    let mut wide = vec![0.0; count * rows.width()];
    wide.par_chunks_mut(rows.width()).enumerate().with_min_len(16).for_each(|(i, to)| widen(rows.row(row(i)), shift, to));
    wide
}

/// One row less `shift`, in f64.
pub fn widen<T: Copy + Into<f64>>(from: &[T], shift: Option<&[f64]>, to: &mut [f64]) {
    match shift {
        Some(shift) => to.iter_mut().zip(from).zip(shift).for_each(|((to, &from), shift)| *to = from.into() - shift),
        None => to.iter_mut().zip(from).for_each(|(to, &from)| *to = from.into()),
    }
}

/// Scalar products of every row of `a` with every row of `b`, both row-major of one `width`: `into[i * rows_of_b + j]`.
///
/// On the calling thread alone, so that the last bits depend on nothing but the numbers and the sizes.
pub fn products<T: RealField>(a: &[T], b: &[T], width: usize, into: &mut [T]) {
    let (rows_a, rows_b) = (a.len() / width, b.len() / width);
    let a = MatRef::from_row_major_slice(a, rows_a, width);
    let b = MatRef::from_row_major_slice(b, rows_b, width);
    // Column-major in faer's eyes: b a^T.
    let into = MatMut::from_column_major_slice_mut(into, rows_b, rows_a);
    matmul(into, Accum::Replace, b, a.transpose(), T::one_impl(), Par::Seq);
}
