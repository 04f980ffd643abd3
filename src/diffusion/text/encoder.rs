//! From ids to text states with any network; its `config.json` says which.

use std::fmt::Debug;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Bool, Device, FloatDType, Int, Tensor, TensorData};
use roentgen_classifier::weights::Difference;

use super::bert::{BertConfig, BertKeys, BertModel, Family};
use super::clip::{ClipKeys, ClipTextConfig, ClipTextModel};
use crate::diffusion::options::Options;
use crate::diffusion::weights::{Facts, KeyMap, Loaded, Stem, WeightsFolder};
use crate::diffusion::{DiffusionError, weights};

/// The input of a text encoder; shapes with `B` texts of `L` tokens.
#[derive(Clone, Debug)]
pub struct TextInput {
    /// `[B, L]`, below [`vocabulary_size`](TextEncoder::vocabulary_size).
    pub ids: Tensor<2, Int>,
    /// `[B, L]`, true for tokens that others may see; `None` shows all, padding included, as Stable Diffusion does with an encoder
    /// that doesn't [ask for a mask](TextEncoder::uses_attention_mask).
    pub mask: Option<Tensor<2, Bool>>,
    /// `[B, L]`, which of two texts a token is of (BERT); `None` is 0 for all. CLIP has none.
    pub token_types: Option<Tensor<2, Int>>,
    /// Layers at the end that are skipped, at most [`layers`](TextEncoder::layers): diffusers' `clip_skip`. CLIP's final norm
    /// is applied to whatever layer is the last. There is no pooled output then.
    pub skip: usize,
    /// Whether the states between layers are kept.
    pub keep_hidden_states: bool,
}

impl TextInput {
    /// Ids alone: no mask, all layers, the last states only.
    #[must_use]
    pub fn new(ids: Tensor<2, Int>) -> Self {
        Self { ids, mask: None, token_types: None, skip: 0, keep_hidden_states: false }
    }
}

/// The output of a text encoder; shapes with `B` texts of `L` tokens and width `D`.
#[derive(Clone, Debug)]
pub struct TextStates {
    /// `[B, L, D]`.
    pub last_hidden_state: Tensor<3>,
    /// `[B, L, D]` after the embedding and after each layer, if they were requested; CLIP's are before its final norm.
    pub hidden_states: Vec<Tensor<3>>,
    /// `[B, D]`, one state for the text; `None` where layers are skipped or the checkpoint has no pooling layer.
    pub pooled: Option<Tensor<2>>,
}

/// A network from ids to text states.
pub trait TextEncoder: Send + Sync + Debug {
    /// States of a batch of texts.
    ///
    /// # Panics
    /// If the texts have more tokens than [`max_positions`](Self::max_positions), or `skip` is above [`layers`](Self::layers).
    fn encode(&self, input: TextInput) -> TextStates;

    /// `D`.
    fn width(&self) -> usize;

    /// Number of layers.
    fn layers(&self) -> usize;

    /// Most tokens of a text.
    fn max_positions(&self) -> usize;

    /// Number of ids.
    fn vocabulary_size(&self) -> usize;

    /// Whether the pipeline gives this encoder the tokenizer's attention mask (`use_attention_mask`).
    fn uses_attention_mask(&self) -> bool;
}

/// A text encoder as a module: for weights, export and fine-tuning.
///
/// Should be created using [`TextEncoderConfig`].
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in a pipeline, and it is never moved about")]
pub enum TextEncoderModel {
    /// CLIP's text tower.
    Clip(ClipTextModel),
    /// BERT or RoBERTa.
    Bert(BertModel),
}

impl TextEncoderModel {
    /// The same without BERT's pooling layer.
    fn without_pooler(self) -> Self {
        match self {
            Self::Bert(network) => Self::Bert(network.without_pooler()),
            clip @ Self::Clip(_) => clip,
        }
    }

    /// The same with `rows` `[n, width]`, 32-bit floats, in the table of tokens from row `first` on, where the table ends then.
    ///
    /// # Panics
    /// If `first` is beyond the table.
    pub(in crate::diffusion) fn with_rows(self, first: usize, rows: &TensorData) -> Self {
        match self {
            Self::Clip(network) => Self::Clip(network.with_rows(first, rows)),
            Self::Bert(network) => Self::Bert(network.with_rows(first, rows)),
        }
    }

