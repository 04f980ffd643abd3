//! Convolution in two dimensions: a tile of points at a time, what it sees as a matrix, times the weights.
//!
//! The matrix of a whole image (`im2col`; Chellapilla et al. 2006) is as many times larger as the kernel has taps. That of a tile
//! stays in a core's caches, and nothing else is kept: the backward pass makes it again.

mod autodiff;
mod correlation;
mod depthwise;
mod flex;
mod lattice;
mod patches;
mod tiles;
mod weight_gradient;
mod weights;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use crate::applies;
use depthwise::is_depthwise;
use lattice::Window;

/// Convolution (cross-correlation, as everywhere in this field): burn's [`conv2d`](module::conv2d) with a backward pass of
/// matrix products, too.
///
/// Of groups, those of a single channel are computed here, with a stride of 1 and a padding that keeps the sides; others are computed
/// by burn.
///
/// # Shapes
/// - input: `[B, C, H, W]`
/// - weight: `[O, C, kernel height, kernel width]`
/// - bias: `[O]`
/// - output: `[B, O, H', W']`
///
/// # Panics
/// If the shapes do not fit.
pub fn conv2d(input: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, options: ConvOptions<2>) -> Tensor<4> {
    let [input_dims, weight_dims] = [input.dims(), weight.dims()];
    check(input_dims, weight_dims, bias.as_ref().map(|bias| bias.dims()[0]), &options);
    let filled = input_dims.iter().chain(&weight_dims).all(|&size| size > 0);
    let is_grouped = options.groups != 1 && !is_depthwise(input_dims, weight_dims, &options);
    let alike = weight.dtype() == input.dtype() && bias.as_ref().is_none_or(|bias| bias.dtype() == input.dtype());
    if is_grouped || !filled || !alike || !applies(&input) {
        return module::conv2d(input, weight, bias, options);
    }
    let (input, weight) = (input.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::convolve_biased(input, weight, bias.into_dispatch(), options),
        None => Dispatch::convolve(input, weight, options),
    })
}

/// # Panics
/// If the shapes do not fit.
#[track_caller]
fn check(input: [usize; 4], weight: [usize; 4], bias: Option<usize>, options: &ConvOptions<2>) {
    let ConvOptions { stride, dilation, groups, .. } = options;
    let [outputs, channels, ..] = weight;
    let steps = stride.iter().chain(dilation).chain([groups]);
    assert!(
        steps.into_iter().all(|&size| size > 0),
        "convolution with stride {stride:?}, dilation {dilation:?}, {groups} groups"
    );
    assert!(
        channels.checked_mul(*groups) == Some(input[1]) && outputs.is_multiple_of(*groups),
        "convolution of {input:?} with a weight of {weight:?} in {groups} groups"
    );
    assert!(bias.is_none_or(|bias| bias == outputs), "convolution with a weight of {weight:?}: the bias has {bias:?} values");
    let fits = windows(input, weight, options).iter().all(|window| window.output().is_some());
    assert!(fits, "convolution of {input:?} with padding {:?}: a kernel of {weight:?} is larger", options.padding);
}

fn windows(input: [usize; 4], weight: [usize; 4], options: &ConvOptions<2>) -> [Window; 2] {
    [0, 1].map(|axis| Window {
        input: input[2 + axis],
        kernel: weight[2 + axis],
        stride: options.stride[axis],
        padding: options.padding[axis],
        dilation: options.dilation[axis],
    })
}

/// Backends with the kernel; shapes as for [`conv2d`], and all of them fit.
#[backend_extension(Flex, Autodiff)]
pub trait ConvolutionBackend: Backend {
    /// The output without a bias.
    fn convolve(input: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self>;
    /// The output.
    fn convolve_biased(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;
    /// The gradient w.r.t. an input of the shape `input`.
    fn convolve_by_input(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        input: [usize; 4],
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;
    /// The gradient w.r.t. a weight of the shape `weight`.
    fn convolve_by_weight(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        weight: [usize; 4],
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;
    /// The gradient w.r.t. the bias.
    fn convolve_by_bias(gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(test)]
mod tests;
