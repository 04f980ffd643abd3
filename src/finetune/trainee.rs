//! A pipeline under training: gradients in, weights out. All of fine-tuning except the loop.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use roentgen_classifier::SettingError;
use roentgen_classifier::training::{Ema, Moments, clip_factor};
use roentgen_kernels::euclidean_norms_beside;

use super::FinetuneError;
use super::batch::TrainBatch;
use super::lora;
use super::networks::{self, Leaves, Networks, Values};
use super::settings::TraineeSettings;
use crate::adapters::lora::Lora;
use crate::diffusion::Part;
use crate::diffusion::pipeline::{Checkpoint, StableDiffusion};

/// A pipeline under training: its networks, the trained weights, optimiser, moving average and counters.
///
/// A training step is [`accumulate`](Self::accumulate) for each micro-batch, or [`accumulate_unread`](Self::accumulate_unread), then
/// [`step`](Self::step).
#[derive(Debug)]
pub struct Trainee {
    pub(super) networks: Networks,
    pub(super) leaves: Leaves,
    /// In the order of the leaves.
    pub(super) moments: Vec<Moments<1>>,
    pub(super) ema: Option<Ema>,
    /// Since the last step; a weight that took no part has none and is not changed, not even by decay, as in PyTorch.
    gradients: Vec<Option<Tensor<1>>>,
    /// Losses since the last step that the host has not read.
    unread: Vec<Unread>,
    /// Optimiser steps so far.
    pub(super) steps: u64,
    pub(super) settings: TraineeSettings,
    pub(super) device: Device,
}

/// Losses of a micro-batch that are still on the device, with the timesteps of its samples.
#[derive(Debug)]
struct Unread {
    losses: Tensor<1>,
    timesteps: Vec<usize>,
}

/// Whose weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those under training.
    Live,
    /// Their moving average; without one, those under training.
    Ema,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Optimiser steps so far, this one included.
    pub step: u64,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Norm of each parameter's gradient before clipping, in the order of [`Trainee::names`].
    pub gradient_norms: Vec<f64>,
    /// The factor of the gradients, at most 1.
    pub clipping: f64,
    /// Losses of the micro-batches that [`Trainee::accumulate_unread`] took since the last step.
    pub losses: Vec<MicroLoss>,
    /// Learning rate of each part that trains.
    pub learning_rates: Vec<(Part, f64)>,
    /// Share of the moving average that stayed.
    pub ema_decay: Option<f64>,
}

/// The loss of a micro-batch, before the step.
#[derive(Clone, Debug, PartialEq)]
pub struct MicroLoss {
    /// Mean of the samples' losses.
    pub mean: f64,
    /// Of each sample, with its weight.
    pub samples: Vec<f32>,
}

impl Trainee {
    /// Loads a checkpoint's weights onto `device` (without autodiff) and makes those of `settings.strategy` trainable.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`]; [`FinetuneError::Diffusion`] for weights that can't be read.
    pub fn new(checkpoint: Checkpoint, settings: &TraineeSettings, device: &Device) -> Result<Self, FinetuneError> {
        settings.check()?;
        settings.check_device(device)?;
        let device = device.clone().without_autodiff();
        let (networks, leaves) = networks::load(checkpoint, settings, &device)?;
        if leaves.list.is_empty() {
            return Err(FinetuneError::Setting(SettingError {
                key: "strategy.text_projection",
                value: "all that trains".to_owned(),
                expected: "a pipeline with a text projection, or another part that trains".to_owned(),
            }));
        }
        let zeros = |value: &Tensor<1>| Tensor::zeros(value.shape(), (&device, DType::F32));
        let moments =
            leaves.list.iter().map(|leaf| Moments { first: zeros(&leaf.value), second: zeros(&leaf.value), steps: 0 });
        Ok(Self {
            networks,
            moments: moments.collect(),
            ema: settings.ema.map(|config| Ema::new(config, leaves.values().collect())),
            gradients: leaves.list.iter().map(|_| None).collect(),
            unread: Vec::new(),
            steps: 0,
            leaves,
            settings: settings.clone(),
            device,
        })
    }

    /// Adds the gradients of a batch's mean loss, times `share`, to those of the next step: `1 / n` for one of `n` equal
    /// micro-batches, its part of the rows where they are not equal, so that the sum is the gradient of the mean.
    ///
    /// # Errors
    /// [`FinetuneError::NonFiniteLoss`], and nothing is added; [`FinetuneError::Batch`].
    pub fn accumulate(&mut self, batch: &TrainBatch, share: f64) -> Result<MicroLoss, FinetuneError> {
        let losses = self.forward(batch, Values::Tracked)?;
        let loss = self.finite(floats(losses.clone().inner()), timesteps(batch))?;
        self.add_gradients(losses, share);
        Ok(loss)
    }

