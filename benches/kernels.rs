//! The CPU kernels alone, forward and with backward, in shapes of the networks here.

use std::fmt;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use roentgen_kernels::{Visible, attention, conv2d, keep_freed_memory, linear};

fn main() {
    keep_freed_memory();
    divan::main();
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// The machine's arithmetic: a matrix product of burn, counting every multiplication and every addition.
#[divan::bench(args = [1024, 2048], max_time = 2)]
fn machine_matmul(bencher: Bencher, side: usize) {
    let device = Device::flex();
    let (a, b): (Tensor<2>, Tensor<2>) = (normal([side, side], &device), normal([side, side], &device));
    bencher.counter(ItemsCount::new(2 * side.pow(3))).bench_local(|| black_box(a.clone()).matmul(b.clone()).into_data());
}

/// The machine's arithmetic in brain floats, where products of them are fastest: a linear layer, counted likewise.
#[divan::bench(args = [1024, 2048], max_time = 2)]
fn machine_matmul_brain(bencher: Bencher, side: usize) {
    let device = Device::flex();
    let [a, b] = [0, 1].map(|_| normal::<2>([side, side], &device).cast(FloatDType::BF16));
    bencher.counter(ItemsCount::new(2 * side.pow(3))).bench_local(|| linear(black_box(a.clone()), b.clone(), None).into_data());
}

/// The machine's memory: one copy by all threads, counting the bytes read and those written.
#[divan::bench(max_time = 2)]
fn machine_copy(bencher: Bencher) {
    const PIECE: usize = 1 << 16;
    let from = vec![1f32; 1 << 26];
    let mut to = vec![0f32; 1 << 26];
    bencher.counter(BytesCount::new(2 * size_of_val(&from[..]))).bench_local(|| {
        to.par_chunks_mut(PIECE).zip(from.par_chunks(PIECE)).for_each(|(to, from)| to.copy_from_slice(from));
    });
}

/// An attention reads batch, queries, keys, heads, and width of a head.
#[derive(Clone, Copy)]
struct Attention {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    size: usize,
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, queries, keys, heads, size } = self;
        write!(f, "b{batch}_q{queries}_k{keys}_h{heads}_d{size}")
    }
}

/// Stable Diffusion 1.4 at 512 px: the highest and a lower level of the U-Net, its text, the autoencoder; CLIP; the tiny pipeline.
const ATTENTION: [Attention; 6] = [
    Attention { batch: 1, queries: 4096, keys: 4096, heads: 8, size: 40 },
    Attention { batch: 2, queries: 256, keys: 256, heads: 8, size: 160 },
    Attention { batch: 2, queries: 4096, keys: 77, heads: 8, size: 40 },
    Attention { batch: 1, queries: 4096, keys: 4096, heads: 1, size: 512 },
    Attention { batch: 2, queries: 77, keys: 77, heads: 12, size: 64 },
    Attention { batch: 2, queries: 64, keys: 77, heads: 4, size: 4 },
];

/// Queries, keys and values.
fn tokens(shape: Attention, device: &Device) -> [Tensor<3>; 3] {
    device.seed(0);
    let Attention { batch, queries, keys, heads, size } = shape;
    [queries, keys, keys].map(|length| normal([batch, length, heads * size], device))
}

/// No gradients.
#[divan::bench(args = ATTENTION, max_time = 2)]
fn attention_forward(bencher: Bencher, shape: Attention) {
    attend(bencher, shape, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = ATTENTION, max_time = 2)]
fn attention_forward_brain(bencher: Bencher, shape: Attention) {
    attend(bencher, shape, FloatDType::BF16);
}

fn attend(bencher: Bencher, shape: Attention, dtype: FloatDType) {
    let [query, key, value] = tokens(shape, &Device::flex()).map(|x| x.cast(dtype));
    bencher.bench_local(|| {
        attention(black_box(query.clone()), key.clone(), value.clone(), shape.heads, &Visible::default()).into_data()
    });
}

/// Forward and the gradients w.r.t. queries, keys and values.
#[divan::bench(args = ATTENTION, max_time = 4)]
fn attention_train(bencher: Bencher, shape: Attention) {
    attend_and_pull(bencher, shape, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = ATTENTION, max_time = 4)]
fn attention_train_brain(bencher: Bencher, shape: Attention) {
    attend_and_pull(bencher, shape, FloatDType::BF16);
}

