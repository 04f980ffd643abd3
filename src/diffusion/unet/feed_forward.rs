//! The feed-forward part of a transformer block.
//!
//! Reference: diffusers 0.42.1, `models/attention.py` (`FeedForward`), `models/activations.py` (`GEGLU`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Linear, LinearConfig};
use roentgen_kernels::geglu;

/// A gated linear unit with GELU, four times as wide inside (Shazeer 2020, GEGLU).
#[derive(Module, Debug)]
pub(super) struct FeedForward {
    /// Values and gates.
    proj: Linear,
    out: Linear,
}

impl FeedForward {
    pub(super) fn new(width: usize, device: &Device) -> Self {
        let inner = 4 * width;
        Self { proj: LinearConfig::new(width, 2 * inner).init(device), out: LinearConfig::new(inner, width).init(device) }
    }

    /// `[B, N, C]` to `[B, N, C]`.
    pub(super) fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.out.forward(geglu(self.proj.forward(tokens)))
    }
}
