//! The gradients of attention tile by tile: scores are computed again (Dao et al. 2022, algorithm 4).

use std::ops::Range;

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::forward::Inputs;
use super::problem::{Problem, Rows};
use super::softmax::{Dot, Slope};
use super::tile::{for_each_task, hide, queries, to_columns, transposed};
use crate::isa::{self, vectorized};
use crate::memory::float::{Float, narrowed, widened};
use crate::memory::output::{Block, Output, Places};
use crate::memory::product::{Matrix, Product};
use crate::memory::values::{PIECE, Values, overwrite};

/// Results of the forward pass, and the gradient w.r.t. its results.
#[derive(Clone, Copy)]
pub(super) struct Outputs<'a, E> {
    /// `[B, Lq, heads * size]`
    pub(super) results: &'a [E],
    /// `[B, heads, Lq]`
    pub(super) norms: &'a [f32],
    /// `[B, Lq, heads * size]`
    pub(super) gradient: &'a [E],
}

/// The scratch memory of a task.
struct Scratch<E> {
    /// `[size, queries]`
    query: Vec<E>,
    /// `[size, queries]`
    gradient: Vec<E>,
    /// `[keys, queries]`
    scores: Vec<f32>,
    /// `[keys, queries]`
    slopes: Vec<f32>,
    /// Scores and slopes in the inputs' type, if it is another one.
    narrow: [Vec<E>; 2],
    /// A result and its gradient in 32 bits.
    wide: [Vec<f32>; 2],
    /// `[size, queries]`
    towards_query: Vec<f32>,
    norms: Vec<f32>,
    means: Vec<f32>,
}

impl<E: Float> Scratch<E> {
    fn new(problem: &Problem) -> Self {
        let row = problem.most_padded();
        let rows = |count: usize| vec![0f32; count * row];
        let narrow = if E::IS_WIDE { 0 } else { problem.most_keys() * row };
        Self {
            query: vec![E::default(); problem.size * row],
            gradient: vec![E::default(); problem.size * row],
            scores: rows(problem.most_keys()),
            slopes: rows(problem.most_keys()),
            narrow: [0; 2].map(|_| vec![E::default(); narrow]),
            wide: [0; 2].map(|_| vec![0f32; problem.size]),
            towards_query: rows(problem.size),
            norms: rows(1),
            means: rows(1),
        }
    }
}

/// The gradients, and what they are computed from.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, E: 'static> {
    pub(super) problem: &'a Problem,
    pub(super) inputs: Inputs<'a, E>,
    pub(super) outputs: Outputs<'a, E>,
    /// `[B, Lk, heads * size]`
    pub(super) towards_key: &'a Places<'static, E>,
    /// `[B, Lk, heads * size]`
    pub(super) towards_value: &'a Places<'static, E>,
}

