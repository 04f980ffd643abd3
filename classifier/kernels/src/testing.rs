//! Inputs that repeat, and outputs and gradients of kernels beside those of the composition.

use burn::tensor::{DType, Device, Distribution, FloatDType, Int, Shape, Tensor, TensorData, bf16};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::memory::float::Float;

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

/// Rounded to brain floats.
pub(crate) fn brain<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().cast(FloatDType::BF16)
}

/// The same numbers in 32 bits.
pub(crate) fn wide<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().cast(FloatDType::F32)
}

/// Tracked, in its own type.
pub(crate) fn tracked_alike<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().autodiff().require_grad()
}

/// The numbers of a result, whose type is checked.
pub(crate) fn numbers<const D: usize>(x: Tensor<D>, dtype: DType) -> Vec<f64> {
    assert_eq!(x.dtype(), dtype, "a result has its inputs' type");
    wide(&x).into_data().iter::<f64>().collect()
}

/// Whether brain floats are these numbers of 32 bits, each rounded once.
pub(crate) fn assert_rounded(name: &str, got: &[f64], exact: &[f64]) {
    assert_eq!(got.len(), exact.len(), "{name}");
    for (i, (got, exact)) in got.iter().zip(exact).enumerate() {
        let rounded = f64::from(<bf16 as Float>::rounded(*exact as f32).wide());
        assert!(*got == rounded || got.is_nan() && rounded.is_nan(), "{name} [{i}] is {got}, not {exact} rounded");
    }
}

/// Rounding to a brain float of 8 bits changes a number by at most this share of it (Higham 2002, theorem 2.2).
pub(crate) const BRAIN_ROUNDING: f64 = 1.0 / 256.0;

/// The error of a sum of so many terms in 32 bits, as a share of the sum of their sizes, whatever their order (Higham 2002, equation
/// 3.5).
pub(crate) fn sum_error(terms: usize) -> f64 {
    let roundings = terms as f64 * 2f64.powi(-24);
    roundings / (1.0 - roundings)
}

/// Whether brain floats are these numbers, which are known to `errors`, each rounded once.
pub(crate) fn assert_nearly_rounded(name: &str, got: &[f64], expected: &[f64], errors: &[f64]) {
    assert_eq!([got.len(), errors.len()], [expected.len(); 2], "{name}");
    for (i, ((got, expected), error)) in got.iter().zip(expected).zip(errors).enumerate() {
        let bound = error + BRAIN_ROUNDING * (expected.abs() + error);
        assert!((got - expected).abs() <= bound, "{name} [{i}] is {got}, not {expected} to {bound:e}");
    }
}

/// Results of a kernel that is linear in each of its inputs: of brain floats, of the same numbers in 32 bits, and of their absolute
/// values, which give the sums of the terms' sizes. `terms` are the most terms of a sum in each result.
pub(crate) fn assert_sums_are_rounded(names: &[&str], terms: &[usize], [got, wide, sizes]: [Vec<Vec<f64>>; 3]) {
    for (i, name) in names.iter().enumerate() {
        // Both have the error of a sum.
        let errors: Vec<f64> = sizes[i].iter().map(|size| 2.0 * sum_error(terms[i]) * size).collect();
        assert_nearly_rounded(name, &got[i], &wide[i], &errors);
    }
}
