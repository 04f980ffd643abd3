//! AdamW with PyTorch's arithmetic and, on the CPU, one pass over memory per step.

use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};
use roentgen_kernels::{AdamWNumbers, AdamWStep, Stepped};
use serde::{Deserialize, Serialize};

use crate::error::SettingError;

/// Settings of AdamW (Loshchilov & Hutter, arXiv 1711.05101), as `torch.optim.AdamW` names them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay rates of the first and the second moment, in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of a weight that a step with a learning rate of 1 would subtract; biases and norms decay too, as in PyTorch.
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
pub struct Moments<const D: usize> {
    /// Decaying mean.
    pub first: Tensor<D>,
    /// Decaying mean of squares.
    pub second: Tensor<D>,
    /// Steps so far.
    pub steps: u64,
}

impl<const D: usize> Moments<D> {
    /// Those of a parameter like `weight` before its first step.
    #[must_use]
    pub fn zero(weight: &Tensor<D>) -> Self {
        Self { first: weight.zeros_like(), second: weight.zeros_like(), steps: 0 }
    }
}

impl AdamWConfig {
    /// Refuses numbers out of range.
    ///
    /// # Errors
    /// [`SettingError`] names the first one.
    pub fn check(&self) -> Result<(), SettingError> {
        let Self { betas, epsilon, weight_decay: decay } = *self;
        for (key, beta) in [("adamw.betas[0]", betas[0]), ("adamw.betas[1]", betas[1])] {
            SettingError::unless((0.0..1.0).contains(&beta), key, beta, "a number from 0 to below 1")?;
        }
        SettingError::unless(epsilon > 0.0, "adamw.epsilon", epsilon, "a number above 0")?;
        SettingError::unless(decay.is_finite() && decay >= 0.0, "adamw.weight_decay", decay, "a number of at least 0")
    }

    /// The weight after a step along `gradient` times `scale`; all tensors are of one shape and device.
    pub fn step<const D: usize>(
        &self,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        moments: &mut Moments<D>,
        scale: f64,
        learning_rate: f64,
    ) -> Tensor<D> {
        moments.steps += 1;
        // Nothing else holds the moments here, so they are changed in place.
        let empty = Tensor::empty([0; D], &weight.device());
        let [first, second] = [&mut moments.first, &mut moments.second].map(|moment| std::mem::replace(moment, empty.clone()));
        let numbers = AdamWNumbers { betas: self.betas, epsilon: self.epsilon, weight_decay: self.weight_decay };
        let stepped = AdamWStep::new(&numbers, moments.steps, scale, learning_rate)
            .take(Stepped { weight, moments: [first, second] }, gradient);
        [moments.first, moments.second] = stepped.moments;
        stepped.weight
    }
}

/// [`AdamWConfig`] as a burn optimiser, with the state of burn's own AdamW.
#[derive(Clone, Debug)]
pub(super) struct AdamW(pub(super) AdamWConfig);

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let mut moments = match state {
            Some(AdamWState { momentum: AdaptiveMomentumState { time, moment_1, moment_2, .. } }) => {
                Moments { first: moment_1, second: moment_2, steps: time as u64 }
            }
            None => Moments::zero(&weight),
        };
        let weight = self.0.step(weight, gradient, &mut moments, 1.0, learning_rate);
        let Moments { first, second, steps } = moments;
        (weight, Some(AdamWState::new(AdaptiveMomentumState::new(steps as usize, first, second))))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum.moment_1 = state.momentum.moment_1.to_device(device);
        state.momentum.moment_2 = state.momentum.moment_2.to_device(device);
        state
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn without_a_gradient_a_weight_only_decays(weight in -10f32..10.0, decay in 0f64..1.0, rate in 0f64..0.1) {
            let config = AdamWConfig { weight_decay: decay, ..AdamWConfig::default() };
            let device = Device::flex();
            let start = Tensor::<1>::from_floats([weight], &device);
            let mut moments = Moments::zero(&start);
            let got = config.step(start, Tensor::zeros([1], &device), &mut moments, 1.0, rate);
            let got: Vec<f32> = got.into_data().iter::<f32>().collect();
            prop_assert_eq!(got[0], weight * (1.0 - rate * decay) as f32);
        }
    }
}
