//! Group norm and the activation after it: one pass over memory forward, one backward.

use std::mem::MaybeUninit;

use burn::tensor::{FloatDType, Shape, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::backend::{self as norm, Input, Norm, Over, Pulled, Pulls};
use crate::applies;
use crate::elementwise::function::Function;
use crate::memory::output::{PIECE, filled};
use crate::norm::moments::Moments;
use crate::norm::plane::{Line, Plane, Pullback};

/// Normalises each of `groups` equal groups of channels of each image (Wu and He 2018).
///
/// # Shapes
/// - x: `[B, C, ..]`
/// - gamma, beta: `[C]`
/// - output: `[B, C, ..]`
///
/// # Panics
/// If `norm` is not over groups, or they do not divide the channels.
pub fn group_norm<const D: usize>(x: Tensor<D>, affine: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    let Over::Groups(groups) = norm.over else { panic!("a group norm is over groups, not {:?}", norm.over) };
    let channels = x.dims()[1];
    assert!(channels.is_multiple_of(groups), "{groups} groups do not divide {channels} channels");
    if applies(&x) { norm::apply(x, affine, norm).0 } else { compose(x, affine, norm, groups) }
}

/// By burn's own operations; statistics of half precision are in 32 bits.
fn compose<const D: usize>(x: Tensor<D>, [gamma, beta]: [Tensor<1>; 2], norm: Norm, groups: usize) -> Tensor<D> {
    let shape = x.shape();
    let dtype: FloatDType = x.dtype().into();
    let mut each_channel = [1; D];
    each_channel[1] = shape[1];
    let flat: Tensor<3> = x.reshape([shape[0] as i32, groups as i32, -1]);
    let flat = if dtype == FloatDType::F16 { flat.cast(FloatDType::F32) } else { flat };
    let centred = flat.clone() - flat.mean_dim(2);
    let deviation = (centred.clone().square().mean_dim(2) + norm.epsilon).sqrt();
    let normal: Tensor<D> = (centred / deviation).cast(dtype).reshape(shape);
    norm.activation.forward(normal * gamma.reshape(each_channel) + beta.reshape(each_channel))
}

/// How a tensor is cut.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    /// Elements of a plane.
    plane: usize,
    /// Channels of a group.
    width: usize,
}

impl Sizes {
    fn of(shape: &Shape, groups: usize) -> Self {
        Self { batch: shape[0], channels: shape[1], plane: shape[2..].iter().product(), width: shape[1] / groups }
    }

    /// Elements of a group.
    fn group(self) -> usize {
        self.width * self.plane
    }

    /// The channel that a group, counted through the batch, begins with.
    fn first_channel(self, group: usize) -> usize {
        group * self.width % self.channels
    }

    /// Groups that a thread takes at a time.
    fn groups_at_a_time(self) -> usize {
        (PIECE / self.group()).max(1)
    }

    /// Planes that a thread takes at a time.
    fn planes_at_a_time(self) -> usize {
        (PIECE / self.plane).max(1)
    }
}

/// The output, and mean and variance of every group.
pub(crate) fn forward<F: Function>(input: &Input, groups: usize) -> (FlexTensor, Vec<f32>) {
    let sizes = Sizes::of(&input.x.shape(), groups);
    let mut statistics = vec![0f32; 2 * sizes.batch * groups];
    let normalise = |group: usize, out: &mut [MaybeUninit<f32>], x: &[f32], statistics: &mut [f32]| {
        let moments = Moments::of_many(x);
        let scale = [moments.mean(), moments.rstd(input.epsilon)];
        statistics.copy_from_slice(&[moments.mean() as f32, moments.variance() as f32]);
        let first = sizes.first_channel(group);
        let planes = out.par_chunks_mut(sizes.plane).zip(x.par_chunks(sizes.plane)).enumerate();
        planes.with_min_len(sizes.planes_at_a_time()).for_each(|(i, (out, x))| {
            let line = Line::normalising(scale, input.affine(first + i));
            crate::isa::run(|| line.write::<F>(x, out));
        });
    };
    let write = |out: &mut [MaybeUninit<f32>]| {
        let groups = out.par_chunks_mut(sizes.group()).zip(input.x.as_slice().par_chunks(sizes.group()));
        let groups = groups.zip(statistics.par_chunks_mut(2)).enumerate();
        let groups = groups.with_min_len(sizes.groups_at_a_time());
        groups.for_each(|(i, ((out, x), statistics))| normalise(i, out, x, statistics));
    };
    // SAFETY: groups make up the tensor and planes a group; each plane of the output is as long as that of `x`, and written.
    let output = unsafe { filled(input.x.shape(), write) };
    (output, statistics)
}

/// One group's share of the gradient by `x`, and what it is made of.
struct Group<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    statistics: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
    /// For each plane: sums of the gradient by z, and of its products with `x - mean`.
    sums: &'a mut [[f64; 2]],
}

