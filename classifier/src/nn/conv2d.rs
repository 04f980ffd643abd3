//! Convolution.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use super::alike;
use roentgen_kernels::conv2d;

/// Configuration of [`Conv2d`].
#[derive(Config, Debug)]
pub struct Conv2dConfig {
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Height and width of the kernel.
    pub kernel_size: [usize; 2],
    /// Down and across. Default 1.
    #[config(default = "[1, 1]")]
    pub stride: [usize; 2],
    /// Zeros above and below, left and right. Default none.
    #[config(default = "[(0, 0), (0, 0)]")]
    pub padding: [(usize, usize); 2],
    /// Default true.
    #[config(default = true)]
    pub bias: bool,
    /// Of weight and bias. Default as in PyTorch: uniform within `1 / sqrt(fan in)`.
    #[config(default = "Initializer::KaimingUniform { gain: 1.0 / 3f64.sqrt(), fan_out_only: false }")]
    pub initializer: Initializer,
}

/// [`burn::nn::conv::Conv2d`] on the CPU kernel, without groups and dilation. Parameters have the same names.
///
/// Should be created using [`Conv2dConfig`].
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[O, C, kernel height, kernel width]`
    pub weight: Param<Tensor<4>>,
    /// `[O]`
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    stride: [usize; 2],
    #[module(skip)]
    padding: [(usize, usize); 2],
}

impl Conv2dConfig {
    /// As many zeros on all four sides.
    #[must_use]
    pub fn with_padding_around(self, zeros: usize) -> Self {
        self.with_padding([(zeros, zeros); 2])
    }

    /// A layer with drawn weights.
    #[must_use]
    pub fn init(&self, device: &Device) -> Conv2d {
        let ([input, output], [height, width]) = (self.channels, self.kernel_size);
        let (fan_in, fan_out) = (Some(input * height * width), Some(output * height * width));
        let weight = self.initializer.init_with([output, input, height, width], fan_in, fan_out, device);
        let bias = self.bias.then(|| self.initializer.init_with([output], fan_in, fan_out, device));
        Conv2d { weight, bias, stride: self.stride, padding: self.padding }
    }
}

impl Conv2d {
    /// # Shapes
    /// - input: `[B, C, H, W]`
    /// - output: `[B, O, H', W']`, `H' = (H + padding - kernel height) / stride + 1` rounded down, `W'` alike
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let options = ConvOptions::new_with_padding(self.stride, self.padding, [1, 1], 1);
        let (weight, bias) = (alike(&self.weight, &input), self.bias.as_ref().map(|bias| alike(bias, &input)));
        conv2d(input, weight, bias, options)
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::PaddingConfig2d;
    use burn::tensor::Tolerance;

    use super::*;

    #[test]
    fn is_burns_layer() {
        let device = Device::flex();
        let input = Tensor::random([2, 3, 7, 8], burn::tensor::Distribution::Default, &device);
        let ours = Conv2dConfig::new([3, 4], [3, 2]).with_stride([2, 1]).with_padding([(1, 2), (0, 1)]).init(&device);
        let mut burns = burn::nn::conv::Conv2dConfig::new([3, 4], [3, 2])
            .with_stride([2, 1])
            .with_padding(PaddingConfig2d::Explicit(1, 0, 2, 1))
            .init(&device);
        assert_eq!(ours.num_params(), burns.num_params());
        burns.weight = ours.weight.clone();
        burns.bias = ours.bias.clone();
        let close = Tolerance::absolute(1e-5);
        ours.forward(input.clone()).into_data().assert_approx_eq::<f32>(&burns.forward(input).into_data(), close);
    }

    #[test]
    fn weights_are_drawn_as_in_torch() {
        let layer = Conv2dConfig::new([7, 64], [3, 3]).init(&Device::flex());
        let bound = 1.0 / (7.0 * 9.0f32).sqrt();
        for largest in [layer.weight.val().abs().max(), layer.bias.unwrap().val().abs().max()] {
            let largest = largest.into_scalar::<f32>();
            assert!((0.8 * bound..=bound).contains(&largest), "{largest} of {bound}");
        }
    }
}
