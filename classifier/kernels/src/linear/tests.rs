use burn::tensor::{Device, Tensor, TensorData, Tolerance, module};
use proptest::prelude::*;

use super::linear;
use crate::testing::{Draws, assert_sums_are_rounded, brain, loss, numbers, tracked, tracked_alike, wide};

type Layer = fn(Tensor<3>, Tensor<2>, Option<Tensor<1>>) -> Tensor<3>;

/// The output, and the gradients w.r.t. input, weight and bias.
fn with_gradients(f: Layer, x: &Tensor<3>, turned: bool, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> Vec<TensorData> {
    let (x, weight, bias) = (tracked(x.clone()), tracked(weight.clone()), bias.map(|bias| tracked(bias.clone())));
    let seen = if turned { x.clone().swap_dims(1, 2) } else { x.clone() };
    let output = f(seen, weight.clone(), bias.clone());
    let mut grads = loss(output.clone()).backward();
    let mut found = vec![output.into_data(), x.grad_remove(&mut grads).unwrap().into_data()];
    found.push(weight.grad_remove(&mut grads).unwrap().into_data());
    found.extend(bias.map(|bias| bias.grad_remove(&mut grads).unwrap().into_data()));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn equals_burns_layer_with_its_gradients(
        images in 1usize..4, rows in 1usize..90, inputs in 1usize..90, outputs in 1usize..150, turned: bool, biased: bool,
        seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let x = draws.normal(if turned { [images, inputs, rows] } else { [images, rows, inputs] });
        let (weight, bias) = (draws.normal([inputs, outputs]), draws.normal([outputs]));
        let bias = biased.then_some(&bias);
        let ours = with_gradients(linear, &x, turned, &weight, bias);
        let plain = with_gradients(module::linear, &x, turned, &weight, bias);
        for (ours, plain) in ours.iter().zip(&plain) {
            // Sums of up to 270 products of about 1, in another order.
            ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-5, 5e-5));
        }
    }
}

#[test]
fn large_layers_are_cut_without_gaps() {
    let mut draws = Draws::new(1);
    for (rows, inputs, outputs) in [(700, 70, 1100), (5, 600, 3000), (2050, 40, 33), (1, 1280, 320)] {
        let (x, weight, bias) = (draws.normal([2, rows, inputs]), draws.normal([inputs, outputs]), draws.normal([outputs]));
        let ours = with_gradients(linear, &x, false, &weight, Some(&bias));
        let plain = with_gradients(module::linear, &x, false, &weight, Some(&bias));
        for (ours, plain) in ours.iter().zip(&plain) {
            // Sums of up to 4100 products of about 1.
            ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-5, 5e-4));
        }
    }
}

#[test]
fn a_frozen_part_gets_no_gradient_and_the_others_the_same() {
    let mut draws = Draws::new(1);
    let (x, weight, bias) = (draws.normal([2, 3, 5]), draws.normal([5, 4]), draws.normal([4]));
    let whole = with_gradients(linear, &x, false, &weight, Some(&bias));
    let frozen = |tensor: Tensor<2>| Tensor::<2>::from_data(tensor.into_data(), &Device::flex().autodiff());
    let tracked_x = tracked(x.clone());
    let mut grads =
        loss(linear(tracked_x.clone(), frozen(weight.clone()), None) + bias.clone().autodiff().reshape([1, 1, 4])).backward();
    tracked_x.grad_remove(&mut grads).unwrap().into_data().assert_eq(&whole[1], true);
    let tracked_weight = tracked(weight);
    let mut grads = loss(linear(x.autodiff(), tracked_weight.clone(), None) + bias.autodiff().reshape([1, 1, 4])).backward();
    tracked_weight.grad_remove(&mut grads).unwrap().into_data().assert_eq(&whole[2], true);
}

/// The gradient of a plain sum is one number that is seen everywhere.
#[test]
fn a_gradient_that_is_one_number_is_taken() {
    let mut draws = Draws::new(1);
    let (x, weight) = (draws.normal([3, 6, 20]), draws.normal([20, 9]));
    for turned in [false, true] {
        let gradients = |layer: Layer| {
            let (x, weight) = (tracked(x.clone()), tracked(weight.clone()));
            let seen = if turned { x.clone().reshape([3, 20, 6]).swap_dims(1, 2) } else { x.clone() };
            let mut grads = layer(seen, weight.clone(), None).sum().backward();
            [x.grad_remove(&mut grads).unwrap().into_data(), weight.grad_remove(&mut grads).unwrap().into_data()]
        };
        for (ours, plain) in gradients(linear).iter().zip(&gradients(module::linear)) {
            ours.assert_approx_eq::<f32>(plain, Tolerance::absolute(1e-5));
        }
    }
}

