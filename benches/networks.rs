//! Forward pass and training step of the networks beside DenseNet. Sizes read batch, then pixels per side.

use std::fmt;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use roentgen_classifier::loss::{KnownLabels, MaskedBce};
use roentgen_classifier::networks::vit::VitClassifierConfig;
use roentgen_classifier::networks::{ConvNeXtConfig, NetworkShape, ResNetConfig, StochasticDepth, seeded};
use roentgen_classifier::training::TrainConfig;
use roentgen_kernels::keep_freed_memory;

const FINDINGS: usize = 14;

fn main() {
    keep_freed_memory();
    divan::main();
}

#[derive(Clone, Copy)]
enum Kind {
    Resnet50,
    ConvnextTiny,
    VitB14,
}

/// A network and its images.
#[derive(Clone, Copy)]
struct Work {
    kind: Kind,
    batch: usize,
    side: usize,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            Kind::Resnet50 => "resnet50",
            Kind::ConvnextTiny => "convnext-tiny",
            Kind::VitB14 => "vit-b14",
        };
        write!(f, "{name}_b{}_{}px", self.batch, self.side)
    }
}

impl Work {
    fn shape(self) -> NetworkShape {
        match self.kind {
            Kind::Resnet50 => ResNetConfig::resnet50(1, FINDINGS).into(),
            Kind::ConvnextTiny => ConvNeXtConfig::tiny(1, FINDINGS).into(),
            Kind::VitB14 => VitClassifierConfig::base14(1, FINDINGS).into(),
        }
    }

    fn images(self, device: &Device) -> Tensor<4> {
        device.seed(0);
        Tensor::random([self.batch, 1, self.side, self.side], Distribution::Uniform(-1.0, 1.0), device)
    }
}

const WORK: [Work; 3] = [
    Work { kind: Kind::Resnet50, batch: 4, side: 224 },
    Work { kind: Kind::ConvnextTiny, batch: 4, side: 224 },
    Work { kind: Kind::VitB14, batch: 4, side: 224 },
];

/// No gradients.
#[divan::bench(args = WORK, sample_count = 4, sample_size = 1)]
fn network_forward(bencher: Bencher, work: Work) {
    let device = Device::flex();
    let net = seeded(work.shape().init(&device), 0);
    let images = work.images(&device);
    bencher.bench_local(|| net.forward(black_box(images.clone())).into_data());
}

/// Forward with branches left out, loss, backward, AdamW.
#[divan::bench(args = WORK, sample_count = 4, sample_size = 1)]
fn network_train(bencher: Bencher, work: Work) {
    let device = Device::flex().autodiff();
    let mut net = Some(seeded(work.shape().init(&device), 0));
    let config = TrainConfig::default();
    let mut optimizer = config.optimizer();
    let images = work.images(&device);
    let targets = Tensor::<2>::zeros([work.batch, FINDINGS], &device);
    let mask = Tensor::<2>::ones([work.batch, FINDINGS], &device);
    let known = KnownLabels::count([&[1.0; FINDINGS][..]].repeat(work.batch), FINDINGS);
    let loss = MaskedBce::default();
    let depth = StochasticDepth { rate: config.stochastic_depth, seed: 0, pass: 0 };
    bencher.bench_local(|| {
        let current = net.take().expect("every step gives the net back");
        let logits = current.forward_in_training(images.clone(), &depth);
        let loss = loss.forward(logits, targets.clone(), mask.clone(), &known);
        let gradients = GradientsParams::from_grads(loss.backward(), &current);
        net = Some(optimizer.step(1e-4, current, gradients));
    });
}
