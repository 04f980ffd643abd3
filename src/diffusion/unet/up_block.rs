//! Blocks on the way up.
//!
//! Reference: diffusers 0.42.1, `models/unets/unet_2d_blocks.py` (`CrossAttnUpBlock2D`, `UpBlock2D`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::super::Trace;
use super::super::resnet::{ResnetBlock, Upsample};
use super::condition::Condition;
use super::config::UNetConfig;
use super::layer::layers;
use super::level::UNetBlock;
use super::transformer::Transformer2d;

/// Residual blocks that each take a skip tensor in, with a transformer after it in a block with attention, then the next higher
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
            x = layer.forward(Tensor::cat(vec![x, skip], 1), condition, trace);
        }
        for upsampler in &self.upsamplers {
            let [.., height, width] = skips.last().expect("a block above takes skip tensors too").dims();
            x = upsampler.forward(x, [height, width]);
        }
        x
    }
}
