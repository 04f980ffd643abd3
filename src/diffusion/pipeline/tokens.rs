//! New tokens in a pipeline: in its vocabulary, its text encoder, and the files that an export writes.

use std::path::Path;

use burn::tensor::{FloatDType, TensorData};
use roentgen_augment::digest::Fingerprint;
use serde_json::json;

use super::StableDiffusion;
use crate::diffusion::DiffusionError;
use crate::diffusion::text::{TextEncoder, TextEncoderModel, edit, list_tokens};

impl StableDiffusion {
    /// The same with `tokens` after its vocabulary, and their `vectors` `[n, width]`, 32-bit floats, in its text encoder.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`] where the vocabulary has one of them already; [`DiffusionError::NotJson`].
    ///
    /// # Panics
    /// If the vectors are of another number or width.
    pub(crate) fn with_tokens(mut self, tokens: &[String], vectors: &TensorData) -> Result<Self, DiffusionError> {
        let expected = [tokens.len(), self.text_encoder.model.width()];
        assert_eq!(vectors.shape().as_slice(), expected, "the shape of the vectors");
        let (tokenizer, first) = self.checkpoint.tokenizer.with_tokens(tokens)?;
        let ids: Vec<(String, u32)> = tokens.iter().cloned().zip(first..).collect();
        let rows = first as usize + tokens.len();
        list_tokens(&mut self.texts, Path::new("tokenizer"), &ids)?;
        edit(&mut self.texts, &Path::new("text_encoder").join("config.json"), |config| {
            config.insert("vocab_size".to_owned(), json!(rows));
        })?;
        self.checkpoint.tokenizer = tokenizer;
        self.checkpoint.text_encoder = self.checkpoint.text_encoder.with_vocabulary_size(rows);
        self.text_encoder.model = self.text_encoder.model.with_rows(first as usize, vectors);
        // The vectors are exact then, whatever type the file had.
        self.text_encoder.stored = FloatDType::F32;
        let names: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
        let digest = Fingerprint::of(&[&Fingerprint::of(&names).0, vectors.as_bytes()]);
        self.fingerprint = Fingerprint::of(&[b"tokens", &self.fingerprint.0, &digest.0]);
        Ok(self)
    }

    /// Its text encoder.
    #[must_use]
    pub fn text_encoder(&self) -> &TextEncoderModel {
        &self.text_encoder.model
    }

    /// Tokens of a prompt that the text encoder sees, those that frame it left out.
    pub(crate) fn prompt_tokens(&self) -> usize {
        self.text_length().saturating_sub(self.checkpoint.tokenizer.framing())
    }
}
