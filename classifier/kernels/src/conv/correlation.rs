//! Weights times patches: a convolution, or the gradient w.r.t. its input.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::lattice::Axis;
use super::patches::{Fill, Patches, Source};
use super::tiles::{LANES, fair, part, stride, tiles};
use super::weights::Weights;
use crate::brain::Panels;
use crate::isa::{self, vectorized};
use crate::memory::float::Float;
use crate::memory::output::{Block, Places};
use crate::memory::product::{Matrix, Product};
use crate::memory::scratch::with_scratch;

/// Points of a tile.
const TILE: usize = 192;
/// Most outputs of a product: with more, the weights' pages outnumber a processor's translations of addresses.
const MOST_OUTPUTS: usize = 640;
/// Most tiles whose tasks each turn the weights that they read. With more, it pays to write all of them to memory once.
const MOST_TURNS: usize = 2;

/// Every output of every point of a grid: the sum over channels and taps of weight times source, and the bias.
pub(super) struct Correlation<'a, E> {
    pub(super) axes: [&'a Axis; 2],
    pub(super) batch: usize,
    pub(super) outputs: usize,
    pub(super) source: Source<'a, E>,
    pub(super) weights: Weights<'a, E>,
    /// One for each output.
    pub(super) bias: Option<&'a [E]>,
}

impl<E: Float> Correlation<'_, E> {
    /// Writes every point of the grid, in a target `[B, outputs, H, W]`.
    ///
    /// # Safety
    /// The target is as large as that, and nobody else writes those points.
    pub(super) unsafe fn write(&self, target: &Places<E>) {
        if self.taps() == 0 {
            // Inputs that strides pass over.
            let [y, x] = self.axes;
            for plane in 0..self.batch * self.outputs {
                let start = (plane * y.target + y.start) * x.target + x.start;
                let steps = [y.stride * x.target, x.stride];
                // SAFETY: planes are other points; the rest is the caller's promise.
                unsafe { target.claim(start, [y.points, x.points], steps) }.fill_rows(|_| std::iter::repeat(0.0));
            }
            return;
        }
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

    /// Channels whose taps one product sums: of brain floats as many as the tiles of one pass hold, with no terms left over if possible.
    fn channels_at_once(&self) -> usize {
        let (depth, multiple) = if E::IS_WIDE { (256, 1) } else { (576, 32) };
        let most = depth / self.taps();
        let most = if most < multiple { most } else { most / multiple * multiple };
        most.clamp(1, self.source.channels)
    }

    fn area(&self) -> usize {
        self.axes.iter().map(|axis| axis.points).product()
    }

    /// # Safety
    /// As for [`write`](Self::write), of these points and outputs alone.
    unsafe fn write_tile(&self, tile: &Range<usize>, outputs: Range<usize>, weights: Weights<E>, target: &Places<E>) {
        let patches = Patches::new(self.axes, tile);
        let area = self.area();
        let (image, point) = (tile.start / area, tile.start % area);
        let in_one_image = point + tile.len() <= area;
        let channels = self.channels_at_once();
        let row = stride(tile.len());
        // Where the points follow each other in the target, sums of its type grow where they stay.
        let dense = in_one_image && self.axes.iter().all(|axis| axis.is_dense());
        let in_place = dense && E::IS_WIDE;
        // Where they do in the source too, it is the matrix of patches.
        let direct = dense && patches.are_pointwise();
        // Brain floats go to the units in their order at once.
        let in_panels = !direct
            && !E::IS_WIDE
            && !patches.are_pointwise()
            && channels * self.taps() <= Panels::DEPTH
            && matches!(weights, Weights::Straight { .. });
        let mut panels = in_panels.then(|| Panels::new(isa::brain())).flatten();
        let lanes = panels.as_ref().map(|_| patches.lanes());
        let gathered = if panels.is_some() {
            [patches.copy_len(channels), 0]
        } else if direct {
            [0, 0]
        } else {
            [patches.copy_len(channels), patches.matrix_len(channels, row)]
        };
        let sums_apart = if in_place { 0 } else { outputs.len() * row };
        let turned = weights.scratch_len(outputs.len(), channels);
        with_scratch([gathered[0], gathered[1], turned], [sums_apart], |[copy, matrix, turned], [apart]| {
            copy.fill(E::default());
            let mut sums = if in_place {
                let at = (image * self.outputs + outputs.start) * area + point;
                // SAFETY: the grid is the whole target, whose planes are of its area; the rest is the caller's promise.
                let mut block = unsafe { target.claim(at, [outputs.len(), tile.len()], [area, 1]) };
                if let Some(bias) = self.bias {
                    block.fill_rows(|output| std::iter::repeat(bias[outputs.start + output].wide()));
                }
                Sums::InPlace(block.transposed())
            } else {
                // A few more points cost nothing if there is room for them.
                let points = if direct { tile.len() } else { tile.len().next_multiple_of(LANES) };
                Sums::Apart { values: apart, points, row }
            };
            for first in (0..self.source.channels).step_by(channels) {
                let some = first..self.source.channels.min(first + channels);
                let rhs = weights.part(&outputs, &some, turned);
                if let (Some(panels), Some(lanes), Sums::Apart { values, points, row }) = (&mut panels, &lanes, &mut sums) {
                    isa::run(Fill { patches: &patches, lanes, source: self.source, channels: some, copy: &mut *copy, panels });
                    let of_outputs = Matrix { values: bytemuck::cast_slice(rhs.values), row: rhs.column, column: rhs.row };
                    panels.multiply(of_outputs, values, [outputs.len(), *points], *row, first > 0);
                    continue;
                }
                let seen = if direct {
                    let from = (image * self.source.channels + first) * area + point;
                    let seen = &self.source.values[from..][..(some.len() - 1) * area + tile.len()];
                    Matrix { values: seen, row: 1, column: area }
                } else {
                    let buffers = [&mut *copy, &mut *matrix];
                    vectorized!(patches.fill(self.source, some.clone(), buffers, row));
                    Matrix { values: matrix, row: 1, column: row }
                };
                let product = Product { lhs: seen, rhs, depth: some.len() * self.taps() };
                match &mut sums {
                    Sums::InPlace(block) => product.to_block(block, self.bias.is_some() || first > 0),
                    Sums::Apart { values, points, row } => {
                        product.to_slice(values, [*points, outputs.len()], [1, *row], first > 0);
                    }
                }
            }
            if let Sums::Apart { values, row, .. } = sums {
                // The caller's promise is the one that is asked for.
                isa::run(Placing { correlation: self, patches: &patches, outputs, sums: values, row, target });
            }
        });
    }
}

