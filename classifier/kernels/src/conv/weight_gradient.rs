//! The gradients w.r.t. weights and bias: sums over the points of all images.

use std::ops::Range;

use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

use super::lattice::Axis;
use super::patches::{Patches, Source};
use super::tiles::{depth, part, stride, tiles};
use crate::isa::vectorized;
use crate::memory::float::Float;
use crate::memory::output::Places;
use crate::memory::product::{Matrix, Product};
use crate::memory::scratch::with_scratch;

/// Most outputs of a part.
const MOST_OUTPUTS: usize = 320;
/// Most weights of an output in a part: with all outputs, their sums still fit the caches.
const MOST_WEIGHTS: usize = 768;

/// Weights of an output whose sums one product adds to.
const SEEN: usize = 512;

/// For each output, channel and tap: the sum over all points of the output's gradient times what it saw.
pub(super) struct WeightGradient<'a, E> {
    pub(super) axes: [&'a Axis; 2],
    pub(super) batch: usize,
    pub(super) outputs: usize,
    pub(super) source: Source<'a, E>,
    /// By the outputs, `[B, outputs, points, points]`.
    pub(super) gradient: &'a [E],
}

impl<E: Float> WeightGradient<'_, E> {
    /// Writes a target `[outputs, channels, taps, taps]`.
    ///
    /// Threads share the weights, not the points: each sum has one order, whatever their number.
    ///
    /// # Safety
    /// The target is as large as that, and nobody else writes it.
    pub(super) unsafe fn write(&self, target: &Places<E>) {
        let most_channels = MOST_WEIGHTS.div_ceil(self.taps());
        let outputs = part(self.outputs, self.source.channels.div_ceil(most_channels), MOST_OUTPUTS);
        let parts = self.outputs.div_ceil(outputs);
        let weights = part(self.source.channels * self.taps(), parts, MOST_WEIGHTS);
        let channels = weights.div_ceil(self.taps());
        // Not cut by threads: tiles are the terms of sums.
        let tiles = tiles(self.axes, self.batch, depth::<E>());
        let tiles: Vec<_> = tiles.into_iter().map(|tile| (Patches::new(self.axes, &tile), tile)).collect();
        (0..parts * self.source.channels.div_ceil(channels)).into_par_iter().for_each(|task| {
            let (output, channel) = (task % parts * outputs, task / parts * channels);
            let some = [output..self.outputs.min(output + outputs), channel..self.source.channels.min(channel + channels)];
            // SAFETY: tasks are other outputs or other channels; the rest is the caller's promise.
            unsafe { self.write_part(&tiles, some, target) };
        });
    }

    fn area(&self) -> usize {
        self.axes.iter().map(|axis| axis.points).product()
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps.len()).product()
    }

    /// # Safety
    /// As for [`write`](Self::write), of these outputs and channels alone.
    unsafe fn write_part(&self, tiles: &[(Patches, Range<usize>)], [outputs, channels]: [Range<usize>; 2], target: &Places<E>) {
        let (taps, area) = (self.taps(), self.area());
        let at_once = (SEEN / taps).clamp(1, channels.len());
        let points = tiles.iter().map(|(_, tile)| tile.len()).max().unwrap_or(0);
        let row = stride(points);
        let copy = tiles.iter().map(|(patches, _)| patches.copy_len(at_once)).max().unwrap_or(0);
        let matrix = tiles.iter().map(|(patches, _)| patches.matrix_len(at_once, row)).max().unwrap_or(0);
        let (wide, weights) = (outputs.len(), channels.len() * taps);
        // A sum of one term is written to its place, if that is of its type; others accumulate in the caches.
        let one_term = tiles.len() == 1 && E::IS_WIDE;
        let sums = if one_term { 0 } else { weights * wide };
        with_scratch([copy, matrix, wide * row], [sums], |[copy, matrix, gradients], [sums]| {
            for (i, (patches, tile)) in tiles.iter().enumerate() {
                self.gather(tile, &outputs, gradients.chunks_mut(row));
                copy.fill(E::default());
                let (image, point) = (tile.start / area, tile.start % area);
                // Where the points follow each other in the source, it is the matrix.
                let direct = patches.are_pointwise() && point + tile.len() <= area;
                for first in channels.clone().step_by(if direct { channels.len() } else { at_once }) {
                    let some = first..channels.end.min(if direct { channels.end } else { first + at_once });
                    let count = some.len() * taps;
                    let seen = if direct {
                        let from = (image * self.source.channels + first) * area + point;
                        let seen = &self.source.values[from..][..(count - 1) * area + tile.len()];
                        Matrix { values: seen, row: 1, column: area }
                    } else {
                        let buffers = [&mut *copy, &mut *matrix];
                        vectorized!(patches.fill(self.source, some, buffers, row));
                        Matrix { values: matrix, row: 1, column: row }
                    };
                    let of_outputs = Matrix { values: gradients, row: 1, column: row };
                    /// Sums over the points of a tile.
                    fn product<'a, E>(lhs: Matrix<'a, E>, rhs: Matrix<'a, E>, depth: usize) -> Product<'a, E> {
                        Product { lhs: lhs.transposed(), rhs, depth }
                    }
                    if one_term {
                        let all = self.source.channels * taps;
                        // SAFETY: these outputs and channels are this task's alone, as the caller has promised.
                        let mut out = unsafe { target.claim(outputs.start * all + first * taps, [count, wide], [1, all]) };
                        product(seen, of_outputs, tile.len()).to_block(&mut out, false);
                    } else {
                        let sums = &mut sums[(first - channels.start) * taps * wide..][..count * wide];
                        product(of_outputs, seen, tile.len()).to_slice(sums, [wide, count], [1, wide], i > 0);
                    }
                }
            }
            if one_term {
                return;
            }
            // Sums are [weights, outputs], the target [outputs, weights].
            let all = self.source.channels * taps;
            // SAFETY: these outputs and channels are this task's alone, as the caller has promised.
            let mut out = unsafe { target.claim(outputs.start * all + channels.start * taps, [wide, weights], [all, 1]) };
            out.fill_transposed(sums, wide);
        });
    }

    /// A row of each output's gradients at the points of a tile.
    fn gather<'a>(&self, tile: &Range<usize>, outputs: &Range<usize>, rows: impl Iterator<Item = &'a mut [E]>) {
        let area = self.area();
        for (output, row) in outputs.clone().zip(rows) {
            let mut at = tile.start;
            while at < tile.end {
                let (image, point) = (at / area, at % area);
                let length = (area - point).min(tile.end - at);
                let from = &self.gradient[(image * self.outputs + output) * area + point..][..length];
                row[at - tile.start..][..length].copy_from_slice(from);
                at += length;
            }
        }
    }
}

/// For each output, the sum of its gradient `[B, outputs, area]` over batch and area.
pub(super) fn bias_gradient<E: Float>(gradient: &[E], outputs: usize, area: usize) -> Vec<E> {
    /// Sums that grow side by side, as a vector.
    const SIDE_BY_SIDE: usize = 16;
    let plane = |values: &[E]| {
        let (values, rest) = values.as_chunks::<SIDE_BY_SIDE>();
        let mut sums = [0f32; SIDE_BY_SIDE];
        for values in values {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.wide());
        }
        sums.into_iter().chain(rest.iter().map(|value| value.wide())).map(f64::from).sum::<f64>()
    };
    let mut sums = vec![E::default(); outputs];
    sums.par_iter_mut().enumerate().for_each(|(output, sum)| {
        let total: f64 = gradient.chunks(area).skip(output).step_by(outputs).map(plane).sum();
        *sum = E::rounded(total as f32);
    });
    sums
}
