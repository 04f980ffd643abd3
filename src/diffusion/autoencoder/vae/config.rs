//! Architecture of an [`AutoencoderKl`], read from diffusers' `config.json`, and the names of its tensors.

use std::path::Path;

use burn::config::Config;
use burn::tensor::Device;
use serde::Deserialize;
use serde_json::json;

use super::{AutoencoderKl, EPSILON};
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::tiles::Tile;
use crate::diffusion::options::{LAYERS, Options, SIDE, WIDTH};
use crate::diffusion::resnet::ResnetBlockConfig;
use crate::diffusion::weights::KeyMap;

/// Architecture of an [`AutoencoderKl`]; the defaults are those of `diffusers.AutoencoderKL`.
#[derive(Config, Debug, PartialEq)]
pub struct AutoencoderKlConfig {
    /// Channels of the image that is encoded.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Channels of the image that is decoded.
    #[config(default = 3)]
    pub out_channels: usize,
    /// Channels at each resolution, the highest first; each next one has half the resolution.
    #[config(default = "vec![64]")]
    pub block_out_channels: Vec<usize>,
    /// Residual blocks at each resolution of the encoder; the decoder has one more.
    #[config(default = 1)]
    pub layers_per_block: usize,
    /// Channels of a latent.
    #[config(default = 4)]
    pub latent_channels: usize,
    /// Groups of every norm; divides all of `block_out_channels`.
    #[config(default = 32)]
    pub norm_num_groups: usize,
    /// Side of the training images, pixels; the side of tiles.
    #[config(default = 32)]
    pub sample_size: usize,
    /// Factor from latents to the denoiser's; 1 over their standard deviation.
    #[config(default = 0.18215)]
    pub scaling_factor: f64,
    /// A 1x1 convolution behind the encoder.
    #[config(default = true)]
    pub use_quant_conv: bool,
    /// A 1x1 convolution before the decoder.
    #[config(default = true)]
    pub use_post_quant_conv: bool,
    /// Self-attention at the lowest resolution.
    #[config(default = true)]
    pub mid_block_add_attention: bool,
}

/// diffusers writes a number, or a pair for images that are not square.
#[derive(Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Side(usize),
    Sides([usize; 2]),
}

