//! Networks that classify radiographs, and their initial weights.
//!
//! | file | what it holds |
//! |---|---|
//! | `densenet`, `resnet`, `convnext` | the networks |
//! | `vit` | DINOv2, which makes features, and a classifier on them |
//! | `network`, `shape`, `family` | any of them: what training, prediction and weights files work with |
//! | `init` | initial weights |
//! | `stochastic_depth` | branches that a step leaves out |
//! | `average`, `trainable` | what networks share: the mean over pixels, the number of parameters |
//!
//! A network of another kind is a file of its own, a variant in `network`, `shape` and `family`, its initial weights in `init`, and the names
//! of its tensors in `weights/families`.

mod average;
mod convnext;
mod densenet;
mod family;
mod init;
mod network;
mod resnet;
mod shape;
mod stochastic_depth;
mod trainable;
pub mod vit;

pub use convnext::{ConvNeXt, ConvNeXtConfig, ConvNeXtOutput};
pub use densenet::{DenseNet, DenseNetConfig, DenseNetOutput};
pub use family::Family;
pub use init::seeded;
pub use network::Network;
pub use resnet::{ResNet, ResNetConfig, ResNetOutput, ResidualBlock};
pub use shape::NetworkShape;
pub use stochastic_depth::{StochasticDepth, branch_factors};
