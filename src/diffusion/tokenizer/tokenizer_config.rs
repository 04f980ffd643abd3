//! `tokenizer_config.json`.

use std::path::Path;

use serde::Deserialize;

use super::special::Listed;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// What a tokenizer does with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Clip,
    Bert,
    Roberta,
    /// What `tokenizer.json` says.
    AsSaved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Left,
    Right,
}

/// The options that have an influence on ids. The others describe a tokenizer's history, decoding or chats.
#[derive(Debug)]
pub(super) struct TokenizerConfig {
    pub(super) kind: Option<Kind>,
    pub(super) lower_case: bool,
    pub(super) split_chinese_characters: bool,
    /// `None`: as `lower_case`.
    pub(super) strip_accents: Option<bool>,
    pub(super) add_prefix_space: bool,
    /// Special tokens in a text are read as text.
    pub(super) split_special_tokens: bool,
    pub(super) model_max_length: Option<usize>,
    pub(super) padding_side: Option<Side>,
    pub(super) truncation_side: Option<Side>,
    pub(super) listed: Listed,
}

/// Lengths above this are transformers' way to say "none" (it writes 1e30 and itself asks whether a length is above 1e20).
const NO_LENGTH: f64 = 1e20;

impl TokenizerConfig {
    /// A folder without the file has every default.
    pub(super) fn read(folder: &Path) -> Result<Self, DiffusionError> {
        let path = folder.join("tokenizer_config.json");
        let mut options = match path.is_file() {
            true => Options::read(&path)?,
            false => Options::parse("{}", &path)?,
        };
        let kind = match options.take::<String>("tokenizer_class")? {
            None => None,
            Some(class) => Some(kind(&class).ok_or_else(|| DiffusionError::OtherModel {
                path: path.clone(),
                found: format!("of a {class}"),
                expected: "expected CLIPTokenizer, BertTokenizer, RobertaTokenizer or PreTrainedTokenizerFast".to_owned(),
            })?),
        };
        let length: Option<f64> = match options.take("model_max_length")? {
            None => options.take("max_len")?,
            length => length,
        };
        if let Some(length) = length.filter(|length| *length < 1.0 || length.fract() != 0.0) {
            return Err(options.refuse("model_max_length", &length.to_string(), "a positive integer"));
        }
        Ok(Self {
            kind,
            lower_case: options.take_or("do_lower_case", true)?,
            split_chinese_characters: options.take_or("tokenize_chinese_chars", true)?,
            strip_accents: options.take("strip_accents")?,
            add_prefix_space: options.take_or("add_prefix_space", false)?,
            split_special_tokens: options.take_or("split_special_tokens", false)?,
            model_max_length: length.filter(|length| *length < NO_LENGTH).map(|length| length as usize),
            padding_side: options.take("padding_side")?,
            truncation_side: options.take("truncation_side")?,
            listed: Listed::take(&mut options)?,
        })
    }
}

fn kind(class: &str) -> Option<Kind> {
    match class.strip_suffix("Fast").unwrap_or(class) {
        "CLIPTokenizer" => Some(Kind::Clip),
        "BertTokenizer" => Some(Kind::Bert),
        "RobertaTokenizer" => Some(Kind::Roberta),
        "PreTrainedTokenizer" | "TokenizersBackend" => Some(Kind::AsSaved),
        _ => None,
    }
}
