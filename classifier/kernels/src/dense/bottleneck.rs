//! Norm, ReLU and 1x1 convolution of the maps so far, tile by tile.

use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator, ParallelSlice};

use super::BottleneckOptions;
use super::growth::Maps;
use super::tile::Tile;
use crate::elementwise::function::{Function, Relu};
use crate::isa;
use crate::memory::float::Float;
use crate::memory::output::{Block, Output, Shared};
use crate::memory::product::{Matrix, Product};
use crate::memory::scratch::with_scratch;
use crate::memory::values::Values;
use crate::norm::moments::{sums, sums_beside};
use crate::norm::plane::Line;

/// A layer's first half. All vectors are of the channels so far.
pub(super) struct Bottleneck<E> {
    /// `[O, C, 1, 1]`
    pub(super) weight: Values<E>,
    pub(super) gamma: Vec<f32>,
    pub(super) beta: Vec<f32>,
    /// Mean and variance, `[2, C]`.
    pub(super) statistics: Vec<f32>,
    pub(super) options: BottleneckOptions,
}

/// How the output, or the gradient w.r.t. it, lies in memory.
#[derive(Clone, Copy)]
struct OutputLayout {
    channels: usize,
    plane: usize,
}

impl OutputLayout {
    /// The first element of a tile in an image.
    fn first(self, image: usize, tile: &Tile) -> usize {
        image * self.channels * self.plane + tile.pixels.start
    }
}

/// The sums of a thread's tiles.
struct Share {
    /// By the weight, `[O, C]`.
    weight: Vec<f32>,
    /// For each channel: sums of the gradient w.r.t. z, and of its products with `x - mean`.
    sums: Vec<[f64; 2]>,
}

impl<E: Float> Bottleneck<E> {
    fn channels(&self) -> usize {
        self.gamma.len()
    }

    fn outputs(&self) -> usize {
        self.weight.shape()[0]
    }

    /// Mean and reciprocal deviation.
    fn scale(&self, channel: usize) -> [f64; 2] {
        let (means, variances) = self.statistics.split_at(self.channels());
        [f64::from(means[channel]), 1.0 / (f64::from(variances[channel]) + self.options.epsilon).sqrt()]
    }

    fn lines(&self) -> Vec<Line> {
        let affine = self.gamma.iter().zip(&self.beta);
        affine.enumerate().map(|(channel, (gamma, beta))| Line::normalising(self.scale(channel), [*gamma, *beta])).collect()
    }

