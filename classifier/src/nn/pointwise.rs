//! 1x1 convolution.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::alike;
use roentgen_kernels::conv2d;

/// Configuration of [`Pointwise`].
#[derive(Config, Debug)]
pub struct PointwiseConfig {
    /// Input and output channels.
    pub channels: [usize; 2],
}

/// A 1x1 convolution with stride 1 and no bias: `weight [O, C] x input [C, H*W]` for each image.
///
/// The weight has the shape `[O, C, 1, 1]` of a convolution, so checkpoints are the same.
///
/// Should be created using [`PointwiseConfig`].
#[derive(Module, Debug)]
pub struct Pointwise {
    /// `[O, C, 1, 1]`
    pub weight: Param<Tensor<4>>,
}

impl PointwiseConfig {
    /// A layer of this shape; its weight is zero until it is loaded or drawn.
    #[must_use]
    pub fn init(&self, device: &Device) -> Pointwise {
        let [input, output] = self.channels;
        Pointwise { weight: Initializer::Zeros.init([output, input, 1, 1], device) }
    }
}

impl Pointwise {
    /// # Shapes
    /// - input: `[B, C, H, W]`
    /// - output: `[B, O, H, W]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let weight = alike(&self.weight, &input);
        conv2d(input, weight, None, ConvOptions::new([1, 1], [0, 0], [1, 1], 1))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    #[test]
    fn equals_a_convolution_with_its_gradients() {
        let device = Device::flex().autodiff();
        let weight = Tensor::random([7, 5, 1, 1], Distribution::Default, &device).require_grad();
        let layer = Pointwise { weight: Param::from_tensor(weight) };
        let input = Tensor::<4>::random([2, 5, 3, 4], Distribution::Default, &device).require_grad();
        let towards = Tensor::<4>::random([2, 7, 3, 4], Distribution::Default, &device);

        let ours = layer.forward(input.clone());
        let mut grads = (ours.clone() * towards.clone()).sum().backward();
        let ours = (ours, input.grad_remove(&mut grads).unwrap(), layer.weight.val().grad_remove(&mut grads).unwrap());

        let plain =
            burn::tensor::module::conv2d(input.clone(), layer.weight.val(), None, ConvOptions::new([1, 1], [0, 0], [1, 1], 1));
        let mut grads = (plain.clone() * towards).sum().backward();
        let plain = (plain, input.grad_remove(&mut grads).unwrap(), layer.weight.val().grad_remove(&mut grads).unwrap());

        let close = Tolerance::<f32>::absolute(1e-5);
        ours.0.into_data().assert_approx_eq::<f32>(&plain.0.into_data(), close);
        ours.1.into_data().assert_approx_eq::<f32>(&plain.1.into_data(), close);
        ours.2.into_data().assert_approx_eq::<f32>(&plain.2.into_data(), close);
    }
}
