//! Blocks beside the concatenation of all maps.

use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData, Tolerance};
use proptest::prelude::*;

use super::*;
use crate::testing::{
    BRAIN_ROUNDING, Draws, affine_map, assert_nearly_rounded, assert_rounded, brain, loss, numbers, off_kink, sum_error,
    tracked, tracked_alike, wide,
};

const EPSILON: f64 = 1e-2;

/// The weights of a layer: gamma, beta and the weight of its 1x1 convolution, `[O, C, 1, 1]`.
struct Layer {
    affine: [Tensor<1>; 2],
    weight: Tensor<4>,
}

/// Layers after `start` channels whose convolutions have `outputs` channels, of which half are new maps.
fn layers(draws: &mut Draws, start: usize, outputs: usize, count: usize) -> Vec<Layer> {
    let mut layer = |i| {
        let channels = start + i * outputs.div_ceil(2);
        let weight = draws.tensor([outputs, channels, 1, 1], Distribution::Normal(0.0, 0.3));
        Layer { affine: affine_map(channels).map(tracked), weight: tracked(weight) }
    };
    (0..count).map(&mut layer).collect()
}

/// Stands for the second half of a layer.
fn second_half(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let new = channels.div_ceil(2);
    let rest = x.clone().narrow(1, new, channels - new).mean_dim(1).expand([batch, new, height, width]);
    x.narrow(1, 0, new).tanh() + rest
}

fn in_one_buffer(x: Tensor<4>, layers: &[Layer]) -> Tensor<4> {
    let channels = x.dims()[1] + layers.iter().map(|layer| layer.weight.dims()[0].div_ceil(2)).sum::<usize>();
    let options = BottleneckOptions { epsilon: EPSILON, of_batch: true };
    let maps = DenseFeatures::start(x, channels);
    let next = |maps: DenseFeatures, layer: &Layer| {
        let new = second_half(maps.bottleneck(maps.statistics(), layer.affine.clone(), layer.weight.clone(), options));
        maps.with(new)
    };
    layers.iter().fold(maps, next).finish()
}

fn convolved(x: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    let ([batch, channels, height, width], outputs) = (x.dims(), weight.dims()[0]);
    let flat = x.reshape([batch, channels, height * width]);
    weight.reshape([1, outputs, channels]).matmul(flat).reshape([batch, outputs, height, width])
}

/// The output of a block, and what goes into the ReLU of every layer.
fn concatenation(x: Tensor<4>, layers: &[Layer]) -> (Tensor<4>, Vec<Tensor<4>>) {
    layers.iter().fold((x, vec![]), |(x, mut normals), layer| {
        let [gamma, beta] = layer.affine.clone();
        let normal = batch_norm_train(x.clone(), gamma, beta, EPSILON).output;
        normals.push(normal.clone());
        let new = second_half(convolved(burn::tensor::activation::relu(normal), layer.weight.clone()));
        (Tensor::cat(vec![x, new], 1), normals)
    })
}

fn concatenated(x: Tensor<4>, layers: &[Layer]) -> Tensor<4> {
    concatenation(x, layers).0
}

/// Whether all implementations are on the same side of every ReLU.
fn sides_are_sure(x: &Tensor<4>, layers: &[Layer]) -> bool {
    concatenation(tracked(x.clone()), layers).1.iter().all(off_kink)
}

/// The output, and the gradients w.r.t. `x` and the weights of every layer.
fn with_gradients(x: &Tensor<4>, layers: &[Layer], f: impl Fn(Tensor<4>, &[Layer]) -> Tensor<4>) -> Vec<TensorData> {
    let x = tracked(x.clone());
    let output = f(x.clone(), layers);
    let mut grads = loss(output.clone()).backward();
    let mut all = vec![output.into_data(), x.grad_remove(&mut grads).unwrap().into_data()];
    for layer in layers {
        all.push(layer.weight.grad_remove(&mut grads).unwrap().into_data());
        all.extend(layer.affine.clone().map(|x| x.grad_remove(&mut grads).unwrap().into_data()));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_block_equals_concatenation_with_all_gradients(
        batch in 1usize..5, channels in 1usize..7, height in 1usize..30, width in 2usize..30,
        outputs in 2usize..9, count in 1usize..4, offset in -3f64..3.0, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let x = draws.tensor([batch, channels, height, width], Distribution::Normal(offset, 2.0));
        let layers = layers(&mut draws, channels, outputs, count);
        prop_assume!(sides_are_sure(&x, &layers));
        let ours = with_gradients(&x, &layers, in_one_buffer);
        let plain = with_gradients(&x, &layers, concatenated);
        for (ours, plain) in ours.iter().zip(&plain) {
            // Sums of up to 3600 products, through up to three norms whose reciprocal deviations are at most 10.
            ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-3, 1e-3));
        }
    }
}

