//! The transformer between the U-Net's residual blocks: attention to the pixels and to the text, and a feed-forward network.
//!
//! Reference: diffusers 0.42.1, `models/transformers/transformer_2d.py` (`Transformer2DModel`), `models/attention.py`
//! (`BasicTransformerBlock`, `FeedForward`), `models/attention_processor.py` (`Attention`, `AttnProcessor2_0`) and
//! `models/activations.py` (`GEGLU`).

use burn::module::Module;
use burn::tensor::{DType, Device, FloatDType, Tensor};
use roentgen_classifier::nn::{GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use roentgen_kernels::{Visible, add, attention, geglu};

use super::blocks::Condition;
use crate::diffusion::Trace;

/// Configuration of a [`Transformer2d`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Transformer2dConfig {
    pub(super) channels: usize,
    pub(super) heads: usize,
    /// Number of blocks.
    pub(super) layers: usize,
    /// Width of the text states.
    pub(super) text_width: usize,
    /// Groups of the norm.
    pub(super) groups: usize,
    /// The first attention of each block goes to the text too, instead of to the pixels.
    pub(super) only_cross_attention: bool,
    /// Scores in 32 bits.
    pub(super) upcast_attention: bool,
}

/// Every pixel as a token: attends to the others and to the text, around a shortcut.
#[derive(Module, Debug)]
pub(super) struct Transformer2d {
    norm: GroupNorm,
    /// A 1x1 convolution in files of Stable Diffusion 1, which is the same as a linear layer.
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl Transformer2dConfig {
    pub(super) fn init(&self, device: &Device) -> Transformer2d {
        // Not the configuration's norm_eps.
        const EPSILON: f64 = 1e-6;
        let linear = || LinearConfig::new(self.channels, self.channels).init(device);
        Transformer2d {
            norm: GroupNormConfig::new(self.groups, self.channels).with_epsilon(EPSILON).init(device),
            proj_in: linear(),
            transformer_blocks: (0..self.layers).map(|_| TransformerBlock::new(self, device)).collect(),
            proj_out: linear(),
        }
    }
}

impl Transformer2d {
    /// `[B, C, H, W]` to `[B, C, H, W]`.
    pub(super) fn forward(&self, input: Tensor<4>, condition: &Condition, trace: &mut Trace) -> Tensor<4> {
        let shape @ [batch, channels, height, width] = input.dims();
        let x = self.norm.forward(input.clone()).reshape([batch, channels, height * width]);
        let mut tokens = self.proj_in.forward(x.swap_dims(1, 2)); // [B, H * W, C]
        for (i, block) in self.transformer_blocks.iter().enumerate() {
            tokens = trace.within(format_args!("transformer_blocks.{i}"), |trace| block.forward(tokens, condition, trace));
        }
        let x = self.proj_out.forward(tokens).swap_dims(1, 2); // [B, C, H * W]
        add(x, input.reshape([batch, channels, height * width])).reshape(shape)
    }
}

/// Attention to the pixels, attention to the text and a feed-forward network, each after a norm and around a shortcut.
#[derive(Module, Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: CrossAttention,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff: FeedForward,
    only_cross_attention: bool,
}

impl TransformerBlock {
    fn new(config: &Transformer2dConfig, device: &Device) -> Self {
        const EPSILON: f64 = 1e-5;
        let norm = || LayerNormConfig::new(config.channels).with_epsilon(EPSILON).init(device);
        let to_pixels = CrossAttentionConfig {
            width: config.channels,
            context_width: config.channels,
            heads: config.heads,
            upcast: config.upcast_attention,
        };
        let to_text = CrossAttentionConfig { context_width: config.text_width, ..to_pixels };
        let first = if config.only_cross_attention { to_text } else { to_pixels };
        Self {
            norm1: norm(),
            attn1: first.init(device),
            norm2: norm(),
            attn2: to_text.init(device),
            norm3: norm(),
            ff: FeedForward::new(config.channels, device),
            only_cross_attention: config.only_cross_attention,
        }
    }

    /// `[B, N, C]` to `[B, N, C]`.
    fn forward(&self, tokens: Tensor<3>, condition: &Condition, trace: &mut Trace) -> Tensor<3> {
        let x = self.norm1.forward(tokens.clone());
        trace.record("norm1", &x);
        // The reference hides no text state from the first attention.
        let context = if self.only_cross_attention { condition.text.clone() } else { x.clone() };
        let x = self.attn1.forward(x, context, &Visible::default());
        trace.record("attn1", &x);
        let tokens = add(tokens, x);

        let x = self.attn2.forward(self.norm2.forward(tokens.clone()), condition.text.clone(), &condition.visible);
        trace.record("attn2", &x);
        let tokens = add(tokens, x);

        let x = self.ff.forward(self.norm3.forward(tokens.clone()));
        trace.record("ff", &x);
        add(tokens, x)
    }
}

/// Configuration of a [`CrossAttention`].
#[derive(Clone, Copy, Debug)]
struct CrossAttentionConfig {
    /// Width of the query tokens.
    width: usize,
    /// Width of the key and value tokens.
    context_width: usize,
    /// Number of heads, each `width / heads` wide.
    heads: usize,
    /// Compute scores in 32 bits whatever the type of the weights: Stable Diffusion 2.1's exceed half precision's range.
    upcast: bool,
}

/// Multi-head attention; queries, keys and values have no bias.
#[derive(Module, Debug)]
struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    upcast: bool,
}

impl CrossAttentionConfig {
    fn init(&self, device: &Device) -> CrossAttention {
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
    fn forward(&self, tokens: Tensor<3>, context: Tensor<3>, visible: &Visible) -> Tensor<3> {
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

/// A gated linear unit with GELU, four times as wide inside (Shazeer 2020, GEGLU).
#[derive(Module, Debug)]
struct FeedForward {
    /// Values and gates.
    proj: Linear,
    out: Linear,
}

impl FeedForward {
    fn new(width: usize, device: &Device) -> Self {
        let inner = 4 * width;
        Self { proj: LinearConfig::new(width, 2 * inner).init(device), out: LinearConfig::new(inner, width).init(device) }
    }

    /// `[B, N, C]` to `[B, N, C]`.
    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.out.forward(geglu(self.proj.forward(tokens)))
    }
}
