//! Latents to images.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Conv2d, GroupNorm, GroupNormConfig};
use roentgen_kernels::Activation;

use super::super::Trace;
use super::super::resnet::{ResnetBlock, Upsample, conv3x3};
use super::mid_block::MidBlock;
use super::{AutoencoderKlConfig, EPSILON};

/// Attention at the latent resolution, then convolutions up to the image's.
#[derive(Module, Debug)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpDecoderBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// Residual blocks of one resolution.
#[derive(Module, Debug)]
struct UpDecoderBlock {
    resnets: Vec<ResnetBlock>,
    /// Absent in the last block.
    upsamplers: Option<[Upsample; 1]>,
}

impl Decoder {
    pub(super) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let widths: Vec<usize> = config.block_out_channels.iter().copied().rev().collect();
        let up_blocks = widths.iter().enumerate().map(|(i, &width)| UpDecoderBlock {
            resnets: (0..=config.layers_per_block)
                .map(|layer| if layer == 0 { widths[i.saturating_sub(1)] } else { width })
                .map(|input| config.resnet([input, width]).init(device))
                .collect(),
            upsamplers: (i + 1 < widths.len()).then(|| [Upsample::new(width, device)]),
        });
        let shallowest = config.block_out_channels[0];
        Self {
            conv_in: conv3x3([config.latent_channels, config.deepest()], device),
            mid_block: MidBlock::new(config, device),
            up_blocks: up_blocks.collect(),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, shallowest).with_epsilon(EPSILON).init(device),
            conv_out: conv3x3([shallowest, config.out_channels], device),
        }
    }

    /// `[B, latent_channels, H, W]` to `[B, C, factor * H, factor * W]`.
    pub(super) fn forward(&self, latents: Tensor<4>, trace: &mut Trace) -> Tensor<4> {
        let mut x = self.mid_block.forward(self.conv_in.forward(latents));
        trace.record("mid_block", &x);
        for (i, block) in self.up_blocks.iter().enumerate() {
            x = block.forward(x);
            trace.record(&format!("up_blocks.{i}"), &x);
        }
        self.conv_out.forward(self.conv_norm_out.forward_then(Activation::Silu, x))
    }
}

impl UpDecoderBlock {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.resnets.iter().fold(input, |x, resnet| resnet.forward(x, None));
        self.upsamplers.iter().flatten().fold(x, |x, upsampler| {
            let [_, _, height, width] = x.dims();
            upsampler.forward(x, [2 * height, 2 * width])
        })
    }
}
