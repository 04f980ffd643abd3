//! The `config.json` of BERT and RoBERTa and the names in their files.

use burn::nn::EmbeddingConfig;
use burn::tensor::Device;
use roentgen_classifier::nn::LayerNormConfig;
use roentgen_classifier::nn::LinearConfig;
use serde_json::json;

use super::{Attention, BertModel, Embeddings, Encoder, Intermediate, Layer, Output, Places, Pooler, SelfAttention};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;
use crate::diffusion::text_encoder::{Activation, Sizes};
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
        let token_types = options.take_or("type_vocab_size", 2)?;
        if token_types == 0 {
            return Err(options.refuse("type_vocab_size", "0", "at least 1"));
        }
        let activation = Activation::take(&mut options, "gelu")?;
        let places = match family {
            Family::Bert => Places::FromZero,
            Family::Roberta => {
                let pad = options.take_or("pad_token_id", 1)?;
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

/// Parts of models for other tasks, which share a file with the encoder.
const HEADS: [&str; 4] = ["cls.", "lm_head.", "classifier.", "qa_outputs."];

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

    /// `self` is no name in Rust, and `LayerNorm` none of a field.
    fn key(&self, path: &str) -> String {
        path.replace("self_attention.", "self.").replace("layer_norm.", "LayerNorm.")
    }
}
