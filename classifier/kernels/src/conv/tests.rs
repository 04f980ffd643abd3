//! The kernel beside burn's own convolution.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData, Tolerance, module};
use proptest::prelude::*;

use super::{conv2d, windows};
use crate::testing::{Draws, assert_sums_are_rounded, brain, numbers, tracked_alike, wide};

/// Sums of up to 1,000 terms below 1, in another order.
const CLOSE: f32 = 2e-4;

type Convolve = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>;

/// Everything that a training step needs.
struct Case {
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
}

impl Case {
    fn new(draws: &mut Draws, input: [usize; 4], outputs: usize, kernel: [usize; 2], options: ConvOptions<2>) -> Self {
        let weight = draws.uniform([outputs, input[1], kernel[0], kernel[1]]);
        Self { input: draws.uniform(input), weight, bias: Some(draws.uniform([outputs])), options }
    }

    /// Output, and the gradients w.r.t. input, weight and bias of a loss that weighs every output differently.
    fn run(&self, convolve: Convolve) -> Vec<TensorData> {
        let device = Device::flex().autodiff();
        fn tracked<const D: usize>(x: &Tensor<D>, device: &Device) -> Tensor<D> {
            Tensor::from_data(x.to_data(), device).require_grad()
        }
        let (input, weight) = (tracked(&self.input, &device), tracked(&self.weight, &device));
        let bias = self.bias.as_ref().map(|bias| tracked(bias, &device));
        let output = convolve(input.clone(), weight.clone(), bias.clone(), self.options.clone());
        let count = output.shape().num_elements() as i64;
        let weights = Tensor::<1, Int>::arange(0..count, &device).float().sin().reshape(output.shape());
        let mut grads = (output.clone() * weights).sum().backward();
        let mut all = vec![output.into_data()];
        all.extend([input, weight].map(|x| x.grad_remove(&mut grads).unwrap().into_data()));
        all.extend(bias.map(|bias| bias.grad_remove(&mut grads).unwrap().into_data()));
        all
    }

    fn assert_equals_burn(&self) {
        for (ours, burn) in self.run(conv2d).iter().zip(&self.run(module::conv2d)) {
            ours.assert_approx_eq::<f32>(burn, Tolerance::rel_abs(CLOSE, CLOSE));
        }
    }
}

fn options(stride: usize, padding: usize) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn equals_burn_with_all_gradients(
        (batch, channels, outputs) in (1usize..4, 1usize..7, 1usize..9),
        size in [1usize..24, 1usize..24],
        kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..3],
        dilation in [1usize..3, 1usize..3],
        with_bias in any::<bool>(),
        seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let options = ConvOptions::new(stride, padding, dilation, 1);
        let mut case = Case::new(&mut draws, [batch, channels, size[0], size[1]], outputs, kernel, options);
        let fits = windows(case.input.dims(), case.weight.dims(), &case.options).iter().all(|w| w.output().is_some());
        prop_assume!(fits);
        if !with_bias {
            case.bias = None;
        }
        case.assert_equals_burn();
    }
}

/// Input, outputs and kernel of sizes at which work is cut differently, with their options: many tiles, tiles of several images, parts of a
/// row, parts of channels and outputs, more weights than points.
fn cut() -> [([usize; 4], usize, [usize; 2], ConvOptions<2>); 10] {
    [
        ([2, 40, 20, 70], 33, [3, 3], options(1, 1)),
        ([1, 3, 3, 520], 5, [3, 3], options(1, 1)),
        ([1, 2, 3, 256], 4, [3, 3], options(2, 1)),
        ([9, 30, 2, 2], 17, [3, 3], options(1, 1)),
        ([3, 300, 4, 4], 130, [1, 1], options(1, 0)),
        ([2, 70, 19, 23], 66, [1, 1], options(1, 0)),
        ([2, 1, 45, 61], 24, [7, 7], options(2, 3)),
        ([2, 6, 9, 8], 7, [1, 1], options(2, 0)),
        ([1, 150, 5, 5], 70, [3, 3], options(1, 1)),
        ([1, 70, 9, 9], 65, [3, 3], options(2, 1)),
    ]
}

