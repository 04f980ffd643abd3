//! The learning side of `roentgen`: DenseNet classifiers, masked losses, training, prediction, and the statistics that compare
//! classifiers.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use roentgen_classifier::metrics::Ranking;
//! use roentgen_classifier::{DenseNetConfig, seeded};
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

mod augmentation;
mod batch;
mod densenet;
mod error;
mod init;
mod input;
mod loss;
pub mod metrics;
pub mod nn;
mod op_norm;
mod predict;
pub mod train;
pub mod weights;

pub use augmentation::Augmentation;
pub use batch::{CxrBatch, CxrBatcher, batches, targets};
pub use densenet::{DenseNet, DenseNetConfig, DenseNetOutput};
pub use error::ClassifierError;
pub use init::seeded;
pub use input::InputRange;
pub use loss::{KnownLabels, MaskedBce, Reduction, task_weights};
pub use op_norm::op_norm;
pub use predict::{PredictedRow, Predictions, read_predictions, write_predictions};
