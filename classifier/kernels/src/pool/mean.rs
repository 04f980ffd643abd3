//! The mean of every 2x2 block.

use std::mem::MaybeUninit;

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::{Sizes, with_images};
use crate::memory::output::{PIECE, Values, filled};

fn sizes(shape: &Shape) -> Sizes {
    let full = [shape[2], shape[3]];
    Sizes { full, pooled: full.map(|side| side / 2) }
}

pub(super) fn forward(x: &Values) -> FlexTensor {
    let (shape, sizes) = (x.shape(), sizes(&x.shape()));
    let images = (PIECE / sizes.full()).max(1);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let pieces = out.par_chunks_mut(images * sizes.pooled()).zip(x.as_slice().par_chunks(images * sizes.full()));
        pieces.for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(sizes.pooled()).zip(x.chunks_exact(sizes.full())) {
                let [_, width] = sizes.full;
                for (out, rows) in out.chunks_exact_mut(sizes.pooled[1]).zip(x.chunks_exact(2 * width)) {
                    let (above, below) = rows.split_at(width);
                    for ((out, above), below) in out.iter_mut().zip(above.chunks_exact(2)).zip(below.chunks_exact(2)) {
                        out.write((above[0] + above[1] + below[0] + below[1]) * 0.25);
                    }
                }
            }
        });
    };
    // SAFETY: images are cut alike, and each has `pooled[0]` pairs of rows with `pooled[1]` pairs of elements.
    unsafe { filled(with_images(&shape, sizes.pooled), write) }
}

pub(super) fn backward(shape: Shape, gradient: &Values) -> FlexTensor {
    let sizes = sizes(&shape);
    let images = (PIECE / sizes.full()).max(1);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let pieces = out.par_chunks_mut(images * sizes.full()).zip(gradient.as_slice().par_chunks(images * sizes.pooled()));
        pieces.for_each(|(out, gradient)| {
            for (out, gradient) in out.chunks_exact_mut(sizes.full()).zip(gradient.chunks_exact(sizes.pooled())) {
                spread(out, gradient, sizes);
            }
        });
    };
    // SAFETY: images are cut alike, and `spread` writes every element of its image.
    unsafe { filled(shape, write) }
}

/// Every element of an image: a quarter of its block's gradient, 0 outside all blocks.
fn spread(out: &mut [MaybeUninit<f32>], gradient: &[f32], sizes: Sizes) {
    let [_, width] = sizes.full;
    let of_row = |row: &mut [MaybeUninit<f32>], gradient: &[f32]| {
        let (blocks, rest) = row.split_at_mut(2 * sizes.pooled[1]);
        for (block, gradient) in blocks.chunks_exact_mut(2).zip(gradient) {
            block[0].write(gradient * 0.25);
            block[1].write(gradient * 0.25);
        }
        rest.iter_mut().for_each(|x| _ = x.write(0.0));
    };
    let (blocks, rest) = out.split_at_mut(2 * sizes.pooled[0] * width);
    for (rows, gradient) in blocks.chunks_exact_mut(2 * width).zip(gradient.chunks_exact(sizes.pooled[1])) {
        let (above, below) = rows.split_at_mut(width);
        of_row(above, gradient);
        of_row(below, gradient);
    }
    rest.iter_mut().for_each(|x| _ = x.write(0.0));
}
