//! The CPU kernels alone, forward and with backward, in shapes of the networks here.

use std::fmt;

use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use roentgen_classifier::nn::kernels::{Visible, attention};

fn main() {
    divan::main();
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// An attention reads batch, queries, keys, heads, and numbers a head has for a token.
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
    let [query, key, value] = tokens(shape, &Device::flex());
    bencher.bench_local(|| {
        attention(black_box(query.clone()), key.clone(), value.clone(), shape.heads, &Visible::default()).into_data()
    });
}

/// Forward and the gradients by queries, keys and values.
#[divan::bench(args = ATTENTION, max_time = 4)]
fn attention_train(bencher: Bencher, shape: Attention) {
    let device = Device::flex().autodiff();
    let [query, key, value] = tokens(shape, &device).map(Tensor::require_grad);
    let towards = normal([shape.batch, shape.queries, shape.heads * shape.size], &device);
    bencher.bench_local(|| {
        let results = attention(black_box(query.clone()), key.clone(), value.clone(), shape.heads, &Visible::default());
        let mut grads = (results * towards.clone()).sum().backward();
        [&query, &key, &value].map(|x| x.grad_remove(&mut grads).expect("it was required").into_data())
    });
}
