//! The networks of the autoencoder: images to means and log-variances, and latents to images.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use roentgen_classifier::nn::{Conv2d, GroupNorm, GroupNormConfig, Linear, LinearConfig};
use roentgen_kernels::{Activation, Visible, add, attention};

use super::EPSILON;
use super::config::AutoencoderKlConfig;
use crate::diffusion::Trace;
use crate::diffusion::resnet::{Border, Downsample, ResnetBlock, Upsample, conv3x3};

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

    /// The type of its weights.
    pub(super) fn dtype(&self) -> DType {
        self.conv_in.weight.val().dtype()
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

/// Two residual blocks with self-attention between them.
#[derive(Module, Debug)]
struct MidBlock {
    attentions: Option<[AttentionBlock; 1]>,
    resnets: [ResnetBlock; 2],
}

/// Self-attention of every pixel with all others in one head, around a shortcut.
#[derive(Module, Debug)]
struct AttentionBlock {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: [Linear; 1],
}

impl MidBlock {
    fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let width = config.deepest();
        let resnet = || config.resnet([width, width]).init(device);
        let linear = || LinearConfig::new(width, width).init(device);
        let attention = || AttentionBlock {
            group_norm: GroupNormConfig::new(config.norm_num_groups, width).with_epsilon(EPSILON).init(device),
            to_q: linear(),
            to_k: linear(),
            to_v: linear(),
            to_out: [linear()],
        };
        Self { attentions: config.mid_block_add_attention.then(|| [attention()]), resnets: [resnet(), resnet()] }
    }

    /// `[B, C, H, W]` to the same shape.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let [first, second] = &self.resnets;
        let x = first.forward(input, None);
        let x = self.attentions.iter().flatten().fold(x, |x, attention| attention.forward(x));
        second.forward(x, None)
    }
}

impl AttentionBlock {
    /// `[B, C, H, W]` to the same shape.
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let shape = input.dims();
        let [batch, channels, height, width] = shape;
        let tokens = self.group_norm.forward(input.clone()).reshape([batch, channels, height * width]).swap_dims(1, 2);
        let [query, key, value] = [&self.to_q, &self.to_k, &self.to_v].map(|projection| projection.forward(tokens.clone()));
        let x = self.to_out[0].forward(attention(query, key, value, 1, &Visible::default()));
        add(x.swap_dims(1, 2), input.reshape([batch, channels, height * width])).reshape(shape)
    }
}
