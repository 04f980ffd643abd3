//! Text to ids.
//!
//! The kinds of tokenizers that transformers builds for CLIP, BERT and RoBERTa, by the library it builds them with; reference:
//! transformers 5.23.0, `models/{clip,bert,roberta}/tokenization_*.py` and `tokenization_utils_tokenizers.py`.

mod added;
mod build;
mod special;
#[cfg(test)]
mod tests;
mod vectors;
mod vocabulary;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use tokenizers::{AddedToken, PaddingDirection, PostProcessor, TruncationDirection};

use crate::diffusion::DiffusionError;
use build::{Side, TokenizerConfig};
use special::SpecialTokens;
use vectors::{Vectors, written_out};
use vocabulary::Vocabulary;

pub(in crate::diffusion) use added::{edit, list_tokens};

/// Every file that a tokenizer of CLIP, BERT or RoBERTa is read from.
pub(crate) const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
];

/// The tokenizer of a text encoder's folder: in it, as in separate models, or next to it, as in pipelines.
pub(crate) fn tokenizer_folder(encoder: &Path) -> PathBuf {
    let own = TOKENIZER_FILES.iter().any(|name| encoder.join(name).is_file());
    match encoder.parent() {
        Some(pipeline) if !own => pipeline.join("tokenizer"),
        _ => encoder.to_owned(),
    }
}

/// Text to ids, as the text encoder beside it was trained with.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    folder: PathBuf,
    inner: tokenizers::Tokenizer,
    /// Tokens of several vectors.
    vectors: Vec<Vectors>,
    padding: Padding,
    truncation: TruncationDirection,
    model_max_length: Option<usize>,
    /// Ids that the text encoder has embeddings for.
    embedded: usize,
}

#[derive(Clone, Debug)]
struct Padding {
    token: String,
    id: u32,
    direction: PaddingDirection,
}

