//! The learning side of `roentgen`: DenseNet classifiers, masked losses, training, prediction, and the statistics that compare
//! classifiers.

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