fn attend_and_pull(bencher: Bencher, shape: Attention, dtype: FloatDType) {
    let device = Device::flex().autodiff();
    let [query, key, value] = tokens(shape, &device).map(|x| x.cast(dtype).detach().require_grad());
    let towards = normal([shape.batch, shape.queries, shape.heads * shape.size], &device).cast(dtype);
    bencher.bench_local(|| {
        let results = attention(black_box(query.clone()), key.clone(), value.clone(), shape.heads, &Visible::default());
        let mut grads = (results * towards.clone()).sum().backward();
        [&query, &key, &value].map(|x| x.grad_remove(&mut grads).expect("it was required").into_data())
    });
}

/// A convolution reads batch, input and output channels, kernel, stride, and pixels per side of the input.
#[derive(Clone, Copy)]
struct Convolution {
    batch: usize,
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    side: usize,
}

impl fmt::Display for Convolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, channels: [input, output], kernel, stride, side } = self;
        write!(f, "b{batch}_i{input}_o{output}_k{kernel}_s{stride}_{side}px")
    }
}

const fn convolution(batch: usize, channels: [usize; 2], kernel: usize, stride: usize, side: usize) -> Convolution {
    Convolution { batch, channels, kernel, stride, side }
}

/// The U-Net of Stable Diffusion at 512 px: highest level and its shortcut, lowest level, a change of resolution, and the first; then DenseNet-121 at
/// 224 px and at 64 px.
const CONVOLUTIONS: [Convolution; 12] = [
    convolution(1, [320, 320], 3, 1, 64),
    convolution(1, [640, 320], 1, 1, 64),
    convolution(2, [1280, 1280], 3, 1, 8),
    convolution(1, [320, 320], 3, 2, 64),
    convolution(1, [4, 320], 3, 1, 64),
    convolution(4, [1, 64], 7, 2, 224),
    convolution(4, [128, 32], 3, 1, 56),
    convolution(4, [256, 128], 1, 1, 56),
    convolution(8, [128, 32], 3, 1, 16),
    convolution(8, [256, 128], 1, 1, 16),
    convolution(8, [128, 32], 3, 1, 2),
    convolution(8, [512, 128], 1, 1, 4),
];

impl Convolution {
    /// Input and weight.
    fn operands(self, device: &Device) -> [Tensor<4>; 2] {
        device.seed(0);
        let Self { batch, channels: [input, output], kernel, side, .. } = self;
        [normal([batch, input, side, side], device), normal([output, input, kernel, kernel], device)]
    }

    fn compute(self, input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        let padding = [self.kernel / 2; 2];
        conv2d(input, weight, None, ConvOptions::new([self.stride; 2], padding, [1, 1], 1))
    }
}

/// No gradients.
#[divan::bench(args = CONVOLUTIONS, max_time = 2)]
fn conv_forward(bencher: Bencher, shape: Convolution) {
    convolve(bencher, shape, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = CONVOLUTIONS, max_time = 2)]
fn conv_forward_brain(bencher: Bencher, shape: Convolution) {
    convolve(bencher, shape, FloatDType::BF16);
}

fn convolve(bencher: Bencher, shape: Convolution, dtype: FloatDType) {
    let [input, weight] = shape.operands(&Device::flex()).map(|x| x.cast(dtype));
    bencher.bench_local(|| shape.compute(black_box(input.clone()), weight.clone()).into_data());
}

/// Forward and the gradients w.r.t. input and weight.
#[divan::bench(args = CONVOLUTIONS, max_time = 4)]
fn conv_train(bencher: Bencher, shape: Convolution) {
    convolve_and_pull(bencher, shape, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = CONVOLUTIONS, max_time = 4)]
fn conv_train_brain(bencher: Bencher, shape: Convolution) {
    convolve_and_pull(bencher, shape, FloatDType::BF16);
}

fn convolve_and_pull(bencher: Bencher, shape: Convolution, dtype: FloatDType) {
    let device = Device::flex().autodiff();
    let [input, weight] = shape.operands(&device).map(|x| x.cast(dtype).detach().require_grad());
    let towards = normal(shape.compute(input.clone(), weight.clone()).dims(), &device).cast(dtype);
    bencher.bench_local(|| {
        let output = shape.compute(black_box(input.clone()), weight.clone());
        let mut grads = (output * towards.clone()).sum().backward();
        [&input, &weight].map(|x| x.grad_remove(&mut grads).expect("it was required").into_data())
    });
}

/// A depthwise convolution reads batch, channels, kernel, and pixels per side.
#[derive(Clone, Copy)]
struct DepthwiseShape {
    batch: usize,
    channels: usize,
    kernel: usize,
    side: usize,
}

impl fmt::Display for DepthwiseShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, channels, kernel, side } = self;
        write!(f, "b{batch}_c{channels}_k{kernel}_{side}px")
    }
}

/// ConvNeXt-Tiny at 224 px: the first and the last stage.
const DEPTHWISE: [DepthwiseShape; 2] = [
    DepthwiseShape { batch: 4, channels: 96, kernel: 7, side: 56 },
    DepthwiseShape { batch: 4, channels: 768, kernel: 7, side: 7 },
];

