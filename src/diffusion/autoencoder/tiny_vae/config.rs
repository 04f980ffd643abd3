//! Architecture of an [`AutoencoderTiny`], read from diffusers' `config.json`, and the names of its tensors.

use std::path::Path;

use burn::config::Config;
use burn::tensor::Device;
use serde_json::json;

use super::AutoencoderTiny;
use super::layers::TinyActivation;
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::tiles::Tile;
use crate::diffusion::options::{LAYERS, Options, WIDTH};
use crate::diffusion::weights::KeyMap;

/// Side of a tile, pixels (diffusers 0.42.1, `AutoencoderTiny.tile_sample_min_size`).
const TILE: usize = 512;

/// Architecture of an [`AutoencoderTiny`]; the defaults are those of `diffusers.AutoencoderTiny`.
#[derive(Config, Debug, PartialEq)]
pub struct AutoencoderTinyConfig {
    /// Channels of the image that is encoded.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Channels of the image that is decoded.
    #[config(default = 3)]
    pub out_channels: usize,
    /// Channels of every layer.
    #[config(default = 64)]
    pub width: usize,
    /// Blocks at each resolution of the encoder, the highest first.
    #[config(default = "vec![1, 3, 3, 3]")]
    pub num_encoder_blocks: Vec<usize>,
    /// Blocks at each resolution of the decoder, the lowest first.
    #[config(default = "vec![3, 3, 3, 1]")]
    pub num_decoder_blocks: Vec<usize>,
    /// Between the convolutions of a block.
    #[config(default = "TinyActivation::Relu")]
    pub act_fn: TinyActivation,
    /// Channels of a latent.
    #[config(default = 4)]
    pub latent_channels: usize,
    /// Half the range of latents that 8 bits hold, see [`AutoencoderTiny::scale_latents`].
    #[config(default = 3.0)]
    pub latent_magnitude: f64,
    /// Where 0 lies in that range.
    #[config(default = 0.5)]
    pub latent_shift: f64,
    /// Factor from latents to the denoiser's.
    #[config(default = 1.0)]
    pub scaling_factor: f64,
    /// Group-normalised 1x1 convolutions in the blocks of the lowest resolution, as TAEF2 has. This is `use_midblock_gn` of the
    /// TAESD project (commit 5cccb12); diffusers 0.42.1 has no such option.
    #[config(default = false)]
    pub use_midblock_gn: bool,
}

impl AutoencoderTinyConfig {
    /// The class in `config.json`.
    pub(in crate::diffusion) const CLASS: &str = "AutoencoderTiny";

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
        let num_encoder_blocks = options.per_resolution("num_encoder_blocks", default.num_encoder_blocks, 0..=*LAYERS.end())?;
        let num_decoder_blocks = options.per_resolution("num_decoder_blocks", default.num_decoder_blocks, 0..=*LAYERS.end())?;
        let width = width(&mut options, default.width, [num_encoder_blocks.len(), num_decoder_blocks.len()])?;
        let act_fn = activation(&mut options, default.act_fn)?;
        let config = Self {
            in_channels: options.within("in_channels", default.in_channels, WIDTH)?,
            out_channels: options.within("out_channels", default.out_channels, WIDTH)?,
            width,
            num_encoder_blocks,
            num_decoder_blocks,
            act_fn,
            latent_channels: options.within("latent_channels", default.latent_channels, WIDTH)?,
            latent_magnitude: options.factor("latent_magnitude", default.latent_magnitude)?,
            latent_shift: options.take_or("latent_shift", default.latent_shift)?,
            scaling_factor: options.factor("scaling_factor", default.scaling_factor)?,
            use_midblock_gn: options.take_or("use_midblock_gn", default.use_midblock_gn)?,
        };
        options.neutral("upsample_fn", &[json!("nearest")])?;
        // With another one, an image would come back in another size.
        options.neutral("upsampling_scaling_factor", &[json!(2)])?;
        options.neutral("shift_factor", &[json!(0)])?;
        options.without_influence(&["force_upcast", "block_out_channels"]);
        options.finish()?;
        Ok(config)
    }

    /// Pixels along the side of a latent.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << (self.num_encoder_blocks.len() - 1)
    }

    /// The tile that diffusers takes: 512 pixels.
    #[must_use]
    pub fn default_tile(&self) -> Tile {
        Tile::at_least(TILE, self.factor())
    }

    /// A model of this shape; its weights are drawn when first used, unless they are loaded before.
    #[must_use]
    pub fn init(&self, device: &Device) -> AutoencoderTiny {
        AutoencoderTiny::new(self, device)
    }
}

