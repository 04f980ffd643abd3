//! The learning side of `roentgen`: classifiers (DenseNet, ResNet, ConvNeXt, DINOv2), masked losses, training, prediction, and the
//! statistics that compare classifiers.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use roentgen_classifier::metrics::Ranking;
//! use roentgen_classifier::networks::{DenseNetConfig, seeded};
//!
//! let device = Device::flex();
//! let net = seeded(DenseNetConfig::small(1, 14).init(&device), 7);
//! let logits = net.forward(Tensor::zeros([2, 1, 64, 64], &device));
//! assert_eq!(logits.dims(), [2, 14]);
//!
//! let ranking = Ranking::new(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0])?;
//! assert_eq!(ranking.auroc(), Some(0.75));
//! # Ok::<(), roentgen_classifier::metrics::MetricsError>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod batch;
mod error;
pub mod loss;
pub mod metrics;
pub mod networks;
pub mod nn;
pub mod predict;
pub mod training;
pub mod weights;

pub use error::{ClassifierError, SettingError};
