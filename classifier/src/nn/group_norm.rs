//! Group normalisation.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use roentgen_kernels::{Activation, Norm, Over, group_norm};

/// Configuration of [`GroupNorm`].
#[derive(Config, Debug)]
pub struct GroupNormConfig {
    /// Equal groups of channels.
    pub num_groups: usize,
    /// Channels.
    pub num_channels: usize,
    /// Added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub epsilon: f64,
}

/// Normalises each group of channels of each image (Wu and He 2018), with an activation after it in the same pass over memory.
///
/// Names and fields are those of [`burn::nn::GroupNorm`], so that the names of weights are the same.
///
/// Should be created using [`GroupNormConfig`].
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// Scale, `[C]`.
    pub gamma: Param<Tensor<1>>,
    /// Shift, `[C]`.
    pub beta: Param<Tensor<1>>,
    num_groups: usize,
    epsilon: f64,
}

impl GroupNormConfig {
    /// A layer that normalises to mean 0 and variance 1.
    ///
    /// # Panics
    /// If the groups do not divide the channels.
    #[must_use]
    pub fn init(&self, device: &Device) -> GroupNorm {
        let Self { num_groups, num_channels, epsilon } = *self;
        assert!(num_channels.is_multiple_of(num_groups), "{num_groups} groups do not divide {num_channels} channels");
        GroupNorm {
            gamma: Initializer::Ones.init([num_channels], device),
            beta: Initializer::Zeros.init([num_channels], device),
            num_groups,
            epsilon,
        }
    }
}

impl GroupNorm {
    /// # Shapes
    /// - input: `[B, C, ..]`
    /// - output: `[B, C, ..]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.forward_then(Activation::Identity, input)
    }

    /// The same with `activation` after it.
    pub fn forward_then<const D: usize>(&self, activation: Activation, input: Tensor<D>) -> Tensor<D> {
        let norm = Norm { over: Over::Groups(self.num_groups), epsilon: self.epsilon, activation };
        group_norm(input, [self.gamma.val(), self.beta.val()], norm)
    }
}
