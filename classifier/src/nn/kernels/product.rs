//! The matrix product of the `gemm` crate.

use gemm::Parallelism;

/// A matrix anywhere in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<P> {
    /// Its first element.
    pub(super) first: P,
    /// Elements from a row to the next.
    pub(super) row: usize,
    /// Elements from a column to the next.
    pub(super) column: usize,
}

impl<P> Matrix<P> {
    /// Rows of `row` elements, one after the other.
    pub(super) fn of_rows(first: P, row: usize) -> Self {
        Self { first, row, column: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { first: self.first, row: self.column, column: self.row }
    }
}

/// Rows, columns, and the length of the sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) sums: usize,
}

/// `out = a b`, or `out + a b` where it accumulates.
///
/// # Safety
/// All elements of `a` and `b` can be read. Those of `out` can be written by this call alone, and hold numbers if it accumulates.
pub(super) unsafe fn multiply(
    sizes: Sizes,
    out: Matrix<*mut f32>,
    [a, b]: [Matrix<*const f32>; 2],
    accumulates: bool,
    parallelism: Parallelism,
) {
    let steps = |row: usize, column: usize| (column as isize, row as isize);
    let ((out_column, out_row), (a_column, a_row)) = (steps(out.row, out.column), steps(a.row, a.column));
    let (b_column, b_row) = steps(b.row, b.column);
    let Sizes { rows, columns, sums } = sizes;
    // SAFETY: the caller promises what the product reads and writes.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            sums,
            out.first,
            out_column,
            out_row,
            accumulates,
            a.first,
            a_column,
            a_row,
            b.first,
            b_column,
            b_row,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplies_and_accumulates() {
        // [1 2 3; 4 5 6] times the transpose of [1 0 2; 0 1 1].
        let a: [f32; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b: [f32; 6] = [1.0, 0.0, 2.0, 0.0, 1.0, 1.0];
        let mut out = [0f32; 4];
        let sizes = Sizes { rows: 2, columns: 2, sums: 3 };
        for (accumulates, expected) in [(false, [7.0, 5.0, 16.0, 11.0]), (true, [14.0, 10.0, 32.0, 22.0])] {
            let (a, b) = (Matrix::of_rows(a.as_ptr(), 3), Matrix::of_rows(b.as_ptr(), 3).transposed());
            // SAFETY: the arrays have these sizes.
            unsafe { multiply(sizes, Matrix::of_rows(out.as_mut_ptr(), 2), [a, b], accumulates, Parallelism::None) };
            assert_eq!(out, expected);
        }
    }
}
