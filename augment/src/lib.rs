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
//! use roentgen_augment::dataset::{CxrDataset, SplitPlan, Splits};
//! use roentgen_augment::image::Preprocess;
//! use roentgen_augment::mix::{MixMode, MixedDataset, MixedParts, Mixture};
//! use roentgen_augment::request::RequestPlan;
//! use roentgen_augment::supply::{Supply, SyntheticDataset};
//! use roentgen_augment::text::template_prompts;
//!
//! let films = PhantomDataset::new(PhantomDatasetConfig::new(40, 32, 1));
//! let data = CxrDataset::from_phantom(films)?.with_preprocess(Preprocess::new(32));
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

#![warn(missing_docs)]

pub mod atomic;
mod cycle;
pub mod dataset;
pub mod digest;
mod error;
pub mod formats;
pub mod gate;
pub mod image;
pub mod mix;
pub mod phantom;
pub mod record;
pub mod request;
pub mod supply;
pub mod text;

pub use error::AugmentError;
