//! The largest of every 3x3 window, windows 2 apart, and where it was.

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::{Sizes, with_images};
use crate::memory::output::{PIECE, Unwritten, Values};

fn sizes(shape: &Shape) -> Sizes {
    let full = [shape[2], shape[3]];
    Sizes { full, pooled: full.map(|side| side.div_ceil(2)) }
}

pub(super) fn forward(x: &Values) -> (FlexTensor, Vec<u8>) {
    let (shape, sizes) = (x.shape(), sizes(&x.shape()));
    let images = (PIECE / sizes.full()).max(1);
    let mut out = Unwritten::new(with_images(&shape, sizes.pooled));
    let mut places = vec![0u8; out.places().len()];
    let pieces = out.places().par_chunks_mut(images * sizes.pooled()).zip(places.par_chunks_mut(images * sizes.pooled()));
    pieces.zip(x.as_slice().par_chunks(images * sizes.full())).for_each(|((out, places), x)| {
        // Rows of the image with a border at both ends, and above and below it.
        let bordered = sizes.pooled[1] * 2 + 1;
        let mut rows = vec![f32::NEG_INFINITY; 3 * bordered];
        let outputs = out.chunks_exact_mut(sizes.pooled()).zip(places.chunks_exact_mut(sizes.pooled()));
        for ((out, places), x) in outputs.zip(x.chunks_exact(sizes.full())) {
            let outputs = out.chunks_exact_mut(sizes.pooled[1]).zip(places.chunks_exact_mut(sizes.pooled[1]));
            for (row, (out, places)) in outputs.enumerate() {
                for (i, bordered) in rows.chunks_exact_mut(bordered).enumerate() {
                    border(x, sizes, (2 * row + i).checked_sub(1), bordered);
                }
                for (column, (out, place)) in out.iter_mut().zip(places).enumerate() {
                    let window = [0, 1, 2].map(|i| &rows[i * bordered + 2 * column..][..3]);
                    let (most, at) = largest(window);
                    out.write(most);
                    *place = at;
                }
            }
        }
    });
    // SAFETY: outputs, places and images are cut alike, and every row and column of each output is written.
    (unsafe { out.written() }, places)
}

/// A row of the image behind a border of one; `None` and rows below the image are border alone.
fn border(x: &[f32], sizes: Sizes, row: Option<usize>, bordered: &mut [f32]) {
    let [height, width] = sizes.full;
    match row.filter(|row| *row < height) {
        Some(row) => bordered[1..=width].copy_from_slice(&x[row * width..][..width]),
        None => bordered.fill(f32::NEG_INFINITY),
    }
}

/// The largest, and its place; the first if there are several, and NaN, the last one, before all.
///
/// Without branches: which of nine numbers is the largest can't be foreseen.
#[inline(always)]
fn largest(window: [&[f32]; 3]) -> (f32, u8) {
    let (mut most, mut place) = (f32::NEG_INFINITY, NONE);
    for (i, row) in window.into_iter().enumerate() {
        for (j, &x) in row.iter().enumerate() {
            let larger = (x > most) | x.is_nan();
            most = if larger { x } else { most };
            place = if larger { (3 * i + j) as u8 } else { place };
        }
    }
    (most, if place == NONE { CENTRE } else { place })
}

/// No element is larger than the border.
const NONE: u8 = u8::MAX;
/// Always in the image.
const CENTRE: u8 = 4;

pub(super) fn backward(shape: Shape, places: &[u8], gradient: &Values) -> FlexTensor {
    let sizes = sizes(&shape);
    let images = (PIECE / sizes.full()).max(1);
    let mut out = Unwritten::new(shape);
    let pieces = gradient.as_slice().par_chunks(images * sizes.pooled()).zip(places.par_chunks(images * sizes.pooled()));
    out.places().par_chunks_mut(images * sizes.full()).zip(pieces).for_each(|(out, (gradient, places))| {
        out.iter_mut().for_each(|x| _ = x.write(0.0));
        // SAFETY: just written.
        let out = unsafe { out.assume_init_mut() };
        let windows = gradient.chunks_exact(sizes.pooled()).zip(places.chunks_exact(sizes.pooled()));
        for (out, (gradient, places)) in out.chunks_exact_mut(sizes.full()).zip(windows) {
            for (window, (gradient, place)) in gradient.iter().zip(places).enumerate() {
                let (row, column) = (window / sizes.pooled[1], window % sizes.pooled[1]);
                let (i, j) = (usize::from(place / 3), usize::from(place % 3));
                out[(2 * row + i - 1) * sizes.full[1] + 2 * column + j - 1] += gradient;
            }
        }
    });
    // SAFETY: gradients, places and images are cut alike, and all of every image is written.
    unsafe { out.written() }
}
