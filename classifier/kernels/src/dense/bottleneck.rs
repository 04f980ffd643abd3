//! Norm, ReLU and 1x1 convolution of the maps so far, tile by tile.

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator, ParallelSlice};

use super::BottleneckOptions;
use super::growth::Maps;
use super::tile::Tile;
use crate::elementwise::function::{Function, Relu};
use crate::memory::output::{Values, filled, vector};
use crate::memory::product::{Matrix, Product};
use crate::norm::moments::sums;
use crate::norm::plane::Line;

/// A layer's first half. All vectors are of the channels so far.
pub(super) struct Bottleneck {
    /// `[O, C, 1, 1]`
    pub(super) weight: Values,
    pub(super) gamma: Values,
    pub(super) beta: Values,
    /// Mean and variance, `[2, C]`.
    pub(super) statistics: Values,
    pub(super) options: BottleneckOptions,
}

/// Memory that threads write at different places.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: whoever uses the pointer says why no two threads write one place.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// A method, so that closures take the whole and not the pointer in it.
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// How the output, or the gradient by it, lies in memory.
#[derive(Clone, Copy)]
struct Output {
    channels: usize,
    plane: usize,
}

impl Output {
    /// The first element of a tile in an image.
    fn first(self, image: usize, tile: &Tile) -> usize {
        image * self.channels * self.plane + tile.pixels.start
    }
}

/// What a thread gathers from its tiles.
struct Share {
    /// By the weight, `[O, C]`.
    weight: Vec<f32>,
    /// For each channel: sums of the gradient by z, and of its products with `x - mean`.
    sums: Vec<[f64; 2]>,
}

impl Bottleneck {
    fn channels(&self) -> usize {
        self.gamma.as_slice().len()
    }

    fn outputs(&self) -> usize {
        self.weight.shape()[0]
    }

    /// Mean and reciprocal deviation.
    fn scale(&self, channel: usize) -> [f64; 2] {
        let (means, variances) = self.statistics.as_slice().split_at(self.channels());
        [f64::from(means[channel]), 1.0 / (f64::from(variances[channel]) + self.options.epsilon).sqrt()]
    }

    fn lines(&self) -> Vec<Line> {
        let affine = self.gamma.as_slice().iter().zip(self.beta.as_slice());
        affine.enumerate().map(|(channel, (gamma, beta))| Line::normalising(self.scale(channel), [*gamma, *beta])).collect()
    }

    fn weights(&self) -> Matrix<*const f32> {
        rows(self.weight.as_slice().as_ptr(), self.channels())
    }

