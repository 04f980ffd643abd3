//! AdamW with PyTorch's arithmetic.
//!
//! Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2. Reference: PyTorch 2.15,
//! `torch/optim/adamw.py`, `_single_tensor_adam`: weights decay before the step, the second moment's bias correction is inside the
//! root and epsilon outside of it.

use burn::tensor::{Device, Tensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
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

/// The scalars of one parameter's step, in the type that the reference has them in.
#[derive(Clone, Copy)]
struct Scalars {
    /// What gradients are multiplied by first.
    gradient: f32,
    keep: f32,
    first: f32,
    second_keep: f32,
    second: f32,
    root: f32,
    epsilon: f32,
    step: f32,
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
        let scalars = self.scalars(moments.steps, scale, learning_rate);
        let device = weight.device();
        if device == Device::flex() {
            return scalars.in_one_pass(weight, gradient, moments, &device);
        }
        scalars.by_tensors(weight, gradient, moments)
    }

    fn scalars(&self, steps: u64, scale: f64, learning_rate: f64) -> Scalars {
        let [beta1, beta2] = self.betas;
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        Scalars {
            gradient: scale as f32,
            keep: (1.0 - learning_rate * self.weight_decay) as f32,
            first: (1.0 - beta1) as f32,
            second_keep: beta2 as f32,
            second: (1.0 - beta2) as f32,
            root: correction(beta2).sqrt() as f32,
            epsilon: self.epsilon as f32,
            step: (learning_rate / correction(beta1)) as f32,
        }
    }
}

impl Scalars {
    /// On the CPU: every value is read and written once. Elements are independent, so threads change nothing.
    fn in_one_pass(self, weight: Tensor<1>, gradient: Tensor<1>, moments: &mut Moments, device: &Device) -> Tensor<1> {
        const PIECE: usize = 1 << 14;
        let take = |tensor: &mut Tensor<1>| std::mem::replace(tensor, Tensor::empty([0], device)).into_data();
        let (mut weight, gradient) = (weight.into_data(), gradient.into_data());
        let (mut first, mut second) = (take(&mut moments.first), take(&mut moments.second));
        let typed = "weights, gradients and moments are F32";
        let weights = weight.as_mut_slice::<f32>().expect(typed).par_chunks_mut(PIECE);
        let firsts = first.as_mut_slice::<f32>().expect(typed).par_chunks_mut(PIECE);
        let seconds = second.as_mut_slice::<f32>().expect(typed).par_chunks_mut(PIECE);
        let gradients = gradient.as_slice::<f32>().expect(typed).par_chunks(PIECE);
        weights.zip(gradients).zip(firsts).zip(seconds).for_each(|(((weights, gradients), firsts), seconds)| {
            for (((weight, gradient), first), second) in weights.iter_mut().zip(gradients).zip(firsts).zip(seconds) {
                self.element(weight, *gradient, first, second);
            }
        });
        moments.first = Tensor::from_data(first, device);
        moments.second = Tensor::from_data(second, device);
        Tensor::from_data(weight, device)
    }

    #[inline]
    fn element(self, weight: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        let gradient = gradient * self.gradient;
        *weight *= self.keep;
        *first += self.first * (gradient - *first);
        *second = *second * self.second_keep + self.second * gradient * gradient;
        *weight -= self.step * *first / (second.sqrt() / self.root + self.epsilon);
    }

    /// The same on any device, an operation at a time; devices with fusion make one kernel of it.
    fn by_tensors(self, weight: Tensor<1>, gradient: Tensor<1>, moments: &mut Moments) -> Tensor<1> {
        let gradient = gradient * self.gradient;
        let first = moments.first.clone();
        moments.first = first.clone() + (gradient.clone() - first) * self.first;
        moments.second = moments.second.clone() * self.second_keep + gradient.square() * self.second;
        let root = moments.second.clone().sqrt() / self.root + self.epsilon;
        weight * self.keep - moments.first.clone() * self.step / root
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::noise;
    use super::*;

    fn moments(count: usize) -> Moments {
        let zeros = || Tensor::zeros([count], &Device::flex());
        Moments { first: zeros(), second: zeros(), steps: 0 }
    }

    fn floats(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    /// `torch.optim.AdamW([w], lr=0.01, weight_decay=0.1)` of PyTorch 2.15 on these gradients.
    #[test]
    fn steps_are_pytorchs() {
        /// The last bit of a weight.
        const TOLERANCE: f32 = 1.2e-7;
        let config = AdamWConfig { weight_decay: 0.1, ..AdamWConfig::default() };
        let device = Device::flex();
        let mut weight = Tensor::from_floats([1.0, -2.0, 0.5, 0.0], &device);
        let mut state = moments(4);
        for (gradient, expected) in [
            ([0.1, -0.2, 0.0, 1e-9], [0.989_000_02, -1.988, 0.499_5, -0.000_909_090_9]),
            ([0.3, 0.2, 1.0, -1e-9], [0.978_833_26, -1.986_538_4, 0.491_559_15, -0.000_860_334_96]),
            ([-1.0, 0.05, 2.0, 3e-9], [0.981_807_6, -1.986_065_4, 0.482_781_86, -0.001_760_650_4]),
        ] {
            weight = config.step(weight, Tensor::from_floats(gradient, &device), &mut state, 1.0, 0.01);
            for (got, want) in floats(weight.clone()).into_iter().zip(expected) {
                assert!((got - want).abs() <= TOLERANCE * want.abs().max(0.1_f32), "{got} {want}");
            }
        }
    }

    proptest! {
        /// The way of the CPU and that of other devices: a last bit apart, because one of them may fuse a product and a sum.
        #[test]
        fn one_pass_is_an_operation_at_a_time(seed in 0u64..1000, scale in 0.01f64..1.0, rate in 1e-6f64..1e-2) {
            let config = AdamWConfig::default();
            let (mut one, mut other) = (moments(9), moments(9));
            let (mut a, mut b) = (noise::<1>(seed, [9]), noise::<1>(seed, [9]));
            for step in 1..4 {
                let gradient = noise::<1>(seed + step, [9]);
                let scalars = config.scalars(step, scale, rate);
                a = scalars.in_one_pass(a, gradient.clone(), &mut one, &Device::flex());
                b = scalars.by_tensors(b, gradient, &mut other);
            }
            // What is small may be the difference of terms of about 0.1, but for second moments, whose terms are all positive.
            for (a, b, term) in [(a, b, 0.1), (one.first, other.first, 0.1), (one.second, other.second, 0.0)] {
                for (a, b) in floats(a).into_iter().zip(floats(b)) {
                    prop_assert!((a - b).abs() <= 1e-6 * a.abs().max(term), "{a} {b}");
                }
            }
        }

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
