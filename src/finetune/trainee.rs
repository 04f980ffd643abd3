//! The whole of fine-tuning but the loop.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::batch::{ImageCodes, TrainBatch};
use super::learner::Learner;
use super::lora::{self, Lora};
use super::networks::{self, Networks, Values};
use super::{FinetuneError, Part, StepReport, TraineeSettings, TraineeState};
use crate::diffusion::autoencoder::{Autoencoder, Slices};
use crate::diffusion::pipeline::{Checkpoint, StableDiffusion};
use crate::diffusion::text::Encoded;

/// A pipeline under training: its networks, what of them trains, optimiser, moving average and counters.
///
/// A training step is [`accumulate`](Self::accumulate) for each micro-batch, then [`step`](Self::step).
#[derive(Debug)]
pub struct Trainee {
    pub(super) networks: Networks,
    pub(super) learner: Learner,
    pub(super) settings: TraineeSettings,
    pub(super) device: Device,
}

/// Whose weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those under training.
    Live,
    /// Their moving average; without one, those under training.
    Ema,
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
        let device = device.clone().without_autodiff();
        let (networks, leaves) = networks::load(checkpoint, settings, &device)?;
        if leaves.list.is_empty() {
            return Err(FinetuneError::Setting {
                key: "strategy.text_projection",
                value: "all that trains".to_owned(),
                expected: "a pipeline with a text projection, or another part that trains".to_owned(),
            });
        }
        let learner = Learner::new(leaves, settings, &device);
        Ok(Self { networks, learner, settings: settings.clone(), device })
    }

    /// Adds the gradients of a batch's mean loss, times `share`, to those of the next step: `1 / n` for one of `n` equal
    /// micro-batches, its part of the rows where they are not equal, so that the sum is the gradient of the mean.
    ///
    /// # Errors
    /// [`FinetuneError::NonFiniteLoss`], and nothing is added; [`FinetuneError::Batch`].
    pub fn accumulate(&mut self, batch: &TrainBatch, share: f64) -> Result<MicroLoss, FinetuneError> {
        let losses = self.forward(batch, Values::Tracked)?;
        let samples = floats(losses.clone().inner());
        if let Some(sample) = samples.iter().position(|loss| !loss.is_finite()) {
            let timestep = match batch {
                TrainBatch::Denoise(batch) => batch.timesteps[sample],
                TrainBatch::Reconstruct(_) => 0,
            };
            let step = self.learner.steps + 1;
            return Err(FinetuneError::NonFiniteLoss { step, sample, timestep, value: samples[sample] });
        }
        let gradients = (losses.mean() * share).backward();
        self.learner.accumulate(gradients);
        let mean = samples.iter().map(|loss| f64::from(*loss)).sum::<f64>() / samples.len() as f64;
        Ok(MicroLoss { mean, samples })
    }

    /// Clips the accumulated gradients, takes a step of AdamW with each part's learning rate times `lr_scale`, and moves the average.
    ///
    /// # Errors
    /// [`FinetuneError::NonFiniteGradient`] names the first parameter concerned: weights, moments and average are as before, the
    /// gradients are gone. [`FinetuneError::NoGradient`] without a batch since the last step.
    pub fn step(&mut self, lr_scale: f64) -> Result<StepReport, FinetuneError> {
        self.learner.step(lr_scale)
    }

    /// Replaces the gradients since the last step by what `exchange` makes of each, in the order of the weights: their sum over several
    /// devices that hold the same weights.
    ///
    /// # Errors
    /// The first of `exchange`; the gradients are of no use then.
    pub fn exchange_gradients<E>(&mut self, exchange: impl FnMut(Tensor<1>) -> Result<Tensor<1>, E>) -> Result<(), E> {
        self.learner.exchange_gradients(exchange)
    }

    /// Drops the gradients since the last step.
    pub fn forget_gradients(&mut self) {
        self.learner.forget_gradients();
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
        self.learner.steps
    }

    /// Names of the weights under training: part, module and parameter, in the order of the networks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.learner.leaves.list.iter().map(|leaf| leaf.name.as_str())
    }

    /// The weights under training as files have them, F32, in the order of [`names`](Self::names).
    pub fn weights(&self, which: Which) -> impl Iterator<Item = (&str, TensorData)> {
        let values = self.values(which);
        self.learner.leaves.list.iter().zip(values).map(|(leaf, value)| {
            let data = leaf.slot.to_file(value.into_data());
            (leaf.name.as_str(), data)
        })
    }

    /// The adapters under training; none without any.
    #[must_use]
    pub fn lora(&self, which: Which) -> Lora {
        lora::gather(&self.settings.strategy, &self.learner.leaves, &self.values(which))
    }

    /// The parts that train.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = self.learner.leaves.list.iter().map(|leaf| leaf.part).collect();
        parts.dedup();
        parts
    }

    /// Number of weights under training.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.learner.leaves.list.iter().map(|leaf| leaf.slot.shape.iter().product::<usize>()).sum()
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

    /// Everything that a later training needs to go on with the same bits. To be taken between steps: gradients that are
    /// accumulated are no part of it.
    #[must_use]
    pub fn state(&self) -> TraineeState {
        self.learner.state()
    }

    /// Goes back to a state; gradients accumulated so far are dropped.
    ///
    /// # Errors
    /// [`FinetuneError::StateDiffers`] lists every tensor that is missing, unexpected or of another shape, and nothing is changed.
    /// [`FinetuneError::StateUnread`] for a file that fails meanwhile.
    pub fn restore(&mut self, state: TraineeState) -> Result<(), FinetuneError> {
        self.learner.restore(state, &self.device)
    }

    /// The pipeline as it is now, adapters merged, in the compute type: for sample sheets.
    #[must_use]
    pub fn pipeline(&self, which: Which) -> StableDiffusion {
        let pipeline = self.networks.pipeline(&self.learner.leaves, &self.values(which), false);
        pipeline.expect("nothing is read again in the compute type")
    }

    /// Writes a folder that diffusers and [`Checkpoint::read`] load: what trained in F32, the rest as it was. Adapters are merged, and
    /// written by themselves too: `lora/pytorch_lora_weights.safetensors` for diffusers, `lora/PART` for peft.
    ///
    /// # Errors
    /// [`FinetuneError::Diffusion`] if a file can't be read again or written.
    pub fn export(&self, folder: &Path, which: Which) -> Result<(), FinetuneError> {
        let pipeline = self.networks.pipeline(&self.learner.leaves, &self.values(which), true)?;
        if self.settings.strategy.has_lora() {
            let (lora, target) = (self.lora(which), folder.join("lora"));
            lora.save_diffusers(&target)?;
            lora.parts().into_iter().try_for_each(|part| lora.save_peft(part, &target.join(part.name())))?;
        }
        // Last, so that a folder with an index is whole.
        Ok(pipeline.save(folder)?)
    }

    /// What the frozen autoencoder makes of images `[B, 3, H, W]` in `[-1, 1]`: for a cache.
    #[must_use]
    pub fn encode_images(&self, pixels: Tensor<4>) -> ImageCodes {
        let vae = &self.networks.base().vae.model;
        match vae {
            Autoencoder::Kl(kl) => ImageCodes::Moments(kl.encode(pixels)),
            Autoencoder::Tiny(_) => ImageCodes::Latents(vae.to_latents(pixels, None, &Slices::default())),
        }
    }

    /// Tokens of texts, for an encoder that trains.
    ///
    /// # Errors
    /// [`FinetuneError::Diffusion`] from the tokenizer.
    pub fn tokenize(&self, texts: &[&str]) -> Result<Encoded, FinetuneError> {
        let base = self.networks.base();
        Ok(base.checkpoint.tokenizer.encode(texts, base.text_length())?)
    }

    /// What the frozen text encoder makes of texts, `[B, L, D]` before any text projection: for a cache.
    ///
    /// # Errors
    /// [`FinetuneError::Diffusion`] from the tokenizer; [`FinetuneError::Setting`] if the encoder trains.
    pub fn encode_texts(&self, texts: &[&str]) -> Result<Tensor<3>, FinetuneError> {
        if self.settings.strategy.trains_text_encoder() {
            return Err(FinetuneError::Setting {
                key: "strategy.text_encoder",
                value: "trained".to_owned(),
                expected: "frozen: the states of an encoder that trains can't be kept".to_owned(),
            });
        }
        let tokens = self.tokenize(texts)?;
        Ok(self.states(&self.networks.base().text_encoder.model, &tokens))
    }

    fn values(&self, which: Which) -> Vec<Tensor<1>> {
        match (which, &self.learner.ema) {
            (Which::Ema, Some(ema)) => ema.averages().to_vec(),
            _ => self.learner.leaves.values().collect(),
        }
    }
}

fn floats(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
