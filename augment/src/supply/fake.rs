//! A generator and training rows for the tests of this crate.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::digest::Fingerprint;
use crate::image::GrayImage;
use crate::record::{Label, PatientId};
use crate::request::{RequestSource, SampleRequest};
use crate::supply::{SynthesisError, Synthesized, Synthesizer, SynthesizerCard};
use crate::text::PromptKind;

/// Request `i`, from a row of patient `p{i}`.
pub(crate) fn request(i: usize) -> SampleRequest {
    SampleRequest {
        prompt: format!("prompt {i}"),
        prompt_kind: PromptKind::Template,
        labels: vec![Label::Positive, Label::Negative],
        seed: i as u64,
        replica: 0,
        source: Some(RequestSource { id: format!("{i}.png"), patient_id: PatientId::new(&format!("p{i}")), fold: None }),
        age: None,
        sex: None,
        view: None,
    }
}

pub(crate) fn requests(n: usize) -> Vec<SampleRequest> {
    (0..n).map(request).collect()
}

/// Makes 8x8 images of noise from the request's seed, and records what was requested.
#[derive(Default)]
pub(crate) struct Fake {
    /// Number of requests of each call.
    pub calls: Mutex<Vec<usize>>,
    pub fails: AtomicBool,
    /// Images left out of each answer.
    pub withholds: AtomicUsize,
    pub pause: Duration,
}

impl Fake {
    pub fn slow(pause: Duration) -> Self {
        Self { pause, ..Self::default() }
    }

    /// Number of requests of each call so far.
    pub fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().clone()
    }

    pub fn made(&self) -> usize {
        self.calls().iter().sum()
    }

    pub fn image(request: &SampleRequest) -> GrayImage {
        let digest = Fingerprint::of(&[&request.seed.to_le_bytes(), request.prompt.as_bytes()]);
        GrayImage::from_u8(8, 8, [digest.0, Fingerprint::of(&[&digest.0]).0].concat())
    }
}

impl Synthesizer for Fake {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"fake"])
    }

    fn card(&self) -> SynthesizerCard {
        SynthesizerCard::named("fake")
    }

    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError> {
        std::thread::sleep(self.pause);
        if self.fails.load(Ordering::SeqCst) {
            return Err(SynthesisError { message: "told to fail".to_owned(), source: None });
        }
        self.calls.lock().unwrap().push(requests.len());
        let left = requests.len() - self.withholds.load(Ordering::SeqCst);
        Ok(requests[..left].iter().map(|request| Self::image(request).into()).collect())
    }
}
