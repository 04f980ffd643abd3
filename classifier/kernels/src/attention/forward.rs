//! Attention tile by tile.

use super::panels;
use super::problem::{Problem, Rows};
use super::softmax::{Rescale, Step};
use super::tile::{for_each_task, hide, queries, to_columns, transposed};
use crate::isa;
use crate::memory::float::{Float, narrowed};
use crate::memory::output::Places;
use crate::memory::product::{Matrix, Product};
use crate::memory::values::Values;

/// Queries, keys and values.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a, E> {
    pub(super) query: &'a [E],
    pub(super) key: &'a [E],
    pub(super) value: &'a [E],
}

impl<'a, E: Float> Inputs<'a, E> {
    pub(super) fn of([query, key, value]: &'a [Values<E>; 3]) -> Self {
        Self { query: query.as_slice(), key: key.as_slice(), value: value.as_slice() }
    }
}

/// The scratch memory of a task.
struct Scratch<E> {
    /// `[size, queries]`
    query: Vec<E>,
    /// `[keys, queries]`
    scores: Vec<f32>,
    /// The scores' exponentials in the inputs' type, if it is another one.
    weights: Vec<E>,
    /// `[size, queries]`
    results: Vec<f32>,
    maximum: Vec<f32>,
    sum: Vec<f32>,
    rescale: Vec<f32>,
    /// What units for brain floats need, where there are any; without it the queries, scores and weights above.
    panels: Option<panels::Scratch>,
}

impl<E: Float> Scratch<E> {
    fn new(problem: &Problem) -> Self {
        let panels = panels::Scratch::new::<E>(problem);
        let row = problem.most_padded();
        let rows = |count: usize| vec![0f32; count * row];
        let apart = if panels.is_some() { 0 } else { row };
        Self {
            query: vec![E::default(); problem.size * apart],
            scores: vec![0.0; problem.most_keys() * apart],
            weights: vec![E::default(); if E::IS_WIDE { 0 } else { problem.most_keys() * apart }],
            results: rows(problem.size.next_multiple_of(16)),
            maximum: rows(1),
            sum: rows(1),
            rescale: rows(1),
            panels,
        }
    }
}

/// Writes the results `[B, Lq, heads * size]`, and the logarithms of the sums of exponentials `[B, heads, Lq]`, infinite for a
/// query that sees no key.
pub(super) fn forward<E: Float>(problem: &Problem, inputs: Inputs<E>, results: &Places<E>, norms: &Places) {
    let tiles = problem.query_tiles();
    let run = |scratch: &mut Scratch<E>, task: usize| {
        let (pair, rows) = (task / tiles, problem.rows(task % tiles));
        let most = if scratch.panels.is_some() { panels::QUERIES } else { rows.count };
        for rows in rows.parts(most) {
            attend(problem, inputs, pair, rows, scratch);
            // SAFETY: no other task has these queries of this pair.
            unsafe { finish(problem, pair, rows, scratch, results, norms) };
        }
    };
    for_each_task(problem.pairs() * tiles, problem.work() / tiles, || Scratch::new(problem), run);
}

/// The results of some queries, not yet divided by the sums.
fn attend<E: Float>(problem: &Problem, inputs: Inputs<E>, pair: usize, rows: Rows, scratch: &mut Scratch<E>) {
    let Scratch { query, scores, weights, results, maximum, sum, rescale, panels } = scratch;
    let [maximum, sum, rescale] = [maximum, sum, rescale].map(|row| &mut row[..rows.padded]);
    if let Some(panels) = panels {
        let results = &mut results[..problem.size.next_multiple_of(16) * rows.padded];
        return panels.attend(problem, inputs, pair, rows, panels::Sums { results, maximum, sum, rescale });
    }
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
            lhs: transposed(query, rows),
            rhs: Matrix { values: problem.tokens(inputs.key, pair, keys.clone()), row: 1, column: problem.width() },
            depth: problem.size,
        };
        product.to_slice(scores, [rows.padded, keys.len()], [1, rows.padded], false);
        hide(problem, pair, rows, first, scores);
        isa::run(Step { scores, scale: problem.scale(), maximum, sum, rescale });
        if first > 0 {
            isa::run(Rescale { rows: results, factors: rescale });
        }
        let room = if E::IS_WIDE { 0 } else { scores.len() };
        let weights = narrowed(scores, &mut weights[..room]);
        let product = Product {
            lhs: transposed(weights, rows),
            rhs: Matrix { values: problem.tokens(inputs.value, pair, keys.clone()), row: problem.width(), column: 1 },
            depth: keys.len(),
        };
        product.to_slice(results, [rows.padded, problem.size], [1, rows.padded], first > 0);
    }
}

/// Divides what [`attend`] has left by the sums, and writes it.
///
/// # Safety
/// No other task may have these queries of this pair.
unsafe fn finish<E: Float>(
    problem: &Problem,
    pair: usize,
    rows: Rows,
    scratch: &mut Scratch<E>,
    results: &Places<E>,
    norms: &Places,
) {
    // SAFETY: the caller's promise; norms are of queries, too.
    let (mut results, mut norms) = unsafe {
        (
            queries(problem, pair, rows, results),
            norms.claim(pair * problem.queries + rows.start, [1, rows.count], [rows.count, 1]),
        )
    };
    for (rescale, sum) in scratch.rescale[..rows.padded].iter_mut().zip(&scratch.sum) {
        *rescale = if *sum != 0.0 { 1.0 / sum } else { 0.0 };
    }
    let scale = problem.scale();
    let norm = |(maximum, sum): (&f32, &f32)| if *sum != 0.0 { scale * maximum + sum.ln() } else { f32::INFINITY };
    norms.append(rows.count, scratch.maximum.iter().zip(&scratch.sum).map(norm));
    let columns = &mut scratch.results[..problem.size * rows.padded];
    isa::run(Rescale { rows: columns, factors: &scratch.rescale[..rows.padded] });
    results.fill_transposed(columns, rows.padded);
}