impl AutoencoderKlConfig {
    /// The class in `config.json`.
    pub(in crate::diffusion) const CLASS: &str = "AutoencoderKL";

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`DiffusionError::Io`]; otherwise those of [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        Self::from_options(Options::read(path)?)
    }

    /// Reads the text of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`DiffusionError::NotJson`], [`DiffusionError::OtherModel`], [`DiffusionError::UnknownOption`] and
    /// [`DiffusionError::Option`], which names an option and what is computed here.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        Self::from_options(Options::parse(text, path)?)
    }

    pub(in crate::diffusion) fn from_options(mut options: Options) -> Result<Self, DiffusionError> {
        options.expect_class(Self::CLASS)?;
        let default = Self::new();
        let sample_size = match options.take("sample_size")? {
            None => default.sample_size,
            Some(SampleSize::Side(side) | SampleSize::Sides([side, _])) => side,
        };
        options.in_range("sample_size", &[sample_size], SIDE)?;
        let config = Self {
            in_channels: options.within("in_channels", default.in_channels, WIDTH)?,
            out_channels: options.within("out_channels", default.out_channels, WIDTH)?,
            block_out_channels: options.per_resolution("block_out_channels", default.block_out_channels, WIDTH)?,
            layers_per_block: options.within("layers_per_block", default.layers_per_block, LAYERS)?,
            latent_channels: options.within("latent_channels", default.latent_channels, WIDTH)?,
            norm_num_groups: options.within("norm_num_groups", default.norm_num_groups, WIDTH)?,
            sample_size,
            scaling_factor: options.factor("scaling_factor", default.scaling_factor)?,
            use_quant_conv: options.take_or("use_quant_conv", default.use_quant_conv)?,
            use_post_quant_conv: options.take_or("use_post_quant_conv", default.use_post_quant_conv)?,
            mid_block_add_attention: options.take_or("mid_block_add_attention", default.mid_block_add_attention)?,
        };
        config.refuse_other_blocks(&mut options)?;
        options.neutral("act_fn", &[json!("silu"), json!("swish")])?;
        // diffusers' Stable Diffusion pipelines read none of these; other pipelines shift latents by them.
        options.neutral("shift_factor", &[json!(0)])?;
        options.neutral("latents_mean", &[])?;
        options.neutral("latents_std", &[])?;
        // Whether diffusers computes in 32 bits although asked for 16.
        options.without_influence(&["force_upcast"]);
        options.finish()?;
        Ok(config)
    }

    fn refuse_other_blocks(&self, options: &mut Options) -> Result<(), DiffusionError> {
        let blocks = self.block_out_channels.len();
        for (key, known) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
            let types: Vec<String> = options.take_or(key, vec![known.to_owned()])?;
            if types.len() != blocks || types.iter().any(|other| other != known) {
                return Err(options.refuse(
                    key,
                    &format!("{types:?}"),
                    &format!("{blocks} times \"{known}\", one for each of block_out_channels"),
                ));
            }
        }
        match self.block_out_channels.iter().find(|channels| *channels % self.norm_num_groups != 0) {
            None => Ok(()),
            Some(channels) => Err(options.refuse(
                "norm_num_groups",
                &self.norm_num_groups.to_string(),
                &format!("a divisor of {channels} channels"),
            )),
        }
    }

    /// Pixels along the side of a latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// The tile that diffusers takes: `sample_size` pixels, or a little more where the resolutions ask for it.
    #[must_use]
    pub fn default_tile(&self) -> Tile {
        Tile::at_least(self.sample_size, self.factor())
    }

    /// A model of this shape; its weights are drawn when first used, unless they are loaded before.
    #[must_use]
    pub fn init(&self, device: &Device) -> AutoencoderKl {
        AutoencoderKl::new(self, device)
    }

    /// A residual block of the encoder and the decoder.
    pub(super) fn resnet(&self, channels: [usize; 2]) -> ResnetBlockConfig {
        ResnetBlockConfig::new(channels, self.norm_num_groups, EPSILON)
    }

    /// Channels at the lowest resolution.
    pub(super) fn deepest(&self) -> usize {
        *self.block_out_channels.last().expect("there is at least one resolution")
    }
}

/// Names of an [`AutoencoderKl`] in files.
///
/// Before diffusers 0.17 the attention's layers had other names, which most Stable Diffusion checkpoints still have.
#[derive(Clone, Copy, Debug)]
pub struct AutoencoderKlKeys;

