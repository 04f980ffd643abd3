//! The norms beside burn's compositions, with their gradients.

use burn::tensor::{DType, Device, Distribution, Tensor, Tolerance};
use proptest::prelude::*;

use super::*;
use crate::Activation;
use crate::testing::{
    BRAIN_ROUNDING, Draws, affine_map, assert_nearly_rounded, assert_rounded, brain, numbers, off_kink, tracked_alike, wide,
    with_affine_gradients,
};

fn batch_norm_plain(x: Tensor<4>, [gamma, beta]: [Tensor<1>; 2], norm: Norm) -> BatchNormed<4> {
    let normed = batch_norm_train(x, gamma, beta, norm.epsilon);
    BatchNormed { output: norm.activation.compose(normed.output), mean: normed.mean, variance: normed.variance }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batch_norm_equals_the_composition_with_its_gradients(
        batch in 1usize..5, channels in 1usize..9, height in 1usize..30, width in 1usize..30, offset in -20f64..20.0, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let x = draws.tensor([batch, channels, height, width], Distribution::Normal(offset, 2.0));
        let identity = Norm { over: Over::Batch, epsilon: 1e-2, activation: Activation::Identity };
        prop_assume!(off_kink(&batch_norm_plain(x.clone(), affine_map(channels), identity).output));
        for activation in [Activation::Identity, Activation::Relu] {
            let norm = Norm { activation, ..identity };
            let ours = with_affine_gradients(&x, affine_map(channels), |x, affine| batch_norm(x, affine, norm).output);
            let plain = with_affine_gradients(&x, affine_map(channels), |x, affine| batch_norm_plain(x, affine, norm).output);
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
    let mut draws = Draws::new(1);
    let draw = || draws.tensor([5, 3, 70, 71], Distribution::Normal(1.0, 2.0));
    let fit = |x: &Tensor<4>| off_kink(&batch_norm_plain(x.clone(), affine_map(3), identity).output);
    let x = std::iter::repeat_with(draw).find(fit).unwrap();
    let ours = || with_affine_gradients(&x, affine_map(3), |x, affine| batch_norm(x, affine, norm).output);
    let plain = with_affine_gradients(&x, affine_map(3), |x, affine| batch_norm_plain(x, affine, norm).output);
    let (first, second) = (ours(), ours());
    for ((first, second), plain) in first.iter().zip(&second).zip(&plain) {
        first.assert_eq(second, true);
        // Sums of 24,850 terms.
        first.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 1e-3));
    }
}

#[test]
fn statistics_are_those_of_the_composition() {
    let mut draws = Draws::new(1);
    let x = draws.tensor([3, 2, 5, 7], Distribution::Normal(3.0, 0.5));
    let affine = [Tensor::ones([2], &Device::flex()), Tensor::zeros([2], &Device::flex())];
    let norm = Norm { over: Over::Batch, epsilon: 1e-5, activation: Activation::Identity };
    let (ours, plain) = (batch_norm(x.clone(), affine.clone(), norm), batch_norm_plain(x, affine, norm));
    let close = Tolerance::<f32>::rel_abs(1e-5, 1e-6);
    ours.mean.into_data().assert_approx_eq::<f32>(&plain.mean.into_data(), close);
    ours.variance.into_data().assert_approx_eq::<f32>(&plain.variance.into_data(), close);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn group_norm_equals_the_composition_with_its_gradients(
        batch in 1usize..4, groups in 1usize..5, width in 1usize..5, height in 1usize..30, columns in 1usize..30, offset in -20f64..20.0, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let channels = groups * width;
        let x = draws.tensor([batch, channels, height, columns], Distribution::Normal(offset, 2.0));
        let identity = Norm { over: Over::Groups(groups), epsilon: 1e-2, activation: Activation::Identity };
        prop_assume!(off_kink(&group_norm_composed(x.clone(), affine_map(channels), identity, groups)));
        for activation in [Activation::Identity, Activation::Silu, Activation::Relu] {
            let norm = Norm { activation, ..identity };
            let ours = with_affine_gradients(&x, affine_map(channels), |x, affine| group_norm(x, affine, norm));
            let plain = with_affine_gradients(&x, affine_map(channels), |x, affine| group_norm_composed(x, affine, norm, groups));
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
    let mut draws = Draws::new(1);
    let x = draws.tensor([1, 6, 150, 151], Distribution::Normal(1.0, 2.0));
    let norm = Norm { over: Over::Groups(2), epsilon: 1e-6, activation: Activation::Silu };
    let ours = || with_affine_gradients(&x, affine_map(6), |x, affine| group_norm(x, affine, norm));
    let plain = with_affine_gradients(&x, affine_map(6), |x, affine| group_norm_composed(x, affine, norm, 2));
    let (first, second) = (ours(), ours());
    for ((first, second), plain) in first.iter().zip(&second).zip(&plain) {
        first.assert_eq(second, true);
        // Sums of 22,650 terms.
        first.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 1e-3));
    }
}

