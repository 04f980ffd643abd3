//! The autoencoder's part at the latent resolution.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig};
use roentgen_kernels::{Visible, attention};

use super::super::resnet::ResnetBlock;
use super::{AutoencoderKlConfig, EPSILON};

/// Two residual blocks with self-attention between them.
#[derive(Module, Debug)]
pub(super) struct MidBlock {
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
    pub(super) fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
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
    pub(super) fn forward(&self, input: Tensor<4>) -> Tensor<4> {
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
        input + x.swap_dims(1, 2).reshape(shape)
    }
}
