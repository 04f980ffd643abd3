//! What the passes over tiles share.

use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::problem::{Problem, Rows};
use crate::memory::output::Scattered;
use crate::memory::product::Matrix;

/// Runs every task; each thread has a scratch of its own. `work` is the number of multiplications of a task.
pub(super) fn for_each_task<S>(tasks: usize, work: usize, scratch: impl Fn() -> S + Sync, run: impl Fn(&mut S, usize) + Sync) {
    /// Below this a task is done before another thread has woken up.
    const WORTH_A_THREAD: usize = 1 << 18;
    let together = WORTH_A_THREAD.div_ceil(work.max(1));
    if tasks <= together {
        let mut scratch = scratch();
        (0..tasks).for_each(|task| run(&mut scratch, task));
    } else {
        (0..tasks).into_par_iter().with_min_len(together).for_each_init(&scratch, &run);
    }
}

/// Transposes `[rows, columns]`; `from` and `to` are the first elements, the steps lead to the next row of each.
///
/// # Safety
/// The rows must lie in buffers that may be read and written, those of `to` by this thread alone.
unsafe fn transpose([rows, columns]: [usize; 2], from: (*const f32, usize), to: (*mut f32, usize)) {
    /// Numbers a side of the blocks that the compiler transposes in registers.
    const SIDE: usize = 4;
    let at = |row: usize, column: usize| from.0.wrapping_add(row * from.1 + column);
    let place = |row: usize, column: usize| to.0.wrapping_add(column * to.1 + row);
    let (whole_rows, whole_columns) = (rows / SIDE * SIDE, columns / SIDE * SIDE);
    // SAFETY: all rows and columns below are within the sizes; the rest is the caller's promise.
    unsafe {
        for row in (0..whole_rows).step_by(SIDE) {
            for column in (0..whole_columns).step_by(SIDE) {
                let block: [[f32; SIDE]; SIDE] = std::array::from_fn(|i| at(row + i, column).cast::<[f32; SIDE]>().read());
                let turned: [[f32; SIDE]; SIDE] = std::array::from_fn(|j| std::array::from_fn(|i| block[i][j]));
                for (j, column_part) in turned.into_iter().enumerate() {
                    place(row, column + j).cast::<[f32; SIDE]>().write(column_part);
                }
            }
        }
        for row in 0..rows {
            let rest = if row < whole_rows { whole_columns } else { 0 };
            for column in rest..columns {
                place(row, column).write(at(row, column).read());
            }
        }
    }
}

/// A tile's numbers with every query in a column: `[size, queries]`, padded with zeros.
pub(super) fn to_columns(problem: &Problem, pair: usize, rows: Rows, values: &[f32], columns: &mut [f32]) {
    let columns = &mut columns[..problem.size * rows.padded];
    let values = &values[problem.query(pair, rows.start)..][..(rows.count - 1) * problem.width() + problem.size];
    // SAFETY: the slices hold these rows.
    unsafe { transpose([rows.count, problem.size], (values.as_ptr(), problem.width()), (columns.as_mut_ptr(), rows.padded)) };
    for row in columns.chunks_exact_mut(rows.padded) {
        row[rows.count..].fill(0.0);
    }
}

/// Writes a tile's numbers from `[size, queries]`.
///
/// # Safety
/// No other task may use the places of these queries of this pair.
pub(super) unsafe fn from_columns(problem: &Problem, pair: usize, rows: Rows, columns: &[f32], values: Scattered) {
    let columns = &columns[..problem.size * rows.padded];
    let values = values.at(problem.query(pair, rows.start), (rows.count - 1) * problem.width() + problem.size);
    // SAFETY: the slice holds these rows, and so does the buffer; the rest is the caller's promise.
    unsafe {
        transpose([problem.size, rows.count], (columns.as_ptr(), rows.padded), (values, problem.width()));
    }
}

/// `[keys, queries]` or `[size, queries]` as the transposed matrix: queries are its rows.
pub(super) fn transposed<P>(first: P, rows: Rows) -> Matrix<P> {
    Matrix { first, row: 1, column: rows.padded }
}

/// Hidden scores become `-∞`, whose exponential is 0.
pub(super) fn hide(problem: &Problem, pair: usize, rows: Rows, first_key: usize, scores: &mut [f32]) {
    if !problem.causal && problem.seen.is_none() {
        return;
    }
    for (key, scores) in (first_key..).zip(scores.chunks_exact_mut(rows.padded)) {
        let hidden = problem.hidden(key).saturating_sub(rows.start).min(rows.count);
        let hidden = if problem.sees(pair, key) { hidden } else { rows.padded };
        scores[..hidden].fill(f32::NEG_INFINITY);
    }
}
