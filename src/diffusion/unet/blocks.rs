//! The blocks of the U-Net: on the way down, at the lowest resolution, on the way up.
//!
//! Reference: diffusers 0.42.1, `models/unets/unet_2d_blocks.py` (`CrossAttnDownBlock2D`, `DownBlock2D`, `UNetMidBlock2DCrossAttn`,
//! `CrossAttnUpBlock2D`, `UpBlock2D`).

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use roentgen_kernels::{Visible, join_channels};

use super::config::{UNetBlock, UNetConfig};
use super::transformer::{Transformer2d, Transformer2dConfig};
use crate::diffusion::Trace;
use crate::diffusion::resnet::{Border, Downsample, ResnetBlock, Upsample};

/// Time and text, computed once for all blocks.
pub(super) struct Condition {
    /// `[B, T]`: the time embedding after its SiLU.
    pub(super) time: Tensor<2>,
    /// `[B, L, D]`: the text states.
    pub(super) text: Tensor<3>,
    /// Which of the text states may be seen.
    pub(super) visible: Visible,
}

impl Condition {
    /// `mask`: `[B, L]`, true where a text state may be seen.
    pub(super) fn new(time: Tensor<2>, text: Tensor<3>, mask: Option<Tensor<2, Bool>>) -> Self {
        let [batch, length, _] = text.dims();
        let keys = mask.map(|mask| {
            assert_eq!(mask.dims(), [batch, length], "mask {:?} of texts {:?}", mask.dims(), text.dims());
            // The reference adds -10000 to the scores of hidden states: where all are hidden, that hides none.
            let none_seen = mask.clone().any_dim(1).bool_not().expand([batch, length]);
            mask.bool_or(none_seen)
        });
        Self { time, text, visible: Visible { causal: false, keys } }
    }
}

/// A residual block and what may follow it.
struct Layer<'a> {
    index: usize,
    resnet: &'a ResnetBlock,
    attention: Option<&'a Transformer2d>,
}

/// The layers of a block, in order; the transformers may run out first.
fn layers<'a>(resnets: &'a [ResnetBlock], attentions: &'a [Transformer2d]) -> impl Iterator<Item = Layer<'a>> {
    resnets.iter().enumerate().map(|(index, resnet)| Layer { index, resnet, attention: attentions.get(index) })
}

impl Layer<'_> {
    /// `[B, C, H, W]` to `[B, O, H, W]`.
    fn forward(&self, input: Tensor<4>, condition: &Condition, trace: &mut Trace) -> Tensor<4> {
        let index = self.index;
        let x = self.resnet.forward(input, Some(&condition.time));
        trace.record(&format!("resnets.{index}"), &x);
        let Some(attention) = self.attention else { return x };
        let x = trace.within(format_args!("attentions.{index}"), |trace| attention.forward(x, condition, trace));
        trace.record(&format!("attentions.{index}"), &x);
        x
    }
}

/// Residual blocks, each with a transformer after it in a block with attention, then half the resolution.
#[derive(Module, Debug)]
pub(super) struct DownBlock {
    resnets: Vec<ResnetBlock>,
    /// As many as `resnets`, or none.
    attentions: Vec<Transformer2d>,
    /// One; none in the last block.
    downsamplers: Vec<Downsample>,
}

impl DownBlock {
    /// The block of `config.levels[level]`.
    pub(super) fn new(config: &UNetConfig, level: usize, device: &Device) -> Self {
        let this = &config.levels[level];
        let input = config.levels[level.saturating_sub(1)].channels;
        let resnets = (0..this.layers).map(|i| [if i == 0 { input } else { this.channels }, this.channels]);
        let attentions = if this.down == UNetBlock::CrossAttention { this.layers } else { 0 };
        let last = level + 1 == config.levels.len();
        Self {
            resnets: resnets.map(|channels| config.resnet(channels).init(device)).collect(),
            attentions: (0..attentions).map(|_| config.transformer(this).init(device)).collect(),
            downsamplers: (!last).then(|| Downsample::new(this.channels, Border::AllSides, device)).into_iter().collect(),
        }
    }

