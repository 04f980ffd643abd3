//! The layers of the tiny autoencoder.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::activation::mish;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Conv2d, Conv2dConfig, GroupNorm, GroupNormConfig};
use roentgen_kernels::{Activation, add, gelu, nearest, relu, silu};

use crate::diffusion::resnet::conv3x3;

/// Elementwise function between convolutions.
#[derive(Config, Copy, Debug, PartialEq, Eq)]
pub enum TinyActivation {
    /// `max(x, 0)`
    Relu,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Φ(x)`, with the normal distribution function and not its tanh approximation.
    Gelu,
    /// `x * tanh(softplus(x))`
    Mish,
}

impl TinyActivation {
    fn forward(self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Relu => relu(input),
            Self::Silu => silu(input),
            Self::Gelu => gelu(input),
            Self::Mish => mish(input),
        }
    }
}

/// One member of the sequence; its position is its name in files.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a dozen, and burn has no modules in boxes")]
pub(super) enum Layer {
    /// A convolution.
    Conv(Conv2d),
    /// A residual block.
    Block(Block),
    /// A layer without weights.
    Plain(Plain),
}

impl Layer {
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(conv) => conv.forward(input),
            Self::Block(block) => block.forward(input),
            Self::Plain(plain) => plain.forward(input),
        }
    }
}

/// A layer without weights.
#[derive(Module, Debug)]
pub(super) struct Plain {
    #[module(skip)]
    kind: PlainKind,
}

/// What a [`Plain`] layer does.
#[derive(Clone, Copy, Debug)]
pub(super) enum PlainKind {
    Activation(TinyActivation),
    /// Twice the resolution by nearest neighbours.
    Upsample,
}

impl Plain {
    pub(super) fn new(kind: PlainKind) -> Self {
        Self { kind }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self.kind {
            PlainKind::Activation(activation) => activation.forward(input),
            PlainKind::Upsample => {
                let [_, _, height, width] = input.dims();
                nearest(input, [2 * height, 2 * width])
            }
        }
    }
}

/// Three 3x3 convolutions around a shortcut.
#[derive(Module, Debug)]
pub(super) struct Block {
    pool: Option<Pool>,
    conv: [Conv2d; 3],
    #[module(skip)]
    activation: TinyActivation,
}

impl Block {
    pub(super) fn new(width: usize, activation: TinyActivation, pooled: bool, device: &Device) -> Self {
        let conv = || conv3x3([width, width], device);
        Self { pool: pooled.then(|| Pool::new(width, device)), conv: [conv(), conv(), conv()], activation }
    }

    /// `[B, C, H, W]` to the same shape.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let input = match &self.pool {
            Some(pool) => add(pool.forward(input.clone()), input),
            None => input,
        };
        let [first, second, third] = &self.conv;
        let x = self.activation.forward(first.forward(input.clone()));
        let x = self.activation.forward(second.forward(x));
        relu(add(third.forward(x), input))
    }
}

/// 1x1 convolutions with a group norm over the whole image between them.
#[derive(Module, Debug)]
struct Pool {
    conv_in: Conv2d,
    norm: GroupNorm,
    conv_out: Conv2d,
}

impl Pool {
    const GROUPS: usize = 4;
    /// Channels between the convolutions, for each outside.
    const EXPANSION: usize = 4;

    fn new(width: usize, device: &Device) -> Self {
        let inner = Self::EXPANSION * width;
        let conv = |channels| Conv2dConfig::new(channels, [1, 1]).with_bias(false).init(device);
        Self {
            conv_in: conv([width, inner]),
            norm: GroupNormConfig::new(Self::GROUPS, inner).init(device),
            conv_out: conv([inner, width]),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.norm.forward_then(Activation::Relu, self.conv_in.forward(input));
        self.conv_out.forward(x)
    }
}
