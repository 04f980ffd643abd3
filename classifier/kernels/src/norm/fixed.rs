//! Batch norm by given statistics, as in evaluation.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::plane::Line;
use super::problem::Norm;
use crate::elementwise::function::{Function, by_function};
use crate::isa::vectorized;
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::values::{PIECE, Values, overwritable, wide_vector};

/// Backends with the kernel, which has no gradient.
#[backend_extension(Flex)]
pub trait FixedNormBackend: Backend {
    /// The output.
    fn fixed_norm(
        x: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;
}

impl FixedNormBackend for Flex {
    fn fixed_norm(
        x: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        norm: Norm,
    ) -> FlexTensor {
        let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(wide_vector);
        let line = |channel: usize| {
            let [mean, variance] = [&mean, &variance].map(|x| f64::from(x[channel]));
            Line::normalising([mean, 1.0 / (variance + norm.epsilon).sqrt()], [gamma[channel], beta[channel]])
        };
        let lines: Vec<Line> = (0..gamma.len()).map(line).collect();
        by_float!(x, E => by_function!(norm.activation, F => forward::<E, F>(x, &lines)))
    }
}

fn forward<E: Float, F: Function>(mut x: FlexTensor, lines: &[Line]) -> FlexTensor {
    let shape = x.layout().shape().clone();
    let plane = shape[2..].iter().product::<usize>();
    // Whole planes.
    let at_a_time = (PIECE / plane).max(1);
    let lines_from = |i: usize| lines.iter().cycle().skip(i * at_a_time % lines.len());
    if let Some(values) = overwritable::<E>(&mut x) {
        values.par_chunks_mut(at_a_time * plane).enumerate().for_each(|(i, values)| {
            vectorized!({
                for (values, line) in values.chunks_mut(plane).zip(lines_from(i)) {
                    values.iter_mut().for_each(|x| *x = E::rounded(F::value(line.at(x.wide()))));
                }
            });
        });
        return x;
    }
    let x = Values::<E>::of(x);
    let mut output = Output::<E>::new(shape);
    let mut whole = output.whole();
    let pieces = whole.par_chunks(at_a_time * plane).zip(x.as_slice().par_chunks(at_a_time * plane));
    pieces.enumerate().for_each(|(i, (mut out, x))| {
        vectorized!(x.chunks(plane).zip(lines_from(i)).for_each(|(x, line)| line.write::<E, F>(x, &mut out)));
    });
    drop(whole);
    output.tensor()
}