    pub(super) fn forward(&self, maps: &mut Maps) -> FlexTensor {
        let (channels, outputs, plane) = (self.channels(), self.outputs(), maps.plane());
        let tiles = Tile::all(maps.batch, plane, channels);
        let (lines, maps) = (self.lines(), &*maps);
        let output = Output { channels: outputs, plane };
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let out = Shared(out.as_mut_ptr().cast());
            tiles.par_iter().with_max_len(1).for_each_init(Vec::new, |scratch, tile| {
                let columns = tile.columns();
                scratch.resize((channels + outputs) * columns, 0.0);
                let (normal, product) = scratch.split_at_mut(channels * columns);
                crate::isa::run(|| normalise(&lines, maps.values(), [maps.capacity, plane], tile, normal));
                let sizes = [outputs, columns, channels];
                let normal = rows(normal.as_ptr(), columns);
                if tile.images.len() == 1 {
                    let out = rows(out.at(output.first(tile.images.start, tile)), plane);
                    // SAFETY: the tile's pixels of all output channels, which no other tile has.
                    unsafe { Product { sizes, out, add: false, lhs: self.weights(), rhs: normal, scale: 1.0 }.compute() };
                    return;
                }
                let out_tile = rows(product.as_mut_ptr(), columns);
                // SAFETY: `product` has a row for every output channel.
                unsafe { Product { sizes, out: out_tile, add: false, lhs: self.weights(), rhs: normal, scale: 1.0 }.compute() };
                for (i, image) in tile.images.clone().enumerate() {
                    for (channel, row) in product.chunks(columns).enumerate() {
                        let from = &row[i * plane..][..plane];
                        let to = out.at(output.first(image, tile) + channel * plane);
                        // SAFETY: whole planes of this tile's images, which no other tile has.
                        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, plane) };
                    }
                }
            });
        };
        // SAFETY: the tiles make up all images, and each is written for every output channel.
        unsafe { filled(maps.shape(outputs), write) }
    }

    /// The gradients by weight, gamma and beta; that by the maps is added to theirs.
    pub(super) fn backward(&self, maps: &mut Maps, gradient: &Values) -> (FlexTensor, FlexTensor, FlexTensor) {
        let tiles = Tile::all(maps.batch, maps.plane(), self.channels());
        // Two shares a thread even out their speeds. Which tiles a share has depends on the number of threads, not on who is first.
        let shares = (2 * rayon::current_num_threads()).min(tiles.len());
        let shares: Vec<Share> = {
            let lines = self.lines();
            let (batch, capacity, plane) = (maps.batch, maps.capacity, maps.plane());
            let (values, by_maps) = maps.values_and_gradient();
            let by_maps = Shared(by_maps.as_mut_ptr());
            let work =
                Pull { layer: self, lines: &lines, values, gradient: gradient.as_slice(), by_maps, batch, capacity, plane };
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
        let (mut of_gamma, mut of_beta) = (vec![0f32; channels], vec![0f32; channels]);
        for (channel, [sum, product]) in totals.into_iter().enumerate() {
            let [mean, rstd] = self.scale(channel);
            of_gamma[channel] = (product * rstd) as f32;
            of_beta[channel] = sum as f32;
            if self.options.of_batch {
                // As in `Pullback`; the part of the gradient by z is in the buffer already.
                let gamma = f64::from(self.gamma.as_slice()[channel]);
                let [first, second] = [gamma * sum / count, gamma * product * rstd / count];
                let of_x = -rstd * rstd * second;
                maps.add_pending(channel, [of_x, -rstd * first - of_x * mean]);
            }
        }
        let shape = Shape::new([outputs, channels, 1, 1]);
        (vector(weight).reshape(shape), vector(of_gamma), vector(of_beta))
    }
}

/// Rows of `width` elements from `first` on.
fn rows<P>(first: P, width: usize) -> Matrix<P> {
    Matrix { first, row: width, column: 1 }
}

fn transposed<P>(matrix: Matrix<P>) -> Matrix<P> {
    Matrix { first: matrix.first, row: matrix.column, column: matrix.row }
}

/// `max(z, 0)` of a tile, a row for each channel.
#[inline(always)]
fn normalise(lines: &[Line], values: &[f32], [capacity, plane]: [usize; 2], tile: &Tile, out: &mut [f32]) {
    let pixels = tile.pixels.len();
    for (channel, (line, row)) in lines.iter().zip(out.chunks_mut(tile.columns())).enumerate() {
        for (image, out) in tile.images.clone().zip(row.chunks_mut(pixels)) {
            let x = &values[(image * capacity + channel) * plane + tile.pixels.start..][..pixels];
            out.iter_mut().zip(x).for_each(|(out, x)| *out = Relu::value(line.at(*x)));
        }
    }
}

/// The backward pass of one layer.
struct Pull<'a> {
    layer: &'a Bottleneck,
    lines: &'a [Line],
    values: &'a [f32],
    gradient: &'a [f32],
    by_maps: Shared,
    batch: usize,
    capacity: usize,
    plane: usize,
}

