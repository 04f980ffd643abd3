//! The block at the lowest resolution.
//!
//! Reference: diffusers 0.42.1, `models/unets/unet_2d_blocks.py` (`UNetMidBlock2DCrossAttn`).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::super::Trace;
use super::super::resnet::ResnetBlock;
use super::condition::Condition;
use super::config::UNetConfig;
use super::layer::layers;
use super::transformer::{Transformer2d, Transformer2dConfig};

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
