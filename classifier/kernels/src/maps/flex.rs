//! The kernels on the CPU.

use burn::tensor::Shape;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::MapBackend;
use crate::isa;
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::transpose::transpose_slice;
use crate::memory::values::{PIECE, Values, overwritable, overwrite};

impl MapBackend for Flex {
    fn add_alike(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        by_float!(a, E => add::<E>(a, b))
    }

    fn add_to_planes(x: FlexTensor, by: FlexTensor) -> FlexTensor {
        by_float!(x, E => add_to_planes::<E>(x, by))
    }

    fn nearest_neighbours(x: FlexTensor, size: [usize; 2]) -> FlexTensor {
        by_float!(x, E => nearest::<E>(x, size))
    }

    fn join_planes(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        by_float!(a, E => join::<E>(a, b))
    }
}

fn add<E: Float>(mut a: FlexTensor, mut b: FlexTensor) -> FlexTensor {
    // What is overwritten comes first; a sum has no order.
    if overwritable::<E>(&mut a).is_none() && overwritable::<E>(&mut b).is_some() {
        std::mem::swap(&mut a, &mut b);
    }
    if let Some(tokens) = Tokens::<E>::of(&b) {
        tokens.add_to(overwrite::<E>(&mut a));
        return a;
    }
    let b = Values::<E>::of(b);
    if let Some(sums) = overwritable::<E>(&mut a) {
        sums.par_chunks_mut(PIECE).zip(b.as_slice().par_chunks(PIECE)).for_each(|(sums, b)| {
            isa::run(|| add_slice(sums, b));
        });
        return a;
    }
    let a = Values::<E>::of(a);
    let mut output = Output::<E>::new(a.shape());
    let mut whole = output.whole();
    let pieces = whole.par_chunks(PIECE).zip(a.as_slice().par_chunks(PIECE)).zip(b.as_slice().par_chunks(PIECE));
    pieces.for_each(|((mut out, a), b)| {
        isa::run(|| {
            out.append(a.len(), a.iter().zip(b).map(|(a, b)| a.wide() + b.wide()));
        });
    });
    drop(whole);
    output.tensor()
}

#[inline(always)]
fn add_slice<E: Float>(sums: &mut [E], b: &[E]) {
    sums.iter_mut().zip(b).for_each(|(sum, b)| *sum = E::rounded(sum.wide() + b.wide()));
}

/// `[B, C, N]` whose memory is `[B, N, C]`: tokens that are seen as channels.
struct Tokens<'a, E> {
    values: &'a [E],
    channels: usize,
    tokens: usize,
}

impl<'a, E: Float> Tokens<'a, E> {
    /// `None` for tensors that lie otherwise.
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let (shape, strides) = (layout.shape(), layout.strides());
        let &[batch, channels, tokens] = &shape[..] else { return None };
        let expected = [channels * tokens, 1, channels].map(|step| step as isize);
        if strides != expected || layout.is_contiguous() {
            return None;
        }
        let start = layout.start_offset();
        Some(Self { values: &tensor.storage::<E>()[start..start + batch * channels * tokens], channels, tokens })
    }

    /// Adds them to `[B, C, N]`.
    fn add_to(&self, sums: &mut [E]) {
        /// Channels of a task, and tokens that are turned at a time: their numbers are whole lines of the caches.
        const SIDE: usize = 32;
        let Self { values, channels, tokens } = *self;
        let images = sums.par_chunks_mut(channels * tokens).zip(values.par_chunks(channels * tokens));
        images.for_each(|(sums, values)| {
            sums.par_chunks_mut(SIDE * tokens).enumerate().for_each(|(part, sums)| {
                let (first, count) = (part * SIDE, sums.len() / tokens);
                let mut turned = [0f32; SIDE * SIDE];
                for token in (0..tokens).step_by(SIDE) {
                    let length = SIDE.min(tokens - token);
                    transpose_slice([length, count], &values[token * channels + first..], &mut turned, [channels, SIDE]);
                    isa::run(|| {
                        for (sums, turned) in sums.chunks_exact_mut(tokens).zip(turned.chunks_exact(SIDE)) {
                            let sums = sums[token..token + length].iter_mut();
                            sums.zip(turned).for_each(|(sum, x)| *sum = E::rounded(sum.wide() + x));
                        }
                    });
                }
            });
        });
    }
}

fn add_to_planes<E: Float>(mut x: FlexTensor, by: FlexTensor) -> FlexTensor {
    let by = Values::<E>::of(by);
    let plane = x.layout().shape()[2..].iter().product::<usize>();
    overwrite::<E>(&mut x).par_chunks_mut(plane).zip(by.as_slice()).for_each(|(plane, by)| {
        let by = by.wide();
        isa::run(|| plane.iter_mut().for_each(|x| *x = E::rounded(x.wide() + by)));
    });
    x
}

fn nearest<E: Float>(x: FlexTensor, size: [usize; 2]) -> FlexTensor {
    let x = Values::<E>::of(x);
    let [batch, channels, height, width] = x.shape().dims::<4>();
    let [rows, columns] = [(height, size[0]), (width, size[1])].map(|(from, to)| places(from, to));
    let mut output = Output::<E>::new(Shape::new([batch, channels, size[0], size[1]]));
    let mut whole = output.whole();
    let planes = whole.par_chunks(size[0] * size[1]).zip(x.as_slice().par_chunks(height * width));
    planes.for_each(|(mut out, x)| {
        let mut line = vec![0f32; size[1]];
        let mut last = None;
        for &row in &rows {
            if last.replace(row) != Some(row) {
                let from = &x[row * width..][..width];
                line.iter_mut().zip(&columns).for_each(|(to, column)| *to = from[*column].wide());
            }
            isa::run(|| {
                out.append(line.len(), line.iter().copied());
            });
        }
    });
    drop(whole);
    output.tensor()
}

/// For each of `to` places the nearest of `from`.
fn places(from: usize, to: usize) -> Vec<usize> {
    // In 64-bit floats, as burn computes it.
    let ratio = from as f64 / to as f64;
    (0..to).map(|place| ((place as f64 * ratio) as usize).min(from - 1)).collect()
}

fn join<E: Float>(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let (a, b) = (Values::<E>::of(a), Values::<E>::of(b));
    let [batch, channels, height, width] = a.shape().dims::<4>();
    let others = b.shape()[1];
    let plane = height * width;
    let output = Output::<E>::new(Shape::new([batch, channels + others, height, width]));
    (0..batch * (channels + others)).into_par_iter().with_min_len(PIECE.div_ceil(plane)).for_each(|to| {
        let (image, channel) = (to / (channels + others), to % (channels + others));
        let from = match channel.checked_sub(channels) {
            None => &a.as_slice()[(image * channels + channel) * plane..][..plane],
            Some(channel) => &b.as_slice()[(image * others + channel) * plane..][..plane],
        };
        // SAFETY: planes are other elements of the output.
        let mut out = unsafe { output.places().claim(to * plane, [1, plane], [plane, 1]) };
        isa::run(|| out.fill_rows(|_| from.iter().map(|value| value.wide())));
    });
    output.tensor()
}
