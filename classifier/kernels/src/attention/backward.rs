//! The gradients of attention tile by tile: scores are computed again (Dao et al. 2022, algorithm 4).

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::forward::Inputs;
use super::problem::{Problem, Rows};
use super::softmax::{Dot, Slope};
use super::tile::{for_each_task, from_columns, hide, to_columns, transposed};
use crate::memory::output::{PIECE, Scattered};
use crate::memory::product::{Matrix, Product};

/// What the forward pass has left, and the gradient by its results.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a> {
    /// `[B, Lq, heads * size]`
    pub(super) results: &'a [f32],
    /// `[B, heads, Lq]`
    pub(super) norms: &'a [f32],
    /// `[B, Lq, heads * size]`
    pub(super) gradient: &'a [f32],
}

/// Where a task works.
struct Scratch {
    /// `[size, queries]`
    query: Vec<f32>,
    /// `[size, queries]`
    gradient: Vec<f32>,
    /// `[keys, queries]`
    scores: Vec<f32>,
    /// `[keys, queries]`
    slopes: Vec<f32>,
    /// `[size, queries]`
    towards_query: Vec<f32>,
    norms: Vec<f32>,
    means: Vec<f32>,
}

impl Scratch {
    fn new(problem: &Problem) -> Self {
        let row = problem.most_padded();
        let rows = |count: usize| vec![0f32; count * row];
        Self {
            query: rows(problem.size),
            gradient: rows(problem.size),
            scores: rows(problem.most_keys()),
            slopes: rows(problem.most_keys()),
            towards_query: rows(problem.size),
            norms: rows(1),
            means: rows(1),
        }
    }
}

/// The gradients, and what they are computed from.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) problem: &'a Problem,
    pub(super) inputs: Inputs<'a>,
    pub(super) outputs: Outputs<'a>,
    /// `[B, Lk, heads * size]`
    pub(super) towards_key: Scattered,
    /// `[B, Lk, heads * size]`
    pub(super) towards_value: Scattered,
}