    fn weights(&self) -> Matrix<'_, E> {
        rows(self.weight.as_slice(), self.channels())
    }

    pub(super) fn forward(&self, maps: &Maps) -> FlexTensor {
        let (channels, outputs, plane) = (self.channels(), self.outputs(), maps.plane());
        let tiles = Tile::all(maps.batch, plane, channels);
        let lines = self.lines();
        let layout = OutputLayout { channels: outputs, plane };
        let output = Output::<E>::new(maps.shape(outputs));
        tiles.par_iter().with_max_len(1).for_each(|tile| {
            let (columns, pixels) = (tile.columns(), tile.pixels.len());
            with_scratch([channels * columns], [outputs * columns], |[normal], [product]| {
                isa::run(Normalise {
                    lines: &lines,
                    values: maps.values::<E>(),
                    sizes: [maps.capacity, plane],
                    tile,
                    out: normal,
                });
                let work = Product { lhs: self.weights(), rhs: rows(normal, columns), depth: channels };
                // A tile's pixels of all output channels of an image.
                let block = |image: usize| {
                    let (at, sizes) = (layout.first(image, tile), [outputs, pixels]);
                    // SAFETY: no other tile has these pixels.
                    unsafe { output.places().claim(at, sizes, [plane, 1]) }
                };
                if tile.images.len() == 1 && E::IS_WIDE {
                    work.to_block(&mut block(tile.images.start), false);
                    return;
                }
                work.to_slice(product, [outputs, columns], [columns, 1], false);
                for (i, image) in tile.images.clone().enumerate() {
                    block(image).fill_rows(|channel| product[channel * columns + i * pixels..][..pixels].iter().copied());
                }
            });
        });
        output.tensor()
    }

    /// The gradients w.r.t. weight, `[O, C]`, and gamma and beta; that w.r.t. the maps is added to theirs.
    pub(super) fn backward(&self, maps: &mut Maps, gradient: &Values<E>) -> (Vec<f32>, [Vec<f64>; 2]) {
        let tiles = Tile::all(maps.batch, maps.plane(), self.channels());
        // Two shares per thread even out their speeds. The tiles of a share depend on the number of threads, not on their
        // timing.
        let shares = (2 * rayon::current_num_threads()).min(tiles.len());
        let shares: Vec<Share> = {
            let lines = self.lines();
            let (capacity, plane) = (maps.capacity, maps.plane());
            let (values, by_maps) = maps.values_and_gradient::<E>();
            let by_maps = &Shared::new(by_maps);
            let work = Pull { layer: self, lines: &lines, values, gradient: gradient.as_slice(), by_maps, capacity, plane };
            let part = tiles.len().div_ceil(shares);
            tiles.par_chunks(part).with_max_len(1).map(|tiles| work.share(tiles)).collect()
        };
        let (channels, outputs) = (self.channels(), self.outputs());
        let mut weight = vec![0f32; outputs * channels];
        let mut totals = vec![[0f64; 2]; channels];
        for share in &shares {
            weight.iter_mut().zip(&share.weight).for_each(|(total, part)| *total += part);
            totals.iter_mut().zip(&share.sums).for_each(|(total, part)| *total = [total[0] + part[0], total[1] + part[1]]);
        }
        let count = (maps.batch * maps.plane()) as f64;
        let [mut of_gamma, mut of_beta] = [0; 2].map(|_| vec![0f64; channels]);
        for (channel, [sum, product]) in totals.into_iter().enumerate() {
            let [mean, rstd] = self.scale(channel);
            of_gamma[channel] = product * rstd;
            of_beta[channel] = sum;
            if self.options.of_batch {
                // As in `Pullback`; the part of the gradient w.r.t. z is in the buffer already.
                let gamma = f64::from(self.gamma[channel]);
                let [first, second] = [gamma * sum / count, gamma * product * rstd / count];
                let of_x = -rstd * rstd * second;
                maps.add_pending(channel, [of_x, -rstd * first - of_x * mean]);
            }
        }
        (weight, [of_gamma, of_beta])
    }
}

/// Rows of `width` elements.
fn rows<E>(values: &[E], width: usize) -> Matrix<'_, E> {
    Matrix { values, row: width, column: 1 }
}

/// Writes `max(z, 0)` of a tile, a row for each channel.
struct Normalise<'a, E> {
    lines: &'a [Line],
    values: &'a [E],
    /// Capacity in channels, and elements of a plane.
    sizes: [usize; 2],
    tile: &'a Tile,
    out: &'a mut [E],
}

impl<E: Float> WithSimd for Normalise<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { lines, values, sizes: [capacity, plane], tile, out } = self;
        let pixels = tile.pixels.len();
        for (channel, (line, row)) in lines.iter().zip(out.chunks_mut(tile.columns())).enumerate() {
            for (image, out) in tile.images.clone().zip(row.chunks_mut(pixels)) {
                let x = &values[(image * capacity + channel) * plane + tile.pixels.start..][..pixels];
                out.iter_mut().zip(x).for_each(|(out, x)| *out = E::rounded(Relu::value(line.at(x.wide()))));
            }
        }
    }
}

/// The backward pass of one layer.
struct Pull<'a, E> {
    layer: &'a Bottleneck<E>,
    lines: &'a [Line],
    values: &'a [E],
    gradient: &'a [E],
    by_maps: &'a Shared<'a>,
    capacity: usize,
    plane: usize,
}

