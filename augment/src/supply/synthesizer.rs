//! The trait that a generator implements.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Fingerprint;
use crate::image::GrayImage;
use crate::record::Vocabulary;
use crate::request::SampleRequest;

/// A generator's description of itself; written beside every sample it makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SynthesizerCard {
    /// Name for people (`roentgen-v1 60k`, `phantom (shifted)`).
    pub model: String,
    /// Sampler, if it has one (`PNDM`).
    pub sampler: Option<String>,
    /// Sampling steps, if it has any.
    pub steps: Option<u32>,
    /// Classifier-free guidance scale, if it has one.
    pub guidance_scale: Option<f32>,
}

/// An image as a generator made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Synthesized {
    /// The image.
    pub image: GrayImage,
    /// Mean over pixels of the largest difference between two channels, in [0, 1], of a generator that paints in colour: what gray
    /// hides. `None` if it does not.
    pub channel_spread: Option<f32>,
}

impl From<GrayImage> for Synthesized {
    fn from(image: GrayImage) -> Self {
        Self { image, channel_spread: None }
    }
}

/// Why a generator failed.
#[derive(Debug, thiserror::Error)]
#[error("the generator failed: {message}")]
pub struct SynthesisError {
    /// What happened and what to do next.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A generator of chest X-ray images.
///
/// The caller passes all requests of a batch that are not in the cache, in one call. The generator must
///
/// * return one image per request, in order;
/// * make image `i` a function of `requests[i]` and its own fingerprint alone: never of the other requests, of earlier calls,
///   or of the thread. otherwise cached and on-demand runs would differ;
/// * on failure return an error and keep nothing: the caller loses at most this batch.
pub trait Synthesizer: Send + Sync {
    /// Digest of weights and settings; constant over the life of the value.
    fn fingerprint(&self) -> Fingerprint;

    /// Its description of itself.
    fn card(&self) -> SynthesizerCard;

    /// The vocabulary that the requests' labels are in, if the generator reads labels; `None` if it reads prompts only.
    fn vocabulary(&self) -> Option<&Vocabulary> {
        None
    }

    /// Makes one image per request.
    ///
    /// # Errors
    /// [`SynthesisError`] if any of them could not be made.
    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError>;

    /// What is doubtful in how it reads requests, a sentence each, without making anything: text that it cuts, for example.
    ///
    /// # Errors
    /// [`SynthesisError`] if it can't read them.
    fn notes(&self, requests: &[&SampleRequest]) -> Result<Vec<String>, SynthesisError> {
        let _ = requests;
        Ok(Vec::new())
    }
}

impl<S: Synthesizer + ?Sized> Synthesizer for Arc<S> {
    fn fingerprint(&self) -> Fingerprint {
        S::fingerprint(self)
    }

    fn card(&self) -> SynthesizerCard {
        S::card(self)
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        S::vocabulary(self)
    }

    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError> {
        S::synthesize(self, requests)
    }

    fn notes(&self, requests: &[&SampleRequest]) -> Result<Vec<String>, SynthesisError> {
        S::notes(self, requests)
    }
}