/// Images of several tiles, and tiles of several images.
#[test]
fn gradients_repeat_bit_for_bit() {
    for shape in [[3, 4, 60, 60], [40, 9, 5, 5]] {
        let mut draws = Draws::new(1);
        let draw = || (draws.tensor(shape, Distribution::Default), layers(&mut draws, shape[1], 8, 2));
        let (x, layers) = std::iter::repeat_with(draw).find(|(x, layers)| sides_are_sure(x, layers)).unwrap();
        let first = with_gradients(&x, &layers, in_one_buffer);
        for (first, second) in first.iter().zip(with_gradients(&x, &layers, in_one_buffer)) {
            first.assert_eq(&second, true);
        }
        for (first, plain) in first.iter().zip(with_gradients(&x, &layers, concatenated)) {
            // Sums of 10,800 products.
            first.assert_approx_eq::<f32>(&plain, Tolerance::rel_abs(2e-3, 2e-3));
        }
    }
}

#[test]
fn given_statistics_are_used_and_bear_no_gradient() {
    let mut draws = Draws::new(1);
    let x = draws.tensor([2, 3, 4, 5], Distribution::Normal(1.0, 2.0));
    let layers = layers(&mut draws, 3, 4, 1);
    let statistics = [[0.5f32, 1.0, 1.5], [3.0, 4.0, 5.0]];
    let given = |device: &Device| statistics.map(|values| Tensor::<1>::from_floats(values, device));
    let options = BottleneckOptions { epsilon: EPSILON, of_batch: false };
    let ours = with_gradients(&x, &layers, |x, layers| {
        let maps = DenseFeatures::start(x, 5);
        let statistics = given(&layers[0].weight.device());
        let new = maps.bottleneck(statistics, layers[0].affine.clone(), layers[0].weight.clone(), options);
        maps.with(second_half(new)).finish()
    });
    let plain = with_gradients(&x, &layers, |x, layers| {
        let ([mean, variance], [gamma, beta]) = (given(&x.device()), layers[0].affine.clone());
        let normal = burn::tensor::activation::relu(batch_norm(x.clone(), gamma, beta, mean, variance, EPSILON));
        Tensor::cat(vec![x, second_half(convolved(normal, layers[0].weight.clone()))], 1)
    });
    for (ours, plain) in ours.iter().zip(&plain) {
        // Sums of 40 products.
        ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-5, 1e-5));
    }
}

/// Not a statistic, not a value: the weights alone carry the loss.
fn one_layer_alone(x: Tensor<4>, layer: &Layer) -> Tensor<4> {
    let maps = DenseFeatures::start(x.clone(), x.dims()[1] + 3);
    let options = BottleneckOptions { epsilon: EPSILON, of_batch: true };
    maps.bottleneck(maps.statistics(), layer.affine.clone(), layer.weight.clone(), options)
}

fn normal_and_convolved(x: Tensor<4>, layer: &Layer) -> Tensor<4> {
    let [gamma, beta] = layer.affine.clone();
    convolved(burn::tensor::activation::relu(batch_norm_train(x, gamma, beta, EPSILON).output), layer.weight.clone())
}

/// Gradients of layers need no gradient of the whole block.
#[test]
fn a_loss_over_a_layer_alone_has_all_gradients() {
    let mut draws = Draws::new(3);
    let draw = || (draws.tensor([2, 3, 4, 5], Distribution::Normal(1.0, 2.0)), layers(&mut draws, 3, 4, 1));
    let (x, layers) = std::iter::repeat_with(draw).find(|(x, layers)| sides_are_sure(x, layers)).unwrap();
    let ours = with_gradients(&x, &layers, |x, layers| one_layer_alone(x, &layers[0]));
    let plain = with_gradients(&x, &layers, |x, layers| normal_and_convolved(x, &layers[0]));
    for (ours, plain) in ours.iter().zip(&plain) {
        // Sums of 40 products.
        ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 1e-4));
    }
}

/// The gradient of the whole block is added to that of a layer beside it, whichever comes first.
#[test]
fn a_layer_beside_the_finished_block_has_all_gradients() {
    let mut draws = Draws::new(4);
    let draw = || (draws.tensor([2, 3, 4, 5], Distribution::Normal(1.0, 2.0)), layers(&mut draws, 3, 4, 1));
    let (x, layers) = std::iter::repeat_with(draw).find(|(x, layers)| sides_are_sure(x, layers)).unwrap();
    let options = BottleneckOptions { epsilon: EPSILON, of_batch: true };
    for layer_first in [false, true] {
        let in_order = |layer: Tensor<4>, whole: Tensor<4>| {
            Tensor::cat(if layer_first { vec![layer, whole] } else { vec![whole, layer] }, 1)
        };
        let ours = with_gradients(&x, &layers, |x, layers| {
            let maps = DenseFeatures::start(x, 3);
            let layer = maps.bottleneck(maps.statistics(), layers[0].affine.clone(), layers[0].weight.clone(), options);
            in_order(layer, maps.finish())
        });
        let plain = with_gradients(&x, &layers, |x, layers| in_order(normal_and_convolved(x.clone(), &layers[0]), x));
        for (ours, plain) in ours.iter().zip(&plain) {
            // Sums of 40 products.
            ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 1e-4));
        }
    }
}