#[test]
fn views_are_taken() {
    let mut draws = Draws::new(1);
    let x = draws.tensor([2, 4, 5, 7], Distribution::Default);
    let norm = Norm { over: Over::Groups(2), epsilon: 1e-5, activation: Activation::Silu };
    let [_, gamma, beta] = [0, 1, 2].map(|_| Tensor::<1>::ones([4], &Device::flex()));
    let view = x.clone().swap_dims(2, 3);
    let copy = Tensor::<4>::from_data(view.to_data(), &Device::flex());
    let affine = [gamma, beta];
    group_norm(view, affine.clone(), norm).into_data().assert_eq(&group_norm(copy, affine, norm).into_data(), true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn layer_norm_equals_the_composition_with_its_gradients(batch in 1usize..4, rows in 1usize..60, width in 1usize..700, offset in -9f64..9.0, seed: u64) {
        let mut draws = Draws::new(seed);
        let x = draws.tensor([batch, rows, width], Distribution::Normal(offset, 2.0));
        for activation in [Activation::Identity, Activation::Silu] {
            let norm = Norm { over: Over::Last, epsilon: 1e-2, activation };
            let ours = with_affine_gradients(&x, affine_map(width), |x, affine| layer_norm(x, affine, norm));
            let plain = with_affine_gradients(&x, affine_map(width), |x, affine| layer_norm_composed(x, affine, norm));
            for (ours, plain) in ours.iter().zip(&plain) {
                // Sums of up to 700 products, of an input known to 10 ε; the reciprocal deviation is at most 10.
                ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(2e-4, 2e-4));
            }
        }
    }
}

