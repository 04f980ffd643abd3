//! The learning side of `roentgen`: DenseNet classifiers, masked losses, training, prediction, and the statistics that compare
//! classifiers.

#![warn(missing_docs)]

mod densenet;
mod error;
mod input;
mod loss;
pub mod nn;
mod op_norm;

pub use densenet::{DenseNet, DenseNetConfig, DenseNetOutput};
pub use error::ClassifierError;
pub use input::InputRange;
pub use loss::{KnownLabels, MaskedBce, Reduction, task_weights};
pub use op_norm::op_norm;
