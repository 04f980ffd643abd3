//! Batch normalisation with PyTorch's running statistics.

use burn::config::Config;
use burn::module::{Initializer, Module, Param, RunningState};
use burn::tensor::module::{batch_norm, batch_norm_train};
use burn::tensor::{Device, Tensor};

/// Configuration of [`BatchNorm2d`].
#[derive(Config, Debug)]
pub struct BatchNorm2dConfig {
    /// Number of channels.
    pub num_features: usize,
    /// Added to the variance. Default 1e-5.
    #[config(default = 1e-5)]
    pub eps: f64,
    /// Weight of the newest batch in the running statistics. Default 0.1.
    #[config(default = 0.1)]
    pub momentum: f64,
}

/// Batch normalisation over `[B, C, H, W]` (Ioffe & Szegedy, arXiv 1502.03167).
///
/// Differs from [`burn::nn::BatchNorm`] in one number: the running variance takes the *unbiased* batch variance, as
/// `torch.nn.BatchNorm2d` does, so that evaluation after training agrees with PyTorch. Normalisation itself uses the biased
/// one in both. Fields carry PyTorch's key names.
///
/// Should be created using [`BatchNorm2dConfig`].
#[derive(Module, Debug)]
pub struct BatchNorm2d {
    /// Scale, `[C]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[C]`.
    pub bias: Param<Tensor<1>>,
    /// Mean used in evaluation, `[C]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// Variance used in evaluation, `[C]`.
    pub running_var: RunningState<Tensor<1>>,
    momentum: f64,
    eps: f64,
}

impl BatchNorm2dConfig {
    /// A layer that normalises to mean 0 and variance 1.
    #[must_use]
    pub fn init(&self, device: &Device) -> BatchNorm2d {
        BatchNorm2d {
            weight: Initializer::Ones.init([self.num_features], device),
            bias: Initializer::Zeros.init([self.num_features], device),
            running_mean: RunningState::new(Tensor::zeros([self.num_features], device)),
            running_var: RunningState::new(Tensor::ones([self.num_features], device)),
            momentum: self.momentum,
            eps: self.eps,
        }
    }
}

impl BatchNorm2d {
    /// Normalises with the batch's statistics on an autodiff device (and updates the running ones), with the running
    /// statistics elsewhere.
    ///
    /// # Shapes
    /// - input: `[B, C, H, W]`
    /// - output: `[B, C, H, W]`
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        if input.device().is_autodiff() { self.forward_train(input) } else { self.forward_eval(input) }
    }

    fn forward_eval(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        let mean = self.running_mean.value().to_device(&device);
        let variance = self.running_var.value().to_device(&device);
        batch_norm(input, self.weight.val(), self.bias.val(), mean, variance, self.eps)
    }

    fn forward_train(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        let [batch, _, height, width] = input.dims();
        let count = (batch * height * width) as f64;
        let normed = batch_norm_train(input, self.weight.val(), self.bias.val(), self.eps);

        let unbiased = normed.variance.detach().mul_scalar(count / (count - 1.0).max(1.0));
        let keep = 1.0 - self.momentum;
        let mean = self.running_mean.value_sync().to_device(&device).mul_scalar(keep);
        let variance = self.running_var.value_sync().to_device(&device).mul_scalar(keep);
        self.running_mean.update((mean + normed.mean.detach().mul_scalar(self.momentum)).detach());
        self.running_var.update((variance + unbiased.mul_scalar(self.momentum)).detach());
        normed.output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch 2.15: `bn = BatchNorm2d(1); bn(tensor([1., 3.]).view(2, 1, 1, 1)); bn.running_var` is 0.9 + 0.1 * 2.
    #[test]
    fn running_variance_is_unbiased() {
        let device = Device::flex().autodiff();
        let norm = BatchNorm2dConfig::new(1).init(&device);
        let output = norm.forward(Tensor::<1>::from_floats([1.0, 3.0], &device).reshape([2, 1, 1, 1]));
        assert_eq!(norm.running_mean.value_sync().into_data().try_to_vec::<f32>().unwrap(), [0.2]);
        let variance = norm.running_var.value_sync().into_data().try_to_vec::<f32>().unwrap();
        assert!((variance[0] - 1.1).abs() < 1e-6, "{variance:?}");
        let output = output.into_data().try_to_vec::<f32>().unwrap();
        assert!((output[1] - 0.999_995).abs() < 1e-6, "normalises with the biased variance: {output:?}");
    }
}
