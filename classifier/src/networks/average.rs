//! What comes after the last maps: the mean over an image's pixels, and a linear layer.

use burn::nn::Linear;
use burn::tensor::{FloatDType, Tensor, module};
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

/// The logits of features; weights that are stored in another type are converted to theirs.
///
/// # Shapes
/// - features: `[B, C]`
/// - output: `[B, F]`
pub(super) fn head(layer: &Linear, features: Tensor<2>) -> Tensor<2> {
    let dtype = features.dtype().into();
    let bias = layer.bias.as_ref().map(|bias| cast(bias.val(), dtype));
    module::linear(features, cast(layer.weight.val(), dtype), bias)
}
