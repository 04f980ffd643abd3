//! Every kernel forward and backward on shapes so small that Miri can run it. Numbers are checked where the kernels are; here all that
//! counts is that no memory is misused, and that all gradients come and are finite.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Distribution, FloatDType, Tensor, TensorData};

use crate::testing::{Draws, affine_map, brain, tracked, tracked_alike, with_affine_gradients, with_gradients};
use crate::{
    Activation, AdamWNumbers, AdamWStep, BottleneckOptions, DenseFeatures, Norm, Over, Stepped, Visible, attention,
    average_pool, batch_norm, conv2d, euclidean_norms, fixed_norm, geglu, gelu, group_norm, layer_norm, linear, max_pool,
};

fn finite(all: impl IntoIterator<Item = TensorData>) {
    assert!(all.into_iter().all(|data| data.iter::<f32>().all(f32::is_finite)));
}

#[test]
fn miri_elementwise() {
    let mut draws = Draws::new(1);
    for activation in [Activation::Relu, Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
        finite(with_gradients([draws.normal([2, 9])], |[x]| activation.forward(x)));
    }
    finite(with_gradients([draws.normal([3, 6])], |[x]| geglu(x)));
}

#[test]
fn miri_norms() {
    let mut draws = Draws::new(2);
    let x: Tensor<4> = draws.normal([2, 4, 3, 3]);
    for activation in [Activation::Identity, Activation::Silu] {
        let norm = |over| Norm { over, epsilon: 1e-5, activation };
        finite(with_affine_gradients(&x, affine_map(4), |x, affine| group_norm(x, affine, norm(Over::Groups(2)))));
        finite(with_affine_gradients(&x, affine_map(4), |x, affine| batch_norm(x, affine, norm(Over::Batch)).output));
        finite(with_affine_gradients(&x, affine_map(3), |x, affine| layer_norm(x, affine, norm(Over::Last))));
        let statistics = [Tensor::zeros([4], &x.device()), Tensor::ones([4], &x.device())];
        let fixed = |x| fixed_norm(x, statistics.clone(), affine_map(4), norm(Over::Batch)).into_data();
        // In place, and not.
        finite([fixed(x.clone()), fixed(Tensor::from_data(x.to_data(), &x.device()))]);
    }
}

#[test]
fn miri_pools() {
    let x: Tensor<4> = Draws::new(3).normal([2, 1, 5, 3]);
    finite(with_gradients([x.clone()], |[x]| max_pool(x)));
    finite(with_gradients([x], |[x]| average_pool(x)));
}

#[test]
fn miri_linear() {
    let mut draws = Draws::new(4);
    let (x, weight, bias) = (tracked(draws.normal([2, 3, 5])), tracked(draws.normal([5, 4])), tracked(draws.normal([4])));
    for x in [x.clone(), x.clone().reshape([2, 5, 3]).swap_dims(1, 2)] {
        let mut grads = linear(x, weight.clone(), Some(bias.clone())).sum().backward();
        finite([weight.grad_remove(&mut grads).unwrap().into_data(), bias.grad_remove(&mut grads).unwrap().into_data()]);
    }
}

#[test]
fn miri_convolution() {
    let mut draws = Draws::new(5);
    // A tile of two images, sums in place, points passed over by strides.
    for (input, weight, stride, padding) in
        [([2, 3, 4, 3], [2, 3, 3, 3], 1, 1), ([1, 2, 5, 4], [3, 2, 1, 1], 1, 0), ([2, 2, 5, 5], [2, 2, 1, 1], 2, 0)]
    {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        let (x, w, bias) = (tracked(draws.normal(input)), tracked(draws.normal(weight)), tracked(draws.normal([weight[0]])));
        let output = conv2d(x.clone(), w.clone(), Some(bias.clone()), options);
        let mut grads = output.clone().sum().backward();
        let [x, w] = [x, w].map(|x| x.grad_remove(&mut grads).unwrap().into_data());
        finite([output.into_data(), x, w, bias.grad_remove(&mut grads).unwrap().into_data()]);
    }
}

#[test]
fn miri_attention() {
    let mut draws = Draws::new(6);
    for causal in [false, true] {
        let inputs = [draws.normal([2, 5, 6]), draws.normal([2, 5, 6]), draws.normal([2, 5, 6])];
        finite(with_gradients(inputs, |[q, k, v]| attention(q, k, v, 2, &Visible { causal, keys: None })));
    }
}

#[test]
fn miri_dense_block() {
    let mut draws = Draws::new(7);
    let options = BottleneckOptions { epsilon: 1e-5, of_batch: true };
    let weight = tracked(draws.normal([2, 3, 1, 1]));
    for finished in [false, true] {
        let x = tracked(draws.tensor([2, 3, 3, 2], Distribution::Normal(1.0, 2.0)));
        let maps = DenseFeatures::start(x.clone(), 5);
        let new = maps.bottleneck(maps.statistics(), affine_map(3).map(tracked), weight.clone(), options);
        let output = if finished { maps.with(new).finish() } else { new };
        let mut grads = output.sum().backward();
        finite([x.grad_remove(&mut grads).unwrap().into_data(), weight.grad_remove(&mut grads).unwrap().into_data()]);
    }
}

#[test]
fn miri_brain_floats() {
    let mut draws = Draws::new(9);
    let mut of = |shape| tracked_alike(&brain(&draws.normal::<4>(shape)));
    let vectors = |count| affine_map(count).map(|vector| tracked_alike(&brain(&vector)));
    let [x, kernel] = [of([2, 4, 4, 3]), of([3, 4, 3, 3])];
    let [bias, _] = vectors(3);
    let y = conv2d(x.clone(), kernel.clone(), Some(bias), ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
    let norm = |over| Norm { over, epsilon: 1e-5, activation: Activation::Silu };
    let y = group_norm(y, vectors(3), norm(Over::Groups(3)))
        + batch_norm(x.clone(), vectors(4), norm(Over::Batch)).output.narrow(1, 0, 3);
    let pooled = max_pool(y.clone()).reshape([2, 3, 4]) + average_pool(y).reshape([2, 3, 2]).repeat_dim(2, 2);
    let weight = of([1, 1, 4, 8]).reshape([4, 8]);
    let [_, bias] = vectors(8);
    let tokens = layer_norm(geglu(gelu(linear(pooled, weight, Some(bias)))), vectors(4), norm(Over::Last));
    let seen = attention(tokens.clone(), tokens.clone(), tokens, 2, &Visible::default());
    let mut grads = seen.sum().backward();
    for input in [x, kernel] {
        finite([input.grad_remove(&mut grads).unwrap().cast(FloatDType::F32).into_data()]);
    }
}

#[test]
fn miri_optimiser() {
    let mut draws = Draws::new(8);
    let weight: Tensor<2> = draws.normal([3, 5]);
    let numbers = AdamWNumbers { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.1 };
    let before = Stepped { weight: weight.clone(), moments: [weight.zeros_like(), weight.zeros_like()] };
    let gradient = draws.normal([3, 5]);
    let norms = euclidean_norms(vec![gradient.clone().reshape([15])]);
    assert!(norms[0].is_finite());
    let after = AdamWStep::new(&numbers, 1, 1.0, 0.1).take(before, gradient);
    finite([after.weight.into_data()]);
}
