//! CLIP's `config.json` and the names in its files.

use burn::nn::EmbeddingConfig;
use burn::tensor::Device;
use roentgen_classifier::nn::LayerNormConfig;
use roentgen_classifier::nn::LinearConfig;

use super::{ClipTextModel, Embeddings, Encoder, EndToken, Layer, Mlp, SelfAttention};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;
use crate::diffusion::text_encoder::{Activation, Sizes};
use crate::diffusion::weights::KeyMap;

/// Configuration of a [`ClipTextModel`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClipTextConfig {
    sizes: Sizes,
    activation: Activation,
    end: EndToken,
    uses_attention_mask: bool,
}

impl ClipTextConfig {
    /// Defaults are those of transformers' `CLIPTextConfig`.
    pub(in crate::diffusion) fn take(mut options: Options) -> Result<Self, DiffusionError> {
        /// In transformers before 4.31 every configuration says so, whatever the tokenizer's end token.
        const MISTAKEN: i32 = 2;
        let sizes = Sizes {
            vocabulary: options.take_or("vocab_size", 49408)?,
            width: options.take_or("hidden_size", 512)?,
            inner: options.take_or("intermediate_size", 2048)?,
            layers: options.take_or("num_hidden_layers", 12)?,
            heads: options.take_or("num_attention_heads", 8)?,
            positions: options.take_or("max_position_embeddings", 77)?,
            epsilon: options.take_or("layer_norm_eps", 1e-5)?,
        };
        sizes.check(&options)?;
        let activation = Activation::take(&mut options, "quick_gelu")?;
        let end = match options.take_or("eos_token_id", 49407)? {
            MISTAKEN => EndToken::HighestId,
            id => EndToken::Id(id),
        };
        let uses_attention_mask = options.take_or("use_attention_mask", false)?;
        options.without_influence(&[
            "attention_dropout",
            "dropout",
            "initializer_factor",
            "initializer_range",
            "projection_dim",
        ]);
        Sizes::finish(options)?;
        Ok(Self { sizes, activation, end, uses_attention_mask })
    }

    /// Width of its states.
    #[must_use]
    pub fn width(&self) -> usize {
        self.sizes.width
    }

    /// Number of its layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.sizes.layers
    }

    pub(in crate::diffusion) fn vocabulary_size(&self) -> usize {
        self.sizes.vocabulary
    }

    pub(in crate::diffusion) fn init(&self, device: &Device) -> ClipTextModel {
        let Sizes { vocabulary, width, inner, layers, heads, positions, epsilon } = self.sizes;
        let norm = || LayerNormConfig::new(width).with_epsilon(epsilon).init(device);
        let linear = |input, output| LinearConfig::new(input, output).init(device);
        let layer = |_| Layer {
            layer_norm1: norm(),
            self_attn: SelfAttention {
                q_proj: linear(width, width),
                k_proj: linear(width, width),
                v_proj: linear(width, width),
                out_proj: linear(width, width),
                heads,
            },
            layer_norm2: norm(),
            mlp: Mlp { fc1: linear(width, inner), fc2: linear(inner, width), activation: self.activation },
        };
        ClipTextModel {
            embeddings: Embeddings {
                token_embedding: EmbeddingConfig::new(vocabulary, width).init(device),
                position_embedding: EmbeddingConfig::new(positions, width).init(device),
            },
            encoder: Encoder { layers: (0..layers).map(layer).collect() },
            final_layer_norm: norm(),
            end: self.end,
            uses_attention_mask: self.uses_attention_mask,
        }
    }
}

/// Names have the prefix that transformers wrote up to version 4 and 5 reads too.
pub(in crate::diffusion) struct ClipKeys;

const PREFIX: &str = "text_model.";

impl KeyMap for ClipKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        (name != "embeddings.position_ids").then(|| format!("{PREFIX}{name}"))
    }

    fn key(&self, path: &str) -> String {
        format!("{PREFIX}{path}")
    }
}
