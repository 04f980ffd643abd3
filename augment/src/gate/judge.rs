//! The trait that a judge of samples implements.

use crate::digest::Fingerprint;
use crate::gate::Verdict;
use crate::image::GrayImage;
use crate::request::SampleRequest;

/// An image with the request that it answers.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The request.
    pub request: &'a SampleRequest,
    /// The image that was made.
    pub image: &'a GrayImage,
    /// [`Synthesized::channel_spread`](crate::supply::Synthesized::channel_spread).
    pub channel_spread: Option<f32>,
}

/// Why a judge gave no verdict.
#[derive(Debug, thiserror::Error)]
#[error("the gate can't judge: {message}")]
pub struct JudgeError {
    /// What happened and what to do next.
    pub message: String,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Decides whether samples may train.
///
/// A judge gives one verdict per candidate, in order, and makes verdict `i` a function of candidate `i` and its own fingerprint
/// alone: verdicts are kept, and a kept one must equal the one that would be given again.
pub trait Judge: Send + Sync {
    /// Digest of everything that decides its verdicts: measures, limits, weights.
    fn fingerprint(&self) -> Fingerprint;

    /// Its limits in words, for the report.
    fn limits(&self) -> Vec<String>;

    /// Judges.
    ///
    /// # Errors
    /// [`JudgeError`] if any of them could not be judged.
    fn judge(&self, candidates: &[Candidate<'_>]) -> Result<Vec<Verdict>, JudgeError>;
}
