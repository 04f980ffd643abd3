//! The data side of `roentgen`: real radiographs, synthetic images, and mixtures of both.
//!
//! This crate contains no network. It gives any [burn](https://burn.dev) training loop a
//! [`Dataset`](burn_core::data::dataset::Dataset) whose items are real chest radiographs and samples of a text-to-image model in a stated
//! proportion. Here both sides are phantoms: two synthetic images for each "real" one, made on demand.
//!
//! ```
//! use burn_core::data::dataset::Dataset;
//! use roentgen_augment::dataset::{CxrDataset, SplitPlan, Splits};
//! use roentgen_augment::mix::{MixedDataset, Mixture};
//! use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, PhantomPhysics, PhantomSynthesizer};
//! use roentgen_augment::supply::SyntheticDataset;
//!
//! let data = CxrDataset::from_phantom(PhantomDataset::new(PhantomDatasetConfig::new(40, 32, 1))?)?;
//! let splits = Splits::new(&data, &SplitPlan::default())?; // by patient
//! let train = splits.train();
//!
//! // Any `Synthesizer`; two images for each training row.
//! let generator = PhantomSynthesizer::new(data.vocabulary().as_ref().clone(), PhantomPhysics::shifted(), 32)?;
//! let synthetic = SyntheticDataset::for_training(train, generator).replicas(2).build()?;
//!
//! let mixed = MixedDataset::new(train.clone(), Some(synthetic), Mixture::add(2.0), 1)?;
//! let epoch = mixed.epoch(0); // a burn dataset
//! assert_eq!(epoch.len(), 3 * train.len());
//! # Ok::<(), roentgen_augment::AugmentError>(())
//! ```
//!
//! A sample's way through the crate is one module after the other:
//! [`formats`] → [`dataset`] → [`text`] → [`request`] → [`supply`] → [`mix`]. What is known of an image is in [`record`], its pixels
//! are in [`image`]; [`gate`] judges samples, and [`phantom`] stands in for both sides in tests and demos.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod atomic;
pub mod batch;
pub mod convert;
mod cycle;
pub mod dataset;
pub mod digest;
mod error;
pub mod formats;
pub mod gate;
pub mod image;
pub mod mix;
pub mod phantom;
pub mod progress;
pub mod record;
pub mod request;
pub mod supply;
pub mod text;

pub use error::AugmentError;

/// Compiles the code of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/augment.md")]
struct Guide;
