//! A text encoder's `config.json`, and its weights.

use std::path::Path;

use burn::tensor::{Device, FloatDType};

use super::TextEncoderModel;
use crate::diffusion::DiffusionError;
use crate::diffusion::bert::{BertConfig, BertKeys, Family};
use crate::diffusion::clip::{ClipKeys, ClipTextConfig};
use crate::diffusion::options::Options;
use crate::diffusion::weights::{self, Difference, Facts, KeyMap, Loaded, Stem};

/// Configuration of a [`TextEncoderModel`].
#[derive(Clone, Debug, PartialEq)]
pub enum TextEncoderConfig {
    /// `clip_text_model`.
    Clip(ClipTextConfig),
    /// `bert` or `roberta`.
    Bert(BertConfig),
}

impl TextEncoderConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`DiffusionError::Io`], [`DiffusionError::NotJson`]; [`DiffusionError::OtherModel`] for another network;
    /// [`DiffusionError::Option`] and [`DiffusionError::UnknownOption`] for one that is not computed here.
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        Self::of(Options::read(path)?)
    }

    /// Reads the text of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        Self::of(Options::parse(text, path)?)
    }

    fn of(mut options: Options) -> Result<Self, DiffusionError> {
        let architectures: Vec<String> = options.take_or("architectures", Vec::new())?;
        let kind = match architectures.first().and_then(|name| kind_of(name)) {
            Some(kind) => options.take_or("model_type", kind.to_owned())?,
            None => options.require("model_type")?,
        };
        match kind.as_str() {
            "clip_text_model" => Ok(Self::Clip(ClipTextConfig::take(options)?)),
            "bert" => Ok(Self::Bert(BertConfig::take(Family::Bert, options)?)),
            "roberta" => Ok(Self::Bert(BertConfig::take(Family::Roberta, options)?)),
            other => Err(DiffusionError::OtherModel {
                path: options.path().to_owned(),
                found: format!("the configuration of a model of type `{other}`"),
                expected: "expected `model_type` clip_text_model, bert or roberta".to_owned(),
            }),
        }
    }

    /// A model whose parameters have no values yet.
    #[must_use]
    pub fn init(&self, device: &Device) -> TextEncoderModel {
        match self {
            Self::Clip(config) => TextEncoderModel::Clip(config.init(device)),
            Self::Bert(config) => TextEncoderModel::Bert(config.init(device)),
        }
    }

    /// Number of ids.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        match self {
            Self::Clip(config) => config.vocabulary_size(),
            Self::Bert(config) => config.vocabulary_size(),
        }
    }

    /// Its class in transformers.
    #[must_use]
    pub fn class_name(&self) -> &'static str {
        match self {
            Self::Clip(_) => "CLIPTextModel",
            Self::Bert(config) => config.class_name(),
        }
    }

    /// How the names of files correspond to parameters.
    #[must_use]
    pub fn keys(&self) -> &'static dyn KeyMap {
        match self {
            Self::Clip(_) => &ClipKeys,
            Self::Bert(_) => &BertKeys,
        }
    }

    /// The model with the weights of `folder`; without its pooling layer where a BERT's file has none, as files of masked language
    /// models.
    ///
    /// # Errors
    /// Those of [`weights::load`].
    pub fn load(&self, folder: &Path, dtype: FloatDType, device: &Device) -> Result<Loaded<TextEncoderModel>, DiffusionError> {
        match weights::load(self.init(device), folder, Stem::Transformers, self.keys(), dtype) {
            Err(DiffusionError::WeightsDiffer { difference, .. }) if is_pooler(&difference) => {
                weights::load(self.init(device).without_pooler(), folder, Stem::Transformers, self.keys(), dtype)
            }
            loaded => loaded,
        }
    }

    /// Compares the files of `folder` with the model, as [`load`](Self::load) would, without reading a weight.
    ///
    /// # Errors
    /// Those of [`weights::check`].
    pub fn check(&self, folder: &Path) -> Result<Facts, DiffusionError> {
        let check = |model| weights::check(&model, folder, Stem::Transformers, self.keys());
        let model = self.init(&Device::flex());
        match check(model.clone()) {
            Err(DiffusionError::WeightsDiffer { difference, .. }) if is_pooler(&difference) => check(model.without_pooler()),
            checked => checked,
        }
    }
}

/// Whether a file lacks the pooling layer and differs in nothing else.
fn is_pooler(difference: &Difference) -> bool {
    let Difference { missing, unexpected, wrong_shape } = difference;
    unexpected.is_empty() && wrong_shape.is_empty() && missing.iter().all(|(name, _)| name.starts_with("pooler."))
}

/// `model_type` by the first of `architectures`, for configurations that don't say it.
fn kind_of(architecture: &str) -> Option<&'static str> {
    let kinds = [("CLIPText", "clip_text_model"), ("Roberta", "roberta"), ("Bert", "bert")];
    kinds.into_iter().find(|(prefix, _)| architecture.starts_with(prefix)).map(|(_, kind)| kind)
}
