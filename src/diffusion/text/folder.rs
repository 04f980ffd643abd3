//! A text encoder with its tokenizer, without the rest of a pipeline.

use std::path::Path;

use burn::tensor::{Device, FloatDType};
use roentgen_augment::digest::Fingerprint;

use super::encoder::{TextEncoder, TextEncoderConfig, TextEncoderModel};
use super::tokenizer::{TOKENIZER_FILES, Tokenizer, tokenizer_folder};
use crate::diffusion::DiffusionError;

/// The text encoder of a folder, in F32, and its tokenizer.
#[derive(Clone, Debug)]
pub struct EncoderFolder {
    /// Text to ids.
    pub tokenizer: Tokenizer,
    /// Its sizes and options.
    pub config: TextEncoderConfig,
    /// Ids to text states.
    pub model: TextEncoderModel,
    /// Digest of the weights, of every option that has an influence, and of the tokenizer's files: equal digests give equal states.
    pub digest: Fingerprint,
}

impl EncoderFolder {
    /// Reads a pipeline's folder (of diffusers, or of a run of `finetune`, which has one in it), of which it takes `text_encoder` and
    /// `tokenizer` alone; or the folder of a model by itself, with the tokenizer in it or next to it.
    ///
    /// # Errors
    /// Those of [`Tokenizer::open`], [`TextEncoderConfig::read`] and [`TextEncoderConfig::load`]; [`DiffusionError::Mismatch`] for a
    /// tokenizer of another model.
    pub fn read(folder: &Path, device: &Device) -> Result<Self, DiffusionError> {
        let pipelines = [folder.to_owned(), folder.join("pipeline")];
        let pipeline = pipelines.into_iter().find(|folder| folder.join("model_index.json").is_file());
        let encoder = pipeline.map_or_else(|| folder.to_owned(), |pipeline| pipeline.join("text_encoder"));
        let config = TextEncoderConfig::read(&encoder.join("config.json"))?;
        let files = tokenizer_folder(&encoder);
        let tokenizer = Tokenizer::open(&files)?;
        let rows = tokenizer.needed_rows()?;
        if rows > config.vocabulary_size() {
            let message = format!(
                "the largest id of the tokenizer in {} is {}, the text encoder embeds {} ids: they are of different models",
                files.display(),
                rows - 1,
                config.vocabulary_size()
            );
            return Err(DiffusionError::Mismatch { path: encoder, message });
        }
        let loaded = config.load(encoder.as_path(), FloatDType::F32, device)?;
        let options = format!("{config:?}");
        let mut parts = vec![loaded.digest.0.to_vec(), options.into_bytes()];
        for name in TOKENIZER_FILES {
            let path = files.join(name);
            if path.is_file() {
                let bytes = std::fs::read(&path).map_err(|source| DiffusionError::Io { action: "read", path, source })?;
                parts.push(name.as_bytes().to_vec());
                parts.push(bytes);
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let digest = Fingerprint::of(&parts);
        let tokenizer = tokenizer.beside(loaded.model.vocabulary_size());
        Ok(Self { tokenizer, config, model: loaded.model, digest })
    }

    /// Most tokens of a text that it sees: the tokenizer's length, or the encoder's where that is less.
    #[must_use]
    pub fn text_length(&self) -> usize {
        let positions = self.model.max_positions();
        self.tokenizer.model_max_length().map_or(positions, |length| length.min(positions))
    }
}
