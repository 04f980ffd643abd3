//! The mean over an image's pixels.

use burn::tensor::Tensor;

/// # Shapes
/// - input: `[B, C, H, W]`
/// - output: `[B, C]`
pub(super) fn global_average(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
}
