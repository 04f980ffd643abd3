//! BERT (Devlin et al. 2018) and RoBERTa (Liu et al. 2019), the encoders of SapBERT, CXR-BERT and both RadBERTs: configuration, names in
//! files and layers.
//!
//! Reference: transformers 5.23.0, `models/{bert,roberta}/modeling_*.py`, `BertModel` and `RobertaModel`. CXR-BERT (Boecking et al. 2022,
//! arXiv 2204.09817) is a BERT with another head, by the code beside its weights (`modeling_cxrbert.py`).

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use roentgen_classifier::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use roentgen_kernels::{Visible, attention};
use serde_json::json;

use super::encoder::{TextEncoder, TextInput, TextStates};
use super::sizes::{Activation, Sizes};
use super::table::with_rows;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{Options, ROWS};
use crate::diffusion::weights::KeyMap;

/// The two networks that differ in how they number tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diffusion) enum Family {
    Bert,
    Roberta,
}

/// Configuration of a [`BertModel`].
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    sizes: Sizes,
    token_types: usize,
    activation: Activation,
    places: Places,
    uses_attention_mask: bool,
}

impl BertConfig {
    /// Defaults are those of transformers' `BertConfig` and `RobertaConfig`.
    pub(in crate::diffusion) fn take(family: Family, mut options: Options) -> Result<Self, DiffusionError> {
        let default_vocabulary = match family {
            Family::Bert => 30522,
            Family::Roberta => 50265,
        };
        let sizes = Sizes {
            vocabulary: options.take_or("vocab_size", default_vocabulary)?,
            width: options.take_or("hidden_size", 768)?,
            inner: options.take_or("intermediate_size", 3072)?,
            layers: options.take_or("num_hidden_layers", 12)?,
            heads: options.take_or("num_attention_heads", 12)?,
            positions: options.take_or("max_position_embeddings", 512)?,
            epsilon: options.take_or("layer_norm_eps", 1e-12)?,
        };
        sizes.check(&options)?;
        // Width of CXR-BERT's head.
        options.without_influence(&["projection_size"]);
        let token_types = options.within("type_vocab_size", 2, ROWS)?;
        let activation = Activation::take(&mut options, "gelu")?;
        let places = match family {
            Family::Bert => Places::FromZero,
            Family::Roberta => {
                let pad = options.within("pad_token_id", 1, 0..=*ROWS.end())?;
                if pad + 1 >= sizes.positions {
                    let expected = format!("below max_position_embeddings ({}) - 1: places count from there", sizes.positions);
                    return Err(options.refuse("pad_token_id", &pad.to_string(), &expected));
                }
                Places::AfterPadding(pad)
            }
        };
        let uses_attention_mask = options.take_or("use_attention_mask", false)?;
        options.neutral("position_embedding_type", &[json!("absolute")])?;
        options.neutral("is_decoder", &[json!(false)])?;
        options.neutral("add_cross_attention", &[json!(false)])?;
        options.without_influence(&[
            "attention_probs_dropout_prob",
            "classifier_dropout",
            "directionality",
            "hidden_dropout_prob",
            "initializer_range",
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
        ]);
        Sizes::finish(options)?;
        Ok(Self { sizes, token_types, activation, places, uses_attention_mask })
    }

    /// Its class in transformers.
    pub(in crate::diffusion) fn class_name(&self) -> &'static str {
        match self.places {
            Places::FromZero => "BertModel",
            Places::AfterPadding(_) => "RobertaModel",
        }
    }

    pub(in crate::diffusion) fn vocabulary_size(&self) -> usize {
        self.sizes.vocabulary
    }

    pub(super) fn with_vocabulary_size(mut self, ids: usize) -> Self {
        self.sizes.vocabulary = ids;
        self
    }

    pub(in crate::diffusion) fn init(&self, device: &Device) -> BertModel {
        let Sizes { vocabulary, width, inner, layers, heads, positions, epsilon } = self.sizes;
        let embedding = |rows| EmbeddingConfig::new(rows, width).init(device);
        let norm = || LayerNormConfig::new(width).with_epsilon(epsilon).init(device);
        let linear = |input, output| LinearConfig::new(input, output).init(device);
        let layer = |_| Layer {
            attention: Attention {
                self_attention: SelfAttention {
                    query: linear(width, width),
                    key: linear(width, width),
                    value: linear(width, width),
                    heads,
                },
                output: Output { dense: linear(width, width), layer_norm: norm() },
            },
            intermediate: Intermediate { dense: linear(width, inner), activation: self.activation },
            output: Output { dense: linear(inner, width), layer_norm: norm() },
        };
        BertModel {
            embeddings: Embeddings {
                word_embeddings: embedding(vocabulary),
                position_embeddings: embedding(positions),
                token_type_embeddings: embedding(self.token_types),
                layer_norm: norm(),
                places: self.places,
            },
            encoder: Encoder { layer: (0..layers).map(layer).collect() },
            pooler: Some(Pooler { dense: linear(width, width) }),
            uses_attention_mask: self.uses_attention_mask,
        }
    }
}

/// Names without the prefix that models with a head have.
pub(in crate::diffusion) struct BertKeys;

/// Parts of models for other tasks, which share a file with the encoder; the third is CXR-BERT's.
const HEADS: [&str; 5] = ["cls.", "lm_head.", "cls_projection_head.", "classifier.", "qa_outputs."];

