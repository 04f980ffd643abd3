//! What lies between the layers of a network that computes images: numbers added to channels, enlargement, and channels side by side.
//!
//! burn-flex does each on one thread, brain floats one by one or by way of 32 bits. Where gradients are wanted, its operations run.

mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, module};

use crate::applies;

/// Adds a number to every pixel of a channel.
///
/// # Shapes
/// - x, output: `[B, C, H, W]`
/// - by: `[B, C]`
///
/// # Panics
/// If the shapes do not fit.
pub fn add_to_channels(x: Tensor<4>, by: Tensor<2>) -> Tensor<4> {
    let [batch, channels, ..] = x.dims();
    assert_eq!(by.dims(), [batch, channels], "a number for each channel of {:?}", x.dims());
    if x.dtype() != by.dtype() || !is_computed([&x]) || by.device().is_autodiff() {
        return x + by.unsqueeze_dims::<4>(&[2, 3]);
    }
    Tensor::from_dispatch(Dispatch::add_to_planes(x.into_dispatch(), by.into_dispatch()))
}

/// Enlarges or shrinks an image by nearest neighbours, as burn's and PyTorch's `nearest`.
///
/// # Shapes
/// - x: `[B, C, H, W]`
/// - output: `[B, C, size[0], size[1]]`
pub fn nearest(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    if size.contains(&0) || !is_computed([&x]) {
        return module::interpolate(x, InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size));
    }
    Tensor::from_dispatch(Dispatch::nearest_neighbours(x.into_dispatch(), size))
}

/// The channels of `a`, then those of `b`.
///
/// # Shapes
/// - a: `[B, C, H, W]`
/// - b: `[B, D, H, W]`
/// - output: `[B, C + D, H, W]`
///
/// # Panics
/// If the shapes do not fit.
pub fn join_channels(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    let ([batch, _, height, width], others) = (a.dims(), b.dims());
    assert!(others[0] == batch && others[2..] == [height, width], "channels of {:?} and {others:?}", a.dims());
    if a.dtype() != b.dtype() || !is_computed([&a, &b]) {
        return Tensor::cat(vec![a, b], 1);
    }
    Tensor::from_dispatch(Dispatch::join_planes(a.into_dispatch(), b.into_dispatch()))
}

/// Whether the kernels compute these, which need no gradient.
fn is_computed<const D: usize, const N: usize>(tensors: [&Tensor<D>; N]) -> bool {
    let computed = |x: &Tensor<D>| applies(x) && !x.device().is_autodiff() && x.shape().num_elements() > 0;
    tensors.into_iter().all(computed)
}

/// Backends with the kernels, which have no gradients; shapes as for the functions, and all of them fit.
#[backend_extension(Flex)]
pub trait MapBackend: Backend {
    /// See [`add_to_channels`].
    fn add_to_planes(x: FloatTensor<Self>, by: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`nearest`].
    fn nearest_neighbours(x: FloatTensor<Self>, size: [usize; 2]) -> FloatTensor<Self>;
    /// See [`join_channels`].
    fn join_planes(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(test)]
mod tests;
