//! Samples on the host, and batches of them on the device: outputs of frozen networks for images and texts come from the cache
//! or are computed now.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{Pixels, Signed};

use super::cache::CodeCache;
use super::error::RunError;
use super::pairs::PairSet;
use super::random::{Purpose, Randomness};
use crate::diffusion::autoencoder::Posterior;
use crate::finetune::{Denoising, ImageCodes, Latents, Reconstruction, Strategy, TextCondition, TrainBatch, Trainee};

/// An image or a text: itself, or a frozen network's code of it.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// The frozen network's code, from the cache.
    Code(TensorData),
    /// Itself, with the key that its code is kept under; none where its network trains.
    Raw(T, Option<Fingerprint>),
}

/// One sample.
#[derive(Clone, Debug)]
pub struct HostSample {
    /// The image.
    pub image: Input<Pixels<Signed>>,
    /// The text; empty if it is dropped.
    pub text: Input<Arc<str>>,
    /// Below the schedule's length.
    pub timestep: usize,
    /// Standard normal, of the latents' shape.
    pub noise: Vec<f32>,
    /// Standard normal, of the latents' shape; none where nothing is drawn from a posterior.
    pub posterior: Option<Vec<f32>>,
    /// Standard normal, one per channel; none without offset noise.
    pub offset: Option<Vec<f32>>,
}

/// Properties that samples depend on besides their pair and their number.
#[derive(Clone, Debug)]
pub struct SampleShape {
    /// Channels, height and width of latents.
    pub latents: [usize; 3],
    /// Length of the noise schedule.
    pub timesteps: usize,
    /// Whether latents are drawn from a posterior.
    pub posterior: bool,
    /// Whether there is offset noise.
    pub offset: bool,
    /// Digest of the autoencoder and the preprocessing, which turn images into latents. None where the autoencoder trains.
    pub image_key: Option<Fingerprint>,
    /// Digest of tokenizer and text encoder, which turn texts into states. None where the text encoder trains.
    pub text_key: Option<Fingerprint>,
}

/// Makes samples, on any thread.
#[derive(Clone, Debug)]
pub struct SampleMaker {
    pairs: Arc<PairSet>,
    shape: SampleShape,
    random: Randomness,
    caption_dropout: f64,
    cache: Arc<CodeCache>,
}

impl SampleMaker {
    /// Samples of `pairs`, with that share of texts dropped.
    #[must_use]
    pub fn new(
        pairs: Arc<PairSet>,
        shape: SampleShape,
        random: Randomness,
        caption_dropout: f64,
        cache: Arc<CodeCache>,
    ) -> Self {
        Self { pairs, shape, random, caption_dropout, cache }
    }

    /// The pairs.
    #[must_use]
    pub fn pairs(&self) -> &PairSet {
        &self.pairs
    }

    /// Sample `number` of the run, which has the pair `pair`; its timestep is drawn from `timesteps`, or from all.
    ///
    /// # Errors
    /// If the image is missing or damaged.
    pub fn make(&self, number: u64, pair: usize, timesteps: Option<[usize; 2]>) -> Result<HostSample, AugmentError> {
        let Self { shape, random, .. } = self;
        let pair = &self.pairs.pairs()[pair];
        let [channels, height, width] = shape.latents;
        let count = channels * height * width;
        let [low, high] = timesteps.unwrap_or([0, shape.timesteps]);
        let empty = || Arc::from("");
        let text = if random.drops(number, self.caption_dropout) { empty() } else { Arc::clone(&pair.prompt) };
        Ok(HostSample {
            image: self.image(pair.row, pair.image)?,
            text: self.text(text),
            timestep: low + random.timestep(number, high - low),
            noise: random.normal(Purpose::Noise, number, count),
            posterior: shape.posterior.then(|| random.normal(Purpose::Posterior, number, count)),
            offset: shape.offset.then(|| random.normal(Purpose::Offset, number, channels)),
        })
    }

    fn image(&self, row: usize, image: Fingerprint) -> Result<Input<Pixels<Signed>>, AugmentError> {
        let key = self.shape.image_key.map(|networks| Fingerprint::of(&[b"image code 1", &image.0, &networks.0]));
        if let Some(code) = key.and_then(|key| self.cache.get(key)) {
            return Ok(Input::Code(code));
        }
        Ok(Input::Raw(self.pairs.data().sample(row)?.image, key))
    }

    fn text(&self, text: Arc<str>) -> Input<Arc<str>> {
        let key = self.shape.text_key.map(|networks| Fingerprint::of(&[b"text code 1", text.as_bytes(), &networks.0]));
        match key.and_then(|key| self.cache.get(key)) {
            Some(code) => Input::Code(code),
            None => Input::Raw(text, key),
        }
    }
}

/// Turns samples into batches.
#[derive(Debug)]
pub struct Coder<'a> {
    /// Whose frozen networks.
    pub trainee: &'a Trainee,
    /// Where their results are kept.
    pub cache: &'a CodeCache,
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
        let codes = Tensor::cat(codes.into_iter().map(|code| Tensor::<4>::from_data(code, &self.trainee.device)).collect(), 0);
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
        Some(Tensor::from_data(TensorData::new(values, [samples.len(), shape[0], shape[1], shape[2]]), &self.trainee.device))
    }

    /// `[1, 3, H, W]`: gray in three channels.
    fn pixels(&self, pixels: &Pixels<Signed>) -> Tensor<4> {
        let shape = [1, 1, pixels.height(), pixels.width()];
        Tensor::<4>::from_data(TensorData::new(pixels.values().to_vec(), shape), &self.trainee.device).repeat_dim(1, 3)
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
            states.push(Tensor::<3>::from_data(code, &self.trainee.device));
        }
        Ok(TextCondition::States(Tensor::cat(states, 0)))
    }
}

/// The input of a part that trains, which is never a code.
fn raw<T>(input: &Input<T>) -> &T {
    match input {
        Input::Raw(value, _) => value,
        Input::Code(_) => unreachable!("only frozen networks have codes"),
    }
}
