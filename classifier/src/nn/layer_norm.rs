//! Layer normalisation.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use roentgen_kernels::{Activation, Norm, Over, layer_norm};

/// Configuration of [`LayerNorm`].
#[derive(Config, Debug)]
pub struct LayerNormConfig {
    /// Length of the last axis.
    pub d_model: usize,
    /// Added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

/// Normalises the last axis (Ba, Kiros and Hinton 2016).
///
/// Names and fields are those of [`burn::nn::LayerNorm`], so that the names of weights are the same.
///
/// Should be created using [`LayerNormConfig`].
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Scale, `[C]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift, `[C]`.
    pub beta: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNormConfig {
    /// A layer that normalises to mean 0 and variance 1.
    #[must_use]
    pub fn init(&self, device: &Device) -> LayerNorm {
        LayerNorm {
            gamma: Initializer::Ones.init([self.d_model], device),
            beta: Initializer::Zeros.init([self.d_model], device),
            epsilon: self.epsilon,
        }
    }
}

impl LayerNorm {
    /// # Shapes
    /// - input: `[.., C]`
    /// - output: `[.., C]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let norm = Norm { over: Over::Last, epsilon: self.epsilon, activation: Activation::Identity };
        layer_norm(input, [self.gamma.val(), self.beta.val()], norm)
    }
}