/// By its name in diffusers, in any case.
fn activation(options: &mut Options, default: TinyActivation) -> Result<TinyActivation, DiffusionError> {
    let Some(name) = options.take::<String>("act_fn")? else { return Ok(default) };
    match name.to_lowercase().as_str() {
        "relu" => Ok(TinyActivation::Relu),
        "silu" | "swish" => Ok(TinyActivation::Silu),
        "gelu" => Ok(TinyActivation::Gelu),
        "mish" => Ok(TinyActivation::Mish),
        _ => Err(options.refuse("act_fn", &format!("{name:?}"), "\"relu\", \"silu\", \"swish\", \"gelu\" or \"mish\"")),
    }
}

/// The one number of channels: diffusers takes a list of them for encoder and decoder, and its layers fit together only if all
/// are equal. `resolutions` are the encoder's and the decoder's.
fn width(options: &mut Options, default: usize, resolutions: [usize; 2]) -> Result<usize, DiffusionError> {
    let [encoder, decoder] = resolutions;
    if encoder != decoder {
        let expected = format!("as many numbers as num_encoder_blocks has ({encoder})");
        return Err(options.refuse("num_decoder_blocks", &format!("{decoder} numbers"), &expected));
    }
    let mut width = None;
    for key in ["encoder_block_out_channels", "decoder_block_out_channels"] {
        let widths = options.per_resolution(key, vec![default; encoder], WIDTH)?;
        let first = *width.get_or_insert(widths[0]);
        if widths.len() != encoder || widths.iter().any(|other| *other != first) {
            let expected =
                format!("{encoder} times {first}: one for each resolution, all equal, in the encoder and the decoder");
            return Err(options.refuse(key, &format!("{widths:?}"), &expected));
        }
    }
    Ok(width.unwrap_or(default))
}

/// Names of an [`AutoencoderTiny`] in files: positions in PyTorch's sequences, which count activations too.
#[derive(Clone, Copy, Debug)]
pub struct AutoencoderTinyKeys;

/// A part of a parameter's path within a block, and what files have for it.
const RENAMED: [(&str, &str); 5] = [
    (".conv.2.", ".conv.4."),
    (".conv.1.", ".conv.2."),
    (".pool.conv_in.", ".pool.0."),
    (".pool.norm.", ".pool.1."),
    (".pool.conv_out.", ".pool.3."),
];