/// Old and current name of a layer within an attention.
const RENAMED: [(&str, &str); 4] = [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

impl KeyMap for AutoencoderKlKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let renamed = RENAMED.iter().find_map(|(old, new)| {
            let (block, rest) = name.split_once(&format!(".attentions.0.{old}."))?;
            Some(format!("{block}.attentions.0.{new}.{rest}"))
        });
        Some(renamed.unwrap_or_else(|| name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AutoencoderKlConfig, DiffusionError> {
        AutoencoderKlConfig::parse(text, Path::new("vae/config.json"))
    }

    /// Stable Diffusion 1.4's file of 2022.
    const OLD: &str = r#"{
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.2.2", "act_fn": "silu",
        "block_out_channels": [128, 256, 512, 512], "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
        "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
        "out_channels": 3, "sample_size": 512,
        "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}"#;

    #[test]
    fn old_files_get_the_defaults() {
        let config = parse(OLD).unwrap();
        let expected = AutoencoderKlConfig::new()
            .with_block_out_channels(vec![128, 256, 512, 512])
            .with_layers_per_block(2)
            .with_sample_size(512);
        assert_eq!(config, expected);
        assert_eq!((config.scaling_factor, config.norm_num_groups, config.factor()), (0.18215, 32, 8));
        assert_eq!(config.default_tile(), Tile::new(512, 8).unwrap());
    }

    #[test]
    fn current_files_are_read() {
        // What diffusers 0.42.1 writes, with other values than the defaults.
        let text = r#"{
            "_class_name": "AutoencoderKL", "_diffusers_version": "0.42.1", "_name_or_path": "somewhere", "act_fn": "swish",
            "block_out_channels": [16, 24], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
            "force_upcast": false, "in_channels": 1, "latent_channels": 16, "latents_mean": null, "latents_std": null,
            "layers_per_block": 3, "mid_block_add_attention": false, "norm_num_groups": 8, "out_channels": 2,
            "sample_size": [30, 20], "scaling_factor": 0.5, "shift_factor": 0.0,
            "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"], "use_post_quant_conv": false, "use_quant_conv": false}"#;
        let config = parse(text).unwrap();
        let expected = AutoencoderKlConfig {
            in_channels: 1,
            out_channels: 2,
            block_out_channels: vec![16, 24],
            layers_per_block: 3,
            latent_channels: 16,
            norm_num_groups: 8,
            sample_size: 30,
            scaling_factor: 0.5,
            use_quant_conv: false,
            use_post_quant_conv: false,
            mid_block_add_attention: false,
        };
        assert_eq!(config, expected);
        assert_eq!(config.default_tile(), Tile::new(32, 2).unwrap());
    }

    #[test]
    fn whatever_would_change_the_numbers_is_refused_by_name() {
        let attention = r#"{"down_block_types": ["AttnDownEncoderBlock2D"]}"#;
        for (text, part) in [
            (attention, "`down_block_types` is [\"AttnDownEncoderBlock2D\"], expected 1 times \"DownEncoderBlock2D\""),
            (r#"{"block_out_channels": [32, 64]}"#, "expected 2 times \"DownEncoderBlock2D\""),
            (r#"{"up_block_types": []}"#, "`up_block_types` is []"),
            (r#"{"block_out_channels": [], "down_block_types": []}"#, "`block_out_channels` is a list of 0"),
            (r#"{"block_out_channels": [48]}"#, "`norm_num_groups` is 32, expected a divisor of 48 channels"),
            (r#"{"norm_num_groups": 0}"#, "`norm_num_groups` is 0, expected 1 to 65536"),
            (r#"{"layers_per_block": 0}"#, "`layers_per_block` is 0"),
            (r#"{"scaling_factor": 0.0}"#, "`scaling_factor` is 0, expected a number above 0"),
            (r#"{"sample_size": "large"}"#, "`sample_size` is \"large\""),
            (r#"{"act_fn": "gelu"}"#, "`act_fn` is \"gelu\", expected \"silu\" or \"swish\""),
            (r#"{"shift_factor": 0.1159}"#, "`shift_factor` is 0.1159, expected 0"),
            (r#"{"latents_mean": [0.0]}"#, "`latents_mean` is [0.0], expected null"),
            (r#"{"patch_size": [2, 2]}"#, "unknown option `patch_size` (= [2,2])"),
            (r#"{"_class_name": "VQModel"}"#, "is the configuration of \"VQModel\"; expected that of \"AutoencoderKL\""),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("vae/config.json"), "{text}: {message}");
        }
    }

    #[test]
    fn old_names_become_current_ones() {
        for (old, current) in [
            ("encoder.mid_block.attentions.0.query.weight", "encoder.mid_block.attentions.0.to_q.weight"),
            ("decoder.mid_block.attentions.0.key.bias", "decoder.mid_block.attentions.0.to_k.bias"),
            ("decoder.mid_block.attentions.0.value.bias", "decoder.mid_block.attentions.0.to_v.bias"),
            ("encoder.mid_block.attentions.0.proj_attn.weight", "encoder.mid_block.attentions.0.to_out.0.weight"),
            ("encoder.mid_block.attentions.0.to_q.weight", "encoder.mid_block.attentions.0.to_q.weight"),
            ("encoder.conv_in.weight", "encoder.conv_in.weight"),
            ("query.weight", "query.weight"),
        ] {
            assert_eq!(AutoencoderKlKeys.canonical(old).unwrap(), current);
        }
    }
}
