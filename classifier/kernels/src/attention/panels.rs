//! Attention of brain floats by units that read packed factors.
//!
//! Keys and values of a pair are packed once for all its queries that a thread takes. Few queries are taken at a time, so that scores, and
//! the exponentials that are written in the units' order at once, stay in the first-level cache.

use burn::tensor::bf16;

use super::forward::Inputs;
use super::problem::{Problem, Rows};
use super::softmax::{Rescale, Weigh};
use super::tile::hide;
use crate::brain::{Left, Panels};
use crate::isa;
use crate::memory::float::Float;
use crate::memory::product::Matrix;

/// Most queries that are taken at a time: as many as a unit sums at once.
pub(super) const QUERIES: usize = 32;
/// Most keys that are taken at a time.
const KEYS: usize = 256;
/// Rows of a panel.
const SIDE: usize = 16;

/// The scratch memory of a task.
pub(super) struct Scratch {
    /// `[size, queries]`
    query: Panels,
    /// The exponentials, `[keys, queries]`.
    weights: Panels,
    /// `[keys, queries]`
    scores: Vec<f32>,
    /// The pair whose keys and values are packed.
    pair: Option<usize>,
    /// `[all keys, size]`
    keys: Left,
    /// For some keys after the other `[size, keys]`.
    values: Vec<Left>,
}

/// Numbers of some queries.
pub(super) struct Sums<'a> {
    /// `[size, queries]`, room for a multiple of 16 rows.
    pub(super) results: &'a mut [f32],
    pub(super) maximum: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    pub(super) rescale: &'a mut [f32],
}

impl Scratch {
    /// `None` where no unit reads packed factors of this size.
    pub(super) fn new<E: Float>(problem: &Problem) -> Option<Self> {
        let panels = || Panels::new(isa::brain()).filter(|_| !E::IS_WIDE && problem.size <= Panels::DEPTH);
        Some(Self {
            query: panels()?,
            weights: panels()?,
            scores: vec![0.0; KEYS.min(problem.keys.next_multiple_of(SIDE)) * QUERIES],
            pair: None,
            keys: Left::default(),
            values: Vec::new(),
        })
    }

    /// The results of up to [`QUERIES`] queries, not yet divided by the sums.
    pub(super) fn attend<E: Float>(&mut self, problem: &Problem, inputs: Inputs<E>, pair: usize, rows: Rows, sums: Sums) {
        let Sums { results, maximum, sum, rescale } = sums;
        let inputs = [inputs.query, inputs.key, inputs.value].map(bytemuck::cast_slice::<E, bf16>);
        // Powers of 2 are taken of the scores' products with up to log2(e): that of this number is still finite.
        maximum.fill(f32::MIN / 2.0);
        sum.fill(0.0);
        let (row, size, reach) = (rows.padded, problem.size, problem.reach(rows));
        if reach == 0 {
            results.fill(0.0);
            return;
        }
        if self.pair != Some(pair) {
            self.pack(problem, [inputs[1], inputs[2]], pair);
        }
        let queries = Matrix { values: &inputs[0][problem.query(pair, rows.start)..], row: 1, column: problem.width() };
        self.query.pack(queries, [size, rows.count]);
        for (first, values) in (0..reach).step_by(KEYS).zip(&self.values) {
            let keys = first..(first + KEYS).min(problem.keys);
            self.query.multiply_packed(&self.keys, keys.clone(), &mut self.scores, row, false);
            let scores = &mut self.scores[..keys.len() * row];
            hide(problem, pair, rows, first, scores);
            isa::run(Weigh {
                scores,
                weights: &mut self.weights,
                scale: problem.scale(),
                maximum: &mut *maximum,
                sum: &mut *sum,
                rescale: &mut *rescale,
            });
            if first > 0 && rescale.iter().any(|factor| *factor != 1.0) {
                isa::run(Rescale { rows: results, factors: rescale });
            }
            self.weights.multiply_packed(values, 0..size, results, row, first > 0);
        }
    }

    fn pack(&mut self, problem: &Problem, [key, value]: [&[bf16]; 2], pair: usize) {
        let (size, width) = (problem.size, problem.width());
        let keys = Matrix { values: problem.tokens(key, pair, 0..problem.keys), row: width, column: 1 };
        self.keys.pack(keys, [problem.keys, size], &self.query);
        let tiles = problem.keys.div_ceil(KEYS);
        self.values.resize_with(tiles, Left::default);
        for (first, values) in (0..problem.keys).step_by(KEYS).zip(&mut self.values) {
            let keys = first..(first + KEYS).min(problem.keys);
            let some = Matrix { values: problem.tokens(value, pair, keys.clone()), row: 1, column: width };
            values.pack(some, [size, keys.len()], &self.query);
        }
        self.pair = Some(pair);
    }
}