    fn network(&self) -> &dyn TextEncoder {
        match self {
            Self::Clip(network) => network,
            Self::Bert(network) => network,
        }
    }
}

impl TextEncoder for TextEncoderModel {
    fn encode(&self, input: TextInput) -> TextStates {
        let (length, limit) = (input.ids.dims()[1], self.max_positions());
        assert!(length <= limit, "a text of {length} tokens for an encoder of {limit} positions");
        let (skip, layers) = (input.skip, self.layers());
        assert!(skip <= layers, "{skip} layers to skip of an encoder of {layers}");
        self.network().encode(input)
    }

    fn width(&self) -> usize {
        self.network().width()
    }

    fn layers(&self) -> usize {
        self.network().layers()
    }

    fn max_positions(&self) -> usize {
        self.network().max_positions()
    }

    fn vocabulary_size(&self) -> usize {
        self.network().vocabulary_size()
    }

    fn uses_attention_mask(&self) -> bool {
        self.network().uses_attention_mask()
    }
}

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
        let folder = path.parent().unwrap_or(Path::new("."));
        if !path.is_file() && folder.join("open_clip_config.json").is_file() {
            return Err(DiffusionError::OtherModel {
                path: folder.to_owned(),
                found: "a model of open_clip".to_owned(),
                expected: OPEN_CLIP.to_owned(),
            });
        }
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
            "bert" | CXR_BERT => {
                // Where the code of a model that transformers lacks is.
                options.without_influence(&["auto_map"]);
                Ok(Self::Bert(BertConfig::take(Family::Bert, options)?))
            }
            "roberta" => Ok(Self::Bert(BertConfig::take(Family::Roberta, options)?)),
            other => Err(DiffusionError::OtherModel {
                path: options.path().to_owned(),
                found: format!("the configuration of a model of type `{other}`"),
                expected: instead_of(other).to_owned(),
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

    /// The same for another number of ids.
    pub(in crate::diffusion) fn with_vocabulary_size(self, ids: usize) -> Self {
        match self {
            Self::Clip(config) => Self::Clip(config.with_vocabulary_size(ids)),
            Self::Bert(config) => Self::Bert(config.with_vocabulary_size(ids)),
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
    pub fn load(
        &self,
        folder: impl Into<WeightsFolder>,
        dtype: FloatDType,
        device: &Device,
    ) -> Result<Loaded<TextEncoderModel>, DiffusionError> {
        let folder = folder.into();
        match weights::load(self.init(device), folder.clone(), Stem::Transformers, self.keys(), dtype) {
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
    pub fn check(&self, folder: impl Into<WeightsFolder>) -> Result<Facts, DiffusionError> {
        let folder = folder.into();
        let check = |model| weights::check(&model, folder.clone(), Stem::Transformers, self.keys());
        let model = self.init(&Device::flex());
        match check(model.clone()) {
            Err(DiffusionError::WeightsDiffer { difference, .. }) if is_pooler(&difference) => check(model.without_pooler()),
            checked => checked,
        }
    }
}

/// `model_type` of CXR-BERT, whose weights are a BERT's.
const CXR_BERT: &str = "cxr-bert";

/// For encoders that come as open_clip has them, BiomedCLIP first of all.
pub(crate) const OPEN_CLIP: &str = "its files hold the text tower under other names and without its configuration (BiomedCLIP comes so). In \
                                    Python `open_clip.create_model(\"hf-hub:NAME\").text.transformer.save_pretrained(FOLDER)` writes the BERT \
                                    inside it (copy the tokenizer's files to FOLDER), or use the encoder that it began from, \
                                    microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract";

/// What to use instead of a text encoder of another type.
fn instead_of(kind: &str) -> &'static str {
    match kind {
        "clip" => {
            "it holds an image tower too: `CLIPTextModel.from_pretrained(NAME).save_pretrained(FOLDER)` in Python writes the text tower alone"
        }
        _ => {
            "expected `model_type` clip_text_model, bert, roberta or cxr-bert: StanfordAIMI/RadBERT, \
             cambridgeltl/SapBERT-from-PubMedBERT-fulltext or microsoft/BiomedVLP-CXR-BERT-specialized, for instance"
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
    let kinds = [("CLIPText", "clip_text_model"), ("Roberta", "roberta"), ("CXRBert", CXR_BERT), ("Bert", "bert")];
    kinds.into_iter().find(|(prefix, _)| architecture.starts_with(prefix)).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests;