    /// `[B, C, H, W]` to `[B, O, ceil(H/2), ceil(W/2)]`, or `[B, O, H, W]` in the last block; adds every result to `skips`.
    pub(super) fn forward(
        &self,
        input: Tensor<4>,
        skips: &mut Vec<Tensor<4>>,
        condition: &Condition,
        trace: &mut Trace,
    ) -> Tensor<4> {
        let mut x = input;
        for layer in layers(&self.resnets, &self.attentions) {
            x = layer.forward(x, condition, trace);
            skips.push(x.clone());
        }
        for downsampler in &self.downsamplers {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

/// A transformer between two residual blocks.
#[derive(Module, Debug)]
pub(super) struct MidBlock {
    /// Two.
    resnets: Vec<ResnetBlock>,
    /// One.
    attentions: Vec<Transformer2d>,
}

impl MidBlock {
    pub(super) fn new(config: &UNetConfig, device: &Device) -> Self {
        let level = config.lowest();
        let resnet = config.resnet([level.channels, level.channels]);
        // Its first attention goes to the pixels, whatever the level's.
        let attention = Transformer2dConfig { only_cross_attention: false, ..config.transformer(level) };
        Self { resnets: vec![resnet.init(device), resnet.init(device)], attentions: vec![attention.init(device)] }
    }

    /// `[B, C, H, W]` to `[B, C, H, W]`.
    pub(super) fn forward(&self, input: Tensor<4>, condition: &Condition, trace: &mut Trace) -> Tensor<4> {
        layers(&self.resnets, &self.attentions).fold(input, |x, layer| layer.forward(x, condition, trace))
    }
}

/// Residual blocks that each take a skip tensor, with a transformer after it in a block with attention, then the next higher
/// resolution.
#[derive(Module, Debug)]
pub(super) struct UpBlock {
    resnets: Vec<ResnetBlock>,
    /// As many as `resnets`, or none.
    attentions: Vec<Transformer2d>,
    /// One; none in the last block.
    upsamplers: Vec<Upsample>,
}

impl UpBlock {
    /// The block of `config.levels[level]`.
    pub(super) fn new(config: &UNetConfig, level: usize, device: &Device) -> Self {
        let this = &config.levels[level];
        let below = config.levels.get(level + 1).unwrap_or(this).channels;
        // The last skip tensor is what came into this level on the way down.
        let above = config.levels[level.saturating_sub(1)].channels;
        let resnets = (0..=this.layers).map(|i| {
            let input = if i == 0 { below } else { this.channels };
            let skip = if i == this.layers { above } else { this.channels };
            [input + skip, this.channels]
        });
        let attentions = if this.up == UNetBlock::CrossAttention { this.layers + 1 } else { 0 };
        Self {
            resnets: resnets.map(|channels| config.resnet(channels).init(device)).collect(),
            attentions: (0..attentions).map(|_| config.transformer(this).init(device)).collect(),
            upsamplers: (level > 0).then(|| Upsample::new(this.channels, device)).into_iter().collect(),
        }
    }

    /// `[B, C, H, W]` to `[B, O, H', W']`, the size of the next of `skips`; takes one of them for each residual block.
    pub(super) fn forward(
        &self,
        input: Tensor<4>,
        skips: &mut Vec<Tensor<4>>,
        condition: &Condition,
        trace: &mut Trace,
    ) -> Tensor<4> {
        let mut x = input;
        for layer in layers(&self.resnets, &self.attentions) {
            let skip = skips.pop().expect("the way down left a skip tensor for every residual block of the way up");
            x = layer.forward(join_channels(x, skip), condition, trace);
        }
        for upsampler in &self.upsamplers {
            let [.., height, width] = skips.last().expect("a block above takes skip tensors too").dims();
            x = upsampler.forward(x, [height, width]);
        }
        x
    }
}
