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
