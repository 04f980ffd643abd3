//! Layer norm and the activation after it: one pass over memory forward, one backward.

use std::mem::MaybeUninit;

use burn::tensor::module::layer_norm as burn_layer_norm;
use burn::tensor::{FloatDType, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::backend::{self as norm, Input, Norm, Over, Pulled, Pulls};
use crate::applies;
use crate::elementwise::function::Function;
use crate::memory::output::{PIECE, filled};
use crate::norm::moments::{Moments, sums};

/// Normalises the last axis (Ba, Kiros and Hinton 2016).
///
/// # Shapes
/// - x: `[.., C]`
/// - gamma, beta: `[C]`
/// - output: `[.., C]`
///
/// # Panics
/// If `norm` is not over the last axis.
pub fn layer_norm<const D: usize>(x: Tensor<D>, affine: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    assert_eq!(norm.over, Over::Last, "a layer norm is over the last axis");
    if applies(&x) { norm::apply(x, affine, norm).0 } else { compose(x, affine, norm) }
}

/// By burn's own operations; statistics of half precision are in 32 bits.
fn compose<const D: usize>(x: Tensor<D>, [gamma, beta]: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    let dtype: FloatDType = x.dtype().into();
    let normal = if dtype == FloatDType::F16 {
        let [gamma, beta] = [gamma, beta].map(|x| x.cast(FloatDType::F32));
        burn_layer_norm(x.cast(FloatDType::F32), gamma, Some(beta), norm.epsilon).cast(dtype)
    } else {
        burn_layer_norm(x, gamma, Some(beta), norm.epsilon)
    };
    norm.activation.forward(normal)
}

/// Rows that a thread takes at a time.
fn rows_at_a_time(width: usize) -> usize {
    (PIECE / width).max(1)
}

/// The output, and mean and variance of every row.
pub(crate) fn forward<F: Function>(input: &Input) -> (FlexTensor, Vec<f32>) {
    let (gamma, beta) = (input.gamma.as_slice(), input.beta.as_slice());
    let width = gamma.len();
    let x = input.x.as_slice();
    let rows = rows_at_a_time(width);
    let mut statistics = vec![0f32; 2 * (x.len() / width)];
    let normalise = |out: &mut [MaybeUninit<f32>], x: &[f32], statistics: &mut [f32]| {
        for ((out, x), statistics) in out.chunks_mut(width).zip(x.chunks(width)).zip(statistics.chunks_mut(2)) {
            let moments = Moments::of(x);
            let (mean, rstd) = (moments.mean() as f32, moments.rstd(input.epsilon) as f32);
            statistics.copy_from_slice(&[mean, moments.variance() as f32]);
            for (((out, x), gamma), beta) in out.iter_mut().zip(x).zip(gamma).zip(beta) {
                out.write(F::value((x - mean) * rstd * gamma + beta));
            }
        }
    };
    let write = |out: &mut [MaybeUninit<f32>]| {
        let pieces = out.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
        pieces.zip(statistics.par_chunks_mut(2 * rows)).for_each(|((out, x), statistics)| {
            crate::isa::run(|| normalise(out, x, statistics));
        });
    };
    // SAFETY: rows make up the tensor; each row of the output is as long as that of `x`, gamma and beta, and written.
    let output = unsafe { filled(input.x.shape(), write) };
    (output, statistics)
}

/// Some rows.
struct Rows<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    statistics: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

pub(crate) fn backward<F: Function>(pulled: &Pulled) -> Pulls {
    let Pulled { input, statistics, gradient } = pulled;
    let width = input.gamma.as_slice().len();
    let rows = rows_at_a_time(width);
    let mut partial = Vec::new();
    let write = |out: &mut [MaybeUninit<f32>]| {
        let inputs = input.x.as_slice().par_chunks(rows * width).zip(gradient.as_slice().par_chunks(rows * width));
        let pieces = out.par_chunks_mut(rows * width).zip(inputs).zip(statistics.as_slice().par_chunks(2 * rows));
        let pull = |((out, (x, gradient)), statistics)| {
            let rows = Rows { x, gradient, statistics, out };
            crate::isa::run(|| pull::<F>(input, rows))
        };
        pieces.map(pull).collect_into_vec(&mut partial);
    };
    // SAFETY: pieces make up the tensor, and `pull` writes every row of a piece.
    let of_x = unsafe { filled(input.x.shape(), write) };

    let mut totals = [vec![0f64; width], vec![0f64; width]];
    for partial in &partial {
        for (total, partial) in totals.iter_mut().zip(partial) {
            total.iter_mut().zip(partial).for_each(|(total, partial)| *total += f64::from(*partial));
        }
    }
    (of_x, totals)
}

/// Writes every element of `rows.out`; returns these rows' share of the gradients by gamma and beta.
#[inline(always)]
fn pull<F: Function>(input: &Input, rows: Rows<'_>) -> [Vec<f32>; 2] {
    let Rows { x, gradient, statistics, out } = rows;
    let (gamma, beta) = (input.gamma.as_slice(), input.beta.as_slice());
    let width = gamma.len();
    let [mut of_gamma, mut of_beta] = [vec![0f32; width], vec![0f32; width]];
    // The gradient by z, then gamma times that, and the normalised row.
    let [mut pulled, mut normal] = [vec![0f32; width], vec![0f32; width]];
    let each = x.chunks(width).zip(gradient.chunks(width)).zip(statistics.chunks(2)).zip(out.chunks_mut(width));
    for (((x, gradient), statistics), out) in each {
        let [mean, rstd] = input.scale(statistics).map(|x| x as f32);
        // One length for all, so that the loop needs no checks.
        let (x, gradient, beta) = (&x[..width], &gradient[..width], &beta[..width]);
        let (of_gamma, of_beta) = (&mut of_gamma[..width], &mut of_beta[..width]);
        let (pulled, normal) = (&mut pulled[..width], &mut normal[..width]);
        for i in 0..width {
            let normal_x = (x[i] - mean) * rstd;
            let dz = gradient[i] * F::slope(normal_x * gamma[i] + beta[i]);
            of_gamma[i] += dz * normal_x;
            of_beta[i] += dz;
            pulled[i] = dz * gamma[i];
            normal[i] = normal_x;
        }
        let [first, second] =
            sums([&*pulled, &*normal], |[dz, normal]| [dz, dz * normal]).map(|sum| (sum / width as f64) as f32);
        for ((out, pulled), normal) in out.iter_mut().zip(&*pulled).zip(&*normal) {
            out.write(rstd * (pulled - first - normal * second));
        }
    }
    [of_gamma, of_beta]
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::Activation;
    use crate::testing::{affine_map, with_affine_gradients};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_the_composition_with_its_gradients(batch in 1usize..4, rows in 1usize..60, width in 1usize..700, offset in -9f64..9.0) {
            let x = Tensor::<3>::random([batch, rows, width], Distribution::Normal(offset, 2.0), &Device::flex());
            for activation in [Activation::Identity, Activation::Silu] {
                let norm = Norm { over: Over::Last, epsilon: 1e-2, activation };
                let ours = with_affine_gradients(&x, affine_map(width), |x, affine| layer_norm(x, affine, norm));
                let plain = with_affine_gradients(&x, affine_map(width), |x, affine| compose(x, affine, norm));
                for (ours, plain) in ours.iter().zip(&plain) {
                    // Sums of up to 700 products, of an input known to 10 ε; the reciprocal deviation is at most 10.
                    ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(2e-4, 2e-4));
                }
            }
        }
    }

    #[test]
    fn gradients_repeat_bit_for_bit() {
        let x = Tensor::<3>::random([2, 300, 160], Distribution::Default, &Device::flex());
        let norm = Norm { over: Over::Last, epsilon: 1e-5, activation: Activation::Identity };
        let ours = || with_affine_gradients(&x, affine_map(160), |x, affine| layer_norm(x, affine, norm));
        for (first, second) in ours().iter().zip(&ours()) {
            first.assert_eq(second, true);
        }
    }
}
