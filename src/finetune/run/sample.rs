//! Samples on the host: what a step needs before anything is on the device.

use std::sync::Arc;

use burn::tensor::TensorData;
use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{Pixels, Signed};

use super::cache::CodeCache;
use super::pairs::PairSet;
use super::random::{Purpose, Randomness};

/// An image or a text: as it is, or as a frozen network sees it.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// What the frozen network made of it, from the cache.
    Code(TensorData),
    /// Itself, with the key that its code is kept under; none where its network trains.
    Raw(T, Option<Fingerprint>),
}

/// One sample.
#[derive(Clone, Debug)]
pub struct HostSample {
    /// The radiograph.
    pub image: Input<Pixels<Signed>>,
    /// The text; empty where it is left out.
    pub text: Input<Arc<str>>,
    /// Below the schedule's length.
    pub timestep: usize,
    /// Standard normal, of the latents' shape.
    pub noise: Vec<f32>,
    /// Standard normal, of the latents' shape; none where nothing is drawn from a posterior.
    pub posterior: Option<Vec<f32>>,
    /// Standard normal, one a channel; none without offset noise.
    pub offset: Option<Vec<f32>>,
}

/// What samples depend on besides their pair and their number.
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
    /// Digest of what images become latents by: the autoencoder and the preprocessing. None where the autoencoder trains.
    pub image_key: Option<Fingerprint>,
    /// Digest of what texts become states by: tokenizer and text encoder. None where the text encoder trains.
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
    /// Samples of `pairs`, with that share of texts left out.
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
