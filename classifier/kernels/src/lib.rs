//! CPU kernels for [burn](https://burn.dev) that compute in one pass on all threads what burn-flex computes in several passes
//! or on one thread.
//!
//! Each kernel that gradients go through is a burn backend extension with its own backward pass, behind a function on tensors that
//! has the semantics of burn's own composition. It is used for 32-bit floats and brain floats (bfloat16) on the CPU; on every other
//! backend and type that composition runs.
//!
//! | room | kernel |
//! |---|---|
//! | `attention` | scaled dot-product attention of several heads |
//! | `brain` | matrix products of brain floats |
//! | `conv` | convolution |
//! | `dense` | the buffer of a dense block, and the first half of its layers |
//! | `elementwise` | ReLU, SiLU, GELU, quick GELU; a gate's GELU times a value; sums; numbers in another type |
//! | `linear` | rows times a matrix, and a bias |
//! | `maps` | sums, nearest neighbours and channels side by side, between layers |
//! | `norm` | group, batch and layer norm, and batch norm by given statistics, with the activation after them |
//! | `pool` | the largest of 3x3 windows, the mean of 2x2 blocks |
//! | `adamw`, `euclidean` | a step of the optimiser, and the norms of gradients |
//! | `isa` | the choice of the instruction set |
//! | `memory` | inputs, outputs that are written once, matrix products |
//! | `shapes` | what is asked of every shape |
//!
//! # Types
//! All tensors of a call are of one type. Brain floats are what is read and written: sums, softmax and norms are of 32 bits, and each
//! result is rounded to nearest, ties to even. Vectors of a norm may be of 32 bits beside brain floats; AdamW takes 32 bits alone.
//!
//! # Shapes
//! Every function compares the shapes that it is given and panics, with their numbers, where they do not fit: that is a mistake of the
//! caller, as for burn's own operations. No axis of a norm's input may be empty; other kernels give empty outputs for empty inputs.
//!
//! # Why `unsafe` is allowed here
//! Kernels write every element of a fresh buffer exactly once without clearing it first, and call the matrix product of the `gemm`
//! crate on raw pointers. Both are done by `memory`, whose blocks count what they have written and whose products see that their
//! factors are long enough. What is left to kernels is to claim blocks that do not overlap; debug builds and tests check that, too.
//! Products of brain floats use instructions that not every processor has, which `isa` asks for, and some of them by assembly.
//! Every block of unsafe code states why it is sound, and no other crate of the workspace has any. `sanitize.sh` runs the tests under
//! Miri and AddressSanitizer.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]
#![warn(missing_docs)]

mod adamw;
mod attention;
mod brain;
mod conv;
mod dense;
mod elementwise;
mod euclidean;
mod isa;
mod linear;
mod maps;
mod memory;
mod norm;
mod pool;
mod shapes;
#[cfg(test)]
mod small;
#[cfg(test)]
mod testing;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device, Tensor};

pub use adamw::{AdamWNumbers, AdamWStep, Stepped};
pub use attention::{Visible, attention};
pub use conv::conv2d;
pub use dense::{BottleneckOptions, DenseFeatures};
pub use elementwise::activation::{gelu, quick_gelu, relu, silu};
pub use elementwise::add::add;
pub use elementwise::cast::cast;
pub use elementwise::function::Activation;
pub use elementwise::geglu::geglu;
pub use euclidean::{euclidean_norms, euclidean_norms_beside};
pub use isa::{brain_instructions, float_instructions};
pub use linear::linear;
pub use maps::{add_to_channels, join_channels, nearest};
pub use memory::pages::keep_freed_memory;
pub use norm::{BatchNormed, Norm, Over, batch_norm, fixed_norm, group_norm, layer_norm};
pub use pool::{average_pool, max_pool};

/// Whether the kernels compute this tensor.
fn applies<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::BF16) && on_cpu(&tensor.device())
}

/// Whether the kernels that take no brain floats compute this tensor.
fn applies_in_32_bits<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(&tensor.device())
}

/// Whether a device is the CPU, with or without autodiff.
fn on_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