#[test]
fn equals_burn_however_work_is_cut() {
    let mut draws = Draws::new(1);
    for (input, outputs, kernel, options) in cut() {
        Case::new(&mut draws, input, outputs, kernel, options).assert_equals_burn();
    }
}

#[test]
fn pads_each_side_by_its_own() {
    let mut draws = Draws::new(1);
    let options = ConvOptions::new_with_padding([2, 2], [(0, 1), (2, 0)], [1, 1], 1);
    Case::new(&mut draws, [2, 3, 8, 9], 4, [3, 3], options).assert_equals_burn();
}

#[test]
fn views_are_taken() {
    let mut draws = Draws::new(1);
    let (input, weight) = (draws.uniform([2, 9, 3, 8]), draws.uniform([3, 5, 3, 1]));
    let view = conv2d(input.clone().permute([0, 2, 1, 3]), weight.clone().permute([1, 0, 3, 2]), None, options(1, 1));
    let copy = |x: Tensor<4>| Tensor::<4>::from_data(x.into_data(), &Device::flex());
    let copied = conv2d(copy(input.permute([0, 2, 1, 3])), copy(weight.permute([1, 0, 3, 2])), None, options(1, 1));
    view.into_data().assert_eq(&copied.into_data(), true);
}

#[test]
fn groups_and_half_precision_are_left_to_burn() {
    let mut draws = Draws::new(1);
    let (input, weight) = (draws.uniform([1, 4, 5, 5]), draws.uniform([6, 2, 3, 3]));
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 2);
    let ours = conv2d(input.clone(), weight.clone(), None, options.clone());
    ours.into_data().assert_eq(&module::conv2d(input.clone(), weight, None, options).into_data(), true);
    let half = |x: Tensor<4>| x.cast(FloatDType::F16);
    let weight = draws.uniform([6, 4, 3, 3]);
    let output = conv2d(half(input), half(weight), None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
    assert_eq!(output.dtype(), DType::F16);
}

#[test]
fn bits_do_not_depend_on_threads() {
    let mut draws = Draws::new(1);
    let bits = |threads: usize, case: &Case| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.run(conv2d))
    };
    for case in [
        Case::new(&mut draws, [2, 40, 20, 37], 70, [3, 3], options(1, 1)),
        Case::new(&mut draws, [8, 96, 4, 4], 32, [3, 3], options(1, 1)),
        Case::new(&mut draws, [2, 1, 30, 30], 64, [7, 7], options(2, 3)),
        Case::new(&mut draws, [3, 130, 6, 6], 130, [1, 1], options(1, 0)),
    ] {
        let once = bits(1, &case);
        for (threads, other) in [(1, bits(1, &case)), (2, bits(2, &case)), (5, bits(5, &case))] {
            for (i, (once, other)) in once.iter().zip(&other).enumerate() {
                assert!(once.as_bytes() == other.as_bytes(), "result {i} with {threads} threads");
            }
        }
    }
}

#[test]
fn a_frozen_weight_has_no_gradient_and_the_input_has() {
    let mut draws = Draws::new(1);
    let device = Device::flex().autodiff();
    let input = Tensor::<4>::from_data(draws.uniform([1, 2, 5, 5]).into_data(), &device).require_grad();
    let weight = Tensor::<4>::from_data(draws.uniform([3, 2, 3, 3]).into_data(), &device);
    let mut grads = conv2d(input.clone(), weight.clone(), None, options(1, 1)).sum().backward();
    assert!(input.grad_remove(&mut grads).is_some());
    assert!(weight.grad_remove(&mut grads).is_none());
}

/// A convolution's inputs, and the gradient w.r.t. its output.
struct Whole {
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    options: ConvOptions<2>,
    towards: Tensor<4>,
}

