//! Ids to text states, whatever the network.

mod activation;
mod config;
mod sizes;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use burn::module::Module;
use burn::tensor::{Bool, Int, Tensor};

use super::bert::BertModel;
use super::clip::ClipTextModel;

pub(super) use activation::Activation;
pub use config::TextEncoderConfig;
pub(super) use sizes::Sizes;

/// What a text encoder is given; shapes with `B` texts of `L` tokens.
#[derive(Clone, Debug)]
pub struct TextInput {
    /// `[B, L]`, below [`vocabulary_size`](TextEncoder::vocabulary_size).
    pub ids: Tensor<2, Int>,
    /// `[B, L]`, true for tokens that others may see; `None` shows all, padding included, as Stable Diffusion does with an encoder
    /// that doesn't [ask for a mask](TextEncoder::uses_attention_mask).
    pub mask: Option<Tensor<2, Bool>>,
    /// `[B, L]`, which of two texts a token is of (BERT); `None` is 0 for all. CLIP has none.
    pub token_types: Option<Tensor<2, Int>>,
    /// Layers at the end that are left out, at most [`layers`](TextEncoder::layers): diffusers' `clip_skip`. CLIP's final norm
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

/// What a text encoder gives; shapes with `B` texts of `L` tokens and width `D`.
#[derive(Clone, Debug)]
pub struct TextStates {
    /// `[B, L, D]`.
    pub last_hidden_state: Tensor<3>,
    /// `[B, L, D]` after the embedding and after each layer, where they were asked for; CLIP's are before its final norm.
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
