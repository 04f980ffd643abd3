//! Attention with projections, to the tokens themselves or to a text.
//!
//! Reference: diffusers 0.42.1, `models/attention_processor.py` (`Attention`, `AttnProcessor2_0`).

use burn::module::Module;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use roentgen_classifier::nn::{Linear, LinearConfig};
use roentgen_kernels::{Visible, attention};

/// Configuration of a [`CrossAttention`].
#[derive(Clone, Copy, Debug)]
pub(super) struct CrossAttentionConfig {
    /// Width of the tokens that ask.
    pub(super) width: usize,
    /// Width of the tokens that are asked.
    pub(super) context_width: usize,
    /// Number of heads, each `width / heads` wide.
    pub(super) heads: usize,
    /// Compute scores in 32 bits whatever the type of the weights: Stable Diffusion 2.1's exceed half precision's range.
    pub(super) upcast: bool,
}

/// Multi-head attention; queries, keys and values have no bias.
#[derive(Module, Debug)]
pub(super) struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    upcast: bool,
}

impl CrossAttentionConfig {
    pub(super) fn init(&self, device: &Device) -> CrossAttention {
        let linear = |input, bias| LinearConfig::new(input, self.width).with_bias(bias).init(device);
        CrossAttention {
            to_q: linear(self.width, false),
            to_k: linear(self.context_width, false),
            to_v: linear(self.context_width, false),
            to_out: linear(self.width, true),
            heads: self.heads,
            upcast: self.upcast,
        }
    }
}

impl CrossAttention {
    /// # Shapes
    /// - tokens: `[B, N, C]`
    /// - context: `[B, L, D]`
    /// - output: `[B, N, C]`
    pub(super) fn forward(&self, tokens: Tensor<3>, context: Tensor<3>, visible: &Visible) -> Tensor<3> {
        let dtype = tokens.dtype();
        let query = self.to_q.forward(tokens);
        let key = self.to_k.forward(context.clone());
        let value = self.to_v.forward(context);
        let attended = if self.upcast && matches!(dtype, DType::F16 | DType::BF16) {
            let wide = |x: Tensor<3>| x.cast(FloatDType::F32);
            attention(wide(query), wide(key), wide(value), self.heads, visible).cast(FloatDType::from(dtype))
        } else {
            attention(query, key, value, self.heads, visible)
        };
        self.to_out.forward(attended)
    }
}
