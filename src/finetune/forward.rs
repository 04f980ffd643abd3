//! The loss of a batch.

use burn::tensor::{Tensor, TensorData};

use super::batch::{Denoising, Latents, Reconstruction, TextCondition, TrainBatch};
use super::networks::Values;
use super::objective::Task;
use super::{FinetuneError, Strategy, Trainee};
use crate::diffusion::text::{Encoded, TextEncoder, TextEncoderModel, TextInput};

impl Trainee {
    /// Losses `[B]`.
    pub(super) fn forward(&self, batch: &TrainBatch, values: Values<'_>) -> Result<Tensor<1>, FinetuneError> {
        match (&self.settings.strategy, batch) {
            (Strategy::Denoise { .. }, TrainBatch::Denoise(batch)) => self.denoise(batch, values),
            (Strategy::Reconstruct { .. }, TrainBatch::Reconstruct(batch)) => Ok(self.reconstruct(batch, values)),
            _ => {
                let message = "latents are for a strategy that denoises, pixels for one that reconstructs".to_owned();
                Err(FinetuneError::Batch { message })
            }
        }
    }

    fn denoise(&self, batch: &Denoising, values: Values<'_>) -> Result<Tensor<1>, FinetuneError> {
        let (base, leaves) = (self.networks.base(), &self.learner.leaves);
        let scheduler = &base.checkpoint.scheduler;
        let (prediction, schedule) = (scheduler.prediction(), scheduler.noise_schedule());

        // 1. Noised latents and the target
        let latents = match &batch.latents {
            Latents::Drawn(latents) => latents.clone(),
            Latents::Posterior { moments, noise } => moments.sample(noise.clone()) * base.vae.model.scaling_factor(),
        };
        batch.check(latents.dims(), &base.checkpoint)?;
        let (noise, offset) = (batch.noise.clone(), batch.offset_noise.clone());
        let objective = &self.settings.objective;
        let Task { sample, target } = objective.task(prediction, schedule, latents, noise, offset, &batch.timesteps);

        // 2. Text
        let states = match &batch.text {
            TextCondition::Tokens(tokens) => self.states(&self.networks.text_encoder(leaves, values), tokens),
            TextCondition::States(states) => states.clone(),
        };
        let states = match self.networks.projection(leaves, values) {
            Some(projection) => projection.forward(self.in_graph(states.cast(base.dtype), values)),
            None => states.cast(base.dtype),
        };

        // 3. Prediction and loss
        let timesteps: Vec<f32> = batch.timesteps.iter().map(|timestep| *timestep as f32).collect();
        let timesteps = Tensor::from_data(TensorData::new(timesteps, [batch.timesteps.len()]), &self.device);
        let unet = self.networks.unet(leaves, values);
        let sample = self.in_graph(sample.cast(base.dtype), values);
        let predicted = unet.forward(sample, self.in_graph(timesteps, values), self.in_graph(states, values), None);
        let target = self.in_graph(target, values);
        Ok(objective.losses(prediction, schedule, predicted, target, &batch.timesteps))
    }

    fn reconstruct(&self, batch: &Reconstruction, values: Values<'_>) -> Tensor<1> {
        let vae = self.networks.vae(&self.learner.leaves, values);
        let noise = batch.posterior_noise.clone().map(|noise| self.in_graph(noise, values));
        self.settings.reconstruction.losses(&vae, self.in_graph(batch.pixels.clone(), values), noise)
    }

    /// A constant of the graph, where there is one.
    fn in_graph<const D: usize>(&self, tensor: Tensor<D>, values: Values<'_>) -> Tensor<D> {
        match values {
            Values::Tracked => self.learner.leaves.tape().constant(tensor),
            Values::Plain(_) => tensor,
        }
    }

    /// `[B, L, D]`.
    pub(super) fn states(&self, encoder: &TextEncoderModel, tokens: &Encoded) -> Tensor<3> {
        // Like in the pipeline, a mask is given to the encoders alone that ask for one in their configuration.
        let mask = encoder.uses_attention_mask().then(|| tokens.mask(&self.device));
        encoder.encode(TextInput { mask, ..TextInput::new(tokens.ids(&self.device)) }).last_hidden_state
    }
}
