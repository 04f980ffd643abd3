//! The norms beside burn's compositions, with their gradients.

use burn::tensor::{Device, Distribution, Tensor, Tolerance};
use proptest::prelude::*;

use super::*;
use crate::Activation;
use crate::testing::{Draws, affine_map, off_kink, with_affine_gradients};

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
