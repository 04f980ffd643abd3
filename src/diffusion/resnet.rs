//! The residual block of the autoencoder and the U-Net, and their changes of resolution.
//!
//! Reference: diffusers 0.42.1, `models/resnet.py`, `models/downsampling.py`, `models/upsampling.py`.

use burn::config::Config;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Conv2d, Conv2dConfig, GroupNorm, GroupNormConfig, Linear, LinearConfig};
use roentgen_kernels::{Activation, add, add_to_channels, nearest};

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
        let x = self.conv1.forward(self.norm1.forward_then(Activation::Silu, input.clone()));
        let x = match (&self.time_emb_proj, time_embedding) {
            (Some(projection), Some(embedding)) => add_to_channels(x, projection.forward(embedding.clone())),
            (None, None) => x,
            _ => panic!("exactly the blocks that project a time embedding get one"),
        };
        let x = self.conv2.forward(self.norm2.forward_then(Activation::Silu, x));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(input),
            None => input,
        };
        add(shortcut, x)
    }
}

/// Where [`Downsample`] adds zeros.
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
}

impl Downsample {
    pub(super) fn new(channels: usize, border: Border, device: &Device) -> Self {
        let padding = match border {
            Border::AllSides => [(1, 1); 2],
            Border::RightAndBottom => [(0, 1); 2],
        };
        Self { conv: Conv2dConfig::new([channels, channels], [3, 3]).with_stride([2, 2]).with_padding(padding).init(device) }
    }

    /// `[B, C, H, W]` to `[B, C, ceil(H/2), ceil(W/2)]`, or the floors with [`Border::RightAndBottom`].
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.conv.forward(input)
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
        self.conv.forward(nearest(input, size))
    }
}

/// 3x3, stride 1, same size.
pub(super) fn conv3x3(channels: [usize; 2], device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [3, 3]).with_padding_around(1).init(device)
}

#[cfg(test)]
mod tests {
    use roentgen_kernels::silu;

    use super::*;
    use crate::diffusion::autoencoder::testing::{assert_shown, draw, fill};
    use crate::diffusion::weights::KeyMap;

    struct SameNames;
    impl KeyMap for SameNames {}

    // Expected numbers: tests/parity/autoencoders.py (diffusers 0.42.1).

    #[test]
    fn residual_block_with_time_and_shortcut_equals_diffusers() {
        let config = ResnetBlockConfig::new([4, 6], 2, 1e-5).with_time_embedding(Some(6));
        let block = fill(config.init(&Device::flex()), &SameNames);
        let x = block.forward(draw("x", [2, 4, 5, 7], 1.0) * 0.01, Some(&silu(draw("time", [2, 6], 1.0))));
        assert_shown(x, [2, 6, 5, 7], [0.3414215, 0.1620124, 0.2192921, 0.1034371, 0.0419161, 0.1001674]);
    }

    #[test]
    fn residual_block_without_either_equals_diffusers() {
        let block = fill(ResnetBlockConfig::new([4, 4], 2, 1e-6).init(&Device::flex()), &SameNames);
        let x = block.forward(draw("x", [2, 4, 5, 7], 1.0) * 0.01, None);
        assert_shown(x, [2, 4, 5, 7], [0.3424260, 0.1236521, 0.2903044, 0.2140445, -0.1592072, -0.1369486]);
    }

    #[test]
    #[should_panic(expected = "exactly the blocks that project a time embedding get one")]
    fn residual_block_refuses_a_time_that_it_would_ignore() {
        let block = ResnetBlockConfig::new([4, 4], 2, 1e-6).init(&Device::flex());
        block.forward(draw("x", [1, 4, 2, 2], 1.0), Some(&draw("time", [1, 6], 1.0)));
    }

    #[test]
    fn downsampling_pads_as_diffusers() {
        for (border, shape, expected) in [
            (Border::AllSides, [2, 4, 3, 4], [0.3481031, -0.0425321, -0.1012771, 0.3482696, 0.4578206, 0.0019025]),
            (Border::RightAndBottom, [2, 4, 2, 3], [0.4743847, 0.7936482, 0.1517425, -1.0044861, 0.7356895, -0.8440554]),
        ] {
            let layer = fill(Downsample::new(4, border, &Device::flex()), &SameNames);
            assert_shown(layer.forward(draw("x", [2, 4, 5, 7], 1.0)), shape, expected);
        }
    }

    #[test]
    fn upsampling_to_any_size_equals_diffusers() {
        let layer = fill(Upsample::new(4, &Device::flex()), &SameNames);
        let x = layer.forward(draw("x", [2, 4, 5, 7], 1.0), [9, 14]);
        assert_shown(x, [2, 4, 9, 14], [0.4077167, -0.3887311, -0.2208726, 0.5271825, 0.7077290, -0.2476143]);
    }
}