impl Pass<'_> {
    /// Writes all gradients; that by the queries is `[B, Lq, heads * size]`.
    ///
    /// A task has one pair, and where there are fewer pairs than threads keep busy, a part of its keys. Each part then has its
    /// own gradient by the queries, and these are added in the order of the keys: the sums depend on the number of threads, but
    /// never on their timing.
    pub(super) fn run(self, towards_query: &mut [MaybeUninit<f32>]) {
        let Self { problem, .. } = self;
        let tiles = problem.keys.div_ceil(problem.most_keys());
        let parts = (2 * rayon::current_num_threads()).div_ceil(problem.pairs()).min(tiles);
        let length = towards_query.len();
        let mut others: Vec<f32> = Vec::with_capacity((parts - 1) * length);
        let of_parts: Vec<Scattered> = std::iter::once(&mut *towards_query)
            .chain(others.spare_capacity_mut()[..(parts - 1) * length].chunks_exact_mut(length))
            .map(Scattered::new)
            .collect();
        let run = |scratch: &mut Scratch, task: usize| {
            let (pair, part) = (task / parts, task % parts);
            let tiles = tiles * part / parts..tiles * (part + 1) / parts;
            // SAFETY: no other task has these keys of this pair, nor this part of its gradient by the queries.
            unsafe { self.attend(pair, tiles, of_parts[part], scratch) };
        };
        for_each_task(problem.pairs() * parts, problem.work() / parts, || Scratch::new(problem), run);
        // SAFETY: the tasks of each part have written all queries of all pairs.
        unsafe { others.set_len((parts - 1) * length) };
        for other in others.chunks_exact(length) {
            towards_query.par_chunks_mut(PIECE).zip(other.par_chunks(PIECE)).for_each(|(sums, other)| {
                for (sum, other) in sums.iter_mut().zip(other) {
                    // SAFETY: the first part has written it.
                    unsafe { *sum.assume_init_mut() += other };
                }
            });
        }
    }

    /// All queries of a pair with some tiles of its keys.
    ///
    /// # Safety
    /// No other task may have these keys of this pair, or write the pair's place in `towards_query`.
    unsafe fn attend(self, pair: usize, tiles: Range<usize>, towards_query: Scattered, scratch: &mut Scratch) {
        let Self { problem, inputs, .. } = self;
        for rows in (0..problem.query_tiles()).map(|tile| problem.rows(tile)) {
            to_columns(problem, pair, rows, inputs.query, &mut scratch.query);
            to_columns(problem, pair, rows, self.outputs.gradient, &mut scratch.gradient);
            self.per_query(pair, rows, scratch);
            for tile in tiles.clone() {
                let keys = tile * problem.most_keys()..((tile + 1) * problem.most_keys()).min(problem.keys);
                self.slopes(pair, rows, keys.clone(), scratch);
                // SAFETY: the caller's promise.
                unsafe { self.add(pair, rows, keys, tile > tiles.start, scratch) };
            }
            // SAFETY: the caller's promise.
            unsafe { from_columns(problem, pair, rows, &scratch.towards_query, towards_query) };
        }
    }

    /// The norms of some queries, and the means of the gradients by their weights: the inner product of result and gradient.
    fn per_query(self, pair: usize, rows: Rows, scratch: &mut Scratch) {
        let Self { problem, outputs, .. } = self;
        let norms = &outputs.norms[pair * problem.queries + rows.start..][..rows.count];
        scratch.norms[..rows.count].copy_from_slice(norms);
        scratch.norms[rows.count..rows.padded].fill(f32::INFINITY);
        scratch.means[rows.count..rows.padded].fill(0.0);
        for (i, mean) in scratch.means[..rows.count].iter_mut().enumerate() {
            let at = problem.query(pair, rows.start + i);
            let result = &outputs.results[at..][..problem.size];
            let gradient = &outputs.gradient[at..][..problem.size];
            *mean = crate::isa::run(Dot { a: result, b: gradient });
        }
    }

    /// The weights of a tile, and the gradients by its scores.
    fn slopes(self, pair: usize, rows: Rows, keys: Range<usize>, scratch: &mut Scratch) {
        let Self { problem, inputs, .. } = self;
        let scores = &mut scratch.scores[..keys.len() * rows.padded];
        let slopes = &mut scratch.slopes[..keys.len() * rows.padded];
        for (out, scale, columns, values) in
            [(&mut *scores, problem.scale(), &scratch.query, inputs.key), (&mut *slopes, 1.0, &scratch.gradient, inputs.value)]
        {
            let product = Product {
                sizes: [rows.padded, keys.len(), problem.size],
                out: transposed(out.as_mut_ptr(), rows),
                add: false,
                lhs: transposed(columns.as_ptr(), rows),
                rhs: Matrix { first: problem.tokens(values, pair, keys.clone()).as_ptr(), row: 1, column: problem.width() },
                scale,
            };
            // SAFETY: `out` and `columns` are this task's own and have these sizes, and the tokens are only read.
            unsafe { product.compute() };
        }
        hide(problem, pair, rows, keys.start, scores);
        let (norms, means) = (&scratch.norms[..rows.padded], &scratch.means[..rows.padded]);
        crate::isa::run(Slope { scores, gradients: slopes, norms, means });
    }

    /// What a tile gives to the gradients. That by the queries stays in the scratch; `more` says whether a tile was there before.
    ///
    /// # Safety
    /// No other task may have these keys of this pair.
    unsafe fn add(self, pair: usize, rows: Rows, keys: Range<usize>, more: bool, scratch: &mut Scratch) {
        let Self { problem, inputs, .. } = self;
        let (width, size) = (problem.width(), problem.size);
        let at = problem.key(pair, keys.start);
        let length = (keys.len() - 1) * width + size;
        let queries = |values: &[f32]| values[problem.query(pair, rows.start)..].as_ptr();
        for (out, scale, weights, values) in [
            (self.towards_value, 1.0, &scratch.scores, self.outputs.gradient),
            (self.towards_key, problem.scale(), &scratch.slopes, inputs.query),
        ] {
            let product = Product {
                sizes: [size, keys.len(), rows.count],
                out: Matrix { first: out.at(at, length), row: 1, column: width },
                add: rows.start > 0,
                lhs: Matrix { first: queries(values), row: 1, column: width },
                rhs: transposed(weights.as_ptr(), rows),
                scale,
            };
            // SAFETY: the caller's promise; `at` has seen that the keys lie in the buffer, `queries` starts the rows of this tile,
            // and the first tile of queries writes what the others add to.
            unsafe { product.compute() };
        }
        let product = Product {
            sizes: [rows.padded, size, keys.len()],
            out: transposed(scratch.towards_query.as_mut_ptr(), rows),
            add: more,
            lhs: transposed(scratch.slopes.as_ptr(), rows),
            rhs: Matrix { first: problem.tokens(inputs.key, pair, keys).as_ptr(), row: width, column: 1 },
            scale: problem.scale(),
        };
        // SAFETY: scratch has these sizes and is this task's own, and the keys are only read.
        unsafe { product.compute() };
    }
}