    /// As [`accumulate`](Self::accumulate), but the host does not wait for the losses: [`step`](Self::step) reads and checks them.
    ///
    /// # Errors
    /// [`FinetuneError::Batch`].
    pub fn accumulate_unread(&mut self, batch: &TrainBatch, share: f64) -> Result<(), FinetuneError> {
        let losses = self.forward(batch, Values::Tracked)?;
        self.unread.push(Unread { losses: losses.clone().inner(), timesteps: timesteps(batch).to_vec() });
        self.add_gradients(losses, share);
        Ok(())
    }

    /// A micro-batch's losses, of samples at these timesteps: none for pictures.
    fn finite(&self, samples: Vec<f32>, timesteps: &[usize]) -> Result<MicroLoss, FinetuneError> {
        if let Some(sample) = samples.iter().position(|loss| !loss.is_finite()) {
            let (step, timestep) = (self.steps + 1, timesteps.get(sample).copied().unwrap_or(0));
            return Err(FinetuneError::NonFiniteLoss { step, sample, timestep, value: samples[sample] });
        }
        let mean = samples.iter().map(|loss| f64::from(*loss)).sum::<f64>() / samples.len() as f64;
        Ok(MicroLoss { mean, samples })
    }

    fn add_gradients(&mut self, losses: Tensor<1>, share: f64) {
        let mut gradients = (losses.mean() * share).backward();
        for (leaf, sum) in self.leaves.list.iter().zip(&mut self.gradients) {
            if let Some(gradient) = leaf.value.grad_remove(&mut gradients) {
                *sum = Some(match sum.take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
        }
    }

    /// Reads the losses that are not read yet, clips the accumulated gradients, takes a step of AdamW with each part's learning rate times `lr_scale`, and moves the average.
    ///
    /// # Errors
    /// [`FinetuneError::NonFiniteLoss`]; [`FinetuneError::NonFiniteGradient`] names the first parameter concerned: weights, moments and
    /// average are as before, the gradients are gone. [`FinetuneError::NoGradient`] without a batch since the last step.
    pub fn step(&mut self, lr_scale: f64) -> Result<StepReport, FinetuneError> {
        let step = self.steps + 1;
        if self.gradients.iter().all(Option::is_none) {
            return Err(FinetuneError::NoGradient { step });
        }
        let (gradient_norms, losses) = self.read();
        let losses = losses.inspect_err(|_| self.forget_gradients())?;
        if let Some(position) = gradient_norms.iter().position(|norm| !norm.is_finite()) {
            let tensor = self.leaves.list[position].name.clone();
            self.forget_gradients();
            return Err(FinetuneError::NonFiniteGradient { step, tensor, norm: gradient_norms[position] });
        }
        let gradient_norm = gradient_norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt();
        let clipping = clip_factor(gradient_norm, self.settings.max_grad_norm);

        let (adamw, rates) = (self.settings.adamw, self.settings.learning_rates);
        for position in 0..self.gradients.len() {
            let Some(gradient) = self.gradients[position].take() else { continue };
            let rate = rates.of(self.leaves.list[position].part) * lr_scale;
            let weight = self.leaves.take(position);
            let weight = adamw.step(weight, gradient, &mut self.moments[position], clipping, rate);
            self.leaves.set(position, weight);
        }
        self.steps = step;
        let ema_decay = self.ema.as_mut().map(|ema| ema.update(self.leaves.values()));
        let learning_rates = self.parts().into_iter().map(|part| (part, rates.of(part) * lr_scale)).collect();
        Ok(StepReport { step, gradient_norm, gradient_norms, clipping, losses, learning_rates, ema_decay })
    }

    /// The norm of every weight's gradient, 0 where there is none, and the losses that were not read; the host waits once.
    fn read(&mut self) -> (Vec<f64>, Result<Vec<MicroLoss>, FinetuneError>) {
        let (tensors, timesteps): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unread).into_iter().map(|unread| (unread.losses, unread.timesteps)).unzip();
        let (norms, losses) = euclidean_norms_beside(self.gradients.iter().flatten().cloned().collect(), tensors);
        let micro = losses.into_iter().zip(timesteps);
        let losses = micro.map(|(losses, timesteps)| self.finite(losses.iter().map(|loss| *loss as f32).collect(), &timesteps));
        let losses = losses.collect();
        let mut known = norms.into_iter();
        let next = |gradient: &Option<_>| gradient.as_ref().map_or(0.0, |_| known.next().expect("a norm for every gradient"));
        (self.gradients.iter().map(next).collect(), losses)
    }

    /// Replaces the gradients since the last step by what `exchange` makes of each, in the order of the weights: their sum over several
    /// devices that hold the same weights.
    ///
    /// # Errors
    /// The first of `exchange`; the gradients are unusable then.
    pub fn exchange_gradients<E>(&mut self, mut exchange: impl FnMut(Tensor<1>) -> Result<Tensor<1>, E>) -> Result<(), E> {
        self.gradients.iter_mut().try_for_each(|sum| {
            *sum = sum.take().map(&mut exchange).transpose()?;
            Ok(())
        })
    }

    /// Drops the gradients since the last step.
    pub fn forget_gradients(&mut self) {
        self.gradients.fill(None);
        self.unread.clear();
    }

    /// The loss of each sample, without gradients: for validation.
    ///
    /// # Errors
    /// [`FinetuneError::Batch`].
    pub fn losses(&self, batch: &TrainBatch, which: Which) -> Result<Vec<f32>, FinetuneError> {
        let values = self.values(which);
        Ok(floats(self.forward(batch, Values::Plain(&values))?))
    }

    /// Optimiser steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Names of the weights under training: part, module and parameter, in the order of the networks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.leaves.list.iter().map(|leaf| leaf.name.as_str())
    }