impl Tokenizer {
    /// Opens a `tokenizer` folder: `tokenizer.json`, or `vocab.json` and `merges.txt` (CLIP, RoBERTa), or `vocab.txt` (BERT).
    ///
    /// The kind is `tokenizer_class` in `tokenizer_config.json`; without it, `tokenizer.json` is used unchanged and the
    /// kind of a vocabulary follows from its special tokens. As in transformers, a `tokenizer.json` beside a known class gives
    /// its vocabulary and added tokens, not its normaliser.
    ///
    /// # Errors
    /// [`DiffusionError::MissingFile`], [`DiffusionError::Io`], [`DiffusionError::NotJson`] and [`DiffusionError::Option`] name the
    /// file; [`DiffusionError::Tokenizer`] for files that don't fit each other; [`DiffusionError::OtherModel`] for another class.
    pub fn open(folder: &Path) -> Result<Self, DiffusionError> {
        let config = TokenizerConfig::read(folder)?;
        let vocabulary = Vocabulary::read(folder)?;
        let kind = config.kind.or_else(|| vocabulary.kind()).ok_or_else(|| DiffusionError::Tokenizer {
            path: vocabulary.path().to_owned(),
            message:
                "its special tokens are neither CLIP's nor RoBERTa's, and no tokenizer_config.json names a `tokenizer_class`"
                    .to_owned(),
        })?;
        let special = SpecialTokens::read(folder, kind, &config, &vocabulary)?;
        let baked = vocabulary.baked.clone();
        let inner = build::build(kind, vocabulary, &config, &special)?;
        let missing = |token: &str| DiffusionError::Tokenizer {
            path: folder.to_owned(),
            message: format!("{token}; use the folder that save_pretrained wrote"),
        };
        let token = special.named("pad_token").map(str::to_owned).or_else(|| baked.pad_token.clone());
        let token = token.ok_or_else(|| missing("no file names its `pad_token`"))?;
        let id = inner.token_to_id(&token).ok_or_else(|| missing(&format!("its pad token `{token}` has no id")))?;
        let direction = match config.padding_side.or(baked.padding_side) {
            Some(Side::Left) => PaddingDirection::Left,
            _ => PaddingDirection::Right,
        };
        let truncation = match config.truncation_side.or(baked.truncation_side) {
            Some(Side::Left) => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        let padding = Padding { token, id, direction };
        let vectors = Vectors::of(&inner);
        let model_max_length = config.model_max_length;
        Ok(Self { folder: folder.to_owned(), inner, vectors, padding, truncation, model_max_length, embedded: usize::MAX })
    }

    /// The same beside a text encoder with embeddings of this many ids: a text with another token is refused from now on.
    #[must_use]
    pub(crate) fn beside(self, embedded: usize) -> Self {
        Self { embedded, ..self }
    }

    /// What is to be said of tokens without an embedding, if there are any.
    pub(in crate::diffusion) fn spare_tokens(&self) -> Option<String> {
        let mut spare: Vec<(u32, String)> = self.inner.get_vocab(true).into_iter().map(|(token, id)| (id, token)).collect();
        spare.retain(|(id, _)| *id as usize >= self.embedded);
        spare.sort();
        let named: Vec<String> = spare.iter().take(MOST_NAMED).map(|(_, token)| format!("`{token}`")).collect();
        let more = if spare.len() > MOST_NAMED { ", …" } else { "" };
        (!spare.is_empty()).then(|| {
            format!(
                "the tokenizer has {} token(s) that the text encoder has no embedding for ({}{more}): a prompt with one of them is refused",
                spare.len(),
                named.join(", ")
            )
        })
    }

    fn check_embedded(&self, tokens: &tokenizers::Encoding, text: &str) -> Result<(), DiffusionError> {
        let Some(id) = tokens.get_ids().iter().find(|id| **id as usize >= self.embedded) else { return Ok(()) };
        Err(DiffusionError::Tokenizer {
            path: self.folder.clone(),
            message: format!(
                "the text {:?} has the token `{}` (id {id}), and the text encoder has embeddings of {} ids: leave it out; or if it is of \
                 textual inversion, delete it from the tokenizer's files (added_tokens.json, added_tokens_decoder in \
                 tokenizer_config.json) and give its vectors as --embedding",
                excerpt(text),
                self.inner.id_to_token(*id).unwrap_or_default(),
                self.embedded
            ),
        })
    }

    /// The same with further tokens, which are found in a text after it was made lower case, and within words; and the id of the first.
    /// Ids follow the vocabulary.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`] where the vocabulary has one of them already.
    pub(in crate::diffusion) fn with_tokens(mut self, tokens: &[String]) -> Result<(Self, u32), DiffusionError> {
        let refuse = |message: String| DiffusionError::Tokenizer { path: self.folder.clone(), message };
        if let Some(known) = tokens.iter().find(|token| self.id(token).is_some()) {
            return Err(refuse(format!("its vocabulary has the token `{known}` already")));
        }
        if let Some(spare) = self.spare_tokens() {
            let remedy = "delete them from its files before tokens are added (added_tokens.json, added_tokens_decoder in tokenizer_config.json)";
            return Err(refuse(format!("{spare}; {remedy}")));
        }
        let first = self.vocabulary_size() as u32;
        let added = self.inner.add_tokens(tokens.iter().map(|token| AddedToken::from(token.clone(), false)));
        added.map_err(|error| DiffusionError::Tokenizer { path: self.folder.clone(), message: error.to_string() })?;
        for (token, expected) in tokens.iter().zip(first..) {
            if self.id(token) != Some(expected) {
                let message = format!("the new token `{token}` did not get the id {expected}");
                return Err(DiffusionError::Tokenizer { path: self.folder.clone(), message });
            }
        }
        self.vectors = Vectors::of(&self.inner);
        self.embedded = self.embedded.max(first as usize + tokens.len());
        Ok((self, first))
    }

    /// The id of a token as the vocabulary names it.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Tokens that frame every text.
    #[must_use]
    pub fn framing(&self) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false))
    }

    /// A text as it is encoded: tokens of several vectors (textual inversion) are written out, `<x>` as `<x> <x>_1 <x>_2`.
    fn written_out<'a>(&self, text: &'a str) -> Cow<'a, str> {
        written_out(&self.vectors, text)
    }

    /// The first token of several vectors of which these ids have only the first, with the number of its vectors: the text has it in other
    /// capitals than the vocabulary, or the vocabulary in capitals that no text keeps.
    #[must_use]
    pub fn cut_short(&self, ids: &[u32]) -> Option<(&str, usize)> {
        self.vectors.iter().find(|vectors| vectors.is_cut_short(ids)).map(Vectors::name)
    }

    /// Ids of every text, padded to `max_length` and cut to it; the end token stays. Tokens of several vectors are written out before.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] where `max_length` leaves no room for a token beside the start and end tokens;
    /// [`DiffusionError::Tokenizer`] where a character is in no vocabulary and there is no token for unknown ones, and for a token that the
    /// text encoder beside it has no embedding for.
    pub fn encode(&self, texts: &[&str], max_length: usize) -> Result<Encoded, DiffusionError> {
        let added = self.framing();
        if max_length <= added {
            return Err(DiffusionError::Setting {
                key: "max_length",
                value: max_length.to_string(),
                expected: format!("at least {}: {added} tokens frame every text", added + 1),
            });
        }
        let mut encoded = Encoded::with_capacity(texts.len(), max_length);
        for text in texts {
            let failed = |error: tokenizers::Error| DiffusionError::Tokenizer {
                path: self.folder.clone(),
                message: format!("it has no ids for the text {:?}: {error}", excerpt(text)),
            };
            let mut tokens = self.inner.encode_fast(&*self.written_out(text), false).map_err(failed)?;
            let untruncated = tokens.len() + added;
            tokens.truncate(max_length - added, 0, self.truncation);
            let mut tokens = self.inner.post_process(tokens, None, true).map_err(failed)?;
            tokens.pad(max_length, self.padding.id, 0, &self.padding.token, self.padding.direction);
            self.check_embedded(&tokens, text)?;
            encoded.push(&tokens, untruncated);
        }
        Ok(encoded)
    }

    /// [`encode`](Self::encode) to the length the tokenizer itself names; where it names none, to that of the longest text, but
    /// at most `limit` (the positions that the text encoder has).
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn encode_to_model_length(&self, texts: &[&str], limit: usize) -> Result<Encoded, DiffusionError> {
        match self.model_max_length {
            Some(length) => self.encode(texts, length.min(limit)),
            None => {
                let longest = self.encode(texts, limit)?.untruncated_length.into_iter().max().unwrap_or(limit);
                self.encode(texts, longest.min(limit))
            }
        }
    }

    /// Tokens of a whole text, start and end tokens included.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`] where a character is in no vocabulary and there is no token for unknown ones.
    pub fn count(&self, text: &str) -> Result<usize, DiffusionError> {
        let tokens = self.inner.encode_fast(&*self.written_out(text), true).map_err(|error| DiffusionError::Tokenizer {
            path: self.folder.clone(),
            message: format!("it has no ids for the text {:?}: {error}", excerpt(text)),
        })?;
        Ok(tokens.len())
    }

    /// Most tokens of a text that the model was made for (77 for CLIP); `None` if the files have no usable number.
    #[must_use]
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// One more than the largest id.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// One more than the largest id without tokens that were added later: the rows that a text encoder needs at least. Tokens that frame
    /// or fill up every text count too.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn needed_rows(&self) -> Result<usize, DiffusionError> {
        let base = self.inner.get_vocab(false).into_values();
        let empty = self.encode(&[""], self.framing() + 1)?.input_ids.into_iter().flatten();
        Ok(base.chain(empty).max().map_or(0, |id| id as usize + 1))
    }

    /// The id that fills up short texts.
    #[must_use]
    pub fn pad_id(&self) -> u32 {
        self.padding.id
    }
}

