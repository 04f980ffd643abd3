//! Inputs that repeat, and outputs and gradients of kernels beside those of the composition.

use burn::tensor::{Device, Distribution, Int, Shape, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Random inputs from a seed of their own: burn's generator is one for all tests, and its draws depend on which of them run first.
pub(super) struct Draws(ChaCha8Rng);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Of mean 0 and deviation 1.
    pub(super) fn normal<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        self.tensor(shape, Distribution::Normal(0.0, 1.0))
    }

    /// From -1 to 1.
    pub(super) fn uniform<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        self.tensor(shape, Distribution::Uniform(-1.0, 1.0))
    }

    pub(super) fn tensor<const D: usize>(&mut self, shape: [usize; D], distribution: Distribution) -> Tensor<D> {
        let mut draw = || match distribution {
            Distribution::Default => self.0.random::<f64>(),
            Distribution::Uniform(low, high) => low + (high - low) * self.0.random::<f64>(),
            Distribution::Normal(mean, deviation) => mean + deviation * self.0.sample::<f64, _>(StandardNormal),
            Distribution::Bernoulli(_) => panic!("no test draws these"),
        };
        let values = (0..Shape::new(shape).num_elements()).map(|_| draw() as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }
}

/// The output of `f` at `inputs`, then the gradient by each, for the loss `sum(f(inputs) * weights)` with different weights
/// everywhere.
pub(crate) fn with_gradients<const N: usize, const D: usize>(
    inputs: [Tensor<D>; N],
    f: impl FnOnce([Tensor<D>; N]) -> Tensor<D>,
) -> Vec<TensorData> {
    let inputs = inputs.map(tracked);
    let output = f(inputs.clone());
    let mut grads = loss(output.clone()).backward();
    let gradients = inputs.map(|x| x.grad_remove(&mut grads).expect("every input has a gradient").into_data());
    [output.into_data()].into_iter().chain(gradients).collect()
}

/// The output of a norm `f`, then the gradients by `x`, `gamma` and `beta`, for the same loss.
pub(crate) fn with_affine_gradients<const D: usize>(
    x: &Tensor<D>,
    affine: [Tensor<1>; 2],
    f: impl FnOnce(Tensor<D>, [Tensor<1>; 2]) -> Tensor<D>,
) -> Vec<TensorData> {
    let (x, affine) = (tracked(x.clone()), affine.map(tracked));
    let output = f(x.clone(), affine.clone());
    let mut grads = loss(output.clone()).backward();
    let by_x = x.grad_remove(&mut grads).expect("x has a gradient").into_data();
    let by_affine = affine.map(|x| x.grad_remove(&mut grads).expect("gamma and beta have gradients").into_data());
    [output.into_data(), by_x].into_iter().chain(by_affine).collect()
}

/// Whether every value is so far from zero that rounding does not decide its side of ReLU's kink.
/// Gradients of two implementations differ by the whole gradient where it does.
pub(crate) fn off_kink<const D: usize>(x: &Tensor<D>) -> bool {
    // The rounding of values of 20 with a reciprocal deviation of 10, which the norms' tests stay below.
    x.clone().abs().min().into_scalar::<f32>() > 2e-5
}

/// Scales about 1 and shifts about 0, different for each channel.
pub(crate) fn affine_map(channels: usize) -> [Tensor<1>; 2] {
    let index = Tensor::<1, Int>::arange(0..channels as i64, &Device::flex()).float();
    [(index.clone() * 1.3).cos() * 0.4 + 1.0, (index * 0.9).sin()]
}

pub(crate) fn tracked<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_data(x.to_data(), &Device::flex().autodiff()).require_grad()
}

pub(crate) fn loss<const D: usize>(output: Tensor<D>) -> Tensor<1> {
    let count = output.shape().num_elements() as i64;
    let weights = Tensor::<1, Int>::arange(0..count, &output.device()).float();
    let weights = (weights * 0.7 + 0.3).sin().reshape(output.shape());
    (output * weights).sum()
}
