//! Networks that classify radiographs, and their initial weights.

mod densenet;
mod init;

pub use densenet::{DenseNet, DenseNetConfig, DenseNetOutput};
pub use init::seeded;