/// Tokens that a message names.
const MOST_NAMED: usize = 5;

/// The start of a text, for a message.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// Ids of a batch of texts, all of one length; shapes with `B` texts of `L` tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Length of every row.
    pub max_length: usize,
    /// `[B, L]`.
    pub input_ids: Vec<Vec<u32>>,
    /// `[B, L]`, false where a token only fills up the row.
    pub attention_mask: Vec<Vec<bool>>,
    /// `[B, L]`, 0 for every token of a single text.
    pub token_type_ids: Vec<Vec<u32>>,
    /// `[B]`, tokens of the whole text, start and end tokens included.
    pub untruncated_length: Vec<usize>,
}

impl Encoded {
    pub(super) fn with_capacity(texts: usize, max_length: usize) -> Self {
        Self {
            max_length,
            input_ids: Vec::with_capacity(texts),
            attention_mask: Vec::with_capacity(texts),
            token_type_ids: Vec::with_capacity(texts),
            untruncated_length: Vec::with_capacity(texts),
        }
    }

    pub(super) fn push(&mut self, tokens: &tokenizers::Encoding, untruncated: usize) {
        self.input_ids.push(tokens.get_ids().to_vec());
        self.attention_mask.push(tokens.get_attention_mask().iter().map(|seen| *seen != 0).collect());
        self.token_type_ids.push(tokens.get_type_ids().to_vec());
        self.untruncated_length.push(untruncated);
    }

    /// `[B]`, tokens that were cut off every text.
    #[must_use]
    pub fn dropped(&self) -> Vec<usize> {
        self.untruncated_length.iter().map(|length| length.saturating_sub(self.max_length)).collect()
    }

    /// [`input_ids`](Self::input_ids) on a device.
    #[must_use]
    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        self.integers(&self.input_ids, device)
    }

    /// [`token_type_ids`](Self::token_type_ids) on a device.
    #[must_use]
    pub fn token_types(&self, device: &Device) -> Tensor<2, Int> {
        self.integers(&self.token_type_ids, device)
    }

    /// [`attention_mask`](Self::attention_mask) on a device.
    #[must_use]
    pub fn mask(&self, device: &Device) -> Tensor<2, Bool> {
        let shape = [self.attention_mask.len(), self.max_length];
        Tensor::from_data(TensorData::new(self.attention_mask.concat(), shape), device)
    }

    fn integers(&self, rows: &[Vec<u32>], device: &Device) -> Tensor<2, Int> {
        let values: Vec<i32> = rows.iter().flatten().map(|id| id.cast_signed()).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), self.max_length]), device)
    }
}