impl Pull<'_> {
    fn share(&self, tiles: &[Tile]) -> Share {
        let (channels, outputs) = (self.layer.channels(), self.layer.outputs());
        let mut share = Share { weight: vec![0.0; outputs * channels], sums: vec![[0.0; 2]; channels] };
        let widest = tiles.iter().map(Tile::columns).max().unwrap_or(0);
        let mut scratch = vec![0f32; (2 * channels + outputs) * widest];
        for (i, tile) in tiles.iter().enumerate() {
            let columns = tile.columns();
            let (normal, rest) = scratch.split_at_mut(channels * columns);
            let (by_normal, rest) = rest.split_at_mut(channels * columns);
            crate::isa::run(|| normalise(self.lines, self.values, [self.capacity, self.plane], tile, normal));
            let gradient = self.gradient_of(tile, &mut rest[..outputs * columns]);
            let by_weight = Product {
                sizes: [outputs, channels, columns],
                out: rows(share.weight.as_mut_ptr(), channels),
                add: i > 0,
                lhs: gradient,
                rhs: transposed(rows(normal.as_ptr(), columns)),
                scale: 1.0,
            };
            // SAFETY: `share.weight` is [O, C], the gradient [O, columns] and the tile [C, columns].
            unsafe { by_weight.compute() };
            let by_tile = Product {
                sizes: [channels, columns, outputs],
                out: rows(by_normal.as_mut_ptr(), columns),
                add: false,
                lhs: transposed(self.layer.weights()),
                rhs: gradient,
                scale: 1.0,
            };
            // SAFETY: `by_normal` is [C, columns], the weight [O, C] and the gradient [O, columns].
            unsafe { by_tile.compute() };
            crate::isa::run(|| self.through_norm(tile, normal, by_normal, &mut share.sums));
        }
        share
    }

    /// By the output, `[O, columns]`: where it lies if the tile is in one image, else gathered.
    fn gradient_of(&self, tile: &Tile, gathered: &mut [f32]) -> Matrix<*const f32> {
        let output = Output { channels: self.layer.outputs(), plane: self.plane };
        if tile.images.len() == 1 {
            return rows(self.gradient[output.first(tile.images.start, tile)..].as_ptr(), self.plane);
        }
        for (channel, row) in gathered.chunks_mut(tile.columns()).enumerate() {
            for (image, to) in tile.images.clone().zip(row.chunks_mut(self.plane)) {
                to.copy_from_slice(&self.gradient[output.first(image, tile) + channel * self.plane..][..self.plane]);
            }
        }
        rows(gathered.as_ptr(), tile.columns())
    }

    /// Adds to the gradient by the maps, and to the sums of each channel.
    #[inline(always)]
    fn through_norm(&self, tile: &Tile, normal: &[f32], by_normal: &mut [f32], totals: &mut [[f64; 2]]) {
        let (columns, pixels) = (tile.columns(), tile.pixels.len());
        let means = &self.layer.statistics.as_slice()[..self.lines.len()];
        let each = normal.chunks(columns).zip(by_normal.chunks_mut(columns)).zip(totals);
        for (channel, (((normal, dz), total), (line, mean))) in each.zip(self.lines.iter().zip(means)).enumerate() {
            for (dz, normal) in dz.iter_mut().zip(normal) {
                *dz = if *normal > 0.0 { *dz } else { 0.0 };
            }
            for (image, dz) in tile.images.clone().zip(dz.chunks(pixels)) {
                debug_assert!(image < self.batch);
                let first = (image * self.capacity + channel) * self.plane + tile.pixels.start;
                let x = &self.values[first..][..pixels];
                let [sum, product] = sums([dz, x], |[dz, x]| [dz, dz * (x - mean)]);
                *total = [total[0] + sum, total[1] + product];
                // SAFETY: the tile's pixels of one channel, within the buffer as they are within `values` of the same shape; no
                // other tile has them.
                let by_x = unsafe { std::slice::from_raw_parts_mut(self.by_maps.at(first), pixels) };
                by_x.iter_mut().zip(dz).for_each(|(by_x, dz)| *by_x += line.scale * dz);
            }
        }
    }
}
