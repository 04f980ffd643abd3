//! Depthwise convolution.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::alike;
use roentgen_kernels::conv2d;

/// Configuration of [`Depthwise`].
#[derive(Config, Debug)]
pub struct DepthwiseConfig {
    /// Channels, each with a kernel of its own.
    pub channels: usize,
    /// Side of the kernels, odd.
    pub kernel_size: usize,
}

/// A convolution of each channel by itself, with a bias, padded so that height and width stay.
///
/// Should be created using [`DepthwiseConfig`].
#[derive(Module, Debug)]
pub struct Depthwise {
    /// `[C, 1, K, K]`
    pub weight: Param<Tensor<4>>,
    /// `[C]`
    pub bias: Param<Tensor<1>>,
}

impl DepthwiseConfig {
    /// A layer of this shape; its weights are zero until they are loaded or drawn.
    ///
    /// # Panics
    /// If the kernels' side is even.
    #[must_use]
    pub fn init(&self, device: &Device) -> Depthwise {
        let Self { channels, kernel_size: side } = *self;
        assert!(side % 2 == 1, "kernels of side {side} have no centre");
        Depthwise {
            weight: Initializer::Zeros.init([channels, 1, side, side], device),
            bias: Initializer::Zeros.init([channels], device),
        }
    }
}

impl Depthwise {
    /// # Shapes
    /// - input: `[B, C, H, W]`
    /// - output: `[B, C, H, W]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [channels, _, side, _] = self.weight.dims();
        let options = ConvOptions::new([1, 1], [side / 2, side / 2], [1, 1], channels);
        let (weight, bias) = (alike(&self.weight, &input), alike(&self.bias, &input));
        conv2d(input, weight, Some(bias), options)
    }
}
