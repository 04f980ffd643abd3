//! CPU kernels: what burn-flex computes in several passes or on one thread, in one pass on all threads.
//!
//! Each that gradients go through is a burn backend extension with its own backward pass, behind a function on tensors that has the semantics of burn's own
//! composition. It is used for 32-bit floats on the CPU; on every other backend and type that composition runs.
//!
//! | room | kernel |
//! |---|---|
//! | `adamw`, `euclidean` | a step of the optimiser, and the norms of gradients |
//! | `activation` | ReLU, SiLU, GELU, quick GELU |
//! | `attention` | scaled dot-product attention of several heads |
//! | `conv` | convolution |
//! | `geglu` | a gate's GELU times a value |
//! | `group_norm`, `batch_norm`, `layer_norm` | the norms with the activation after them |
//! | `dense` | the buffer of a dense block, and the first half of its layers |
//! | `linear` | rows times a matrix, and a bias |
//! | `pool` | the largest of 3x3 windows, the mean of 2x2 blocks |
//! | `fixed_norm` | batch norm by given statistics |
//!
//! # Why `unsafe` is allowed here
//! Kernels write every element of a fresh buffer exactly once without clearing it first, and call the matrix product of the
//! `gemm` crate on raw pointers. Every block states why it is sound; nothing outside this folder is unsafe.
#![allow(unsafe_code)]

mod activation;
mod adamw;
mod attention;
mod batch_norm;
mod buffer;
mod conv;
mod dense;
mod erf;
mod euclidean;
mod exp;
mod fixed_norm;
mod function;
mod geglu;
mod group_norm;
mod layer_norm;
mod linear;
mod moments;
mod norm;
mod plane;
mod pool;
mod product;
#[cfg(test)]
mod testing;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};

pub use activation::{Activation, gelu, quick_gelu, relu, silu};
pub use adamw::{AdamWNumbers, AdamWStep, Stepped};
pub use attention::{Visible, attention};
pub use batch_norm::{BatchNormed, batch_norm};
pub use conv::conv2d;
pub use dense::{BottleneckOptions, DenseFeatures};
pub use euclidean::euclidean_norms;
pub use fixed_norm::fixed_norm;
pub use geglu::geglu;
pub use group_norm::group_norm;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use norm::{Norm, Over};
pub use pool::{average_pool, max_pool};

/// Whether the kernels compute this tensor.
fn applies<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(&tensor.device())
}

/// Whether a device is the CPU, with or without autodiff.
fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