pub(crate) fn backward<F: Function>(pulled: &Pulled, groups: usize) -> Pulls {
    let Pulled { input, statistics, gradient } = pulled;
    let sizes = Sizes::of(&input.x.shape(), groups);
    let mut sums = vec![[0f64; 2]; sizes.batch * sizes.channels];
    let write = |out: &mut [MaybeUninit<f32>]| {
        let inputs = input.x.as_slice().par_chunks(sizes.group()).zip(gradient.as_slice().par_chunks(sizes.group()));
        let outputs = out.par_chunks_mut(sizes.group()).zip(sums.par_chunks_mut(sizes.width));
        let groups = inputs.zip(statistics.as_slice().par_chunks(2)).zip(outputs).enumerate();
        groups.with_min_len(sizes.groups_at_a_time()).for_each(|(i, (((x, gradient), statistics), (out, sums)))| {
            pull::<F>(input, sizes, sizes.first_channel(i), Group { x, gradient, statistics, out, sums });
        });
    };
    // SAFETY: groups make up the tensor, and `pull` writes every element of a group.
    let of_x = unsafe { filled(input.x.shape(), write) };

    let [mut of_gamma, mut of_beta] = [vec![0f64; sizes.channels], vec![0f64; sizes.channels]];
    for (i, [sum, product]) in sums.iter().enumerate() {
        let [_, rstd] = input.scale(&statistics.as_slice()[i / sizes.width * 2..]);
        of_gamma[i % sizes.channels] += product * rstd;
        of_beta[i % sizes.channels] += sum;
    }
    (of_x, [of_gamma, of_beta])
}

/// Writes every element of `group.out` and of `group.sums`.
fn pull<F: Function>(input: &Input, sizes: Sizes, first: usize, group: Group<'_>) {
    let Group { x, gradient, statistics, out, sums } = group;
    let scale = input.scale(statistics);
    let inputs = x.par_chunks(sizes.plane).zip(gradient.par_chunks(sizes.plane));
    let planes = sums.par_iter_mut().zip(out.par_chunks_mut(sizes.plane)).zip(inputs).enumerate();
    planes.with_min_len(sizes.planes_at_a_time()).for_each(|(i, ((sums, out), (x, gradient)))| {
        let line = Line::normalising(scale, input.affine(first + i));
        let plane = Plane { x, gradient, mean: statistics[0] };
        *sums = crate::isa::run(|| line.write_gradient::<F>(plane, out));
    });
    // SAFETY: planes make up the group, and each was written above.
    let out: &mut [f32] = unsafe { out.assume_init_mut() };

    let mut means = [0f64; 2];
    for (i, [sum, product]) in sums.iter().enumerate() {
        let gamma = f64::from(input.affine(first + i)[0]);
        means = [means[0] + gamma * sum, means[1] + gamma * product * scale[1]];
    }
    let means = means.map(|sum| sum / sizes.group() as f64);
    let planes = out.par_chunks_mut(sizes.plane).zip(x.par_chunks(sizes.plane)).enumerate();
    planes.with_min_len(sizes.planes_at_a_time()).for_each(|(i, (out, x))| {
        let pullback = Pullback::new(scale, input.affine(first + i)[0], means);
        crate::isa::run(|| pullback.apply(x, out));
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::Activation;
    use crate::testing::{affine_map, off_kink, with_affine_gradients};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn equals_the_composition_with_its_gradients(
            batch in 1usize..4, groups in 1usize..5, width in 1usize..5, height in 1usize..30, columns in 1usize..30, offset in -20f64..20.0,
        ) {
            let channels = groups * width;
            let x = Tensor::<4>::random([batch, channels, height, columns], Distribution::Normal(offset, 2.0), &Device::flex());
            let identity = Norm { over: Over::Groups(groups), epsilon: 1e-2, activation: Activation::Identity };
            prop_assume!(off_kink(&compose(x.clone(), affine_map(channels), identity, groups)));
            for activation in [Activation::Identity, Activation::Silu, Activation::Relu] {
                let norm = Norm { activation, ..identity };
                let ours = with_affine_gradients(&x, affine_map(channels), |x, affine| group_norm(x, affine, norm));
                let plain = with_affine_gradients(&x, affine_map(channels), |x, affine| compose(x, affine, norm, groups));
                for (ours, plain) in ours.iter().zip(&plain) {
                    // Sums of up to 3600 products, of an input known to 20 ε; the reciprocal deviation is at most 10.
                    ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(2e-4, 2e-4));
                }
            }
        }
    }

    /// Big enough for several pieces and threads.
    #[test]
    fn large_groups_equal_the_composition_and_repeat_bit_for_bit() {
        let x = Tensor::<4>::random([1, 6, 150, 151], Distribution::Normal(1.0, 2.0), &Device::flex());
        let norm = Norm { over: Over::Groups(2), epsilon: 1e-6, activation: Activation::Silu };
        let ours = || with_affine_gradients(&x, affine_map(6), |x, affine| group_norm(x, affine, norm));
        let plain = with_affine_gradients(&x, affine_map(6), |x, affine| compose(x, affine, norm, 2));
        let (first, second) = (ours(), ours());
        for ((first, second), plain) in first.iter().zip(&second).zip(&plain) {
            first.assert_eq(second, true);
            // Sums of 22,650 terms.
            first.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 1e-3));
        }
    }

    #[test]
    fn views_are_taken() {
        let x = Tensor::<4>::random([2, 4, 5, 7], Distribution::Default, &Device::flex());
        let norm = Norm { over: Over::Groups(2), epsilon: 1e-5, activation: Activation::Silu };
        let [_, gamma, beta] = [0, 1, 2].map(|_| Tensor::<1>::ones([4], &Device::flex()));
        let view = x.clone().swap_dims(2, 3);
        let copy = Tensor::<4>::from_data(view.to_data(), &Device::flex());
        let affine = [gamma, beta];
        group_norm(view, affine.clone(), norm).into_data().assert_eq(&group_norm(copy, affine, norm).into_data(), true);
    }
}
