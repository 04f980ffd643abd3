//! Stable Diffusion as the generator from which `augment` draws synthetic images.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use roentgen_augment::digest::Fingerprint;
use roentgen_augment::request::SampleRequest;
use roentgen_augment::supply::{SynthesisError, Synthesized, Synthesizer, SynthesizerCard};

use super::notes::{CutPrompts, cut_tokens_note};
use super::sameness::{Sameness, SetFault};
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::{ImageRequest, Picture, Settings, StableDiffusion, Start, Step, TextCache};
use crate::hub::snapshot_name;

/// Digits of the weights' fingerprint in manifests.
const DIGITS: usize = 16;

/// A checkpoint folder with sampling settings, as a generator of images. It reads prompts and seeds; labels only pass through.
///
/// Text states are kept from batch to batch: a prompt is encoded once, whatever the number of its replicas and epochs.
#[derive(Debug)]
pub struct DiffusionSynthesizer {
    pipeline: StableDiffusion,
    settings: Settings,
    texts: TextCache,
    negative_prompt: String,
    start: Start,
    start_digest: Option<Fingerprint>,
    batch_size: NonZeroUsize,
    fingerprint: Fingerprint,
    /// Of the images that [`Synthesizer::synthesize`] made.
    sameness: Mutex<Sameness>,
}

impl DiffusionSynthesizer {
    /// `pipeline` with `settings`, `batch_size` images at a time.
    #[must_use]
    pub fn new(pipeline: StableDiffusion, settings: Settings, negative_prompt: String, batch_size: NonZeroUsize) -> Self {
        let fingerprint =
            Fingerprint::of(&[&pipeline.fingerprint().0, settings.canonical().as_bytes(), negative_prompt.as_bytes()]);
        let texts = TextCache::new(&pipeline, settings.clip_skip);
        let (start, start_digest, sameness) = (Start::Noise, None, Mutex::default());
        Self { pipeline, settings, texts, negative_prompt, start, start_digest, batch_size, fingerprint, sameness }
    }

    /// Starts from a picture instead of noise; `digest` identifies it.
    #[must_use]
    pub fn with_start(self, start: Start, digest: Fingerprint) -> Self {
        let fingerprint = Fingerprint::of(&[&self.fingerprint.0, &digest.0]);
        Self { start, start_digest: Some(digest), fingerprint, ..self }
    }

    /// The pipeline.
    #[must_use]
    pub fn pipeline(&self) -> &StableDiffusion {
        &self.pipeline
    }

    /// How it samples.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it stays away from.
    #[must_use]
    pub fn negative_prompt(&self) -> &str {
        &self.negative_prompt
    }

    /// The digest of the start image; `None` if it starts from noise.
    #[must_use]
    pub fn start_digest(&self) -> Option<Fingerprint> {
        self.start_digest
    }

    /// Images made at a time.
    #[must_use]
    pub fn batch_size(&self) -> NonZeroUsize {
        self.batch_size
    }

    fn failed(&self, error: DiffusionError) -> SynthesisError {
        SynthesisError { message: self.pipeline.folder().display().to_string(), source: Some(Box::new(error)) }
    }

    /// The error of a set whose images are all flat or alike.
    pub(super) fn refuse(&self, fault: Option<(SetFault, usize)>) -> Result<(), DiffusionError> {
        match fault {
            None => Ok(()),
            Some((fault, images)) => {
                Err(DiffusionError::Degenerate { folder: self.pipeline.folder().to_owned(), images, fault: fault.to_string() })
            }
        }
    }

    /// One picture per request of one batch, whatever its size; `watch` is called at every step.
    ///
    /// # Errors
    /// As [`StableDiffusion::generate`].
    pub fn pictures(
        &self,
        requests: &[SampleRequest],
        watch: &mut dyn FnMut(&Step<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Picture>, DiffusionError> {
        let requests: Vec<_> = requests
            .iter()
            .map(|request| ImageRequest {
                prompt: request.prompt.clone(),
                negative_prompt: self.negative_prompt.clone(),
                seed: request.seed,
            })
            .collect();
        let states = self.texts.states(&self.pipeline, &self.settings.texts(&requests))?;
        let seeds: Vec<_> = requests.iter().map(|request| request.seed).collect();
        let latents = self.pipeline.latents_from(states, &seeds, &self.settings, &self.start, watch)?;
        Ok(self.pipeline.pictures(latents, &self.settings))
    }
}

impl Synthesizer for DiffusionSynthesizer {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn card(&self) -> SynthesizerCard {
        let folder = self.pipeline.folder();
        // A snapshot's folder has the name of a commit.
        let name = |folder: &Path| snapshot_name(folder).or_else(|| Some(folder.file_name()?.to_string_lossy().into_owned()));
        let name = folder.canonicalize().ok().and_then(|folder| name(&folder));
        SynthesizerCard {
            model: name.unwrap_or_else(|| folder.display().to_string()),
            sampler: Some(self.settings.scheduler.kind().to_string()),
            steps: u32::try_from(self.settings.steps).ok(),
            guidance_scale: Some(self.settings.guidance_scale as f32),
            // Without guidance nothing reads it.
            negative_prompt: (self.settings.is_guided() && !self.negative_prompt.is_empty())
                .then(|| self.negative_prompt.clone()),
            adapters: self.pipeline.adapters().to_vec(),
            weights: Some(self.pipeline.fingerprint().to_string()[..DIGITS].to_owned()),
        }
    }

    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError> {
        let mut images = Vec::with_capacity(requests.len());
        for batch in requests.chunks(self.batch_size.get()) {
            let pictures = self.pictures(batch, &mut |_| ControlFlow::Continue(())).map_err(|error| self.failed(error))?;
            let fault = {
                let mut sameness = self.sameness.lock().unwrap_or_else(PoisonError::into_inner);
                batch.iter().zip(&pictures).for_each(|(request, picture)| sameness.add(request.seed, &picture.image));
                sameness.fault()
            };
            self.refuse(fault).map_err(|error| self.failed(error))?;
            images.extend(
                pictures
                    .into_iter()
                    .map(|picture| Synthesized { image: picture.image, channel_spread: Some(picture.channel_spread) }),
            );
        }
        Ok(images)
    }

    fn notes(&self, requests: &[&SampleRequest]) -> Result<Vec<String>, SynthesisError> {
        let cut = CutPrompts::of(self, requests.iter().copied()).map_err(|error| self.failed(error))?;
        let tokens = cut_tokens_note(self, requests.iter().copied()).map_err(|error| self.failed(error))?;
        let weights = self.pipeline.checkpoint().notes().map_err(|error| self.failed(error))?;
        Ok(weights.into_iter().chain(cut.note()).chain(tokens).collect())
    }
}
