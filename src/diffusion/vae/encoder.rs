//! Images to means and log-variances.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Conv2d, GroupNorm, GroupNormConfig};
use roentgen_kernels::Activation;

use super::super::Trace;
use super::super::resnet::{Border, Downsample, ResnetBlock, conv3x3};
use super::mid_block::MidBlock;
use super::{AutoencoderKlConfig, EPSILON};

/// Convolutions down to the latent resolution, then attention.
#[derive(Module, Debug)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownEncoderBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// Residual blocks of one resolution.
#[derive(Module, Debug)]
struct DownEncoderBlock {
    resnets: Vec<ResnetBlock>,
    /// Absent in the last block.
    downsamplers: Option<[Downsample; 1]>,
}

impl Encoder {
    pub(super) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let widths = &config.block_out_channels;
        let down_blocks = widths.iter().enumerate().map(|(i, &width)| DownEncoderBlock {
            resnets: (0..config.layers_per_block)
                .map(|layer| if layer == 0 { widths[i.saturating_sub(1)] } else { width })
                .map(|input| config.resnet([input, width]).init(device))
                .collect(),
            downsamplers: (i + 1 < widths.len()).then(|| [Downsample::new(width, Border::RightAndBottom, device)]),
        });
        let deepest = config.deepest();
        Self {
            conv_in: conv3x3([config.in_channels, widths[0]], device),
            down_blocks: down_blocks.collect(),
            mid_block: MidBlock::new(config, device),
            conv_norm_out: GroupNormConfig::new(config.norm_num_groups, deepest).with_epsilon(EPSILON).init(device),
            conv_out: conv3x3([deepest, 2 * config.latent_channels], device),
        }
    }

    /// `[B, C, H, W]` to `[B, 2 * latent_channels, H / factor, W / factor]`.
    pub(super) fn forward(&self, images: Tensor<4>, trace: &mut Trace) -> Tensor<4> {
        let mut x = self.conv_in.forward(images);
        for (i, block) in self.down_blocks.iter().enumerate() {
            x = block.forward(x);
            trace.record(&format!("down_blocks.{i}"), &x);
        }
        let x = self.mid_block.forward(x);
        trace.record("mid_block", &x);
        let x = self.conv_out.forward(self.conv_norm_out.forward_then(Activation::Silu, x));
        trace.record("conv_out", &x);
        x
    }
}

impl DownEncoderBlock {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let x = self.resnets.iter().fold(input, |x, resnet| resnet.forward(x, None));
        self.downsamplers.iter().flatten().fold(x, |x, downsampler| downsampler.forward(x))
    }
}