impl KeyMap for BertKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        if HEADS.iter().any(|head| name.starts_with(head)) {
            return None;
        }
        let name = ["bert.", "roberta."].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        if name == "embeddings.position_ids" || name == "embeddings.token_type_ids" {
            return None;
        }
        // Norms of files that were converted from TensorFlow.
        Some(name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"))
    }

    /// `self` is not a valid name in Rust, and `LayerNorm` not one of a field.
    fn key(&self, path: &str) -> String {
        path.replace("self_attention.", "self.").replace("layer_norm.", "LayerNorm.")
    }
}

/// A transformer in which every token sees every other.
///
/// Should be created using [`BertConfig`].
#[derive(Module, Debug)]
pub struct BertModel {
    embeddings: Embeddings,
    encoder: Encoder,
    pooler: Option<Pooler>,
    uses_attention_mask: bool,
}

/// How tokens are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Places {
    /// 0, 1, 2, … whatever the tokens are (BERT).
    FromZero,
    /// Padding has its own id for a place; the others count on from there (RoBERTa).
    AfterPadding(usize),
}

#[derive(Module, Debug)]
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
    #[module(skip)]
    places: Places,
}

#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    attention: Attention,
    intermediate: Intermediate,
    output: Output,
}

#[derive(Module, Debug)]
struct Attention {
    self_attention: SelfAttention,
    output: Output,
}

#[derive(Module, Debug)]
struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct Intermediate {
    dense: Linear,
    #[module(skip)]
    activation: Activation,
}

/// A projection whose result is added to the block's input, then normalised.
#[derive(Module, Debug)]
struct Output {
    dense: Linear,
    layer_norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Pooler {
    dense: Linear,
}

impl BertModel {
    /// See [`TextEncoderModel::with_rows`](super::TextEncoderModel::with_rows).
    pub(super) fn with_rows(mut self, first: usize, rows: &TensorData) -> Self {
        self.embeddings.word_embeddings = with_rows(self.embeddings.word_embeddings, first, rows);
        self
    }

    pub(super) fn without_pooler(self) -> Self {
        Self { pooler: None, ..self }
    }
}

impl TextEncoder for BertModel {
    fn encode(&self, input: TextInput) -> TextStates {
        let visible = Visible { causal: false, keys: input.mask };
        let mut x = self.embeddings.forward(input.ids, input.token_types);
        let mut hidden_states = Vec::new();
        for layer in &self.encoder.layer[..self.layers() - input.skip] {
            if input.keep_hidden_states {
                hidden_states.push(x.clone());
            }
            x = layer.forward(x, &visible);
        }
        if input.keep_hidden_states {
            hidden_states.push(x.clone());
        }
        let pooler = self.pooler.as_ref().filter(|_| input.skip == 0);
        let pooled = pooler.map(|pooler| pooler.forward(x.clone()));
        TextStates { last_hidden_state: x, hidden_states, pooled }
    }

    fn width(&self) -> usize {
        self.embeddings.word_embeddings.weight.lazy_shape()[1]
    }

    fn layers(&self) -> usize {
        self.encoder.layer.len()
    }

    fn max_positions(&self) -> usize {
        let rows = self.embeddings.position_embeddings.weight.lazy_shape()[0];
        match self.embeddings.places {
            Places::FromZero => rows,
            Places::AfterPadding(pad) => rows - pad - 1,
        }
    }

    fn vocabulary_size(&self) -> usize {
        self.embeddings.word_embeddings.weight.lazy_shape()[0]
    }

    fn uses_attention_mask(&self) -> bool {
        self.uses_attention_mask
    }
}

impl Embeddings {
    /// `[B, L]` and `[B, L]` to `[B, L, D]`.
    fn forward(&self, ids: Tensor<2, Int>, token_types: Option<Tensor<2, Int>>) -> Tensor<3> {
        let token_types = token_types.unwrap_or_else(|| ids.zeros_like());
        let places = self.places.of(&ids);
        let x = self.word_embeddings.forward(ids) + self.token_type_embeddings.forward(token_types);
        self.layer_norm.forward(x + self.position_embeddings.forward(places))
    }
}

impl Places {
    /// `[B, L]` to `[B, L]`, or to `[1, L]` where all texts have the same.
    fn of(self, ids: &Tensor<2, Int>) -> Tensor<2, Int> {
        match self {
            Self::FromZero => Tensor::<1, Int>::arange(0..ids.dims()[1] as i64, &ids.device()).unsqueeze::<2>(),
            Self::AfterPadding(pad) => {
                let is_text = ids.clone().not_equal_elem(pad as i64).int();
                is_text.clone().cumsum(1) * is_text + pad as i64
            }
        }
    }
}

impl Layer {
    fn forward(&self, x: Tensor<3>, visible: &Visible) -> Tensor<3> {
        let x = self.attention.forward(x, visible);
        self.output.forward(self.intermediate.forward(x.clone()), x)
    }
}

impl Attention {
    fn forward(&self, x: Tensor<3>, visible: &Visible) -> Tensor<3> {
        let SelfAttention { query, key, value, heads } = &self.self_attention;
        let [query, key, value] = [query, key, value].map(|projection| projection.forward(x.clone()));
        self.output.forward(attention(query, key, value, *heads, visible), x)
    }
}

impl Intermediate {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.activation.forward(self.dense.forward(x))
    }
}

impl Output {
    fn forward(&self, x: Tensor<3>, before: Tensor<3>) -> Tensor<3> {
        self.layer_norm.forward(self.dense.forward(x) + before)
    }
}

impl Pooler {
    /// `[B, L, D]` to `[B, D]`, of the first token.
    fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        self.dense.forward(x.narrow(1, 0, 1).squeeze_dim::<2>(1)).tanh()
    }
}
