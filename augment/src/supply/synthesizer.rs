//! The trait that a generator implements.

use std::fmt;
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
    /// What the images should not show, if that has an influence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Files that its weights were changed by, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<AdapterCard>,
    /// The first digits of the fingerprint of its weights, configurations and adapters: two generators of one name may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

impl SynthesizerCard {
    /// A generator of which only the name is known.
    #[must_use]
    pub fn named(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            sampler: None,
            steps: None,
            guidance_scale: None,
            negative_prompt: None,
            adapters: Vec::new(),
            weights: None,
        }
    }

    /// The adapters in a line; empty without any.
    #[must_use]
    pub fn adapters_line(&self) -> String {
        self.adapters.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }
}

/// A file that changes a generator's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterCard {
    /// What it holds.
    pub kind: AdapterKind,
    /// Name of the file or folder, without the folders above.
    pub name: String,
    /// BLAKE3 digest of the file with the weights, in hexadecimal: what `b3sum` prints.
    pub digest: String,
    /// The factor that its change was multiplied by; `None` for one that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// The token that it defines, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What a file that changes a generator holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// Low-rank changes of weights.
    Lora,
    /// Vectors of a new token (textual inversion).
    Embedding,
}

impl fmt::Display for AdapterCard {
    /// `lora chest.safetensors 0.8 blake3:0123456789abcdef`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AdapterKind::Lora => "lora",
            AdapterKind::Embedding => "embedding",
        };
        write!(f, "{kind} {}", self.name)?;
        if let Some(scale) = self.scale {
            write!(f, " {scale}")?;
        }
        if let Some(token) = &self.token {
            write!(f, " as {token}")?;
        }
        write!(f, " blake3:{}", self.digest.get(..16).unwrap_or(&self.digest))
    }
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
    /// What happened and what to do next, or which generator it was where the cause says the rest.
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
