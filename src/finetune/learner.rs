//! Gradients in, weights out: what all strategies share.

use burn::tensor::{DType, Device, Gradients, Tensor};
use roentgen_kernels::euclidean_norms;

use super::clip;
use super::ema::Ema;
use super::leaves::Leaves;
use super::optimizer::Moments;
use super::{AdamWConfig, FinetuneError, LearningRates, Part, TraineeSettings};

/// Weights under training with everything that a step needs and changes.
#[derive(Debug)]
pub(super) struct Learner {
    pub(super) leaves: Leaves,
    pub(super) moments: Vec<Moments>,
    pub(super) ema: Option<Ema>,
    /// Since the last step; a weight that took no part has none, and is left as it is, decay included, like in PyTorch.
    gradients: Vec<Option<Tensor<1>>>,
    /// Optimiser steps so far.
    pub(super) steps: u64,
    adamw: AdamWConfig,
    rates: LearningRates,
    max_grad_norm: Option<f64>,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Optimiser steps so far, this one included.
    pub step: u64,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Norm of each parameter's gradient before clipping, in the order of [`Trainee::names`](super::Trainee::names).
    pub gradient_norms: Vec<f64>,
    /// What gradients were multiplied by, at most 1.
    pub clipping: f64,
    /// Learning rate of each part that trains.
    pub learning_rates: Vec<(Part, f64)>,
    /// Share of the moving average that stayed.
    pub ema_decay: Option<f64>,
}

impl Learner {
    pub(super) fn new(leaves: Leaves, settings: &TraineeSettings, device: &Device) -> Self {
        let zeros = |value: &Tensor<1>| Tensor::zeros(value.shape(), (device, DType::F32));
        let moments =
            leaves.list.iter().map(|leaf| Moments { first: zeros(&leaf.value), second: zeros(&leaf.value), steps: 0 });
        Self {
            moments: moments.collect(),
            ema: settings.ema.map(|config| Ema::new(config, leaves.values().collect())),
            gradients: leaves.list.iter().map(|_| None).collect(),
            steps: 0,
            adamw: settings.adamw,
            rates: settings.learning_rates,
            max_grad_norm: settings.max_grad_norm,
            leaves,
        }
    }

    /// Adds gradients to those since the last step.
    pub(super) fn accumulate(&mut self, mut gradients: Gradients) {
        for (leaf, sum) in self.leaves.list.iter().zip(&mut self.gradients) {
            if let Some(gradient) = leaf.value.grad_remove(&mut gradients) {
                *sum = Some(match sum.take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
        }
    }

    /// Replaces each gradient since the last step.
    pub(super) fn exchange_gradients<E>(
        &mut self,
        mut exchange: impl FnMut(Tensor<1>) -> Result<Tensor<1>, E>,
    ) -> Result<(), E> {
        for sum in &mut self.gradients {
            *sum = sum.take().map(&mut exchange).transpose()?;
        }
        Ok(())
    }

    /// One step of the optimiser with learning rates times `lr_scale`.
    pub(super) fn step(&mut self, lr_scale: f64) -> Result<StepReport, FinetuneError> {
        let step = self.steps + 1;
        if self.gradients.iter().all(Option::is_none) {
            return Err(FinetuneError::NoGradient { step });
        }
        let gradient_norms = self.norms();
        if let Some(position) = gradient_norms.iter().position(|norm| !norm.is_finite()) {
            let tensor = self.leaves.list[position].name.clone();
            self.gradients.fill(None);
            return Err(FinetuneError::NonFiniteGradient { step, tensor, norm: gradient_norms[position] });
        }
        let gradient_norm = gradient_norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
        let clipping = clip::coefficient(gradient_norm, self.max_grad_norm);

        for position in 0..self.gradients.len() {
            let Some(gradient) = self.gradients[position].take() else { continue };
            let rate = self.rates.of(self.leaves.list[position].part) * lr_scale;
            let weight = self.leaves.take(position);
            let weight = self.adamw.step(weight, gradient, &mut self.moments[position], clipping, rate);
            self.leaves.set(position, weight);
        }
        self.steps = step;
        let ema_decay = self.ema.as_mut().map(|ema| ema.update(self.leaves.values()));
        let mut learning_rates: Vec<(Part, f64)> = Vec::new();
        for leaf in &self.leaves.list {
            if learning_rates.iter().all(|(part, _)| *part != leaf.part) {
                learning_rates.push((leaf.part, self.rates.of(leaf.part) * lr_scale));
            }
        }
        Ok(StepReport { step, gradient_norm, gradient_norms, clipping, learning_rates, ema_decay })
    }

    /// Of every weight's gradient, 0 where there is none.
    fn norms(&self) -> Vec<f64> {
        let mut known = euclidean_norms(self.gradients.iter().flatten().cloned().collect()).into_iter();
        let next = |gradient: &Option<_>| gradient.as_ref().map_or(0.0, |_| known.next().expect("a norm for every gradient"));
        self.gradients.iter().map(next).collect()
    }

    /// Forgets gradients since the last step.
    pub(super) fn forget_gradients(&mut self) {
        self.gradients.fill(None);
    }
}
