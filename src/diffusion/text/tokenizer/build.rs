//! From `tokenizer_config.json` to the normaliser, splitter, model and framing of each kind of tokenizer.

use std::path::Path;

use serde::Deserialize;
use tokenizers::models::bpe::{BPE, BpeBuilder, Merges, Vocab};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::{BertNormalizer, Lowercase, NFC, Sequence as Normalizers};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{PostProcessorWrapper, Result, SplitDelimiterBehavior, Tokenizer};

use super::special::{Listed, SpecialTokens};
use super::vocabulary::{Pieces, Vocabulary, damaged};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// CLIP's words (Radford et al. 2021; `simple_tokenizer.py` of openai/CLIP): special tokens, English endings, letters, one digit,
/// other signs.
const CLIP_WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// The library's tokenizer, neither truncating nor padding.
pub(super) fn build(
    kind: Kind,
    vocabulary: Vocabulary,
    config: &TokenizerConfig,
    special: &SpecialTokens,
) -> std::result::Result<Tokenizer, DiffusionError> {
    let path = vocabulary.path().to_owned();
    let unusable = |error: tokenizers::Error| damaged(&path, &error.to_string());
    let frame = |name: &str| -> std::result::Result<(String, u32), DiffusionError> {
        let token = special.named(name).unwrap_or_default().to_owned();
        let id = vocabulary.pieces.id(&token);
        let id = id.ok_or_else(|| damaged(&path, &format!("the vocabulary lacks the special token `{token}` (`{name}`)")))?;
        Ok((token, id))
    };
    let (mut tokenizer, frame) = match kind {
        Kind::AsSaved => {
            let text = vocabulary.saved.ok_or_else(|| DiffusionError::MissingFile {
                folder: path.parent().unwrap_or(&path).to_owned(),
                expected: "tokenizer.json".to_owned(),
                hint: "its `tokenizer_class` has no other form".to_owned(),
            })?;
            (text.parse().map_err(unusable)?, None)
        }
        Kind::Clip => {
            let frame = RobertaProcessing::new(frame("eos_token")?, frame("bos_token")?).trim_offsets(false);
            let unknown = special.named("unk_token").unwrap_or_default().to_owned();
            let (ids, merges) = byte_pairs(vocabulary, "CLIPTokenizer")?;
            (clip(ids, merges, unknown).map_err(unusable)?, Some(PostProcessorWrapper::from(frame)))
        }
        Kind::Roberta => {
            let frame = RobertaProcessing::new(frame("sep_token")?, frame("cls_token")?);
            let (ids, merges) = byte_pairs(vocabulary, "RobertaTokenizer")?;
            (roberta(ids, merges, config).map_err(unusable)?, Some(frame.into()))
        }
        Kind::Bert => {
            let frame = BertProcessing::new(frame("sep_token")?, frame("cls_token")?);
            let Pieces::Words(ids) = vocabulary.pieces else {
                return Err(damaged(&path, "a BertTokenizer needs a WordPiece vocabulary, this is of another model"));
            };
            let unknown = special.named("unk_token").unwrap_or_default().to_owned();
            (bert(ids, unknown, config).map_err(unusable)?, Some(frame.into()))
        }
    };
    if let Some(frame) = frame {
        tokenizer.with_post_processor(Some(frame));
    }
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(unusable)?;
    tokenizer.set_encode_special_tokens(config.split_special_tokens);
    tokenizer.add_tokens(special.to_add.iter().cloned()).map_err(unusable)?;
    Ok(tokenizer)
}

fn byte_pairs(vocabulary: Vocabulary, class: &str) -> std::result::Result<(Vocab, Merges), DiffusionError> {
    let path = vocabulary.path().to_owned();
    match vocabulary.pieces {
        Pieces::BytePairs { ids, merges } => Ok((ids, merges)),
        _ => Err(damaged(&path, &format!("a {class} needs byte pairs (vocab.json and merges.txt), this is of another model"))),
    }
}

fn byte_pair_model(ids: Vocab, merges: Merges) -> BpeBuilder {
    BPE::builder().vocab_and_merges(ids, merges).continuing_subword_prefix(String::new())
}

fn clip(ids: Vocab, merges: Merges, unknown: String) -> Result<Tokenizer> {
    let model = byte_pair_model(ids, merges).end_of_word_suffix("</w>".to_owned()).unk_token(unknown).build()?;
    let mut tokenizer = Tokenizer::new(model);
    let blanks = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")?;
    tokenizer.with_normalizer(Some(Normalizers::new(vec![NFC.into(), blanks.into(), Lowercase.into()])))?;
    let words = Split::new(SplitPattern::Regex(CLIP_WORDS.to_owned()), SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::default().add_prefix_space(false);
    tokenizer.with_pre_tokenizer(Some(PreTokenizers::new(vec![words.into(), bytes.into()])));
    Ok(tokenizer)
}

fn roberta(ids: Vocab, merges: Merges, config: &TokenizerConfig) -> Result<Tokenizer> {
    let model = byte_pair_model(ids, merges).end_of_word_suffix(String::new()).build()?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(config.add_prefix_space)));
    Ok(tokenizer)
}

fn bert(ids: Vocab, unknown: String, config: &TokenizerConfig) -> Result<Tokenizer> {
    let model = WordPiece::builder().vocab(ids).unk_token(unknown).build()?;
    let mut tokenizer = Tokenizer::new(model);
    let normalizer = BertNormalizer::new(true, config.split_chinese_characters, config.strip_accents, config.lower_case);
    tokenizer.with_normalizer(Some(normalizer))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    Ok(tokenizer)
}

/// How a tokenizer processes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Clip,
    Bert,
    Roberta,
    /// As in `tokenizer.json`.
    AsSaved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Side {
    Left,
    Right,
}

/// The options that have an influence on ids. The others concern a tokenizer's history, decoding or chats.
#[derive(Debug)]
pub(super) struct TokenizerConfig {
    pub(super) kind: Option<Kind>,
    lower_case: bool,
    split_chinese_characters: bool,
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
    pub(super) fn read(folder: &Path) -> std::result::Result<Self, DiffusionError> {
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
        // CXR-BERT's adds a method to BERT's.
        "BertTokenizer" | "CXRBertTokenizer" => Some(Kind::Bert),
        "RobertaTokenizer" => Some(Kind::Roberta),
        "PreTrainedTokenizer" | "TokenizersBackend" => Some(Kind::AsSaved),
        _ => None,
    }
}
