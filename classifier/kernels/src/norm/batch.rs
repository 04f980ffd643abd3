//! Batch norm and the activation after it: one pass over memory forward, one backward, where a channel fits the cache.

use std::mem::MaybeUninit;

use burn::tensor::module::batch_norm_train;
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::backend::{self as norm, Input, Norm, Over, Pulled, Pulls};
use crate::applies;
use crate::elementwise::function::Function;
use crate::memory::output::{PIECE, filled};
use crate::norm::moments::Moments;
use crate::norm::plane::{Line, Plane, Pullback};

/// A normalised batch and what it was normalised by; no gradient goes to the statistics.
#[derive(Clone, Debug)]
pub struct BatchNormed<const D: usize> {
    /// `[B, C, ..]`
    pub output: Tensor<D>,
    /// `[C]`
    pub mean: Tensor<1>,
    /// `[C]`, biased.
    pub variance: Tensor<1>,
}

/// Normalises each channel by its own mean and variance over the batch (Ioffe and Szegedy, arXiv 1502.03167, algorithm 1).
///
/// # Shapes
/// - x: `[B, C, ..]`
/// - gamma, beta: `[C]`
///
/// # Panics
/// If `norm` is not over the batch.
pub fn batch_norm<const D: usize>(x: Tensor<D>, affine: [Tensor<1>; 2], norm: Norm) -> BatchNormed<D> {
    assert_eq!(norm.over, Over::Batch, "a batch norm is over the batch");
    if applies(&x) {
        let (output, statistics) = norm::apply(x, affine, norm);
        let column = |i| statistics.clone().narrow(1, i, 1).squeeze_dim::<1>(1);
        BatchNormed { output, mean: column(0), variance: column(1) }
    } else {
        let [gamma, beta] = affine;
        let normed = batch_norm_train(x, gamma, beta, norm.epsilon);
        let output = norm.activation.forward(normed.output);
        BatchNormed { output, mean: normed.mean.detach(), variance: normed.variance.detach() }
    }
}

/// How a tensor is cut.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    /// Elements of a plane.
    plane: usize,
}

impl Sizes {
    fn of(shape: &Shape) -> Self {
        Self { batch: shape[0], channels: shape[1], plane: shape[2..].iter().product() }
    }

    /// The planes of a channel.
    fn planes(self, values: &[f32], channel: usize) -> impl Iterator<Item = &[f32]> {
        values.chunks(self.plane).skip(channel).step_by(self.channels)
    }

    /// The same for all channels, to write to.
    fn all_planes(self, values: &mut [MaybeUninit<f32>]) -> Vec<Vec<&mut [MaybeUninit<f32>]>> {
        let mut channels: Vec<_> = (0..self.channels).map(|_| Vec::with_capacity(self.batch)).collect();
        for (i, plane) in values.chunks_mut(self.plane).enumerate() {
            channels[i % self.channels].push(plane);
        }
        channels
    }

    /// Channels that a thread takes at a time.
    fn channels_at_a_time(self) -> usize {
        (PIECE / (self.batch * self.plane)).max(1)
    }
}

/// The output, and mean and variance of every channel.
pub(crate) fn forward<F: Function>(input: &Input) -> (FlexTensor, Vec<f32>) {
    let sizes = Sizes::of(&input.x.shape());
    let x = input.x.as_slice();
    let mut statistics = Vec::new();
    let normalise = |(channel, out): (usize, Vec<&mut [MaybeUninit<f32>]>)| {
        crate::isa::run(|| {
            let moments = sizes.planes(x, channel).map(Moments::of).fold(Moments::default(), Moments::and);
            let line = Line::normalising([moments.mean(), moments.rstd(input.epsilon)], input.affine(channel));
            sizes.planes(x, channel).zip(out).for_each(|(x, out)| line.write::<F>(x, out));
            [moments.mean() as f32, moments.variance() as f32]
        })
    };
    let write = |out: &mut [MaybeUninit<f32>]| {
        let channels = sizes.all_planes(out).into_par_iter().enumerate();
        channels.with_min_len(sizes.channels_at_a_time()).map(normalise).collect_into_vec(&mut statistics);
    };
    // SAFETY: `all_planes` hands out every plane, each as long as that of `x`, and each is written.
    let output = unsafe { filled(input.x.shape(), write) };
    (output, statistics.into_flattened())
}