impl<E: Float> Pass<'_, E> {
    /// Writes the gradients w.r.t. keys and values, and returns that w.r.t. the queries, which have this shape.
    ///
    /// A task has one pair, and where there are fewer pairs than threads keep busy, a part of its keys. Each part then has its
    /// own gradient w.r.t. the queries, and these are added in the order of the keys: the sums depend on the number of threads,
    /// but never on their timing.
    pub(super) fn run(self, shape: Shape) -> FlexTensor {
        let Self { problem, .. } = self;
        let tiles = problem.keys.div_ceil(problem.most_keys());
        let parts = (2 * rayon::current_num_threads()).div_ceil(problem.pairs()).min(tiles);
        let of_parts: Vec<Output> = (0..parts).map(|_| Output::new(shape.clone())).collect();
        let run = |scratch: &mut Scratch<E>, task: usize| {
            let (pair, part) = (task / parts, task % parts);
            let tiles = tiles * part / parts..tiles * (part + 1) / parts;
            // SAFETY: no other task has these keys of this pair, nor this part of its gradient w.r.t. the queries.
            unsafe { self.attend(pair, tiles, of_parts[part].places(), scratch) };
        };
        for_each_task(problem.pairs() * parts, problem.work() / parts, || Scratch::new(problem), run);
        let mut of_parts = of_parts.into_iter().map(Output::tensor);
        let mut sums = of_parts.next().expect("there is a key");
        for other in of_parts {
            let other = Values::<f32>::of(other);
            overwrite::<f32>(&mut sums).par_chunks_mut(PIECE).zip(other.as_slice().par_chunks(PIECE)).for_each(
                |(sums, other)| {
                    sums.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
                },
            );
        }
        rounded::<E>(sums)
    }

    /// All queries of a pair with some tiles of its keys.
    ///
    /// # Safety
    /// No other task may have these keys of this pair, or write the pair's place in `towards_query`.
    unsafe fn attend(self, pair: usize, tiles: Range<usize>, towards_query: &Places, scratch: &mut Scratch<E>) {
        let Self { problem, inputs, .. } = self;
        // The gradients w.r.t. each tile's values and keys, which the queries' tiles add to.
        let mut tiles: Vec<(Range<usize>, [Growing<E>; 2])> = tiles
            .map(|tile| {
                let keys = tile * problem.most_keys()..((tile + 1) * problem.most_keys()).min(problem.keys);
                let (at, sizes) = (problem.key(pair, keys.start), [keys.len(), problem.size]);
                let growing = [self.towards_value, self.towards_key].map(|to| {
                    // SAFETY: the caller's promise; other pairs have other columns.
                    Growing::new(unsafe { to.claim(at, sizes, [problem.width(), 1]) })
                });
                (keys, growing)
            })
            .collect();
        for rows in (0..problem.query_tiles()).map(|tile| problem.rows(tile)) {
            to_columns(problem, pair, rows, inputs.query, &mut scratch.query);
            to_columns(problem, pair, rows, self.outputs.gradient, &mut scratch.gradient);
            self.per_query(pair, rows, scratch);
            for (i, (keys, growing)) in tiles.iter_mut().enumerate() {
                self.slopes(pair, rows, keys.clone(), scratch);
                self.add(pair, rows, keys.clone(), growing, i > 0, scratch);
            }
            // SAFETY: the caller's promise.
            let mut towards_query = unsafe { queries(problem, pair, rows, towards_query) };
            towards_query.fill_transposed(&scratch.towards_query[..problem.size * rows.padded], rows.padded);
        }
        tiles.into_iter().flat_map(|(_, growing)| growing).for_each(Growing::finish);
    }

    /// The norms of some queries, and the means of the gradients w.r.t. their weights: the inner product of result and
    /// gradient.
    fn per_query(self, pair: usize, rows: Rows, scratch: &mut Scratch<E>) {
        let Self { problem, outputs, .. } = self;
        let norms = &outputs.norms[pair * problem.queries + rows.start..][..rows.count];
        scratch.norms[..rows.count].copy_from_slice(norms);
        scratch.norms[rows.count..rows.padded].fill(f32::INFINITY);
        scratch.means[rows.count..rows.padded].fill(0.0);
        for (i, mean) in scratch.means[..rows.count].iter_mut().enumerate() {
            let at = problem.query(pair, rows.start + i);
            let [result, gradient] = &mut scratch.wide;
            let a = widened(&outputs.results[at..][..problem.size], result);
            let b = widened(&outputs.gradient[at..][..problem.size], gradient);
            *mean = isa::run(Dot { a, b });
        }
    }

    /// The weights of a tile, and the gradients w.r.t. its scores.
    fn slopes(self, pair: usize, rows: Rows, keys: Range<usize>, scratch: &mut Scratch<E>) {
        let Self { problem, inputs, .. } = self;
        let scores = &mut scratch.scores[..keys.len() * rows.padded];
        let slopes = &mut scratch.slopes[..keys.len() * rows.padded];
        for (out, columns, values) in
            [(&mut *scores, &scratch.query, inputs.key), (&mut *slopes, &scratch.gradient, inputs.value)]
        {
            let product = Product {
                lhs: transposed(columns, rows),
                rhs: Matrix { values: problem.tokens(values, pair, keys.clone()), row: 1, column: problem.width() },
                depth: problem.size,
            };
            product.to_slice(out, [rows.padded, keys.len()], [1, rows.padded], false);
        }
        hide(problem, pair, rows, keys.start, scores);
        let (norms, means) = (&scratch.norms[..rows.padded], &scratch.means[..rows.padded]);
        isa::run(Slope { scores, gradients: slopes, scale: problem.scale(), norms, means });
    }

    /// What a tile gives to the gradients, those by its values and keys in `growing`. That by the queries stays in the scratch; `more`
    /// says whether a tile was there before.
    fn add(
        self,
        pair: usize,
        rows: Rows,
        keys: Range<usize>,
        growing: &mut [Growing<E>; 2],
        more: bool,
        scratch: &mut Scratch<E>,
    ) {
        let Self { problem, inputs, .. } = self;
        let width = problem.width();
        let count = keys.len() * rows.padded;
        let room = if E::IS_WIDE { 0 } else { count };
        let [scores, slopes] = &mut scratch.narrow;
        let scores = narrowed(&scratch.scores[..count], &mut scores[..room]);
        let slopes = narrowed(&scratch.slopes[..count], &mut slopes[..room]);
        for (growing, (weights, values)) in growing.iter_mut().zip([(scores, self.outputs.gradient), (slopes, inputs.query)]) {
            let product = Product {
                lhs: Matrix { values: weights, row: rows.padded, column: 1 },
                rhs: Matrix { values: &values[problem.query(pair, rows.start)..], row: width, column: 1 },
                depth: rows.count,
            };
            // The first tile of queries writes what the others add to.
            growing.add(product, rows.start > 0);
        }
        let product = Product {
            lhs: transposed(slopes, rows),
            rhs: Matrix { values: problem.tokens(inputs.key, pair, keys.clone()), row: width, column: 1 },
            depth: keys.len(),
        };
        product.to_slice(&mut scratch.towards_query, [rows.padded, problem.size], [1, rows.padded], more);
    }
}

