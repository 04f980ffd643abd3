//! A learnt map from a text encoder's states to the width that a U-Net attends to.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Linear, LinearConfig};
use serde_json::json;

use super::encoder::{TextEncoder, TextEncoderConfig};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{Options, WIDTH};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::KeyMap;

/// Configuration of a [`TextProjection`], kept in a pipeline's folder as `text_projection/config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextProjectionConfig {
    /// Width of the text encoder's states.
    pub in_features: usize,
    /// The U-Net's `cross_attention_dim`.
    pub out_features: usize,
}

/// One linear layer with bias between a text encoder and a U-Net of another width. Useless before it is trained with them.
///
/// Not a component of diffusers, whose pipelines ignore its folder.
#[derive(Module, Debug)]
pub struct TextProjection {
    linear: Linear,
}

/// Its folder in a pipeline's.
pub const TEXT_PROJECTION: &str = "text_projection";

/// Its files have the names of its parameters.
pub struct TextProjectionKeys;

impl KeyMap for TextProjectionKeys {}

impl TextProjectionConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`DiffusionError::NotJson`], [`DiffusionError::Option`], [`DiffusionError::UnknownOption`].
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        let mut options = Options::read(path)?;
        let config = Self { in_features: options.require("in_features")?, out_features: options.require("out_features")? };
        options.in_range("in_features", &[config.in_features], WIDTH)?;
        options.in_range("out_features", &[config.out_features], WIDTH)?;
        options.finish()?;
        Ok(config)
    }

    /// That of a pipeline's folder, if it has one.
    pub(in crate::diffusion) fn find(folder: &Path) -> Result<Option<Self>, DiffusionError> {
        let path = folder.join(TEXT_PROJECTION).join("config.json");
        path.is_file().then(|| Self::read(&path)).transpose()
    }

    /// From a text encoder to a U-Net of another width.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] where the widths agree and none is needed.
    pub(crate) fn between(text: &TextEncoderConfig, unet: &UNetConfig) -> Result<Self, DiffusionError> {
        let (in_features, out_features) = (text.init(&Device::flex()).width(), unet.cross_attention_dim);
        if in_features == out_features {
            return Err(DiffusionError::Setting {
                key: "text_projection",
                value: format!("{in_features} to {out_features}"),
                expected: "two widths that differ: this folder needs no projection".to_owned(),
            });
        }
        Ok(Self { in_features, out_features })
    }

    /// The text of its `config.json`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let value =
            json!({ "_class_name": "TextProjection", "in_features": self.in_features, "out_features": self.out_features });
        format!("{value:#}\n")
    }

    /// A layer of these widths.
    #[must_use]
    pub fn init(&self, device: &Device) -> TextProjection {
        TextProjection { linear: LinearConfig::new(self.in_features, self.out_features).init(device) }
    }
}

impl TextProjection {
    /// `[B, L, in_features]` to `[B, L, out_features]`.
    pub fn forward(&self, states: Tensor<3>) -> Tensor<3> {
        self.linear.forward(states)
    }
}
