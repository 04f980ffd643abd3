//! CPU kernels: what burn-flex computes in several passes or on one thread, in one pass on all threads.
//!
//! Each is a burn backend extension with its own backward pass, behind a function on tensors that has the semantics of burn's own
//! composition. It is used for 32-bit floats on the CPU; on every other backend and type that composition runs.
//!
//! | room | kernel |
//! |---|---|
//! | `activation` | SiLU |
//! | `attention` | scaled dot-product attention of several heads |
//!
//! # Why `unsafe` is allowed here
//! Kernels write every element of a fresh buffer exactly once without clearing it first, and call the matrix product of the
//! `gemm` crate on raw pointers. Every block states why it is sound; nothing outside this folder is unsafe.
#![allow(unsafe_code)]

mod activation;
mod attention;
mod buffer;
mod exp;
mod product;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};

pub use activation::silu;
pub use attention::{Visible, attention};

/// Whether the kernels compute this tensor.
fn applies<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(&tensor.device())
}

/// Whether a device is the CPU, with or without autodiff.
fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
