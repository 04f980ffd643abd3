//! BERT (Devlin et al. 2018) and RoBERTa (Liu et al. 2019), the encoders of SapBERT and both RadBERTs.
//!
//! Reference: transformers 5.23.0, `models/{bert,roberta}/modeling_*.py`, `BertModel` and `RobertaModel`.

mod config;

use burn::module::Module;
use burn::nn::Embedding;
use burn::tensor::{Int, Tensor};
use roentgen_classifier::nn::LayerNorm;
use roentgen_classifier::nn::Linear;
use roentgen_kernels::{Visible, attention};

use super::text_encoder::{Activation, TextEncoder, TextInput, TextStates};

pub use config::BertConfig;
pub(super) use config::{BertKeys, Family};

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
pub(super) enum Places {
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

/// A projection whose result is added to what came in before, then normalised.
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
