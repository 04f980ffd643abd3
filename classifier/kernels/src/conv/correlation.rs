//! Weights times patches: a convolution, or the gradient by its input.

use std::ops::Range;

use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::lattice::Axis;
use super::patches::{Patches, Source};
use super::tiles::{DEPTH, LANES, fair, part, stride, tiles};
use super::weights::Weights;
use crate::memory::product::{Matrix, Product};
use crate::memory::scratch::{Target, with_scratch};

/// Points of a tile.
const TILE: usize = 192;
/// Most outputs of a product: with more, the weights' pages outnumber a processor's translations of addresses.
const MOST_OUTPUTS: usize = 640;
/// Most tiles whose tasks each turn the weights that they read. With more, it pays to write all of them to memory once.
const MOST_TURNS: usize = 2;

/// Every output of every point of a grid: the sum over channels and taps of weight times source, and the bias.
pub(super) struct Correlation<'a> {
    pub(super) axes: [&'a Axis; 2],
    pub(super) batch: usize,
    pub(super) outputs: usize,
    pub(super) source: Source<'a>,
    pub(super) weights: Weights<'a>,
    /// One for each output.
    pub(super) bias: Option<&'a [f32]>,
}

impl Correlation<'_> {
    /// Writes every point of the grid, in a target `[B, outputs, H, W]`.
    ///
    /// # Safety
    /// The target is as large as that, and nobody else uses those points.
    pub(super) unsafe fn write(&self, target: Target) {
        let tiles = tiles(self.axes, self.batch, fair(self.batch * self.area(), TILE));
        let part = part(self.outputs, tiles.len(), MOST_OUTPUTS);
        let parts = self.outputs.div_ceil(part);
        let all;
        let weights = match self.weights {
            Weights::Turned(turned) if turned.kernel > 1 && tiles.len() > MOST_TURNS => {
                all = turned.all();
                Weights::Straight { values: &all, channels: self.source.channels, taps: self.taps() }
            }
            weights => weights,
        };
        (0..tiles.len() * parts).into_par_iter().for_each(|task| {
            let first = task % parts * part;
            // SAFETY: tasks are other points or other outputs; the rest is the caller's promise.
            unsafe { self.write_tile(&tiles[task / parts], first..self.outputs.min(first + part), weights, target) };
        });
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps.len()).product()
    }

    /// Channels whose taps one product sums.
    fn channels_at_once(&self) -> usize {
        (DEPTH / self.taps()).clamp(1, self.source.channels)
    }

    fn area(&self) -> usize {
        self.axes.iter().map(|axis| axis.points).product()
    }

    /// # Safety
    /// As for [`write`](Self::write), of these points and outputs alone.
    unsafe fn write_tile(&self, tile: &Range<usize>, outputs: Range<usize>, weights: Weights, target: Target) {
        let patches = Patches::new(self.axes, tile);
        let area = self.area();
        let (image, point) = (tile.start / area, tile.start % area);
        let in_one_image = point + tile.len() <= area;
        let channels = self.channels_at_once();
        let row = stride(tile.len());
        // Where the points follow each other in the target, sums grow where they stay.
        let in_place = in_one_image && self.axes.iter().all(|axis| axis.is_dense());
        // Where they do in the source too, it is the matrix of patches.
        let direct = in_place && patches.are_pointwise();
        let gathered = if direct { [0, 0] } else { [patches.copy_len(channels), patches.matrix_len(channels, row)] };
        let sums_apart = if in_place { 0 } else { outputs.len() * row };
        let turned = weights.scratch_len(outputs.len(), channels);
        with_scratch([gathered[0], gathered[1], sums_apart, turned], |[copy, matrix, apart, turned]| {
            copy.fill(0.0);
            let at = |output: usize| (image * self.outputs + output) * area + point;
            let sums = if in_place {
                if let Some(bias) = self.bias {
                    for output in outputs.clone() {
                        // SAFETY: the caller's promise.
                        (0..tile.len()).for_each(|i| unsafe { target.write(at(output) + i, bias[output]) });
                    }
                }
                // SAFETY: the first point of the first output is inside the target.
                let first = unsafe { target.at(at(outputs.start)) };
                Sums { matrix: Matrix { first, row: 1, column: area }, points: tile.len(), begun: self.bias.is_some() }
            } else {
                let matrix = Matrix { first: apart.as_mut_ptr(), row: 1, column: row };
                // A few points more cost nothing where there is room for them.
                Sums { matrix, points: tile.len().next_multiple_of(LANES), begun: false }
            };
            for first in (0..self.source.channels).step_by(channels) {
                let some = first..self.source.channels.min(first + channels);
                let seen = if direct {
                    let from = (image * self.source.channels + first) * area + point;
                    let seen = &self.source.values[from..][..(some.len() - 1) * area + tile.len()];
                    Matrix { first: seen.as_ptr(), row: 1, column: area }
                } else {
                    let buffers = [&mut *copy, &mut *matrix];
                    crate::isa::run(|| patches.fill(self.source, some.clone(), buffers, row));
                    Matrix { first: matrix.as_ptr(), row: 1, column: row }
                };
                let sums = Sums { begun: sums.begun || first > 0, ..sums };
                let product = Product {
                    sizes: [sums.points, outputs.len(), some.len() * self.taps()],
                    out: sums.matrix,
                    add: sums.begun,
                    lhs: seen,
                    rhs: weights.part(&outputs, &some, turned),
                    scale: 1.0,
                };
                // SAFETY: sums are in the target, of this task alone, or in scratch with a row of `row` values for each output;
                // what is seen has a row for each tap of these channels, and the weights have one of those for each output.
                unsafe { product.compute() };
            }
            if !in_place {
                // SAFETY: the caller's promise.
                unsafe { self.place(&patches, &outputs, apart.chunks(row), target) };
            }
        });
    }

    /// Writes sums, a row for each output, to their points.
    ///
    /// # Safety
    /// As for [`write_tile`](Self::write_tile).
    unsafe fn place<'a>(
        &self,
        patches: &Patches,
        outputs: &Range<usize>,
        rows: impl Iterator<Item = &'a [f32]>,
        target: Target,
    ) {
        let [y, x] = self.axes;
        for (output, sums) in outputs.clone().zip(rows) {
            let bias = self.bias.map_or(0.0, |bias| bias[output]);
            for run in patches.runs() {
                let line = (run.image * self.outputs + output) * y.target + run.point[0] * y.stride + y.start;
                let at = line * x.target + run.point[1] * x.stride + x.start;
                for (i, sum) in sums[run.column..][..run.length].iter().enumerate() {
                    // SAFETY: the caller's promise.
                    unsafe { target.write(at + i * x.stride, sum + bias) };
                }
            }
        }
    }
}

/// Where sums of points by outputs grow.
#[derive(Clone, Copy)]
struct Sums {
    matrix: Matrix<*mut f32>,
    points: usize,
    /// Whether it holds numbers to add to.
    begun: bool,
}