/// Writes sums, `row` numbers for each output, to their points. Whoever makes one promises what [`Correlation::write_tile`] asks for.
struct Placing<'a, E: 'static> {
    correlation: &'a Correlation<'a, E>,
    patches: &'a Patches<'a>,
    outputs: Range<usize>,
    sums: &'a [f32],
    row: usize,
    target: &'a Places<'a, E>,
}

impl<E: Float> WithSimd for Placing<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { correlation, patches, outputs, sums, row, target } = self;
        let [y, x] = correlation.axes;
        let runs = patches.runs();
        for (output, sums) in outputs.zip(sums.chunks(row)) {
            let bias = correlation.bias.map_or(0.0, |bias| bias[output].wide());
            // Rows of one image from the same column on are one block.
            for runs in runs.chunk_by(|run, next| run.is_above(next)) {
                let run = runs[0];
                let line = (run.image * correlation.outputs + output) * y.target + run.point[0] * y.stride + y.start;
                let at = line * x.target + run.point[1] * x.stride + x.start;
                let (sizes, steps) = ([runs.len(), run.length], [y.stride * x.target, x.stride]);
                // SAFETY: these points and outputs are nobody else's, says who has made this.
                let mut block = unsafe { target.claim(at, sizes, steps) };
                block.fill_rows(|row| sums[runs[row].column..][..run.length].iter().map(|sum| sum + bias));
            }
        }
    }
}

/// Where sums of points by outputs grow.
enum Sums<'a, E> {
    /// In the target.
    InPlace(Block<'a, E>),
    /// In scratch, a row of `row` values for each output.
    Apart { values: &'a mut [f32], points: usize, row: usize },
}