    /// The weights under training as files have them, F32, in the order of [`names`](Self::names).
    pub fn weights(&self, which: Which) -> impl Iterator<Item = (&str, TensorData)> {
        let values = self.values(which);
        self.leaves.list.iter().zip(values).map(|(leaf, value)| {
            let data = leaf.slot.to_file(value.into_data());
            (leaf.name.as_str(), data)
        })
    }

    /// The adapters under training; none without any.
    #[must_use]
    pub fn lora(&self, which: Which) -> Lora {
        lora::gather(&self.settings.strategy, &self.leaves, &self.values(which))
    }

    /// The parts that train.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = self.leaves.list.iter().map(|leaf| leaf.part).collect();
        parts.dedup();
        parts
    }

    /// Number of weights under training.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.leaves.list.iter().map(|leaf| leaf.slot.shape.iter().product::<usize>()).sum()
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &TraineeSettings {
        &self.settings
    }

    /// The configurations it was made from.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        self.networks.base().checkpoint()
    }

    /// The pipeline as it is now, adapters merged, in the compute type: for sample sheets.
    #[must_use]
    pub fn pipeline(&self, which: Which) -> StableDiffusion {
        let pipeline = self.networks.pipeline(&self.leaves, &self.values(which), false);
        pipeline.expect("nothing is read again in the compute type")
    }

    /// Writes a folder that diffusers and [`Checkpoint::read`] load: what trained in F32, the rest as it was. Adapters are merged;
    /// [`export_adapters`](Self::export_adapters) writes them alone.
    ///
    /// # Errors
    /// [`FinetuneError::Diffusion`] if a file can't be read again or written.
    pub fn export(&self, folder: &Path, which: Which) -> Result<(), FinetuneError> {
        Ok(self.networks.pipeline(&self.leaves, &self.values(which), true)?.save(folder)?)
    }

    /// Writes the adapters alone: `pytorch_lora_weights.safetensors` for diffusers, and a folder named by its part for peft. Without
    /// adapters nothing is written.
    ///
    /// # Errors
    /// [`FinetuneError::Diffusion`] if a file can't be written.
    pub fn export_adapters(&self, folder: &Path, which: Which) -> Result<(), FinetuneError> {
        if !self.settings.strategy.has_lora() {
            return Ok(());
        }
        let lora = self.lora(which);
        lora.save_diffusers(folder)?;
        Ok(lora.parts().into_iter().try_for_each(|part| lora.save_peft(part, &folder.join(part.name())))?)
    }

    fn values(&self, which: Which) -> Vec<Tensor<1>> {
        match (which, &self.ema) {
            (Which::Ema, Some(ema)) => ema.averages.clone(),
            _ => self.leaves.values().collect(),
        }
    }
}

/// Of the samples of a batch; none for pictures.
fn timesteps(batch: &TrainBatch) -> &[usize] {
    match batch {
        TrainBatch::Denoise(batch) => &batch.timesteps,
        TrainBatch::Reconstruct(_) => &[],
    }
}

fn floats(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
