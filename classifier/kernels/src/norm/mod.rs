//! Group, batch and layer norm, and batch norm by given statistics, each with the activation after it. Vectors of channels may be of 32
//! bits where `x` is of brain floats; a batch's statistics always are.
//!
//! [`problem`] is what they have in common, [`backend`] the operation on burn's backends; each norm's kernel is made of [`moments`] and
//! of what is done to one [`plane`].

mod backend;
mod batch;
mod fixed;
mod group;
mod layer;
pub(crate) mod moments;
pub(crate) mod plane;
mod problem;
#[cfg(test)]
mod tests;

use burn::backend::Dispatch;
use burn::tensor::module::{batch_norm as burn_batch_norm, batch_norm_train, layer_norm as burn_layer_norm};
use burn::tensor::{FloatDType, Tensor};

use self::fixed::FixedNormBackend;
pub use self::problem::{Norm, Over};
use crate::applies;
use crate::elementwise::cast::cast;
use crate::shapes::{check_filled, check_vectors};

/// A normalised batch and its statistics; no gradient goes to the statistics.
#[derive(Clone, Debug)]
pub struct BatchNormed<const D: usize> {
    /// `[B, C, ..]`
    pub output: Tensor<D>,
    /// `[C]`
    pub mean: Tensor<1>,
    /// `[C]`, biased.
    pub variance: Tensor<1>,
}

/// Normalises each channel by its own mean and variance over the batch (Ioffe and Szegedy, arXiv 1502.03167, algorithm 1).
///
/// # Shapes
/// - x: `[B, C, ..]`
/// - gamma, beta: `[C]`
///
/// # Panics
/// If `norm` is not over the batch, an axis is empty, or a vector is not of the channels.
pub fn batch_norm<const D: usize>(x: Tensor<D>, affine: [Tensor<1>; 2], norm: Norm) -> BatchNormed<D> {
    assert_eq!(norm.over, Over::Batch, "a batch norm is over the batch");
    check_filled("batch norm", &x, 2);
    check_vectors("batch norm", &x, x.dims()[1], &[("gamma", &affine[0]), ("beta", &affine[1])]);
    if applies(&x) {
        let (output, statistics) = backend::apply(x, affine, norm);
        let column = |i| statistics.clone().narrow(1, i, 1).squeeze_dim::<1>(1);
        BatchNormed { output, mean: column(0), variance: column(1) }
    } else {
        batch_norm_composed(x, affine, norm)
    }
}

/// By burn's own operation, which takes one type: that of the vectors.
fn batch_norm_composed<const D: usize>(x: Tensor<D>, [gamma, beta]: [Tensor<1>; 2], norm: Norm) -> BatchNormed<D> {
    let (dtype, wide): (FloatDType, FloatDType) = (x.dtype().into(), gamma.dtype().into());
    let normed = batch_norm_train(cast(x, wide), gamma, beta, norm.epsilon);
    let output = cast(norm.activation.forward(normed.output), dtype);
    BatchNormed { output, mean: normed.mean.detach(), variance: normed.variance.detach() }
}

/// Normalises each of `groups` equal groups of channels of each image (Wu and He 2018).
///
/// # Shapes
/// - x: `[B, C, ..]`
/// - gamma, beta: `[C]`
/// - output: `[B, C, ..]`
///
/// # Panics
/// If `norm` is not over groups, they do not divide the channels, an axis is empty, or a vector is not of the channels.
pub fn group_norm<const D: usize>(x: Tensor<D>, affine: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    let Over::Groups(groups) = norm.over else { panic!("a group norm is over groups, not {:?}", norm.over) };
    check_filled("group norm", &x, 2);
    let channels = x.dims()[1];
    check_vectors("group norm", &x, channels, &[("gamma", &affine[0]), ("beta", &affine[1])]);
    assert!(channels.is_multiple_of(groups), "{groups} groups do not divide {channels} channels");
    if applies(&x) { backend::apply(x, affine, norm).0 } else { group_norm_composed(x, affine, norm, groups) }
}