#[test]
fn layer_norm_gradients_repeat_bit_for_bit() {
    let mut draws = Draws::new(1);
    let x = draws.tensor([2, 300, 160], Distribution::Default);
    let norm = Norm { over: Over::Last, epsilon: 1e-5, activation: Activation::Identity };
    let ours = || with_affine_gradients(&x, affine_map(160), |x, affine| layer_norm(x, affine, norm));
    for (first, second) in ours().iter().zip(&ours()) {
        first.assert_eq(second, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn fixed_norm_equals_the_composition(batch in 1usize..4, channels in 1usize..20, height in 1usize..40, width in 1usize..40, seed: u64) {
        let mut draws = Draws::new(seed);
        let device = Device::flex();
        let x = draws.tensor([batch, channels, height, width], Distribution::Normal(0.5, 2.0));
        let [mean, gamma, beta] = [0, 1, 2].map(|_| draws.tensor([channels], Distribution::Normal(0.0, 1.0)));
        let variance = draws.tensor([channels], Distribution::Uniform(0.1, 3.0));
        let (statistics, affine) = ([mean, variance], [gamma, beta]);
        for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
            let norm = Norm { over: Over::Batch, epsilon: 1e-5, activation };
            let ours = |x| fixed_norm(x, statistics.clone(), affine.clone(), norm);
            let [[mean, variance], [gamma, beta]] = [statistics.clone(), affine.clone()];
            let plain = activation.compose(burn_batch_norm(x.clone(), gamma, beta, mean, variance, norm.epsilon));
            // Once with `x` held here, once as its only holder, once as a view.
            let held = ours(x.clone()).into_data();
            // Rounding of values up to about 30.
            held.assert_approx_eq::<f32>(&plain.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
            ours(Tensor::from_data(x.to_data(), &device)).into_data().assert_eq(&held, true);
            ours(x.clone().swap_dims(2, 3)).swap_dims(2, 3).into_data().assert_eq(&held, true);
        }
    }
}

/// A norm's inputs, and the gradient w.r.t. its output.
struct Whole<const D: usize> {
    x: Tensor<D>,
    affine: [Tensor<1>; 2],
    towards: Tensor<D>,
}

impl<const D: usize> Whole<D> {
    /// Rounded to brain floats, the vectors if that is wanted.
    fn new(draws: &mut Draws, shape: [usize; D], channels: usize, vectors: bool) -> Self {
        let affine = affine_map(channels).map(|x| brain(&x));
        Self {
            x: brain(&draws.tensor(shape, Distribution::Normal(3.0, 2.0))),
            affine: if vectors { affine } else { affine.map(|x| wide(&x)) },
            towards: brain(&draws.normal(shape)),
        }
    }

    fn in_32_bits(&self) -> Self {
        Self { x: wide(&self.x), affine: self.affine.each_ref().map(wide), towards: wide(&self.towards) }
    }

    /// The output, and the gradients w.r.t. `x`, `gamma` and `beta`.
    fn run(&self, f: impl Fn(Tensor<D>, [Tensor<1>; 2]) -> Tensor<D>) -> [Vec<f64>; 4] {
        let (x, affine) = (tracked_alike(&self.x), self.affine.each_ref().map(tracked_alike));
        let output = f(x.clone(), affine.clone());
        let mut grads = (output.clone() * self.towards.clone().autodiff()).sum().backward();
        let [gamma, beta] = affine.map(|vector| numbers(vector.grad_remove(&mut grads).unwrap(), vector.dtype()));
        [numbers(output, self.x.dtype()), numbers(x.grad_remove(&mut grads).unwrap(), self.x.dtype()), gamma, beta]
    }

    /// Compares the vectors' gradients.
    fn assert_vectors(&self, got: &[Vec<f64>; 4], exact: &[Vec<f64>; 4]) {
        for i in [2, 3] {
            if self.affine[0].dtype() == DType::BF16 {
                assert_rounded("by a vector", &got[i], &exact[i]);
            } else {
                assert_eq!(got[i], exact[i], "by a vector of 32 bits");
            }
        }
    }
}

/// For each element of `x`, what the gradient w.r.t. it may be off before it is rounded: the gradient w.r.t. the normalised element
/// was rounded, and is scaled by gamma and the reciprocal deviation; 1.1 is more than any slope of an activation.
fn errors_by_x(whole: &Whole<4>, norm: Norm, exact: &[f64]) -> Vec<f64> {
    let [x, towards] = [&whole.x, &whole.towards].map(|x| numbers(x.clone(), DType::BF16));
    let gamma = numbers(wide(&whole.affine[0]), DType::F32);
    let [_, channels, height, width] = whole.x.dims();
    let together = |i: usize| {
        let (image, channel) = (i / (channels * height * width), i / (height * width) % channels);
        match norm.over {
            Over::Groups(groups) => image * groups + channel / (channels / groups),
            _ => channel,
        }
    };
    let mut moments = vec![[0.0; 3]; whole.x.dims()[0] * channels];
    for (i, x) in x.iter().enumerate() {
        let [count, sum, squares] = moments[together(i)];
        moments[together(i)] = [count + 1.0, sum + x, squares + x * x];
    }
    let error = |(i, towards): (usize, &f64)| {
        let [count, sum, squares] = moments[together(i)];
        let rstd = 1.0 / (squares / count - (sum / count).powi(2) + norm.epsilon).sqrt();
        let scaled = 1.1 * (gamma[i / (height * width) % channels] * rstd * towards).abs();
        // And a few roundings of two terms in 32 bits, with which the reference differs.
        BRAIN_ROUNDING * scaled + 1e-6 * (exact[i].abs() + scaled)
    };
    towards.iter().enumerate().map(error).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn brain_floats_of_images_are_rounded(
        batch in 1usize..4, groups in 1usize..5, width in 1usize..5, height in 1usize..30, columns in 1usize..30, vectors: bool, seed: u64,
    ) {
        let channels = groups * width;
        let whole = Whole::new(&mut Draws::new(seed), [batch, channels, height, columns], channels, vectors);
        for over in [Over::Batch, Over::Groups(groups)] {
            for activation in [Activation::Identity, Activation::Silu, Activation::Relu] {
                let norm = Norm { over, epsilon: 1e-2, activation };
                let run = |whole: &Whole<4>| whole.run(|x, affine| match over {
                    Over::Batch => batch_norm(x, affine, norm).output,
                    _ => group_norm(x, affine, norm),
                });
                let (got, exact) = (run(&whole), run(&whole.in_32_bits()));
                assert_rounded("output", &got[0], &exact[0]);
                assert_nearly_rounded("by x", &got[1], &exact[1], &errors_by_x(&whole, norm, &exact[1]));
                whole.assert_vectors(&got, &exact);
            }
        }
    }

    #[test]
    fn brain_floats_of_rows_are_rounded_once(batch in 1usize..4, rows in 1usize..60, width in 1usize..700, vectors: bool, seed: u64) {
        let whole = Whole::new(&mut Draws::new(seed), [batch, rows, width], width, vectors);
        for activation in [Activation::Identity, Activation::Silu] {
            let norm = Norm { over: Over::Last, epsilon: 1e-2, activation };
            let run = |whole: &Whole<3>| whole.run(|x, affine| layer_norm(x, affine, norm));
            let (got, exact) = (run(&whole), run(&whole.in_32_bits()));
            assert_rounded("output", &got[0], &exact[0]);
            assert_rounded("by x", &got[1], &exact[1]);
            whole.assert_vectors(&got, &exact);
        }
    }

    #[test]
    fn brain_floats_by_given_statistics_are_rounded_once(
        batch in 1usize..4, channels in 1usize..20, height in 1usize..40, width in 1usize..40, narrow: bool, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let x = brain(&draws.tensor::<4>([batch, channels, height, width], Distribution::Normal(0.5, 2.0)));
        let statistics = [draws.normal([channels]), draws.tensor([channels], Distribution::Uniform(0.1, 3.0))];
        let affine = affine_map(channels).map(|x| brain(&x));
        let statistics = if narrow { statistics.map(|x| brain(&x)) } else { statistics };
        for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
            let norm = Norm { over: Over::Batch, epsilon: 1e-5, activation };
            let exact = fixed_norm(wide(&x), statistics.each_ref().map(wide), affine.each_ref().map(wide), norm);
            let exact = numbers(exact, DType::F32);
            let copy = Tensor::<4>::from_data(x.to_data(), (&x.device(), x.dtype()));
            for x in [x.clone(), copy] {
                assert_rounded("output", &numbers(fixed_norm(x, statistics.clone(), affine.clone(), norm), DType::BF16), &exact);
            }
            // Burn's composition.
            let autodiff = |x: &Tensor<1>| x.clone().autodiff();
            let statistics = statistics.each_ref().map(autodiff);
            let composed = fixed_norm(x.clone().autodiff(), statistics, affine.each_ref().map(autodiff), norm);
            let errors: Vec<f64> = exact.iter().map(|exact| 1e-4 * (1.0 + exact.abs())).collect();
            assert_nearly_rounded("composition", &numbers(composed, DType::BF16), &exact, &errors);
        }
    }
}

/// Statistics stay in 32 bits.
#[test]
fn statistics_of_brain_floats_are_not_rounded() {
    let x = brain(&Draws::new(1).tensor::<4>([3, 2, 5, 7], Distribution::Normal(3.0, 0.5)));
    let norm = Norm { over: Over::Batch, epsilon: 1e-5, activation: Activation::Identity };
    let of = |x: &Tensor<4>| batch_norm(x.clone(), affine_map(2), norm);
    let (ours, exact) = (of(&x), of(&wide(&x)));
    ours.mean.into_data().assert_eq(&exact.mean.into_data(), true);
    ours.variance.into_data().assert_eq(&exact.variance.into_data(), true);
}

/// As on devices without the kernels, for which half precision stands here.
#[test]
fn compositions_take_vectors_of_32_bits() {
    type Normalise = fn(Tensor<4>, Norm) -> Tensor<4>;
    let all: [(Over, Normalise); 3] = [
        (Over::Batch, |x, norm| batch_norm(x, affine_map(4), norm).output),
        (Over::Groups(2), |x, norm| group_norm(x, affine_map(4), norm)),
        (Over::Last, |x, norm| layer_norm(x, affine_map(6), norm)),
    ];
    let x: Tensor<4> = Draws::new(3).normal([2, 4, 5, 6]);
    for (over, normalise) in all {
        let norm = Norm { over, epsilon: 1e-5, activation: Activation::Relu };
        let half = normalise(x.clone().cast(FloatDType::F16), norm);
        assert_eq!(half.dtype(), DType::F16, "{over:?}");
        // Input, output, scale and shift are rounded to 11 bits; values are at most 6.
        wide(&half).into_data().assert_approx_eq::<f32>(&normalise(x.clone(), norm).into_data(), Tolerance::absolute(1e-2));
    }
}
