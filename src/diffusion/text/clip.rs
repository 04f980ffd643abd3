//! CLIP's text tower (Radford et al. 2021), the encoder of Stable Diffusion: its configuration, names in files and layers.
//!
//! Reference: transformers 5.23.0, `models/clip/modeling_clip.py`, `CLIPTextModel`.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use roentgen_classifier::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use roentgen_kernels::{Visible, attention};

use super::encoder::{TextEncoder, TextInput, TextStates};
use super::sizes::{Activation, Sizes};
use super::table::with_rows;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;
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
    pub(crate) fn take(mut options: Options) -> Result<Self, DiffusionError> {
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

    pub(crate) fn vocabulary_size(&self) -> usize {
        self.sizes.vocabulary
    }

    pub(super) fn with_vocabulary_size(mut self, ids: usize) -> Self {
        self.sizes.vocabulary = ids;
        self
    }

    pub(crate) fn init(&self, device: &Device) -> ClipTextModel {
        let Sizes { vocabulary, width, inner, layers, heads, positions, epsilon } = self.sizes;
        let norm = || LayerNormConfig::new(width).with_epsilon(epsilon).init(device);
        let layer = LayerSizes { width, inner, heads, epsilon, activation: self.activation };
        ClipTextModel {
            embeddings: Embeddings {
                token_embedding: EmbeddingConfig::new(vocabulary, width).init(device),
                position_embedding: EmbeddingConfig::new(positions, width).init(device),
            },
            encoder: Encoder::new(layers, layer, device),
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

/// A transformer in which no token sees a later one.
///
/// Should be created using [`ClipTextConfig`].
#[derive(Module, Debug)]
pub struct ClipTextModel {
    embeddings: Embeddings,
    encoder: Encoder,
    final_layer_norm: LayerNorm,
    #[module(skip)]
    end: EndToken,
    uses_attention_mask: bool,
}

/// The token whose state is the pooled output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndToken {
    /// The first of the highest id: what configurations with an `eos_token_id` of 2 mean, which is wrong in all of them.
    HighestId,
    /// The first of this id.
    Id(i32),
}

#[derive(Module, Debug)]
struct Embeddings {
    token_embedding: Embedding,
    position_embedding: Embedding,
}

/// Sizes of a layer, of either tower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LayerSizes {
    pub(crate) width: usize,
    /// Between the two matrices of a feed-forward block.
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    /// Of every norm.
    pub(crate) epsilon: f64,
    pub(crate) activation: Activation,
}

/// The layers of either tower.
#[derive(Module, Debug)]
pub(crate) struct Encoder {
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

#[derive(Module, Debug)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl ClipTextModel {
    /// See [`TextEncoderModel::with_rows`](super::TextEncoderModel::with_rows).
    pub(super) fn with_rows(mut self, first: usize, rows: &TensorData) -> Self {
        self.embeddings.token_embedding = with_rows(self.embeddings.token_embedding, first, rows);
        self
    }

    /// The state of each text's end token: `[B, L, D]` and `[B, L]` to `[B, D]`.
    fn pool(&self, states: Tensor<3>, ids: Tensor<2, Int>) -> Tensor<2> {
        let [batch, length, width] = states.dims();
        let is_end = match self.end {
            EndToken::HighestId => ids.clone().equal(ids.max_dim(1).expand([batch, length])),
            EndToken::Id(id) => ids.equal_elem(id),
        };
        // Every score is another, so that the first end token wins on every backend, and the first token where there is none.
        let place = Tensor::<1, Int>::arange(0..length as i64, &states.device()).unsqueeze::<2>();
        let score = is_end.int() * length as i64 - place;
        let chosen = score.argmax(1).reshape([batch, 1, 1]).expand([batch, 1, width]);
        states.gather(1, chosen).reshape([batch, width])
    }
}

impl TextEncoder for ClipTextModel {
    fn encode(&self, input: TextInput) -> TextStates {
        let visible = Visible { causal: true, keys: input.mask };
        let mut x = self.embeddings.forward(input.ids.clone());
        let mut hidden_states = Vec::new();
        for layer in &self.encoder.layers[..self.layers() - input.skip] {
            if input.keep_hidden_states {
                hidden_states.push(x.clone());
            }
            x = layer.forward(x, &visible);
        }
        if input.keep_hidden_states {
            hidden_states.push(x.clone());
        }
        let last_hidden_state = self.final_layer_norm.forward(x);
        let pooled = (input.skip == 0).then(|| self.pool(last_hidden_state.clone(), input.ids));
        TextStates { last_hidden_state, hidden_states, pooled }
    }

    fn width(&self) -> usize {
        self.embeddings.token_embedding.weight.lazy_shape()[1]
    }

    fn layers(&self) -> usize {
        self.encoder.layers.len()
    }

    fn max_positions(&self) -> usize {
        self.embeddings.position_embedding.weight.lazy_shape()[0]
    }

    fn vocabulary_size(&self) -> usize {
        self.embeddings.token_embedding.weight.lazy_shape()[0]
    }

    fn uses_attention_mask(&self) -> bool {
        self.uses_attention_mask
    }
}

impl Embeddings {
    /// `[B, L]` to `[B, L, D]`.
    fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let length = ids.dims()[1];
        let places = Tensor::<1, Int>::arange(0..length as i64, &ids.device()).unsqueeze::<2>();
        self.token_embedding.forward(ids) + self.position_embedding.forward(places)
    }
}

impl Encoder {
    pub(crate) fn new(layers: usize, sizes: LayerSizes, device: &Device) -> Self {
        Self { layers: (0..layers).map(|_| Layer::new(sizes, device)).collect() }
    }

    /// All layers, where every token sees every other one.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.layers.iter().fold(x, |x, layer| layer.forward(x, &Visible::default()))
    }
}

impl Layer {
    fn new(LayerSizes { width, inner, heads, epsilon, activation }: LayerSizes, device: &Device) -> Self {
        let norm = || LayerNormConfig::new(width).with_epsilon(epsilon).init(device);
        let linear = |input, output| LinearConfig::new(input, output).init(device);
        Self {
            layer_norm1: norm(),
            self_attn: SelfAttention {
                q_proj: linear(width, width),
                k_proj: linear(width, width),
                v_proj: linear(width, width),
                out_proj: linear(width, width),
                heads,
            },
            layer_norm2: norm(),
            mlp: Mlp { fc1: linear(width, inner), fc2: linear(inner, width), activation },
        }
    }

    fn forward(&self, x: Tensor<3>, visible: &Visible) -> Tensor<3> {
        let x = self.self_attn.forward(self.layer_norm1.forward(x.clone()), visible) + x;
        self.mlp.forward(self.layer_norm2.forward(x.clone())) + x
    }
}

impl SelfAttention {
    fn forward(&self, x: Tensor<3>, visible: &Visible) -> Tensor<3> {
        let [query, key, value] = [&self.q_proj, &self.k_proj, &self.v_proj].map(|projection| projection.forward(x.clone()));
        self.out_proj.forward(attention(query, key, value, self.heads, visible))
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(self.activation.forward(self.fc1.forward(x)))
    }
}