#[test]
fn other_axes_and_empty_inputs_are_taken() {
    let mut draws = Draws::new(1);
    let weight = draws.normal([6, 4]);
    let x = draws.normal([3, 5, 2, 6]);
    let ours = linear(x.clone(), weight.clone(), None).into_data();
    ours.assert_approx_eq::<f32>(&module::linear(x, weight.clone(), None).into_data(), Tolerance::absolute(1e-5));
    assert_eq!(linear(draws.normal([0, 6]), weight, None).dims(), [0, 4]);
}

/// A layer's inputs, and the gradient w.r.t. its output.
struct Whole {
    x: Tensor<3>,
    turned: bool,
    /// `[inputs, outputs]`, or as files have it.
    weight: Tensor<2>,
    turned_weight: bool,
    bias: Tensor<1>,
    towards: Tensor<3>,
}

impl Whole {
    fn new(draws: &mut Draws, [images, rows, inputs, outputs]: [usize; 4], turned: bool, turned_weight: bool) -> Self {
        let x = brain(&draws.normal(if turned { [images, inputs, rows] } else { [images, rows, inputs] }));
        let weight = brain(&draws.normal(if turned_weight { [outputs, inputs] } else { [inputs, outputs] }));
        let bias = brain(&draws.normal([outputs]));
        Self { x, turned, weight, turned_weight, bias, towards: brain(&draws.normal([images, rows, outputs])) }
    }

    fn map(&self, x: fn(Tensor<3>) -> Tensor<3>, weight: fn(Tensor<2>) -> Tensor<2>, bias: fn(Tensor<1>) -> Tensor<1>) -> Self {
        Self {
            x: x(self.x.clone()),
            turned: self.turned,
            weight: weight(self.weight.clone()),
            turned_weight: self.turned_weight,
            bias: bias(self.bias.clone()),
            towards: x(self.towards.clone()),
        }
    }

    /// The output, and the gradients w.r.t. input, weight and bias.
    fn run(&self) -> Vec<Vec<f64>> {
        let dtype = self.x.dtype();
        let (x, weight, bias) = (tracked_alike(&self.x), tracked_alike(&self.weight), tracked_alike(&self.bias));
        let seen = if self.turned { x.clone().swap_dims(1, 2) } else { x.clone() };
        let layer = if self.turned_weight { weight.clone().transpose() } else { weight.clone() };
        let output = linear(seen, layer, Some(bias.clone()));
        let mut grads = (output.clone() * self.towards.clone().autodiff()).sum().backward();
        vec![
            numbers(output, dtype),
            numbers(x.grad_remove(&mut grads).unwrap(), dtype),
            numbers(weight.grad_remove(&mut grads).unwrap(), dtype),
            numbers(bias.grad_remove(&mut grads).unwrap(), dtype),
        ]
    }

    fn assert_brain_floats_are_rounded_sums(&self) {
        let in_32_bits = self.map(|x| wide(&x), |x| wide(&x), |x| wide(&x));
        let sizes = in_32_bits.map(Tensor::abs, Tensor::abs, Tensor::abs);
        let [images, rows, outputs] = self.towards.dims();
        let inputs = self.weight.dims().iter().product::<usize>() / outputs;
        let terms = [inputs + 1, outputs, images * rows, images * rows];
        let all = [self.run(), in_32_bits.run(), sizes.run()];
        assert_sums_are_rounded(&["output", "by input", "by weight", "by bias"], &terms, all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn brain_floats_are_the_sums_rounded_once(
        images in 1usize..4, rows in 1usize..90, inputs in 1usize..90, outputs in 1usize..150, turned: bool, turned_weight: bool,
        seed: u64,
    ) {
        Whole::new(&mut Draws::new(seed), [images, rows, inputs, outputs], turned, turned_weight).assert_brain_floats_are_rounded_sums();
    }
}

#[test]
fn large_layers_of_brain_floats_are_cut_without_gaps() {
    let mut draws = Draws::new(1);
    for (rows, inputs, outputs) in [(700, 70, 1100), (5, 600, 1500), (1030, 40, 33), (1, 1280, 320)] {
        for turned_weight in [false, true] {
            Whole::new(&mut draws, [2, rows, inputs, outputs], false, turned_weight).assert_brain_floats_are_rounded_sums();
        }
    }
}

#[test]
fn bits_of_brain_floats_do_not_depend_on_threads() {
    for (rows, turned, turned_weight) in [(300, true, false), (30, false, true)] {
        let layer = Whole::new(&mut Draws::new(1), [2, rows, 70, 130], turned, turned_weight);
        let with =
            |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| layer.run());
        let once = with(1);
        for threads in [2, 5, 64] {
            assert!(with(threads) == once, "{threads} threads");
        }
    }
}
