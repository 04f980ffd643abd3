//! The CPU kernels of norms and activations alone, forward and with backward, in shapes of the networks here.

use std::fmt;

use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use roentgen_kernels::{Activation, Norm, Over, batch_norm, geglu, group_norm, keep_freed_memory, layer_norm};

fn main() {
    keep_freed_memory();
    divan::main();
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// A norm reads what it is over and what follows it, then the shape of its input.
#[derive(Clone, Copy)]
struct Normalisation {
    name: &'static str,
    norm: Norm,
    shape: [usize; 4],
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [batch, channels, height, width] = self.shape;
        write!(f, "{}_b{batch}_c{channels}_{height}x{width}", self.name)
    }
}

const fn normalisation(name: &'static str, over: Over, activation: Activation, shape: [usize; 4]) -> Normalisation {
    Normalisation { name, norm: Norm { over, epsilon: 1e-5, activation }, shape }
}

/// The U-Net of Stable Diffusion at 512 px (highest and lowest level, and its transformers), the highest level of its autoencoder,
/// and DenseNet-121 at 224 px and at 64 px. A layer norm's tokens are written `C x 1`.
const NORMS: [Normalisation; 6] = [
    normalisation("group_silu", Over::Groups(32), Activation::Silu, [2, 320, 64, 64]),
    normalisation("group_silu", Over::Groups(32), Activation::Silu, [2, 1280, 8, 8]),
    normalisation("group_silu", Over::Groups(32), Activation::Silu, [1, 128, 512, 512]),
    normalisation("layer", Over::Last, Activation::Identity, [2, 4096, 1, 320]),
    normalisation("batch_relu", Over::Batch, Activation::Relu, [4, 128, 56, 56]),
    normalisation("batch_relu", Over::Batch, Activation::Relu, [8, 128, 4, 4]),
];

impl Normalisation {
    fn channels(self) -> usize {
        self.shape[if self.norm.over == Over::Last { 3 } else { 1 }]
    }

    fn compute(self, x: Tensor<4>, affine: [Tensor<1>; 2]) -> Tensor<4> {
        match self.norm.over {
            Over::Groups(_) => group_norm(x, affine, self.norm),
            Over::Batch => batch_norm(x, affine, self.norm).output,
            Over::Last => layer_norm(x, affine, self.norm),
        }
    }

    /// Input, scale and shift.
    fn operands(self, device: &Device) -> (Tensor<4>, [Tensor<1>; 2]) {
        device.seed(0);
        (normal(self.shape, device), [0, 1].map(|_| normal([self.channels()], device)))
    }
}

/// No gradients; batch norms by the statistics of the batch.
#[divan::bench(args = NORMS, max_time = 2)]
fn norm_forward(bencher: Bencher, work: Normalisation) {
    let (x, affine) = work.operands(&Device::flex());
    bencher.bench_local(|| work.compute(black_box(x.clone()), affine.clone()).into_data());
}

/// Forward and the gradients w.r.t. input, scale and shift.
#[divan::bench(args = NORMS, max_time = 4)]
fn norm_train(bencher: Bencher, work: Normalisation) {
    let device = Device::flex().autodiff();
    let (x, affine) = work.operands(&device);
    let (x, affine) = (x.require_grad(), affine.map(Tensor::require_grad));
    let towards = normal(work.shape, &device);
    bencher.bench_local(|| {
        let output = work.compute(black_box(x.clone()), affine.clone());
        let mut grads = (output * towards.clone()).sum().backward();
        let by_affine = affine.each_ref().map(|x| x.grad_remove(&mut grads).expect("it was required").into_data());
        (x.grad_remove(&mut grads).expect("it was required").into_data(), by_affine)
    });
}

/// What the rows with gradients hold besides the kernel: a product with a given gradient and a sum, forward and backward. In the shape
/// of the layer norm.
#[divan::bench(args = ["b2_c4096_1x320"], max_time = 4)]
fn norm_loss_alone(bencher: Bencher, _: &str) {
    let device = Device::flex().autodiff();
    device.seed(0);
    let [x, towards] = [0, 1].map(|_| normal([2, 4096, 1, 320], &device));
    let x = x.require_grad();
    bencher.bench_local(|| {
        let mut grads = (black_box(x.clone()) * towards.clone()).sum().backward();
        x.grad_remove(&mut grads).expect("it was required").into_data()
    });
}

/// Ten million elements.
const ELEMENTS: usize = 10_000_000;

/// Elementwise functions, by name.
const FUNCTIONS: [&str; 4] = ["relu", "silu", "gelu", "quick_gelu"];

fn function(name: &str) -> Activation {
    match name {
        "relu" => Activation::Relu,
        "silu" => Activation::Silu,
        "gelu" => Activation::Gelu,
        _ => Activation::QuickGelu,
    }
}

/// No gradients.
#[divan::bench(args = FUNCTIONS, max_time = 2)]
fn activation_forward(bencher: Bencher, name: &str) {
    let x: Tensor<1> = normal([ELEMENTS], &Device::flex());
    bencher.bench_local(|| function(name).forward(black_box(x.clone())).into_data());
}

/// Forward and the gradient.
#[divan::bench(args = FUNCTIONS, max_time = 4)]
fn activation_train(bencher: Bencher, name: &str) {
    let device = Device::flex().autodiff();
    let x = normal([ELEMENTS], &device).require_grad();
    let towards: Tensor<1> = normal([ELEMENTS], &device);
    bencher.bench_local(|| {
        let mut grads = (function(name).forward(black_box(x.clone())) * towards.clone()).sum().backward();
        x.grad_remove(&mut grads).expect("it was required").into_data()
    });
}

/// Tokens and width of the gated units in the U-Net of Stable Diffusion at 512 px: highest and lowest level.
const GATES: [(usize, usize); 2] = [(4096, 1280), (64, 5120)];

/// Two images, no gradients.
#[divan::bench(args = GATES.map(|(tokens, width)| format!("b2_n{tokens}_c{width}")), max_time = 2)]
fn geglu_forward(bencher: Bencher, size: &str) {
    let x = gates(size, &Device::flex());
    bencher.bench_local(|| geglu(black_box(x.clone())).into_data());
}

/// Two images, forward and the gradient.
#[divan::bench(args = GATES.map(|(tokens, width)| format!("b2_n{tokens}_c{width}")), max_time = 4)]
fn geglu_train(bencher: Bencher, size: &str) {
    let device = Device::flex().autodiff();
    let x = gates(size, &device).require_grad();
    let towards = normal(geglu(x.clone()).dims(), &device);
    bencher.bench_local(|| {
        let mut grads = (geglu(black_box(x.clone())) * towards.clone()).sum().backward();
        x.grad_remove(&mut grads).expect("it was required").into_data()
    });
}

/// Values and gates of the size of that name.
fn gates(size: &str, device: &Device) -> Tensor<3> {
    device.seed(0);
    let named = GATES.into_iter().find(|(tokens, width)| size == format!("b2_n{tokens}_c{width}"));
    let (tokens, width) = named.expect("sizes are named by this table");
    normal([2, tokens, 2 * width], device)
}