impl<E: Float> Pull<'_, E> {
    fn share(&self, tiles: &[Tile]) -> Share {
        let (channels, outputs) = (self.layer.channels(), self.layer.outputs());
        let mut share = Share { weight: vec![0.0; outputs * channels], sums: vec![[0.0; 2]; channels] };
        let widest = tiles.iter().map(Tile::columns).max().unwrap_or(0);
        with_scratch([channels * widest, outputs * widest], [channels * widest], |[normals, gathered], [by_normals]| {
            for (i, tile) in tiles.iter().enumerate() {
                let columns = tile.columns();
                let (normal, by_normal) = (&mut normals[..channels * columns], &mut by_normals[..channels * columns]);
                let sizes = [self.capacity, self.plane];
                isa::run(Normalise { lines: self.lines, values: self.values, sizes, tile, out: normal });
                let gradient = self.gradient_of(tile, &mut gathered[..outputs * columns]);
                let by_weight = Product { lhs: gradient, rhs: rows(normal, columns).transposed(), depth: columns };
                by_weight.to_slice(&mut share.weight, [outputs, channels], [channels, 1], i > 0);
                let by_tile = Product { lhs: self.layer.weights().transposed(), rhs: gradient, depth: outputs };
                by_tile.to_slice(by_normal, [channels, columns], [columns, 1], false);
                isa::run(ThroughNorm { pull: self, tile, normal, by_normal, totals: &mut share.sums });
            }
        });
        share
    }

    /// By the output, `[O, columns]`: in place if the tile is in one image, else gathered.
    fn gradient_of<'g>(&'g self, tile: &Tile, gathered: &'g mut [E]) -> Matrix<'g, E> {
        let output = OutputLayout { channels: self.layer.outputs(), plane: self.plane };
        if tile.images.len() == 1 {
            return rows(&self.gradient[output.first(tile.images.start, tile)..], self.plane);
        }
        for (channel, row) in gathered.chunks_mut(tile.columns()).enumerate() {
            for (image, to) in tile.images.clone().zip(row.chunks_mut(self.plane)) {
                to.copy_from_slice(&self.gradient[output.first(image, tile) + channel * self.plane..][..self.plane]);
            }
        }
        rows(gathered, tile.columns())
    }

    /// Adds to the gradient w.r.t. the maps, and to the sums of each channel.
    #[inline(always)]
    fn through_norm(&self, tile: &Tile, normal: &[E], by_normal: &mut [f32], totals: &mut [[f64; 2]]) {
        let (columns, pixels) = (tile.columns(), tile.pixels.len());
        let first = |image: usize| image * self.capacity * self.plane + tile.pixels.start;
        let block = |image: usize| {
            // SAFETY: the tile's pixels of all channels so far, which no other tile has.
            unsafe { self.by_maps.rows(first(image), [self.lines.len(), pixels], self.plane) }
        };
        let mut by_maps: Vec<Block> = tile.images.clone().map(block).collect();
        let means = &self.layer.statistics[..self.lines.len()];
        // One sum over all images of a tile: a sum has a cost of its own, and the planes of several images are small.
        let mut together = vec![0f32; if tile.images.len() > 1 { columns } else { 0 }];
        let each = normal.chunks(columns).zip(by_normal.chunks_mut(columns)).zip(totals);
        for (channel, (((normal, dz), total), (line, mean))) in each.zip(self.lines.iter().zip(means)).enumerate() {
            for (dz, normal) in dz.iter_mut().zip(normal) {
                *dz = if normal.wide() > 0.0 { *dz } else { 0.0 };
            }
            let x_of = |image: usize| &self.values[first(image) + channel * self.plane..][..pixels];
            let terms = |dz: f32, x: f32| [dz, dz * (x - mean)];
            let [sum, product] = if together.is_empty() {
                sums_beside([&*dz], [x_of(tile.images.start)], |[dz], [x]| terms(dz, x))
            } else {
                for (image, row) in tile.images.clone().zip(together.chunks_mut(pixels)) {
                    row.iter_mut().zip(x_of(image)).for_each(|(to, x)| *to = x.wide());
                }
                sums([&*dz, &together], |[dz, x]| terms(dz, x))
            };
            *total = [total[0] + sum, total[1] + product];
            for (by_x, dz) in by_maps.iter_mut().zip(dz.chunks(pixels)) {
                by_x.row(channel).iter_mut().zip(dz).for_each(|(by_x, dz)| *by_x += line.scale * dz);
            }
        }
    }
}

/// [`Pull::through_norm`]
struct ThroughNorm<'a, E> {
    pull: &'a Pull<'a, E>,
    tile: &'a Tile,
    normal: &'a [E],
    by_normal: &'a mut [f32],
    totals: &'a mut [[f64; 2]],
}

impl<E: Float> WithSimd for ThroughNorm<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.pull.through_norm(self.tile, self.normal, self.by_normal, self.totals);
    }
}