impl KeyMap for AutoencoderTinyKeys {
    fn key(&self, path: &str) -> String {
        let renamed = RENAMED.iter().find(|(ours, _)| path.contains(ours));
        renamed.map_or_else(|| path.to_owned(), |(ours, theirs)| path.replace(ours, theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AutoencoderTinyConfig, DiffusionError> {
        AutoencoderTinyConfig::parse(text, Path::new("vae/config.json"))
    }

    #[test]
    fn defaults_are_those_of_diffusers() {
        let config = parse(r#"{"_class_name": "AutoencoderTiny"}"#).unwrap();
        // The signature of `diffusers.AutoencoderTiny.__init__`.
        let expected = AutoencoderTinyConfig {
            in_channels: 3,
            out_channels: 3,
            width: 64,
            num_encoder_blocks: vec![1, 3, 3, 3],
            num_decoder_blocks: vec![3, 3, 3, 1],
            act_fn: TinyActivation::Relu,
            latent_channels: 4,
            latent_magnitude: 3.0,
            latent_shift: 0.5,
            scaling_factor: 1.0,
            use_midblock_gn: false,
        };
        assert_eq!(config, expected);
        assert_eq!(AutoencoderTinyConfig::new(), expected);
        assert_eq!((config.factor(), config.default_tile()), (8, Tile::new(512, 8).unwrap()));
    }

    #[test]
    fn current_files_are_read() {
        // What diffusers 0.42.1 writes, with other values than the defaults.
        let text = r#"{
            "_class_name": "AutoencoderTiny", "_diffusers_version": "0.42.1", "act_fn": "SiLU", "block_out_channels": [8, 8],
            "decoder_block_out_channels": [8, 8], "encoder_block_out_channels": [8, 8], "force_upcast": false, "in_channels": 1,
            "latent_channels": 32, "latent_magnitude": 2, "latent_shift": 0.25, "num_decoder_blocks": [2, 0],
            "num_encoder_blocks": [1, 2], "out_channels": 2, "scaling_factor": 0.5, "shift_factor": 0.0,
            "upsample_fn": "nearest", "upsampling_scaling_factor": 2}"#;
        let expected = AutoencoderTinyConfig {
            in_channels: 1,
            out_channels: 2,
            width: 8,
            num_encoder_blocks: vec![1, 2],
            num_decoder_blocks: vec![2, 0],
            act_fn: TinyActivation::Silu,
            latent_channels: 32,
            latent_magnitude: 2.0,
            latent_shift: 0.25,
            scaling_factor: 0.5,
            use_midblock_gn: false,
        };
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn whatever_would_change_the_numbers_is_refused_by_name() {
        for (text, part) in [
            (r#"{"num_encoder_blocks": []}"#, "`num_encoder_blocks` is a list of 0, expected 1 to 10 numbers"),
            (r#"{"num_decoder_blocks": [1, 1]}"#, "`num_decoder_blocks` is 2 numbers, expected as many"),
            (r#"{"encoder_block_out_channels": [64, 64]}"#, "`encoder_block_out_channels` is [64, 64], expected 4 times 64"),
            (r#"{"encoder_block_out_channels": [8, 8, 8, 16]}"#, "expected 4 times 8"),
            (
                r#"{"decoder_block_out_channels": [8, 8, 8, 8]}"#,
                "`decoder_block_out_channels` is [8, 8, 8, 8], expected 4 times 64",
            ),
            (r#"{"act_fn": "tanh"}"#, "`act_fn` is \"tanh\""),
            (r#"{"upsample_fn": "bilinear"}"#, "`upsample_fn` is \"bilinear\", expected \"nearest\""),
            (r#"{"upsampling_scaling_factor": 4}"#, "`upsampling_scaling_factor` is 4, expected 2"),
            (r#"{"shift_factor": 0.5}"#, "`shift_factor` is 0.5"),
            (r#"{"latent_magnitude": 0}"#, "`latent_magnitude` is 0"),
            (r#"{"use_deeper_blocks": true}"#, "unknown option `use_deeper_blocks`"),
            (r#"{"_class_name": "AutoencoderKL"}"#, "is the configuration of \"AutoencoderKL\""),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("vae/config.json"), "{text}: {message}");
        }
    }

    #[test]
    fn names_count_the_layers_between() {
        for (path, name) in [
            ("encoder.layers.1.conv.0.weight", "encoder.layers.1.conv.0.weight"),
            ("encoder.layers.1.conv.1.weight", "encoder.layers.1.conv.2.weight"),
            ("decoder.layers.12.conv.2.bias", "decoder.layers.12.conv.4.bias"),
            ("decoder.layers.2.pool.conv_in.weight", "decoder.layers.2.pool.0.weight"),
            ("decoder.layers.2.pool.norm.bias", "decoder.layers.2.pool.1.bias"),
            ("decoder.layers.2.pool.conv_out.weight", "decoder.layers.2.pool.3.weight"),
            ("decoder.layers.0.weight", "decoder.layers.0.weight"),
        ] {
            assert_eq!(AutoencoderTinyKeys.key(path), name);
        }
    }
}
