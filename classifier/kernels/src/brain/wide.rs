//! The product of the same numbers in 32 bits.

use std::cell::RefCell;

use burn::tensor::bf16;

use crate::isa::vectorized;
use crate::memory::float::Float;
use crate::memory::product::{Matrix, Product};

/// # Safety
/// As for [`multiply`](super::multiply).
pub(super) unsafe fn multiply(product: Product<bf16>, [m, n]: [usize; 2], out: *mut f32, steps: [usize; 2], add: bool) {
    thread_local! {
        static FACTORS: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    }
    let Product { lhs, rhs, depth } = product;
    FACTORS.with_borrow_mut(|[left, right]| {
        let (lhs, rhs) = (widened(lhs, [m, depth], left), widened(rhs, [depth, n], right));
        // SAFETY: the factors hold these sizes; the rest is the caller's promise.
        unsafe { f32::multiply(Product { lhs, rhs, depth }, [m, n], out, steps, add) };
    });
}

/// The same matrix in 32 bits: row after row, or column after column if these lie side by side.
fn widened<'a>(matrix: Matrix<bf16>, [rows, columns]: [usize; 2], to: &'a mut Vec<f32>) -> Matrix<'a> {
    if matrix.column != 1 && matrix.row == 1 {
        return widened(matrix.transposed(), [columns, rows], to).transposed();
    }
    to.clear();
    for row in 0..rows {
        let from = &matrix.values[row * matrix.row..];
        if matrix.column == 1 {
            vectorized!(to.extend(from[..columns].iter().map(|value| value.wide())));
        } else {
            to.extend(from.iter().step_by(matrix.column).take(columns).map(|value| value.wide()));
        }
    }
    Matrix { values: to, row: columns, column: 1 }
}
