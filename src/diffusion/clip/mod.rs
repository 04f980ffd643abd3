//! CLIP's text tower (Radford et al. 2021), the encoder of Stable Diffusion.
//!
//! Reference: transformers 5.23.0, `models/clip/modeling_clip.py`, `CLIPTextModel`.

mod config;

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};
use roentgen_classifier::nn::LayerNorm;
use roentgen_classifier::nn::Linear;
use roentgen_kernels::{Visible, attention};

use super::text_encoder::{Activation, TextEncoder, TextInput, TextStates};

pub(super) use config::ClipKeys;
pub use config::ClipTextConfig;

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
pub(super) enum EndToken {
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

#[derive(Module, Debug)]
struct Encoder {
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

impl Layer {
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
