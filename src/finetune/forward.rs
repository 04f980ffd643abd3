//! The loss of a batch, and what frozen networks make of images and texts.

use burn::tensor::{Tensor, TensorData};
use roentgen_classifier::SettingError;

use super::batch::{Denoising, ImageCodes, Latents, Reconstruction, TextCondition, TrainBatch};
use super::networks::Values;
use super::objective::Task;
use super::{FinetuneError, Strategy, Trainee};
use crate::diffusion::autoencoder::{Autoencoder, Slices};
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
        let (base, leaves) = (self.networks.base(), &self.leaves);
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
        let vae = self.networks.vae(&self.leaves, values);
        let noise = batch.posterior_noise.clone().map(|noise| self.in_graph(noise, values));
        self.settings.reconstruction.losses(&vae, self.in_graph(batch.pixels.clone(), values), noise)
    }

    /// A constant of the graph, where there is one.
    fn in_graph<const D: usize>(&self, tensor: Tensor<D>, values: Values<'_>) -> Tensor<D> {
        match values {
            Values::Tracked => self.leaves.tape().constant(tensor),
            Values::Plain(_) => tensor,
        }
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
            return Err(FinetuneError::Setting(SettingError {
                key: "strategy.text_encoder",
                value: "trained".to_owned(),
                expected: "frozen: the states of an encoder that trains can't be kept".to_owned(),
            }));
        }
        let tokens = self.tokenize(texts)?;
        Ok(self.states(&self.networks.base().text_encoder.model, &tokens))
    }

    /// `[B, L, D]`.
    fn states(&self, encoder: &TextEncoderModel, tokens: &Encoded) -> Tensor<3> {
        // Like in the pipeline, a mask is given to the encoders alone that ask for one in their configuration.
        let mask = encoder.uses_attention_mask().then(|| tokens.mask(&self.device));
        encoder.encode(TextInput { mask, ..TextInput::new(tokens.ids(&self.device)) }).last_hidden_state
    }
}
