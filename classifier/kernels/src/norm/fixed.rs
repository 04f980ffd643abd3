//! Batch norm by given statistics, as in evaluation, and the activation after it.

use std::mem::MaybeUninit;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::module::batch_norm;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::elementwise::function::{Function, by_function};
use crate::memory::output::{PIECE, Values, filled, overwritable};
use crate::norm::plane::Line;
use crate::{Norm, Over, applies};

/// Normalises each channel by a given mean and variance.
///
/// # Shapes
/// - x: `[B, C, ..]`
/// - mean, variance, gamma, beta: `[C]`
/// - output: `[B, C, ..]`
///
/// # Panics
/// If `norm` is not over the batch.
pub fn fixed_norm<const D: usize>(x: Tensor<D>, statistics: [Tensor<1>; 2], affine: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    assert_eq!(norm.over, Over::Batch, "statistics are given to a batch norm");
    let ([mean, variance], [gamma, beta]) = (statistics, affine);
    if !applies(&x) || x.device().is_autodiff() {
        return norm.activation.forward(batch_norm(x, gamma, beta, mean, variance, norm.epsilon));
    }
    let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fixed_norm(x.into_dispatch(), mean, variance, gamma, beta, norm))
}

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
        let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(Values::of);
        let line = |channel: usize| {
            let [mean, variance] = [&mean, &variance].map(|x| f64::from(x.as_slice()[channel]));
            let affine = [&gamma, &beta].map(|x| x.as_slice()[channel]);
            Line::normalising([mean, 1.0 / (variance + norm.epsilon).sqrt()], affine)
        };
        let lines: Vec<Line> = (0..gamma.as_slice().len()).map(line).collect();
        by_function!(norm.activation, F => forward::<F>(x, &lines))
    }
}

fn forward<F: Function>(mut x: FlexTensor, lines: &[Line]) -> FlexTensor {
    let shape = x.layout().shape().clone();
    let plane = shape[2..].iter().product::<usize>();
    // Whole planes.
    let at_a_time = (PIECE / plane).max(1);
    let lines_from = |i: usize| lines.iter().cycle().skip(i * at_a_time % lines.len());
    if let Some(values) = overwritable(&mut x) {
        values.par_chunks_mut(at_a_time * plane).enumerate().for_each(|(i, values)| {
            crate::isa::run(|| {
                for (values, line) in values.chunks_mut(plane).zip(lines_from(i)) {
                    values.iter_mut().for_each(|x| *x = F::value(line.at(*x)));
                }
            });
        });
        return x;
    }
    let x = Values::of(x);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let pieces = out.par_chunks_mut(at_a_time * plane).zip(x.as_slice().par_chunks(at_a_time * plane));
        pieces.enumerate().for_each(|(i, (out, x))| {
            crate::isa::run(|| {
                for ((out, x), line) in out.chunks_mut(plane).zip(x.chunks(plane)).zip(lines_from(i)) {
                    line.write::<F>(x, out);
                }
            });
        });
    };
    // SAFETY: both are cut alike and have as many elements, so each is written.
    unsafe { filled(shape, write) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::Activation;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_the_composition(batch in 1usize..4, channels in 1usize..20, height in 1usize..40, width in 1usize..40) {
            let device = Device::flex();
            let x = Tensor::<4>::random([batch, channels, height, width], Distribution::Normal(0.5, 2.0), &device);
            let [mean, gamma, beta] = [0, 1, 2].map(|_| Tensor::<1>::random([channels], Distribution::Normal(0.0, 1.0), &device));
            let variance = Tensor::random([channels], Distribution::Uniform(0.1, 3.0), &device);
            let (statistics, affine) = ([mean, variance], [gamma, beta]);
            for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
                let norm = Norm { over: Over::Batch, epsilon: 1e-5, activation };
                let ours = |x| fixed_norm(x, statistics.clone(), affine.clone(), norm);
                let [[mean, variance], [gamma, beta]] = [statistics.clone(), affine.clone()];
                let plain = activation.compose(batch_norm(x.clone(), gamma, beta, mean, variance, norm.epsilon));
                // Once with `x` held here, once as its only holder, once as a view.
                let held = ours(x.clone()).into_data();
                // Rounding of values up to about 30.
                held.assert_approx_eq::<f32>(&plain.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
                ours(Tensor::from_data(x.to_data(), &device)).into_data().assert_eq(&held, true);
                ours(x.clone().swap_dims(2, 3)).swap_dims(2, 3).into_data().assert_eq(&held, true);
            }
        }
    }
}
