//! Attention tile by tile.

use super::problem::{Problem, Rows};
use super::softmax::{Rescale, Step};
use super::tile::{for_each_task, from_columns, hide, to_columns, transposed};
use crate::memory::output::{Scattered, Values};
use crate::memory::product::{Matrix, Product};

/// Queries, keys and values.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub(super) query: &'a [f32],
    pub(super) key: &'a [f32],
    pub(super) value: &'a [f32],
}

impl<'a> Inputs<'a> {
    pub(super) fn of([query, key, value]: &'a [Values; 3]) -> Self {
        Self { query: query.as_slice(), key: key.as_slice(), value: value.as_slice() }
    }
}

/// Where a task works.
struct Scratch {
    /// `[size, queries]`
    query: Vec<f32>,
    /// `[keys, queries]`
    scores: Vec<f32>,
    /// `[size, queries]`
    results: Vec<f32>,
    maximum: Vec<f32>,
    sum: Vec<f32>,
    rescale: Vec<f32>,
}

impl Scratch {
    fn new(problem: &Problem) -> Self {
        let row = problem.most_padded();
        let rows = |count: usize| vec![0f32; count * row];
        Self {
            query: rows(problem.size),
            scores: rows(problem.most_keys()),
            results: rows(problem.size),
            maximum: rows(1),
            sum: rows(1),
            rescale: rows(1),
        }
    }
}

/// Writes the results `[B, Lq, heads * size]`, and the logarithms of the sums of exponentials `[B, heads, Lq]`, infinite for a
/// query that sees no key.
pub(super) fn forward(problem: &Problem, inputs: Inputs, results: Scattered, norms: Scattered) {
    let tiles = problem.query_tiles();
    let run = |scratch: &mut Scratch, task: usize| {
        let (pair, rows) = (task / tiles, problem.rows(task % tiles));
        attend(problem, inputs, pair, rows, scratch);
        // SAFETY: no other task has these queries of this pair.
        unsafe { finish(problem, pair, rows, scratch, results, norms) };
    };
    for_each_task(problem.pairs() * tiles, problem.work() / tiles, || Scratch::new(problem), run);
}

/// The results of some queries, not yet divided by the sums.
fn attend(problem: &Problem, inputs: Inputs, pair: usize, rows: Rows, scratch: &mut Scratch) {
    let Scratch { query, scores, results, maximum, sum, rescale } = scratch;
    let [maximum, sum, rescale] = [maximum, sum, rescale].map(|row| &mut row[..rows.padded]);
    to_columns(problem, pair, rows, inputs.query, query);
    maximum.fill(f32::MIN);
    sum.fill(0.0);
    let results = &mut results[..problem.size * rows.padded];
    if problem.reach(rows) == 0 {
        results.fill(0.0);
    }
    for first in (0..problem.reach(rows)).step_by(problem.most_keys()) {
        let keys = first..(first + problem.most_keys()).min(problem.keys);
        let scores = &mut scores[..keys.len() * rows.padded];
        let product = Product {
            sizes: [rows.padded, keys.len(), problem.size],
            out: transposed(scores.as_mut_ptr(), rows),
            add: false,
            lhs: transposed(query.as_ptr(), rows),
            rhs: Matrix { first: problem.tokens(inputs.key, pair, keys.clone()).as_ptr(), row: 1, column: problem.width() },
            scale: problem.scale(),
        };
        // SAFETY: scratch has these sizes and is this task's own, and the tokens are only read.
        unsafe { product.compute() };
        hide(problem, pair, rows, first, scores);
        crate::isa::run(Step { scores, maximum, sum, rescale });
        if first > 0 {
            crate::isa::run(Rescale { rows: results, factors: rescale });
        }
        let product = Product {
            sizes: [rows.padded, problem.size, keys.len()],
            out: transposed(results.as_mut_ptr(), rows),
            add: first > 0,
            lhs: transposed(scores.as_ptr(), rows),
            rhs: Matrix { first: problem.tokens(inputs.value, pair, keys).as_ptr(), row: problem.width(), column: 1 },
            scale: 1.0,
        };
        // SAFETY: as above.
        unsafe { product.compute() };
    }
}

/// Divides what [`attend`] has left by the sums, and writes it.
///
/// # Safety
/// No other task may have these queries of this pair.
unsafe fn finish(problem: &Problem, pair: usize, rows: Rows, scratch: &mut Scratch, results: Scattered, norms: Scattered) {
    let norms = norms.at(pair * problem.queries + rows.start, rows.count);
    for i in 0..rows.padded {
        let sum = scratch.sum[i];
        let seen = sum != 0.0;
        scratch.rescale[i] = if seen { 1.0 / sum } else { 0.0 };
        if i < rows.count {
            let norm = if seen { scratch.maximum[i] + sum.ln() } else { f32::INFINITY };
            // SAFETY: `at` has seen that they lie in the buffer; the rest is the caller's promise.
            unsafe { norms.add(i).write(norm) };
        }
    }
    let columns = &mut scratch.results[..problem.size * rows.padded];
    crate::isa::run(Rescale { rows: columns, factors: &scratch.rescale[..rows.padded] });
    // SAFETY: the caller's promise.
    unsafe { from_columns(problem, pair, rows, columns, results) };
}