/// A sum of products on its way to a block: it grows in its place if that is of 32 bits, else beside it.
struct Growing<'a, E> {
    block: Block<'a, E>,
    apart: Vec<f32>,
}

impl<'a, E: Float> Growing<'a, E> {
    fn new(block: Block<'a, E>) -> Self {
        let apart = vec![0f32; if E::IS_WIDE { 0 } else { block.len() }];
        Self { block, apart }
    }

    /// Adds a product to those before, if there are `more` than this one.
    fn add(&mut self, product: Product<E>, more: bool) {
        let sizes @ [_, columns] = self.block.sizes();
        if E::IS_WIDE {
            product.to_block(&mut self.block, more);
        } else {
            product.to_slice(&mut self.apart, sizes, [columns, 1], more);
        }
    }

    fn finish(mut self) {
        if !E::IS_WIDE {
            let [_, columns] = self.block.sizes();
            vectorized!(self.block.fill_rows(|row| self.apart[row * columns..][..columns].iter().copied()));
        }
    }
}

/// A tensor of 32-bit floats in this type.
fn rounded<E: Float>(wide: FlexTensor) -> FlexTensor {
    if E::IS_WIDE {
        return wide;
    }
    let wide = Values::<f32>::of(wide);
    let mut output = Output::<E>::new(wide.shape());
    output.whole().par_chunks(PIECE).zip(wide.as_slice().par_chunks(PIECE)).for_each(|(mut out, wide)| {
        vectorized!(_ = out.append(wide.len(), wide.iter().copied()));
    });
    output.tensor()
}
