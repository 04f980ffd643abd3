//! The mean over an image's pixels.

use burn::tensor::{FloatDType, Tensor};
use roentgen_kernels::cast;

/// In 32 bits whatever the network computes in, as is the head behind it: scores of 8 bits would be equal for many images.
///
/// # Shapes
/// - input: `[B, C, H, W]`
/// - output: `[B, C]`
pub(super) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    cast(x, FloatDType::F32).reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}
