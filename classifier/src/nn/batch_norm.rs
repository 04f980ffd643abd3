//! Batch normalisation with PyTorch's running statistics.

use burn::config::Config;
use burn::module::{Initializer, Module, Param, RunningState};
use burn::tensor::{Device, Tensor};

use roentgen_kernels::{Activation, BottleneckOptions, DenseFeatures, Norm, Over, batch_norm, fixed_norm};

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
        self.forward_then(Activation::Identity, input)
    }

    /// The same with `activation` after it, in the same pass over memory.
    pub fn forward_then(&self, activation: Activation, input: Tensor<4>) -> Tensor<4> {
        let norm = Norm { over: Over::Batch, epsilon: self.eps, activation };
        let affine = [self.weight.val(), self.bias.val()];
        if !input.device().is_autodiff() {
            let statistics = self.running(&input.device());
            return fixed_norm(input, statistics, affine, norm);
        }
        let [batch, _, height, width] = input.dims();
        let normed = batch_norm(input, affine, norm);
        self.update([normed.mean, normed.variance], batch * height * width);
        normed.output
    }

    /// Normalises, rectifies and convolves, on the CPU in tiles that are not kept.
    ///
    /// # Shapes
    /// - input: `C` channels so far
    /// - weight: `[O, C, 1, 1]`
    /// - output: `[B, O, H, W]`
    pub fn forward_convolved(&self, input: &DenseFeatures, weight: Tensor<4>) -> Tensor<4> {
        let of_batch = weight.device().is_autodiff();
        let statistics = if of_batch { input.statistics() } else { self.running(&weight.device()) };
        let options = BottleneckOptions { epsilon: self.eps, of_batch };
        if of_batch {
            self.update(statistics.clone(), input.count());
        }
        input.bottleneck(statistics, [self.weight.val(), self.bias.val()], weight, options)
    }

    /// Running mean and variance, `[C]`.
    fn running(&self, device: &Device) -> [Tensor<1>; 2] {
        [&self.running_mean, &self.running_var].map(|state| state.value().to_device(device))
    }

    /// Updates the running statistics with mean and biased variance of `count` values per channel.
    fn update(&self, [mean, variance]: [Tensor<1>; 2], count: usize) {
        let unbiased = variance * (count as f64 / (count as f64 - 1.0).max(1.0));
        for (state, new) in [(&self.running_mean, mean), (&self.running_var, unbiased)] {
            let old = state.value_sync().to_device(&new.device());
            state.update((old * (1.0 - self.momentum) + new * self.momentum).detach());
        }
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