pub(crate) fn backward<F: Function>(pulled: &Pulled) -> Pulls {
    let Pulled { input, statistics, gradient } = pulled;
    let sizes = Sizes::of(&input.x.shape());
    let x = input.x.as_slice();
    let mut sums = Vec::new();
    let pull = |(channel, mut out): (usize, Vec<&mut [MaybeUninit<f32>]>)| {
        let statistics = &statistics.as_slice()[2 * channel..];
        let scale = input.scale(statistics);
        let affine = input.affine(channel);
        crate::isa::run(|| {
            let line = Line::normalising(scale, affine);
            let mut totals = [0f64; 2];
            let planes = sizes.planes(x, channel).zip(sizes.planes(gradient.as_slice(), channel));
            for ((x, gradient), out) in planes.zip(&mut out) {
                let [sum, product] = line.write_gradient::<F>(Plane { x, gradient, mean: statistics[0] }, out);
                totals = [totals[0] + sum, totals[1] + product * scale[1]];
            }
            let means = totals.map(|sum| f64::from(affine[0]) * sum / (sizes.batch * sizes.plane) as f64);
            let pullback = Pullback::new(scale, affine[0], means);
            for (x, out) in sizes.planes(x, channel).zip(&mut out) {
                // SAFETY: the loop above wrote every plane of this channel.
                pullback.apply(x, unsafe { out.assume_init_mut() });
            }
            totals
        })
    };
    let write = |out: &mut [MaybeUninit<f32>]| {
        let channels = sizes.all_planes(out).into_par_iter().enumerate();
        channels.with_min_len(sizes.channels_at_a_time()).map(pull).collect_into_vec(&mut sums);
    };
    // SAFETY: `all_planes` hands out every plane, each as long as that of `x`, and `pull` writes each.
    let of_x = unsafe { filled(input.x.shape(), write) };
    let (of_beta, of_gamma) = sums.into_iter().map(|[sum, product]| (sum, product)).unzip();
    (of_x, [of_gamma, of_beta])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::Activation;
    use crate::testing::{affine_map, off_kink, with_affine_gradients};

    fn compose(x: Tensor<4>, [gamma, beta]: [Tensor<1>; 2], norm: Norm) -> BatchNormed<4> {
        let normed = batch_norm_train(x, gamma, beta, norm.epsilon);
        BatchNormed { output: norm.activation.compose(normed.output), mean: normed.mean, variance: normed.variance }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_the_composition_with_its_gradients(
            batch in 1usize..5, channels in 1usize..9, height in 1usize..30, width in 1usize..30, offset in -20f64..20.0,
        ) {
            let x = Tensor::<4>::random([batch, channels, height, width], Distribution::Normal(offset, 2.0), &Device::flex());
            let identity = Norm { over: Over::Batch, epsilon: 1e-2, activation: Activation::Identity };
            prop_assume!(off_kink(&compose(x.clone(), affine_map(channels), identity).output));
            for activation in [Activation::Identity, Activation::Relu] {
                let norm = Norm { activation, ..identity };
                let ours = with_affine_gradients(&x, affine_map(channels), |x, affine| batch_norm(x, affine, norm).output);
                let plain = with_affine_gradients(&x, affine_map(channels), |x, affine| compose(x, affine, norm).output);
                for (ours, plain) in ours.iter().zip(&plain) {
                    // Sums of up to 3600 products, of an input known to 20 ε; the reciprocal deviation is at most 10.
                    ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(2e-4, 2e-4));
                }
            }
        }
    }

    /// A channel of more than a piece.
    #[test]
    fn large_channels_equal_the_composition_and_repeat_bit_for_bit() {
        let identity = Norm { over: Over::Batch, epsilon: 1e-5, activation: Activation::Identity };
        let norm = Norm { activation: Activation::Relu, ..identity };
        let draws = || Tensor::<4>::random([5, 3, 70, 71], Distribution::Normal(1.0, 2.0), &Device::flex());
        let fit = |x: &Tensor<4>| off_kink(&compose(x.clone(), affine_map(3), identity).output);
        let x = std::iter::repeat_with(draws).find(fit).unwrap();
        let ours = || with_affine_gradients(&x, affine_map(3), |x, affine| batch_norm(x, affine, norm).output);
        let plain = with_affine_gradients(&x, affine_map(3), |x, affine| compose(x, affine, norm).output);
        let (first, second) = (ours(), ours());
        for ((first, second), plain) in first.iter().zip(&second).zip(&plain) {
            first.assert_eq(second, true);
            // Sums of 24,850 terms.
            first.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 1e-3));
        }
    }

    #[test]
    fn statistics_are_those_of_the_composition() {
        let x = Tensor::<4>::random([3, 2, 5, 7], Distribution::Normal(3.0, 0.5), &Device::flex());
        let affine = [Tensor::ones([2], &Device::flex()), Tensor::zeros([2], &Device::flex())];
        let norm = Norm { over: Over::Batch, epsilon: 1e-5, activation: Activation::Identity };
        let (ours, plain) = (batch_norm(x.clone(), affine.clone(), norm), compose(x, affine, norm));
        let close = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
        ours.mean.into_data().assert_approx_eq::<f32>(&plain.mean.into_data(), close);
        ours.variance.into_data().assert_approx_eq::<f32>(&plain.variance.into_data(), close);
    }
}
