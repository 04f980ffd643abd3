//! Transposing small matrices.

use super::float::Float;

/// Transposes `[rows, columns]` into numbers of another type or the same; `from` and `to` are the first elements, the steps lead to the
/// next row of each.
///
/// # Safety
/// The rows must lie in buffers that may be read and written, those of `to` by this thread alone.
pub(super) unsafe fn transpose<E: Float, T: Float>([rows, columns]: [usize; 2], from: (*const E, usize), to: (*mut T, usize)) {
    /// Numbers per side of the blocks that the compiler transposes in registers.
    const SIDE: usize = 4;
    let at = |row: usize, column: usize| from.0.wrapping_add(row * from.1 + column);
    let place = |row: usize, column: usize| to.0.wrapping_add(column * to.1 + row);
    let (whole_rows, whole_columns) = (rows / SIDE * SIDE, columns / SIDE * SIDE);
    // SAFETY: all rows and columns below are within the sizes; the rest is the caller's promise.
    unsafe {
        for row in (0..whole_rows).step_by(SIDE) {
            for column in (0..whole_columns).step_by(SIDE) {
                let block: [[E; SIDE]; SIDE] = std::array::from_fn(|i| at(row + i, column).cast::<[E; SIDE]>().read());
                let turned: [[T; SIDE]; SIDE] =
                    std::array::from_fn(|j| std::array::from_fn(|i| T::rounded(block[i][j].wide())));
                for (j, column_part) in turned.into_iter().enumerate() {
                    place(row, column + j).cast::<[T; SIDE]>().write(column_part);
                }
            }
        }
        for row in 0..rows {
            let rest = if row < whole_rows { whole_columns } else { 0 };
            for column in rest..columns {
                place(row, column).write(T::rounded(at(row, column).read().wide()));
            }
        }
    }
}

/// Transposes rows of `columns` numbers, `steps[0]` apart, to rows `steps[1]` apart.
pub(crate) fn transpose_slice<E: Float, T: Float>([rows, columns]: [usize; 2], from: &[E], to: &mut [T], steps: [usize; 2]) {
    assert!(rows * columns > 0 && columns <= steps[0] && rows <= steps[1], "[{rows}, {columns}] in steps of {steps:?}");
    assert!(
        (rows - 1) * steps[0] + columns <= from.len() && (columns - 1) * steps[1] + rows <= to.len(),
        "[{rows}, {columns}]"
    );
    // SAFETY: both slices hold these rows.
    unsafe { transpose([rows, columns], (from.as_ptr(), steps[0]), (to.as_mut_ptr(), steps[1])) };
}