/// By burn's own operations; statistics of half precision are in 32 bits.
fn group_norm_composed<const D: usize>(x: Tensor<D>, [gamma, beta]: [Tensor<1>; 2], norm: Norm, groups: usize) -> Tensor<D> {
    let shape = x.shape();
    let dtype: FloatDType = x.dtype().into();
    let mut each_channel = [1; D];
    each_channel[1] = shape[1];
    let flat: Tensor<3> = x.reshape([shape[0] as i32, groups as i32, -1]);
    let flat = if dtype == FloatDType::F16 { flat.cast(FloatDType::F32) } else { flat };
    let centred = flat.clone() - flat.mean_dim(2);
    let deviation = (centred.clone().square().mean_dim(2) + norm.epsilon).sqrt();
    let normal: Tensor<D> = (centred / deviation).cast(dtype).reshape(shape);
    let [gamma, beta] = [gamma, beta].map(|vector| cast(vector, dtype).reshape(each_channel));
    norm.activation.forward(normal * gamma + beta)
}

/// Normalises the last axis (Ba, Kiros and Hinton 2016).
///
/// # Shapes
/// - x: `[.., C]`
/// - gamma, beta: `[C]`
/// - output: `[.., C]`
///
/// # Panics
/// If `norm` is not over the last axis, an axis is empty, or a vector is not of the last axis.
pub fn layer_norm<const D: usize>(x: Tensor<D>, affine: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    assert_eq!(norm.over, Over::Last, "a layer norm is over the last axis");
    check_filled("layer norm", &x, 1);
    check_vectors("layer norm", &x, x.dims()[D - 1], &[("gamma", &affine[0]), ("beta", &affine[1])]);
    if applies(&x) { backend::apply(x, affine, norm).0 } else { layer_norm_composed(x, affine, norm) }
}

/// By burn's own operations; statistics of half precision are in 32 bits.
fn layer_norm_composed<const D: usize>(x: Tensor<D>, [gamma, beta]: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    let dtype: FloatDType = x.dtype().into();
    let normal = if dtype == FloatDType::F16 || x.dtype() != gamma.dtype() {
        let [gamma, beta] = [gamma, beta].map(|x| x.cast(FloatDType::F32));
        burn_layer_norm(x.cast(FloatDType::F32), gamma, Some(beta), norm.epsilon).cast(dtype)
    } else {
        burn_layer_norm(x, gamma, Some(beta), norm.epsilon)
    };
    norm.activation.forward(normal)
}

/// Normalises each channel by a given mean and variance.
///
/// # Shapes
/// - x: `[B, C, ..]`
/// - mean, variance, gamma, beta: `[C]`
/// - output: `[B, C, ..]`
///
/// # Panics
/// If `norm` is not over the batch, an axis is empty, or a vector is not of the channels.
pub fn fixed_norm<const D: usize>(x: Tensor<D>, statistics: [Tensor<1>; 2], affine: [Tensor<1>; 2], norm: Norm) -> Tensor<D> {
    assert_eq!(norm.over, Over::Batch, "statistics are given to a batch norm");
    let ([mean, variance], [gamma, beta]) = (statistics, affine);
    check_filled("fixed norm", &x, 2);
    let vectors = [("mean", &mean), ("variance", &variance), ("gamma", &gamma), ("beta", &beta)];
    check_vectors("fixed norm", &x, x.dims()[1], &vectors);
    if !applies(&x) || x.device().is_autodiff() {
        return fixed_norm_composed(x, [mean, variance], [gamma, beta], norm);
    }
    let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fixed_norm(x.into_dispatch(), mean, variance, gamma, beta, norm))
}

/// By burn's own operation, which takes one type; brain floats are computed in 32 bits.
fn fixed_norm_composed<const D: usize>(
    x: Tensor<D>,
    [mean, variance]: [Tensor<1>; 2],
    [gamma, beta]: [Tensor<1>; 2],
    norm: Norm,
) -> Tensor<D> {
    let dtype: FloatDType = x.dtype().into();
    if dtype != FloatDType::BF16 {
        return norm.activation.forward(burn_batch_norm(x, gamma, beta, mean, variance, norm.epsilon));
    }
    let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(|vector| vector.cast(FloatDType::F32));
    let normal = burn_batch_norm(x.cast(FloatDType::F32), gamma, beta, mean, variance, norm.epsilon);
    norm.activation.forward(normal).cast(dtype)
}