/// One layer of brain floats beside the same numbers in 32 bits: its output and all gradients.
fn brain_floats_are_rounded(shape: [usize; 4], outputs: usize, of_batch: bool, seed: u64) {
    let mut draws = Draws::new(seed);
    let channels = shape[1];
    let x = brain(&draws.tensor(shape, Distribution::Normal(0.5, 2.0)));
    let weight = brain(&draws.tensor([outputs, channels, 1, 1], Distribution::Normal(0.0, 0.3)));
    let affine = affine_map(channels).map(|vector| brain(&vector));
    let towards = brain(&draws.normal([shape[0], outputs, shape[2], shape[3]]));
    let rest = brain(&draws.normal(shape));
    let options = BottleneckOptions { epsilon: EPSILON, of_batch };
    let run = |x: &Tensor<4>, weight: &Tensor<4>, affine: [Tensor<1>; 2], towards: &Tensor<4>, rest: &Tensor<4>| {
        let dtype = x.dtype();
        let (x, weight, affine) = (tracked_alike(x), tracked_alike(weight), affine.map(|vector| tracked_alike(&vector)));
        let maps = DenseFeatures::start(x.clone(), channels);
        let new = maps.bottleneck(maps.statistics(), affine.clone(), weight.clone(), options);
        let [towards, rest] = [towards, rest].map(|x| x.clone().autodiff());
        let loss = (new.clone() * towards).sum() + (maps.finish() * rest).sum();
        let mut grads = loss.backward();
        let [gamma, beta] = affine.map(|vector| numbers(vector.grad_remove(&mut grads).unwrap(), dtype));
        let [x, weight] = [x, weight].map(|x| numbers(x.grad_remove(&mut grads).unwrap(), dtype));
        [numbers(new, dtype), weight, gamma, beta, x]
    };
    let got = run(&x, &weight, affine.clone(), &towards, &rest);
    let exact = run(&wide(&x), &wide(&weight), affine.each_ref().map(wide), &wide(&towards), &wide(&rest));
    // What products read is rounded. Their terms' sizes: the weights' and the gradients' times the normalised maps.
    let normal = {
        let maps = DenseFeatures::start(wide(&x).autodiff(), channels);
        let ones = Tensor::<2>::eye(channels, &x.device()).reshape([channels, channels, 1, 1]).autodiff();
        let vectors = affine.each_ref().map(|vector| wide(vector).autodiff());
        maps.bottleneck(maps.statistics(), vectors, ones, options).inner()
    };
    let flat = |x: Tensor<4>| {
        let [_, rows, ..] = x.dims();
        x.swap_dims(0, 1).reshape([rows as i32, -1])
    };
    let (flat_normal, flat_towards) = (flat(normal.clone()), flat(wide(&towards).abs()));
    let of_output = convolved(normal, wide(&weight).abs());
    let of_weight = flat_towards.matmul(flat_normal.transpose());
    let points = shape[0] * shape[2] * shape[3];
    let errors = |sizes: Vec<f64>, terms: usize| -> Vec<f64> {
        sizes.iter().map(|size| (BRAIN_ROUNDING + 3.0 * sum_error(terms)) * size).collect()
    };
    assert_nearly_rounded("output", &got[0], &exact[0], &errors(numbers(of_output, DType::F32), channels));
    assert_nearly_rounded("by weight", &got[1], &exact[1], &errors(numbers(of_weight, DType::F32), points));
    // All else is computed in 32 bits of the same numbers, but for products in another order.
    for (name, i) in [("by gamma", 2), ("by beta", 3), ("by x", 4)] {
        let most = exact[i].iter().fold(1.0, |most: f64, value| most.max(value.abs()));
        let errors: Vec<f64> = exact[i].iter().map(|_| 8.0 * sum_error(outputs + points) * most).collect();
        assert_nearly_rounded(name, &got[i], &exact[i], &errors);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn brain_floats_of_a_layer_are_rounded(
        batch in 1usize..5, channels in 1usize..40, height in 1usize..20, width in 2usize..20, outputs in 1usize..40, of_batch: bool, seed: u64,
    ) {
        brain_floats_are_rounded([batch, channels, height, width], outputs, of_batch, seed);
    }
}

/// Images of several tiles, and tiles of several images.
#[test]
fn brain_floats_of_many_tiles_are_rounded() {
    brain_floats_are_rounded([2, 40, 40, 40], 20, true, 1);
    brain_floats_are_rounded([40, 9, 5, 5], 20, true, 2);
}

#[test]
fn maps_of_brain_floats_are_kept_as_they_are() {
    let x = brain(&Draws::new(1).normal([2, 3, 4, 5]));
    let maps = DenseFeatures::start(x.clone(), 6).with(x.clone()).finish();
    let both = numbers(maps, DType::BF16);
    assert_rounded("maps", &both, &numbers(Tensor::cat(vec![x.clone(), x], 1), DType::BF16));
}
