//! Linear layers.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};

use super::alike;
use roentgen_kernels::linear;

/// Configuration of [`Linear`].
#[derive(Config, Debug)]
pub struct LinearConfig {
    /// Width of the input.
    pub d_input: usize,
    /// Width of the output.
    pub d_output: usize,
    /// Default true.
    #[config(default = true)]
    pub bias: bool,
    /// Of weight and bias. Default as in PyTorch: uniform within `1 / sqrt(d_input)`.
    #[config(default = "Initializer::KaimingUniform { gain: 1.0 / 3f64.sqrt(), fan_out_only: false }")]
    pub initializer: Initializer,
}

/// [`burn::nn::Linear`] on the CPU kernel. Parameters have the same names.
///
/// Should be created using [`LinearConfig`].
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_input, d_output]`
    pub weight: Param<Tensor<2>>,
    /// `[d_output]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl LinearConfig {
    /// A layer with drawn weights.
    #[must_use]
    pub fn init(&self, device: &Device) -> Linear {
        let (fan_in, fan_out) = (Some(self.d_input), Some(self.d_output));
        let weight = self.initializer.init_with([self.d_input, self.d_output], fan_in, fan_out, device);
        let bias = self.bias.then(|| self.initializer.init_with([self.d_output], fan_in, fan_out, device));
        Linear { weight, bias }
    }
}

impl Linear {
    /// # Shapes
    /// - input: `[.., d_input]`
    /// - output: `[.., d_output]`
    ///
    /// # Panics
    /// If the last axis is of another length.
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let (weight, bias) = (alike(&self.weight, &input), self.bias.as_ref().map(|bias| alike(bias, &input)));
        linear(input, weight, bias)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    #[test]
    fn is_burns_layer() {
        let device = Device::flex();
        let input = Tensor::<3>::random([2, 7, 30], Distribution::Default, &device);
        let ours = LinearConfig::new(30, 20).init(&device);
        let mut burns = burn::nn::LinearConfig::new(30, 20).init(&device);
        assert_eq!(ours.num_params(), burns.num_params());
        burns.weight = ours.weight.clone();
        burns.bias = ours.bias.clone();
        let close = Tolerance::absolute(1e-5);
        ours.forward(input.clone()).into_data().assert_approx_eq::<f32>(&burns.forward(input).into_data(), close);
    }

    #[test]
    fn weights_are_drawn_as_in_torch() {
        let layer = LinearConfig::new(64, 48).init(&Device::flex());
        let bound = 1.0 / 8.0;
        for largest in [layer.weight.val().abs().max(), layer.bias.unwrap().val().abs().max()] {
            let largest = largest.into_scalar::<f32>();
            // Of the 48 numbers of the bias, all are below 0.7 of the bound once in 27 million runs.
            assert!((0.7 * bound..=bound).contains(&largest), "{largest} of {bound}");
        }
    }
}
