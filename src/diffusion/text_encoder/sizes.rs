//! Sizes that every text encoder has.

use serde_json::json;

use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Sizes of a transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::diffusion) struct Sizes {
    /// Number of ids.
    pub(in crate::diffusion) vocabulary: usize,
    pub(in crate::diffusion) width: usize,
    /// Width between the two matrices of a feed-forward block.
    pub(in crate::diffusion) inner: usize,
    pub(in crate::diffusion) layers: usize,
    pub(in crate::diffusion) heads: usize,
    /// Rows of the position embedding.
    pub(in crate::diffusion) positions: usize,
    /// Of every norm.
    pub(in crate::diffusion) epsilon: f64,
}

impl Sizes {
    /// Refuses what makes no transformer.
    pub(in crate::diffusion) fn check(&self, options: &Options) -> Result<(), DiffusionError> {
        let sizes = [
            ("vocab_size", self.vocabulary),
            ("hidden_size", self.width),
            ("intermediate_size", self.inner),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("max_position_embeddings", self.positions),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(options.refuse(key, "0", "at least 1"));
        }
        if !self.width.is_multiple_of(self.heads) {
            let expected = format!("a divisor of hidden_size, {}", self.width);
            return Err(options.refuse("num_attention_heads", &self.heads.to_string(), &expected));
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return Err(options.refuse("layer_norm_eps", &self.epsilon.to_string(), "a small positive number"));
        }
        Ok(())
    }

    /// Takes what transformers keeps in every configuration and no encoder computes with, and refuses the rest.
    pub(in crate::diffusion) fn finish(mut options: Options) -> Result<(), DiffusionError> {
        options.without_influence(&[
            "bos_token_id",
            "dtype",
            "eos_token_id",
            "finetuning_task",
            "gradient_checkpointing",
            "chunk_size_feed_forward",
            "id2label",
            "label2id",
            "output_attentions",
            "output_hidden_states",
            "output_past",
            "pad_token_id",
            "problem_type",
            "return_dict",
            "sep_token_id",
            "tie_word_embeddings",
            "tokenizer_class",
            "torch_dtype",
            "torchscript",
            "transformers_version",
            "use_cache",
        ]);
        options.neutral("is_encoder_decoder", &[json!(false)])?;
        options.neutral("pruned_heads", &[json!({})])?;
        options.finish()
    }
}
