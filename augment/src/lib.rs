//! The data side of `roentgen`: real radiographs, synthetic radiographs, and mixtures of both.
//!
//! This crate knows no network. It gives any [burn](https://burn.dev) training loop a
//! [`Dataset`](burn_dataset::Dataset) whose items are real chest radiographs and samples of a text-to-image model in a stated
//! proportion.

#![warn(missing_docs)]

mod error;
mod finding;
mod label;
mod pixels;
mod record;
mod request;
mod sample;
mod synthesizer;

pub use error::AugmentError;
pub use finding::{CHEXPERT_14, Finding, NIH_14, Vocabulary, XRV_18};
pub use label::{Label, LabelPolicy, Target};
pub use pixels::{GrayDepth, GrayImage, PixelRange, Pixels, Signed, Xrv};
pub use record::{CxrRecord, Origin, PatientId, Provenance, Sex, Split, View};
pub use request::{RequestSource, SampleRequest};
pub use sample::CxrSample;
pub use synthesizer::{Fingerprint, SynthesisError, Synthesizer, SynthesizerCard};
