//! Layers that compute PyTorch's numbers on the CPU kernels, where burn's own differ or are slower.
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width.

mod batch_norm;
mod conv2d;
mod depthwise;
mod group_norm;
mod layer_norm;
mod linear;
mod pointwise;

pub use batch_norm::{BatchNorm2d, BatchNorm2dConfig};
pub use conv2d::{Conv2d, Conv2dConfig};
pub use depthwise::{Depthwise, DepthwiseConfig};
pub use group_norm::{GroupNorm, GroupNormConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{Linear, LinearConfig};
pub use pointwise::{Pointwise, PointwiseConfig};
