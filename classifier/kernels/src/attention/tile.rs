//! Helpers shared by the passes over tiles.

use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::problem::{Problem, Rows};
use crate::memory::float::Float;
use crate::memory::output::{Block, Places};
use crate::memory::product::Matrix;
use crate::memory::transpose::transpose_slice;

/// Runs every task; each thread has its own scratch. `work` is the number of multiplications of a task.
pub(super) fn for_each_task<S>(tasks: usize, work: usize, scratch: impl Fn() -> S + Sync, run: impl Fn(&mut S, usize) + Sync) {
    /// Below this, a task is done before another thread has woken up.
    const WORTH_A_THREAD: usize = 1 << 18;
    let together = WORTH_A_THREAD.div_ceil(work.max(1));
    if tasks <= together {
        let mut scratch = scratch();
        (0..tasks).for_each(|task| run(&mut scratch, task));
    } else {
        (0..tasks).into_par_iter().with_min_len(together).for_each_init(&scratch, &run);
    }
}

/// A tile's numbers with every query in a column: `[size, queries]`, padded with zeros.
pub(super) fn to_columns<E: Float>(problem: &Problem, pair: usize, rows: Rows, values: &[E], columns: &mut [E]) {
    let columns = &mut columns[..problem.size * rows.padded];
    let values = &values[problem.query(pair, rows.start)..][..(rows.count - 1) * problem.width() + problem.size];
    transpose_slice([rows.count, problem.size], values, columns, [problem.width(), rows.padded]);
    for row in columns.chunks_exact_mut(rows.padded) {
        row[rows.count..].fill(E::default());
    }
}

/// The places of a tile's numbers in a buffer like that of the queries.
///
/// # Safety
/// No other task may use the places of these queries of this pair.
pub(super) unsafe fn queries<'a, E: Float>(problem: &Problem, pair: usize, rows: Rows, places: &'a Places<E>) -> Block<'a, E> {
    // SAFETY: a pair's queries are apart by the width of all heads; the rest is the caller's promise.
    unsafe { places.claim(problem.query(pair, rows.start), [rows.count, problem.size], [problem.width(), 1]) }
}

/// `[keys, queries]` or `[size, queries]` as the transposed matrix: queries are its rows.
pub(super) fn transposed<E>(values: &[E], rows: Rows) -> Matrix<'_, E> {
    Matrix { values, row: 1, column: rows.padded }
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
