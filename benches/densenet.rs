//! Forward pass and training step. Sizes read batch, then pixels per side.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use roentgen_classifier::loss::{KnownLabels, MaskedBce};
use roentgen_classifier::networks::{DenseNetConfig, Network, seeded};
use roentgen_classifier::training::{Precision, TrainConfig};
use roentgen_kernels::keep_freed_memory;

const FINDINGS: usize = 14;

fn main() {
    keep_freed_memory();
    divan::main();
}

#[derive(Clone, Copy)]
struct Shape {
    batch: usize,
    side: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}_{}px", self.batch, self.side)
    }
}

const fn shape(batch: usize, side: usize) -> Shape {
    Shape { batch, side }
}

fn images(shape: Shape, device: &Device) -> Tensor<4> {
    device.seed(0);
    Tensor::random([shape.batch, 1, shape.side, shape.side], Distribution::Uniform(-1.0, 1.0), device)
}

/// DenseNet-121, no gradients.
#[divan::bench(args = [shape(8, 64), shape(8, 224)], sample_count = 5, sample_size = 1)]
fn densenet121_forward(bencher: Bencher, shape: Shape) {
    let device = Device::flex();
    let net = seeded(DenseNetConfig::densenet121(1, FINDINGS).init(&device), 0);
    let images = images(shape, &device);
    bencher.bench_local(|| net.forward(black_box(images.clone())).into_data());
}

/// DenseNet-121: forward, loss, backward, AdamW.
#[divan::bench(args = [shape(8, 64), shape(16, 64), shape(4, 224)], sample_count = 4, sample_size = 1)]
fn densenet121_train(bencher: Bencher, shape: Shape) {
    train(bencher, &DenseNetConfig::densenet121(1, FINDINGS), shape, Precision::Fp32);
}

/// The same in brain floats, weights and optimiser in 32 bits.
#[divan::bench(args = [shape(8, 64), shape(16, 64), shape(4, 224)], sample_count = 4, sample_size = 1)]
fn densenet121_train_bf16(bencher: Bencher, shape: Shape) {
    train(bencher, &DenseNetConfig::densenet121(1, FINDINGS), shape, Precision::Bf16);
}

/// The small net: forward, loss, backward, AdamW.
#[divan::bench(args = [shape(32, 64)], sample_count = 10, sample_size = 1)]
fn small_train(bencher: Bencher, shape: Shape) {
    train(bencher, &DenseNetConfig::small(1, FINDINGS), shape, Precision::Fp32);
}

/// The same in brain floats.
#[divan::bench(args = [shape(32, 64)], sample_count = 10, sample_size = 1)]
fn small_train_bf16(bencher: Bencher, shape: Shape) {
    train(bencher, &DenseNetConfig::small(1, FINDINGS), shape, Precision::Bf16);
}

/// A step of AdamW over the 7 million weights of DenseNet-121, gradients given.
#[divan::bench(args = ["7_million"], sample_count = 20, sample_size = 1)]
fn densenet121_adamw(bencher: Bencher, _: &str) {
    let device = Device::flex().autodiff();
    let mut net = Some(seeded(DenseNetConfig::densenet121(1, FINDINGS).init(&device), 0));
    let mut optimizer = TrainConfig::default().optimizer();
    let ones = |net: &Network| {
        let mut ones = Ones(GradientsParams::new());
        net.visit(&mut ones);
        ones.0
    };
    let example = net.clone().expect("it was just made");
    bencher.with_inputs(|| ones(&example)).bench_local_values(|gradients| {
        let current = net.take().expect("every step gives the net back");
        net = Some(optimizer.step(1e-4, current, gradients));
    });
}

/// A gradient for every weight.
struct Ones(GradientsParams);

impl ModuleVisitor for Ones {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, Tensor::<D>::ones(param.val().shape(), &Device::flex()));
    }
}

fn train(bencher: Bencher, config: &DenseNetConfig, shape: Shape, precision: Precision) {
    let device = Device::flex().autodiff();
    let mut net = Some(seeded(config.init(&device), 0));
    let mut optimizer = TrainConfig::default().optimizer();
    let images = images(shape, &device).cast(precision.dtype());
    let targets = Tensor::<2>::zeros([shape.batch, FINDINGS], &device);
    let mask = Tensor::<2>::ones([shape.batch, FINDINGS], &device);
    let known = KnownLabels::count([&[1.0; FINDINGS][..]].repeat(shape.batch), FINDINGS);
    let loss = MaskedBce::default();
    bencher.bench_local(|| {
        let current = net.take().expect("every step gives the net back");
        let loss = loss.forward(current.forward(images.clone()), targets.clone(), mask.clone(), &known);
        let gradients = GradientsParams::from_grads(loss.backward(), &current);
        net = Some(optimizer.step(1e-4, current, gradients));
    });
}
