//! Special and added tokens, from whichever of its files a tokenizer lists them in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::AddedToken;

use super::build::{Kind, TokenizerConfig};
use super::vocabulary::Vocabulary;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Options that name a special token, in the order in which transformers adds them: the last word on a token that has two names
/// has the later.
const NAMES: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token as a text, or with how it is found in a text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum TokenValue {
    Text(String),
    Entry(TokenEntry),
}

/// A token and how it is found in a text.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TokenEntry {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Found in the normalised text; by default true for what isn't special.
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

/// Tokens beyond the named ones.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Extra {
    List(Vec<TokenValue>),
    ByName(BTreeMap<String, TokenValue>),
}

/// The special tokens that one file lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    named: BTreeMap<&'static str, TokenValue>,
    extra: Vec<TokenValue>,
    by_id: Option<BTreeMap<u32, TokenEntry>>,
}

/// A tokenizer's special and added tokens.
#[derive(Debug)]
pub(super) struct SpecialTokens {
    named: BTreeMap<&'static str, String>,
    /// In the order in which they get ids, where the vocabulary has none for them.
    pub(super) to_add: Vec<AddedToken>,
}

impl Listed {
    /// Takes the special tokens out of `tokenizer_config.json` or `special_tokens_map.json`.
    pub(super) fn take(options: &mut Options) -> Result<Self, DiffusionError> {
        let mut named = BTreeMap::new();
        for name in NAMES {
            if let Some(token) = options.take(name)? {
                named.insert(name, token);
            }
        }
        let extra = match options.take("extra_special_tokens")? {
            None => options.take("additional_special_tokens")?,
            extra => extra,
        };
        let extra = match extra {
            None => Vec::new(),
            Some(Extra::List(tokens)) => tokens,
            Some(Extra::ByName(tokens)) => tokens.into_values().collect(),
        };
        Ok(Self { named, extra, by_id: options.take("added_tokens_decoder")? })
    }
}

impl SpecialTokens {
    /// `added_tokens_decoder` of the configuration; or else, as before transformers 4.34, `special_tokens_map.json`,
    /// `added_tokens.json` and the added tokens of `tokenizer.json`.
    pub(super) fn read(
        folder: &Path,
        kind: Kind,
        config: &TokenizerConfig,
        vocabulary: &Vocabulary,
    ) -> Result<Self, DiffusionError> {
        let mut listed = config.listed.clone();
        let by_id = match listed.by_id.take() {
            Some(by_id) => by_id,
            None => {
                let map = folder.join("special_tokens_map.json");
                if map.is_file() {
                    let later = Listed::take(&mut Options::read(&map)?)?;
                    listed.named.extend(later.named.into_iter().map(|(name, token)| (name, token.into_special())));
                    listed.extra.extend(later.extra.into_iter().map(TokenValue::into_special));
                }
                let mut by_id = read_added_tokens(folder, &listed)?;
                by_id.extend(vocabulary.added().iter().map(|(id, token)| (*id, token.clone())));
                by_id
            }
        };
        for (name, token) in defaults(kind) {
            listed.named.entry(name).or_insert_with(|| TokenValue::Text((*token).to_owned()));
        }
        let names: BTreeSet<&str> = listed.named.values().map(TokenValue::content).collect();
        let mut known: BTreeSet<&str> = by_id.values().map(|token| token.content.as_str()).collect();
        if kind == Kind::AsSaved {
            known.extend(vocabulary.added().iter().map(|(_, token)| token.content.as_str()));
        }
        let by_id_tokens = by_id.values().map(|token| token.added(names.contains(token.content.as_str())));
        let named = NAMES.iter().filter_map(|name| listed.named.get(name));
        let named = named.filter(|token| !known.contains(token.content())).map(|token| token.added(true));
        let extra = listed.extra.iter().filter(|token| !known.contains(token.content())).map(|token| token.added(false));
        let to_add = by_id_tokens.chain(named).chain(extra).collect();
        let named = listed.named.iter().map(|(name, token)| (*name, token.content().to_owned())).collect();
        Ok(Self { named, to_add })
    }

    /// The special token of an option.
    pub(super) fn named(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }
}

impl TokenValue {
    fn content(&self) -> &str {
        match self {
            Self::Text(content) => content,
            Self::Entry(entry) => &entry.content,
        }
    }

    fn into_special(self) -> Self {
        match self {
            Self::Entry(entry) => Self::Entry(TokenEntry { special: true, ..entry }),
            text => text,
        }
    }

    fn added(&self, named: bool) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content.clone(), true),
            Self::Entry(entry) => entry.added(named),
        }
    }
}

impl TokenEntry {
    /// The library's form; what has a name is special.
    fn added(&self, named: bool) -> AddedToken {
        let special = self.special || named;
        AddedToken {
            content: self.content.clone(),
            single_word: self.single_word,
            lstrip: self.lstrip,
            rstrip: self.rstrip,
            normalized: self.normalized.unwrap_or(!special),
            special,
        }
    }
}

/// `added_tokens.json`, by which old versions kept what `added_tokens_decoder` keeps.
fn read_added_tokens(folder: &Path, listed: &Listed) -> Result<BTreeMap<u32, TokenEntry>, DiffusionError> {
    let path = folder.join("added_tokens.json");
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let text =
        std::fs::read_to_string(&path).map_err(|source| DiffusionError::Io { action: "read", path: path.clone(), source })?;
    let tokens: BTreeMap<String, u32> =
        serde_json::from_str(&text).map_err(|source| DiffusionError::NotJson { path, source })?;
    let special: BTreeSet<&str> = listed.named.values().chain(&listed.extra).map(TokenValue::content).collect();
    let entry = |content: String| {
        let special = special.contains(content.as_str());
        TokenEntry { content, single_word: false, lstrip: false, rstrip: false, normalized: None, special }
    };
    Ok(tokens.into_iter().map(|(content, id)| (id, entry(content))).collect())
}

/// An element of `added_tokens` in `tokenizer.json`.
pub(super) fn saved_token(value: &Value) -> Result<(u32, TokenEntry), serde_json::Error> {
    #[derive(Deserialize)]
    struct Saved {
        id: u32,
        #[serde(flatten)]
        entry: TokenEntry,
    }
    let saved = Saved::deserialize(value)?;
    Ok((saved.id, saved.entry))
}

/// The special tokens of transformers' class.
fn defaults(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::Clip => &[
            ("bos_token", "<|startoftext|>"),
            ("eos_token", "<|endoftext|>"),
            ("unk_token", "<|endoftext|>"),
            ("pad_token", "<|endoftext|>"),
        ],
        Kind::Bert => &[
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ],
        Kind::Roberta => &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
            ("sep_token", "</s>"),
            ("pad_token", "<pad>"),
            ("cls_token", "<s>"),
            ("mask_token", "<mask>"),
        ],
        Kind::AsSaved => &[],
    }
}
