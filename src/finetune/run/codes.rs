//! Samples onto the device: what frozen networks make of images and texts, from the cache or computed now.

use burn::tensor::{Device, Tensor, TensorData};
use roentgen_augment::{Pixels, Signed};

use super::cache::CodeCache;
use super::error::RunError;
use super::sample::{HostSample, Input};
use crate::diffusion::autoencoder::Posterior;
use crate::finetune::{Denoising, ImageCodes, Latents, Reconstruction, Strategy, TextCondition, TrainBatch, Trainee};

/// Turns samples into batches.
#[derive(Debug)]
pub struct Coder<'a> {
    /// Whose frozen networks.
    pub trainee: &'a Trainee,
    /// Where their results are kept.
    pub cache: &'a CodeCache,
    /// Where batches are wanted.
    pub device: &'a Device,
}

impl Coder<'_> {
    /// The batch of these samples.
    ///
    /// Images and texts are encoded one by one, so that a result does not depend on what else is in the batch, nor on whether it
    /// comes from the cache.
    ///
    /// # Errors
    /// [`RunError::Io`] if the cache can't be written; [`RunError::Finetune`] from the tokenizer.
    pub fn batch(&self, samples: Vec<HostSample>) -> Result<TrainBatch, RunError> {
        let settings = self.trainee.settings();
        let noise = |field: fn(&HostSample) -> Option<&Vec<f32>>, shape: &[usize]| self.stacked(&samples, field, shape);
        if matches!(settings.strategy, Strategy::Reconstruct { .. }) {
            let shape = self.latent_shape(&samples);
            let posterior_noise = noise(|sample| sample.posterior.as_ref(), &shape);
            let pixels = Tensor::cat(samples.iter().map(|sample| self.pixels(raw(&sample.image))).collect(), 0);
            return Ok(TrainBatch::Reconstruct(Reconstruction { pixels, posterior_noise }));
        }
        let codes = samples.iter().map(|sample| self.image(&sample.image)).collect::<Result<Vec<_>, _>>()?;
        let codes = Tensor::cat(codes.into_iter().map(|code| Tensor::<4>::from_data(code, self.device)).collect(), 0);
        let [_, channels, height, width] = codes.dims();
        let draws = samples[0].posterior.is_some();
        let shape = [if draws { channels / 2 } else { channels }, height, width];
        let latents = match noise(|sample| sample.posterior.as_ref(), &shape) {
            Some(noise) => {
                let [mean, logvar]: [Tensor<4>; 2] =
                    codes.chunk(2, 1).try_into().expect("moments are kept as means and log-variances");
                Latents::Posterior { moments: Posterior { mean, logvar }, noise }
            }
            None => Latents::Drawn(codes),
        };
        let offset_noise = noise(|sample| sample.offset.as_ref(), &[shape[0], 1, 1]);
        let noise = noise(|sample| Some(&sample.noise), &shape).expect("every sample has noise");
        let timesteps = samples.iter().map(|sample| sample.timestep).collect();
        let text = self.texts(&samples)?;
        Ok(TrainBatch::Denoise(Denoising { latents, noise, offset_noise, timesteps, text }))
    }

    fn latent_shape(&self, samples: &[HostSample]) -> [usize; 3] {
        let checkpoint = self.trainee.checkpoint();
        let side = raw(&samples[0].image).width() / checkpoint.factor();
        [checkpoint.latent_channels(), side, side]
    }

    /// `[B, ..shape]` of a field that all samples have or none.
    fn stacked(
        &self,
        samples: &[HostSample],
        field: fn(&HostSample) -> Option<&Vec<f32>>,
        shape: &[usize],
    ) -> Option<Tensor<4>> {
        let mut values: Vec<f32> = Vec::new();
        for sample in samples {
            values.extend(field(sample)?);
        }
        Some(Tensor::from_data(TensorData::new(values, [samples.len(), shape[0], shape[1], shape[2]]), self.device))
    }

    /// `[1, 3, H, W]`: gray in three channels.
    fn pixels(&self, pixels: &Pixels<Signed>) -> Tensor<4> {
        let shape = [1, 1, pixels.height(), pixels.width()];
        Tensor::<4>::from_data(TensorData::new(pixels.values().to_vec(), shape), self.device).repeat_dim(1, 3)
    }

    /// Latents `[1, C, h, w]`, or means and log-variances `[1, 2C, h, w]`.
    fn image(&self, image: &Input<Pixels<Signed>>) -> Result<TensorData, RunError> {
        let (pixels, key) = match image {
            Input::Code(code) => return Ok(code.clone()),
            Input::Raw(pixels, key) => (pixels, key),
        };
        let code = match self.trainee.encode_images(self.pixels(pixels)) {
            ImageCodes::Latents(latents) => latents,
            ImageCodes::Moments(Posterior { mean, logvar }) => Tensor::cat(vec![mean, logvar], 1),
        };
        let code = code.into_data().convert::<f32>();
        key.map_or(Ok(()), |key| self.cache.put(key, &code))?;
        Ok(code)
    }

    fn texts(&self, samples: &[HostSample]) -> Result<TextCondition, RunError> {
        if self.trainee.settings().strategy.trains_text_encoder() {
            let texts: Vec<&str> = samples.iter().map(|sample| raw(&sample.text).as_ref()).collect();
            return Ok(TextCondition::Tokens(self.trainee.tokenize(&texts)?));
        }
        let mut states = Vec::with_capacity(samples.len());
        for sample in samples {
            let code = match &sample.text {
                Input::Code(code) => code.clone(),
                Input::Raw(text, key) => {
                    let code = self.trainee.encode_texts(&[text])?.into_data().convert::<f32>();
                    key.map_or(Ok(()), |key| self.cache.put(key, &code))?;
                    code
                }
            };
            states.push(Tensor::<3>::from_data(code, self.device));
        }
        Ok(TextCondition::States(Tensor::cat(states, 0)))
    }
}

/// What a part that trains is given is never a code.
fn raw<T>(input: &Input<T>) -> &T {
    match input {
        Input::Raw(value, _) => value,
        Input::Code(_) => unreachable!("codes are kept of frozen networks alone"),
    }
}