impl Whole {
    /// Inputs rounded to brain floats; `None` where the kernel does not fit.
    fn new(draws: &mut Draws, input: [usize; 4], outputs: usize, kernel: [usize; 2], options: ConvOptions<2>) -> Option<Self> {
        let weight = [outputs, input[1] / options.groups, kernel[0], kernel[1]];
        let [y, x] = windows(input, weight, &options).map(|window| window.output());
        let towards = brain(&draws.normal([input[0], outputs, y?, x?]));
        let [input, weight] = [input, weight].map(|shape| brain(&draws.normal(shape)));
        Some(Self { input, weight, bias: brain(&draws.normal([outputs])), options, towards })
    }

    fn map(&self, f: fn(Tensor<4>) -> Tensor<4>, bias: fn(Tensor<1>) -> Tensor<1>) -> Self {
        let [input, weight, towards] = [&self.input, &self.weight, &self.towards].map(|x| f(x.clone()));
        Self { input, weight, bias: bias(self.bias.clone()), options: self.options.clone(), towards }
    }

    /// The output, and the gradients w.r.t. input, weight and bias.
    fn run(&self) -> Vec<Vec<f64>> {
        let dtype = self.input.dtype();
        let (input, weight, bias) = (tracked_alike(&self.input), tracked_alike(&self.weight), tracked_alike(&self.bias));
        let output = conv2d(input.clone(), weight.clone(), Some(bias.clone()), self.options.clone());
        let mut grads = (output.clone() * self.towards.clone().autodiff()).sum().backward();
        vec![
            numbers(output, dtype),
            numbers(input.grad_remove(&mut grads).unwrap(), dtype),
            numbers(weight.grad_remove(&mut grads).unwrap(), dtype),
            numbers(bias.grad_remove(&mut grads).unwrap(), dtype),
        ]
    }

    fn assert_brain_floats_are_rounded_sums(&self) {
        let in_32_bits = self.map(|x| wide(&x), |x| wide(&x));
        let sizes = in_32_bits.map(Tensor::abs, Tensor::abs);
        let [outputs, channels, height, width] = self.weight.dims();
        let [batch, _, rows, columns] = self.towards.dims();
        let points = batch * rows * columns;
        let terms = [channels * height * width + 1, outputs * height * width, points, points];
        let all = [self.run(), in_32_bits.run(), sizes.run()];
        assert_sums_are_rounded(&["output", "by input", "by weight", "by bias"], &terms, all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn brain_floats_are_the_sums_rounded_once(
        (batch, channels, outputs) in (1usize..4, 1usize..7, 1usize..9),
        size in [1usize..24, 1usize..24],
        kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..3],
        dilation in [1usize..3, 1usize..3],
        seed: u64,
    ) {
        let options = ConvOptions::new(stride, padding, dilation, 1);
        let whole = Whole::new(&mut Draws::new(seed), [batch, channels, size[0], size[1]], outputs, kernel, options);
        prop_assume!(whole.is_some());
        whole.unwrap().assert_brain_floats_are_rounded_sums();
    }
}

/// The same sizes, and a channel by itself.
#[test]
fn brain_floats_are_the_sums_however_work_is_cut() {
    let mut draws = Draws::new(1);
    let by_itself = ConvOptions::new([1, 1], [3, 3], [1, 1], 5);
    for (input, outputs, kernel, options) in cut().into_iter().chain([([2, 5, 11, 13], 5, [7, 7], by_itself)]) {
        Whole::new(&mut draws, input, outputs, kernel, options).unwrap().assert_brain_floats_are_rounded_sums();
    }
}

#[test]
fn bits_of_brain_floats_do_not_depend_on_threads() {
    let mut draws = Draws::new(1);
    let whole = Whole::new(&mut draws, [2, 40, 20, 37], 70, [3, 3], options(1, 1)).unwrap();
    let with = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| whole.run());
    let once = with(1);
    for threads in [2, 5, 64] {
        assert!(with(threads) == once, "{threads} threads");
    }
}
