//! Layers that compute PyTorch's numbers on the CPU kernels, where burn's own differ or are slower.
//!
//! A layer computes in its input's type. Weights of another one are converted at each use, so that those of 32 bits that train are
//! rounded once in a forward pass of brain floats, and have gradients of 32 bits. Scale and shift of a norm, and what it knows of
//! its batch, stay as they are.
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width.

mod batch_norm;
mod conv2d;
mod depthwise;
mod group_norm;
mod layer_norm;
mod linear;
mod pointwise;

use burn::module::Param;
use burn::tensor::Tensor;
use roentgen_kernels::cast;

pub use batch_norm::{BatchNorm2d, BatchNorm2dConfig};
pub use conv2d::{Conv2d, Conv2dConfig};
pub use depthwise::{Depthwise, DepthwiseConfig};
pub use group_norm::{GroupNorm, GroupNormConfig};
pub use layer_norm::{LayerNorm, LayerNormConfig};
pub use linear::{Linear, LinearConfig};
pub use pointwise::{Pointwise, PointwiseConfig};

/// A weight in the type of its layer's input.
fn alike<const D: usize, const E: usize>(weight: &Param<Tensor<D>>, input: &Tensor<E>) -> Tensor<D> {
    cast(weight.val(), input.dtype().into())
}
