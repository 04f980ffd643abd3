//! The data side of `roentgen`: real radiographs, synthetic radiographs, and mixtures of both.
//!
//! This crate knows no network. It gives any [burn](https://burn.dev) training loop a
//! [`Dataset`](burn_dataset::Dataset) whose items are real chest radiographs and samples of a text-to-image model in a stated
//! proportion. Here both sides are phantoms: two synthetic films for each "real" one, made on demand.
//!
//! ```
//! use std::sync::Arc;
//!
//! use burn_dataset::Dataset;
//! use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, PhantomPhysics, PhantomSynthesizer};
//! use roentgen_augment::{
//!     MixMode, MixedDataset, MixedParts, Mixture, Preprocess, RealDataset, RequestPlan, SplitPlan, Splits, Supply,
//!     SyntheticDataset, template_prompts,
//! };
//!
//! let films = PhantomDataset::new(PhantomDatasetConfig::new(40, 32, 1));
//! let data = RealDataset::from_phantom(films)?.with_preprocess(Preprocess::new(32));
//! let splits = Splits::new(&data, &SplitPlan::default())?; // by patient
//! let train = splits.train().clone();
//!
//! let rows: Vec<_> = train.data().rows().iter().map(|row| row.record.clone()).collect();
//! let vocabulary = train.data().vocabulary();
//! let requests = RequestPlan::new(&template_prompts(&rows, vocabulary), vocabulary)?.replicas(2);
//! let renderer = PhantomSynthesizer::new(vocabulary.as_ref().clone(), PhantomPhysics::shifted(), 32);
//! let supply = Supply::OnDemand { synthesizer: Arc::new(renderer) };
//! let synthetic = SyntheticDataset::new(requests.into(), supply, Preprocess::new(32), splits.held_out_patients())?;
//!
//! let real = train.len();
//! let mixture = Mixture::new(MixMode::Add { synthetic_per_real: 2.0 });
//! let mixed = MixedDataset::for_training(MixedParts { real: train, synthetic: Some(synthetic), mixture, seed: 1 })?;
//! let epoch = mixed.epoch(0); // a burn dataset
//! assert_eq!(epoch.len(), 3 * real);
//! # Ok::<(), roentgen_augment::AugmentError>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod answer;
mod atomic;
mod cache;
mod check;
pub mod datasets;
mod decode;
mod detail;
mod encode;
mod error;
#[cfg(test)]
mod fake;
mod finding;
mod gate;
mod geometry;
mod image_cache;
mod label;
mod mixed;
mod mixture;
pub mod phantom;
mod pixels;
mod plan;
mod planner;
mod prefetch;
mod preprocess;
mod prompt;
mod real;
mod record;
mod report_text;
mod request;
mod resize;
mod sample;
mod sample_png;
mod schedule;
mod skimage;
mod source;
mod split;
mod split_plan;
mod stream;
mod summary;
mod supply;
mod synthesizer;
mod synthetic;
mod table_error;
mod torch;
mod walk;

pub use atomic::write_atomic;
pub use cache::{CacheKey, CacheOptions, CacheReport, CorruptSample, SampleCache};
pub use check::{CheckReport, ImageCopy, SharedPatient, Unreadable};
pub use decode::RgbImage;
pub use detail::{Details, FindingDetail, Laterality, Severity};
pub use encode::encode_png;
pub use error::AugmentError;
pub use finding::{CHEXPERT_14, Finding, NIH_14, Vocabulary, XRV_18};
pub use gate::{
    Attempt, Candidate, Fault, Gate, GateJob, GateOutcome, GateProgress, GateReport, GatedRequest, ImageSanity, Judge,
    JudgeError, NearestReal, NearestTraining, Settled, Verdict, VerdictLedger,
};
pub use geometry::{Window, shorter_side_to};
pub use image_cache::ImageCache;
pub use label::{Label, LabelPolicy, Target};
pub use mixed::{MixedDataset, MixedEpoch, MixedParts};
pub use mixture::{Balance, EpochCounts, MixMode, Mixture};
pub use pixels::{GrayDepth, GrayImage, PixelRange, Pixels, Signed, Xrv};
pub use plan::{LabelPlan, RequestPlan};
pub use planner::{EpochPlanner, Slot};
pub use prefetch::{BatchStream, Prefetch};
pub use preprocess::{Geometry, Preprocess};
pub use prompt::{Prompt, PromptFrom, PromptKind, PromptSettings, PromptSummary, PromptedRow, PromptedRows, template_prompts};
pub use real::{RealDataset, Row};
pub use record::{CxrRecord, Origin, PatientId, Provenance, Sex, Split, View};
pub use report_text::{Dropped, ReportCleaning, Section};
pub use request::{RequestSource, SampleRequest};
pub use resize::Filter;
pub use sample::CxrSample;
pub use sample_png::{SampleDefect, SampleOrigin, decode_sample, encode_sample};
pub use schedule::{Phase, Schedule};
pub use source::{ImageArray, ImageFiles, ImageFunction, ImageSource};
pub use split::{HeldOut, Splits, TrainSet};
pub use split_plan::{SplitBy, SplitPlan};
pub use stream::{MixedStream, StreamItem};
pub use summary::{AgeQuantiles, DataSummary, FindingCounts, LabelCounts};
pub use supply::{Supply, SupplyMode};
pub use synthesizer::{Fingerprint, SynthesisError, Synthesized, Synthesizer, SynthesizerCard};
pub use synthetic::{FillProgress, SyntheticDataset};
pub use table_error::TableError;
