//! CPU kernels for [burn](https://burn.dev): what burn-flex computes in several passes or on one thread, in one pass on all threads.
//!
//! Each kernel that gradients go through is a burn backend extension with its own backward pass, behind a function on tensors that
//! has the semantics of burn's own composition. It is used for 32-bit floats on the CPU; on every other backend and type that
//! composition runs.
//!
//! | room | kernel |
//! |---|---|
//! | `attention` | scaled dot-product attention of several heads |
//! | `conv` | convolution |
//! | `dense` | the buffer of a dense block, and the first half of its layers |
//! | `elementwise` | ReLU, SiLU, GELU, quick GELU; a gate's GELU times a value |
//! | `linear` | rows times a matrix, and a bias |
//! | `norm` | group, batch and layer norm, and batch norm by given statistics, with the activation after them |
//! | `pool` | the largest of 3x3 windows, the mean of 2x2 blocks |
//! | `adamw`, `euclidean` | a step of the optimiser, and the norms of gradients |
//! | `isa` | the choice of the instruction set |
//! | `memory` | inputs, outputs and matrix products |
//!
//! # Why `unsafe` is allowed here
//! Kernels write every element of a fresh buffer exactly once without clearing it first, and call the matrix product of the
//! `gemm` crate on raw pointers. Every block states why it is sound; no other crate of the workspace is unsafe.
#![allow(unsafe_code)]
#![warn(missing_docs)]

mod adamw;
mod attention;
mod conv;
mod dense;
mod elementwise;
mod euclidean;
mod isa;
mod linear;
mod memory;
mod norm;
mod pool;
#[cfg(test)]
mod testing;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};

pub use adamw::{AdamWNumbers, AdamWStep, Stepped};
pub use attention::{Visible, attention};
pub use conv::conv2d;
pub use dense::{BottleneckOptions, DenseFeatures};
pub use elementwise::activation::{Activation, gelu, quick_gelu, relu, silu};
pub use elementwise::geglu::geglu;
pub use euclidean::euclidean_norms;
pub use linear::linear;
pub use norm::backend::{Norm, Over};
pub use norm::batch::{BatchNormed, batch_norm};
pub use norm::fixed::fixed_norm;
pub use norm::group::group_norm;
pub use norm::layer::layer_norm;
pub use pool::{average_pool, max_pool};

/// Whether the kernels compute this tensor.
fn applies<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(&tensor.device())
}

/// Whether a device is the CPU, with or without autodiff.
fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
