//! The U-Net's architecture, level by level.

use std::path::Path;

use burn::tensor::Device;
use roentgen_classifier::nn::GroupNormConfig;

use super::blocks::{DownBlock, MidBlock, UpBlock};
use super::config_file::{per_level, same_length};
use super::keys::UNetKeys;
use super::time_embedding::{TimeEmbedding, TimeProjection};
use super::transformer::Transformer2dConfig;
use super::{UNet, config_file};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{LAYERS, Options, WIDTH};
use crate::diffusion::resnet::{ResnetBlockConfig, conv3x3};

/// Architecture of a [`UNet`], as in its folder's `config.json`.
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
    /// Number subtracted from half the width of the time embedding in the exponents of its frequencies.
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

    /// A U-Net of this architecture; its weights are random and made on first use.
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

/// Kind of a block of residual layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UNetBlock {
    /// Residual blocks alone (`DownBlock2D`, `UpBlock2D`).
    Plain,
    /// A transformer after each residual block (`CrossAttnDownBlock2D`, `CrossAttnUpBlock2D`).
    CrossAttention,
}

/// One resolution: the block on the way down and the one on the way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UNetLevel {
    /// Channels of the features.
    pub channels: usize,
    /// Residual blocks on the way down; there is one more on the way up.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks of each transformer.
    pub transformer_layers: usize,
    /// Whether both attentions of a transformer block go to the text.
    pub only_cross_attention: bool,
    /// On the way down.
    pub down: UNetBlock,
    /// On the way up.
    pub up: UNetBlock,
}

/// The levels of the options, from the highest resolution to the lowest.
pub(super) fn levels(options: &mut Options) -> Result<Vec<UNetLevel>, DiffusionError> {
    let channels = options.take_or("block_out_channels", vec![320, 640, 1280, 1280])?;
    options.in_range("block_out_channels", &channels, WIDTH)?;
    let count = channels.len();
    if !LAYERS.contains(&count) {
        return Err(options.refuse("block_out_channels", &format!("{channels:?}"), "channels of at least one level"));
    }
    let down = blocks(options, "down_block_types", ["DownBlock2D", "CrossAttnDownBlock2D"], 3, count)?;
    let mut up = blocks(options, "up_block_types", ["UpBlock2D", "CrossAttnUpBlock2D"], 0, count)?;
    up.reverse();
    let layers = per_level(options, "layers_per_block", 2, count)?;
    options.in_range("layers_per_block", &layers, LAYERS)?;
    let transformer_layers = per_level(options, "transformer_layers_per_block", 1, count)?;
    options.in_range("transformer_layers_per_block", &transformer_layers, LAYERS)?;
    let only_cross_attention = per_level(options, "only_cross_attention", false, count)?;
    // By its name the width of a head, and always used as the number of heads; `num_attention_heads` is the right name, which
    // few files have.
    let key = if options.peek("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
    let heads = per_level(options, key, 8, count)?;
    options.in_range(key, &heads, WIDTH)?;
    options.without_influence(&["num_attention_heads", "attention_head_dim"]);
    let level = |i| UNetLevel {
        channels: channels[i],
        layers: layers[i],
        heads: heads[i],
        transformer_layers: transformer_layers[i],
        only_cross_attention: only_cross_attention[i],
        down: down[i],
        up: up[i],
    };
    Ok((0..count).map(level).collect())
}

/// Names of block classes; of `names`, the first is the plain one. `plain` is where the default has that one.
fn blocks(
    options: &mut Options,
    key: &str,
    names: [&str; 2],
    plain: usize,
    count: usize,
) -> Result<Vec<UNetBlock>, DiffusionError> {
    let default = || (0..4).map(|i| names[usize::from(i != plain)].to_owned()).collect();
    let classes: Vec<String> = options.take(key)?.unwrap_or_else(default);
    let block = |class: &String| match names.iter().position(|name| name == class) {
        Some(0) => Ok(UNetBlock::Plain),
        Some(_) => Ok(UNetBlock::CrossAttention),
        None => Err(options.refuse(key, &format!("{classes:?}"), &format!("blocks of class {} or {}", names[0], names[1]))),
    };
    let blocks = classes.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    same_length(options, key, blocks.len(), count)?;
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_from_the_highest_resolution_to_the_lowest() {
        let config = UNetConfig::parse(
            r#"{"attention_head_dim": [5, 10, 20, 20], "layers_per_block": [1, 2, 3, 4], "sample_size": [48, 96],
                "only_cross_attention": [true, true, true, false], "transformer_layers_per_block": [1, 2, 3, 4],
                "cross_attention_dim": [1024, 1024, 1024, 1024], "num_attention_heads": null, "use_linear_projection": true,
                "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"]}"#,
            Path::new("config.json"),
        )
        .unwrap();
        assert_eq!(config.sample_size, Some([48, 96]));
        assert_eq!(config.cross_attention_dim, 1024);
        assert!(config.use_linear_projection);
        let of = |field: fn(&UNetLevel) -> usize| config.levels.iter().map(field).collect::<Vec<_>>();
        assert_eq!(of(|level| level.heads), [5, 10, 20, 20]);
        assert_eq!(of(|level| level.layers), [1, 2, 3, 4]);
        assert_eq!(of(|level| level.transformer_layers), [1, 2, 3, 4]);
        assert_eq!(of(|level| usize::from(level.only_cross_attention)), [1, 1, 1, 0]);
        // The list of blocks on the way up begins at the lowest resolution.
        assert_eq!(of(|level| usize::from(level.up == UNetBlock::CrossAttention)), [0, 0, 0, 1]);
        let named = r#"{"num_attention_heads": 16, "attention_head_dim": 64}"#;
        let named = UNetConfig::parse(named, Path::new("config.json")).unwrap();
        assert_eq!(named.levels[0].heads, 16);
    }
}
