//! The residual block of the autoencoder and the U-Net, and their changes of resolution.
//!
//! Reference: diffusers 0.42.1, `models/resnet.py`, `models/downsampling.py`, `models/upsampling.py`.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::silu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, PadMode};
use burn::tensor::{Device, Tensor};

/// Configuration of a [`ResnetBlock`].
#[derive(Config, Debug)]
pub(super) struct ResnetBlockConfig {
    /// Input and output channels.
    pub(super) channels: [usize; 2],
    /// Width of the time embedding; `None` in the autoencoder.
    pub(super) time_embedding: Option<usize>,
    /// Groups of both norms.
    pub(super) groups: usize,
    /// Epsilon of both norms: 1e-5 in the U-Net (`norm_eps`), 1e-6 in the autoencoder.
    pub(super) epsilon: f64,
}

/// Two 3x3 convolutions, each after group norm and SiLU, with the time embedding added between them, around a shortcut.
///
/// Should be created using [`ResnetBlockConfig`].
#[derive(Module, Debug)]
pub(super) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    /// 1x1, where the channels change.
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlockConfig {
    pub(super) fn init(&self, device: &Device) -> ResnetBlock {
        let [input, output] = self.channels;
        let norm = |channels| GroupNormConfig::new(self.groups, channels).with_epsilon(self.epsilon).init(device);
        ResnetBlock {
            norm1: norm(input),
            conv1: conv3x3([input, output], device),
            time_emb_proj: self.time_embedding.map(|width| LinearConfig::new(width, output).init(device)),
            norm2: norm(output),
            conv2: conv3x3([output, output], device),
            conv_shortcut: (input != output).then(|| Conv2dConfig::new([input, output], [1, 1]).init(device)),
        }
    }
}

impl ResnetBlock {
    /// # Shapes
    /// - input: `[B, C, H, W]`
    /// - `time_embedding`: `[B, T]` after its SiLU, which all blocks share; given exactly where the configuration has one
    /// - output: `[B, O, H, W]`
    pub(super) fn forward(&self, input: Tensor<4>, time_embedding: Option<&Tensor<2>>) -> Tensor<4> {
        let x = self.conv1.forward(silu(self.norm1.forward(input.clone())));
        let x = match (&self.time_emb_proj, time_embedding) {
            (Some(projection), Some(embedding)) => x + projection.forward(embedding.clone()).unsqueeze_dims::<4>(&[2, 3]),
            (None, None) => x,
            _ => panic!("a time embedding goes to exactly the blocks that project one"),
        };
        let x = self.conv2.forward(silu(self.norm2.forward(x)));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(input),
            None => input,
        };
        shortcut + x
    }
}

/// Where [`Downsample`] adds a border of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// One pixel on every side (the U-Net).
    AllSides,
    /// One pixel on the right and at the bottom (the autoencoder).
    RightAndBottom,
}

/// Half the resolution by a 3x3 convolution of stride 2.
#[derive(Module, Debug)]
pub(super) struct Downsample {
    conv: Conv2d,
    #[module(skip)]
    border: Border,
}

impl Downsample {
    pub(super) fn new(channels: usize, border: Border, device: &Device) -> Self {
        let padding = match border {
            Border::AllSides => PaddingConfig2d::Explicit(1, 1, 1, 1),
            Border::RightAndBottom => PaddingConfig2d::Valid,
        };
        let conv = Conv2dConfig::new([channels, channels], [3, 3]).with_stride([2, 2]).with_padding(padding).init(device);
        Self { conv, border }
    }

    /// `[B, C, H, W]` to `[B, C, ceil(H/2), ceil(W/2)]`, or the floors with [`Border::RightAndBottom`].
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        match self.border {
            Border::AllSides => self.conv.forward(input),
            Border::RightAndBottom => self.conv.forward(input.pad((0, 1, 0, 1), PadMode::Constant(0.0))),
        }
    }
}

/// A higher resolution by nearest neighbours and a 3x3 convolution.
#[derive(Module, Debug)]
pub(super) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self { conv: conv3x3([channels, channels], device) }
    }

    /// `[B, C, H, W]` to `[B, C, size[0], size[1]]`; twice the input's size, or that of the next skip tensor.
    pub(super) fn forward(&self, input: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
        self.conv.forward(interpolate(input, options))
    }
}

/// 3x3, stride 1, same size.
pub(super) fn conv3x3(channels: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
}