impl DepthwiseShape {
    /// Input and weight.
    fn operands(self, device: &Device) -> [Tensor<4>; 2] {
        device.seed(0);
        let Self { batch, channels, kernel, side } = self;
        [normal([batch, channels, side, side], device), normal([channels, 1, kernel, kernel], device)]
    }

    fn compute(self, input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
        conv2d(input, weight, None, ConvOptions::new([1, 1], [self.kernel / 2; 2], [1, 1], self.channels))
    }
}

/// No gradients.
#[divan::bench(args = DEPTHWISE, max_time = 2)]
fn depthwise_forward(bencher: Bencher, shape: DepthwiseShape) {
    let [input, weight] = shape.operands(&Device::flex());
    bencher.bench_local(|| shape.compute(black_box(input.clone()), weight.clone()).into_data());
}

/// Forward and the gradients w.r.t. input and weight.
#[divan::bench(args = DEPTHWISE, max_time = 4)]
fn depthwise_train(bencher: Bencher, shape: DepthwiseShape) {
    let device = Device::flex().autodiff();
    let [input, weight] = shape.operands(&device).map(Tensor::require_grad);
    let towards = normal(input.dims(), &device);
    bencher.bench_local(|| {
        let output = shape.compute(black_box(input.clone()), weight.clone());
        let mut grads = (output * towards.clone()).sum().backward();
        [&input, &weight].map(|x| x.grad_remove(&mut grads).expect("it was required").into_data())
    });
}

/// A linear layer reads rows, inputs and outputs.
#[derive(Clone, Copy)]
struct Layer {
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}_i{}_o{}", self.rows, self.inputs, self.outputs)
    }
}

/// The U-Net of Stable Diffusion at 512 px with guidance: a projection and both of the feed-forward network at the highest level, a
/// projection further down; then two prompts in CLIP's feed-forward network.
const LAYERS: [Layer; 5] = [
    Layer { rows: 8192, inputs: 320, outputs: 320 },
    Layer { rows: 8192, inputs: 320, outputs: 2560 },
    Layer { rows: 8192, inputs: 1280, outputs: 320 },
    Layer { rows: 2048, inputs: 640, outputs: 640 },
    Layer { rows: 154, inputs: 768, outputs: 3072 },
];

impl Layer {
    /// Input, weight and bias.
    fn operands(self, device: &Device) -> (Tensor<2>, Tensor<2>, Tensor<1>) {
        device.seed(0);
        let Self { rows, inputs, outputs } = self;
        (normal([rows, inputs], device), normal([inputs, outputs], device), normal([outputs], device))
    }
}

/// No gradients.
#[divan::bench(args = LAYERS, max_time = 2)]
fn linear_forward(bencher: Bencher, layer: Layer) {
    map(bencher, layer, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = LAYERS, max_time = 2)]
fn linear_forward_brain(bencher: Bencher, layer: Layer) {
    map(bencher, layer, FloatDType::BF16);
}

fn map(bencher: Bencher, layer: Layer, dtype: FloatDType) {
    let (x, weight, bias) = layer.operands(&Device::flex());
    let (x, weight, bias) = (x.cast(dtype), weight.cast(dtype), bias.cast(dtype));
    bencher.bench_local(|| linear(black_box(x.clone()), weight.clone(), Some(bias.clone())).into_data());
}

/// Forward and the gradients w.r.t. input, weight and bias.
#[divan::bench(args = LAYERS, max_time = 4)]
fn linear_train(bencher: Bencher, layer: Layer) {
    map_and_pull(bencher, layer, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = LAYERS, max_time = 4)]
fn linear_train_brain(bencher: Bencher, layer: Layer) {
    map_and_pull(bencher, layer, FloatDType::BF16);
}

fn map_and_pull(bencher: Bencher, layer: Layer, dtype: FloatDType) {
    let device = Device::flex().autodiff();
    let (x, weight, bias) = layer.operands(&device);
    let (x, weight) = (x.cast(dtype).detach().require_grad(), weight.cast(dtype).detach().require_grad());
    let bias = bias.cast(dtype).detach().require_grad();
    let towards = normal([layer.rows, layer.outputs], &device).cast(dtype);
    bencher.bench_local(|| {
        let output = linear(black_box(x.clone()), weight.clone(), Some(bias.clone()));
        let mut grads = (output * towards.clone()).sum().backward();
        let matrices = [&x, &weight].map(|x| x.grad_remove(&mut grads).expect("it was required").into_data());
        (matrices, bias.grad_remove(&mut grads).expect("it was required").into_data())
    });
}
