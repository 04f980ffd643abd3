//! The U-Net's architecture.

use std::path::Path;

use burn::tensor::Device;
use roentgen_classifier::nn::GroupNormConfig;

use super::super::DiffusionError;
use super::super::options::Options;
use super::super::resnet::{ResnetBlockConfig, conv3x3};
use super::UNet;
use super::config_file;
use super::down_block::DownBlock;
use super::keys::UNetKeys;
use super::level::UNetLevel;
use super::mid_block::MidBlock;
use super::time_embedding::{TimeEmbedding, TimeProjection};
use super::transformer::Transformer2dConfig;
use super::up_block::UpBlock;

/// Architecture of a [`UNet`], as its folder's `config.json` has it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct UNetConfig {
    /// Height and width, in latents, of the images it was trained on.
    pub sample_size: Option<[usize; 2]>,
    /// Channels of what goes in: 4 latents, more for inpainting.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Whether the sample is mapped from `[0, 1]` to `[-1, 1]` first.
    pub center_input_sample: bool,
    /// Whether cosines come before sines in the time embedding.
    pub flip_sin_to_cos: bool,
    /// What is subtracted from half the width of the time embedding in the exponents of its frequencies.
    pub freq_shift: f32,
    /// From the highest resolution to the lowest.
    pub levels: Vec<UNetLevel>,
    /// Width of the text states.
    pub cross_attention_dim: usize,
    /// Groups of all group norms.
    pub norm_num_groups: usize,
    /// Epsilon of the group norms outside transformers.
    pub norm_eps: f64,
    /// Whether files have the projections around a transformer as matrices instead of 1x1 convolutions.
    pub use_linear_projection: bool,
    /// Whether attention scores are computed in 32 bits in a half-precision model.
    pub upcast_attention: bool,
}

impl UNetConfig {
    /// Reads a `config.json` of diffusers, of any version.
    ///
    /// # Errors
    /// [`DiffusionError::Io`] and [`DiffusionError::NotJson`]; [`DiffusionError::OtherModel`] for another class of model or the
    /// U-Net of Stable Diffusion XL; [`DiffusionError::Option`] and [`DiffusionError::UnknownOption`] name an option that
    /// is not computed here.
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        config_file::read(Options::read(path)?)
    }

    /// [`read`](Self::read) from a text; `path` is for messages.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        config_file::read(Options::parse(text, path)?)
    }

    /// A U-Net of this architecture; its weights are random, and not made before they are used.
    #[must_use]
    pub fn init(&self, device: &Device) -> UNet {
        let [highest, levels] = [self.levels[0].channels, self.levels.len()];
        UNet {
            conv_in: conv3x3([self.in_channels, highest], device),
            time_proj: TimeProjection::new(highest, self.flip_sin_to_cos, self.freq_shift),
            time_embedding: TimeEmbedding::new(highest, self.time_width(), device),
            down_blocks: (0..levels).map(|level| DownBlock::new(self, level, device)).collect(),
            mid_block: MidBlock::new(self, device),
            up_blocks: (0..levels).rev().map(|level| UpBlock::new(self, level, device)).collect(),
            conv_norm_out: GroupNormConfig::new(self.norm_num_groups, highest).with_epsilon(self.norm_eps).init(device),
            conv_out: conv3x3([highest, self.out_channels], device),
            center_input_sample: self.center_input_sample,
        }
    }

    /// The names that files have for its tensors.
    #[must_use]
    pub fn keys(&self) -> UNetKeys {
        UNetKeys { linear_projection: self.use_linear_projection }
    }

    /// The level at the lowest resolution, which the middle block is at.
    pub(super) fn lowest(&self) -> &UNetLevel {
        self.levels.last().expect("a configuration has at least one level")
    }

    pub(super) fn resnet(&self, channels: [usize; 2]) -> ResnetBlockConfig {
        ResnetBlockConfig::new(channels, self.norm_num_groups, self.norm_eps).with_time_embedding(Some(self.time_width()))
    }

    pub(super) fn transformer(&self, level: &UNetLevel) -> Transformer2dConfig {
        Transformer2dConfig {
            channels: level.channels,
            heads: level.heads,
            layers: level.transformer_layers,
            text_width: self.cross_attention_dim,
            groups: self.norm_num_groups,
            only_cross_attention: level.only_cross_attention,
            upcast_attention: self.upcast_attention,
        }
    }

    fn time_width(&self) -> usize {
        4 * self.levels[0].channels
    }
}
