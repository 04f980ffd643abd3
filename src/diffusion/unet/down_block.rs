//! Blocks on the way down.
//!
//! Reference: diffusers 0.42.1, `models/unets/unet_2d_blocks.py` (`CrossAttnDownBlock2D`, `DownBlock2D`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::super::Trace;
use super::super::resnet::{Border, Downsample, ResnetBlock};
use super::condition::Condition;
use super::config::UNetConfig;
use super::layer::layers;
use super::level::UNetBlock;
use super::transformer::Transformer2d;

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
