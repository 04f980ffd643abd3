//! The kernels on the CPU.

use burn::tensor::Shape;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::MapBackend;
use crate::isa::vectorized;
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::values::{PIECE, Values, overwrite};

impl MapBackend for Flex {
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

fn add_to_planes<E: Float>(mut x: FlexTensor, by: FlexTensor) -> FlexTensor {
    let by = Values::<E>::of(by);
    let plane = x.layout().shape()[2..].iter().product::<usize>();
    overwrite::<E>(&mut x).par_chunks_mut(plane).zip(by.as_slice()).for_each(|(plane, by)| {
        let by = by.wide();
        vectorized!(plane.iter_mut().for_each(|x| *x = E::rounded(x.wide() + by)));
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
            vectorized!({
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
        vectorized!(out.fill_rows(|_| from.iter().map(|value| value.wide())));
    });
    output.tensor()
}
