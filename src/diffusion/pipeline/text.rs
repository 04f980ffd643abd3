//! Prompts to text states.

use std::collections::HashMap;

use burn::tensor::{Int, Tensor, TensorData};

use super::StableDiffusion;
use crate::diffusion::{DiffusionError, Encoded, TextEncoder, TextEncoderModel, TextInput, Tokenizer};

/// What the text encoder makes of some prompts.
#[derive(Clone, Debug)]
pub struct EncodedText {
    /// Ids `[B][L]`, padded and cut to the encoder's length.
    pub input_ids: Vec<Vec<u32>>,
    /// `[B, L, D]`, what the U-Net attends to.
    pub states: Tensor<3>,
    /// Tokens of each prompt that the encoder did not see.
    pub dropped_tokens: Vec<usize>,
}

impl StableDiffusion {
    /// Encodes prompts; equal prompts are encoded once.
    ///
    /// A prompt longer than the encoder's length (77 tokens for CLIP) is cut, keeping the end token, as diffusers cuts it.
    /// `clip_skip` last layers are left out (0 for none).
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    ///
    /// # Panics
    /// If the encoder has fewer layers than `clip_skip`.
    pub fn encode(&self, prompts: &[&str], clip_skip: usize) -> Result<EncodedText, DiffusionError> {
        let (distinct, rows) = distinct(prompts);
        let encoded = self.checkpoint.tokenizer.encode(&distinct, self.text_length())?;
        let states = self.states(&self.text_encoder.on(&self.device), &encoded, clip_skip);
        let positions: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let states = states.select(0, Tensor::<1, Int>::from_data(TensorData::new(positions, [rows.len()]), &self.device));
        let dropped = encoded.dropped();
        Ok(EncodedText {
            input_ids: rows.iter().map(|row| encoded.input_ids[*row].clone()).collect(),
            states,
            dropped_tokens: rows.iter().map(|row| dropped[*row]).collect(),
        })
    }

    /// The states `[L, D]` of each prompt as of a batch of its own, so that their bits do not depend on the other prompts.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub(super) fn encode_each(&self, prompts: &[&str], clip_skip: usize) -> Result<Vec<Tensor<2>>, DiffusionError> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let encoder = self.text_encoder.on(&self.device);
        let each = prompts.iter().map(|prompt| {
            let encoded = self.checkpoint.tokenizer.encode(&[*prompt], self.text_length())?;
            Ok(self.states(&encoder, &encoded, clip_skip).squeeze_dim(0))
        });
        each.collect()
    }

    /// The states `[B, L, D]` that the U-Net attends to.
    fn states(&self, encoder: &TextEncoderModel, encoded: &Encoded, clip_skip: usize) -> Tensor<3> {
        // Like diffusers, a mask is given to the encoders alone that ask for one in their configuration.
        let mask = encoder.uses_attention_mask().then(|| encoded.mask(&self.device));
        let input = TextInput { mask, skip: clip_skip, ..TextInput::new(encoded.ids(&self.device)) };
        let states = encoder.encode(input).last_hidden_state;
        match &self.projection {
            Some(projection) => projection.on(&self.device).forward(states),
            None => states,
        }
    }

    /// The tokenizer of its text encoder.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.checkpoint.tokenizer
    }

    /// Tokens of each prompt that the text encoder does not see.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub fn dropped_tokens(&self, prompts: &[&str]) -> Result<Vec<usize>, DiffusionError> {
        let (distinct, rows) = distinct(prompts);
        let dropped = self.checkpoint.tokenizer.encode(&distinct, self.text_length())?.dropped();
        Ok(rows.into_iter().map(|row| dropped[row]).collect())
    }

    /// Tokens of a padded prompt: the tokenizer's length, or the encoder's where that is less.
    pub(crate) fn text_length(&self) -> usize {
        let positions = self.text_encoder.model.max_positions();
        self.checkpoint.tokenizer.model_max_length().map_or(positions, |length| length.min(positions))
    }
}

/// Distinct texts in order of appearance, and the position of each text among them.
fn distinct<'a>(texts: &[&'a str]) -> (Vec<&'a str>, Vec<usize>) {
    let mut positions = HashMap::new();
    let mut distinct = Vec::new();
    let rows = texts.iter().map(|text| {
        *positions.entry(*text).or_insert_with(|| {
            distinct.push(*text);
            distinct.len() - 1
        })
    });
    let rows = rows.collect();
    (distinct, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_row() {
        assert_eq!(distinct(&["b", "a", "b", ""]), (vec!["b", "a", ""], vec![0, 1, 0, 2]));
    }
}
