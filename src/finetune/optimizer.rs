//! AdamW with PyTorch's arithmetic, which is [`AdamWStep`]'s.

use burn::tensor::Tensor;
use roentgen_kernels::{AdamWNumbers, AdamWStep, Stepped};
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use super::settings::within;

/// Settings of AdamW; learning rates are [`LearningRates`](super::LearningRates).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay rates of the first and the second moment, in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of a weight that a learning rate of 1 would take off it in a step; biases and norms decay too, as in the reference.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    /// Those of PyTorch, diffusers and RoentGen v2.
    fn default() -> Self {
        Self { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// Moments of one parameter's gradient.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    /// Decaying mean.
    pub(super) first: Tensor<1>,
    /// Decaying mean of squares.
    pub(super) second: Tensor<1>,
    /// Steps so far.
    pub(super) steps: u64,
}

impl AdamWConfig {
    /// Refuses numbers out of range.
    pub(super) fn check(&self) -> Result<(), FinetuneError> {
        for (key, beta) in [("adamw.betas[0]", self.betas[0]), ("adamw.betas[1]", self.betas[1])] {
            within(key, beta, (0.0..1.0).contains(&beta), "a number from 0 to below 1")?;
        }
        within("adamw.epsilon", self.epsilon, self.epsilon > 0.0, "a number above 0")?;
        let decay = self.weight_decay;
        within("adamw.weight_decay", decay, decay.is_finite() && decay >= 0.0, "a number of at least 0")
    }

    /// The weight after a step along `gradient` times `scale`; all tensors are of one shape and device.
    pub(super) fn step(
        &self,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        moments: &mut Moments,
        scale: f64,
        learning_rate: f64,
    ) -> Tensor<1> {
        moments.steps += 1;
        let empty = Tensor::empty([0], &weight.device());
        let [first, second] = [&mut moments.first, &mut moments.second].map(|moment| std::mem::replace(moment, empty.clone()));
        let stepped = AdamWStep::new(&self.numbers(), moments.steps, scale, learning_rate)
            .take(Stepped { weight, moments: [first, second] }, gradient);
        [moments.first, moments.second] = stepped.moments;
        stepped.weight
    }

    fn numbers(&self) -> AdamWNumbers {
        AdamWNumbers { betas: self.betas, epsilon: self.epsilon, weight_decay: self.weight_decay }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;

    fn moments(count: usize) -> Moments {
        let zeros = || Tensor::zeros([count], &Device::flex());
        Moments { first: zeros(), second: zeros(), steps: 0 }
    }

    fn floats(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    proptest! {
        #[test]
        fn without_a_gradient_a_weight_only_decays(weight in -10f32..10.0, decay in 0f64..1.0, rate in 0f64..0.1) {
            let config = AdamWConfig { weight_decay: decay, ..AdamWConfig::default() };
            let device = Device::flex();
            let zero = Tensor::zeros([1], &device);
            let got = floats(config.step(Tensor::from_floats([weight], &device), zero, &mut moments(1), 1.0, rate));
            prop_assert_eq!(got[0], weight * (1.0 - rate * decay) as f32);
        }
    }
}
