//! Pieces of words and their ids.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::models::bpe::{Merges, Vocab};
use tokenizers::models::wordpiece::WordPiece;

use super::build::{Kind, Side};
use super::special::{TokenEntry, saved_token};
use crate::diffusion::DiffusionError;

/// The vocabulary of a tokenizer's folder.
#[derive(Debug)]
pub(super) struct Vocabulary {
    path: PathBuf,
    pub(super) pieces: Pieces,
    /// `tokenizer.json`, where that is the source.
    pub(super) saved: Option<String>,
    /// Its added tokens.
    added: Vec<(u32, TokenEntry)>,
    pub(super) baked: Baked,
}

#[derive(Debug)]
pub(super) enum Pieces {
    BytePairs {
        ids: Vocab,
        merges: Merges,
    },
    Words(Vocab),
    /// A model that only `tokenizer.json` as it stands can have.
    Other,
}

impl Pieces {
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        match self {
            Self::BytePairs { ids, .. } | Self::Words(ids) => ids.get(piece).copied(),
            Self::Other => None,
        }
    }
}

/// Settings of the last call, which `tokenizer.json` keeps and transformers takes for defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Baked {
    pub(super) pad_token: Option<String>,
    pub(super) padding_side: Option<Side>,
    pub(super) truncation_side: Option<Side>,
}

impl Vocabulary {
    /// `tokenizer.json` before `vocab.json` with `merges.txt` before `vocab.txt`.
    pub(super) fn read(folder: &Path) -> Result<Self, DiffusionError> {
        let [saved, byte_pairs, words] = ["tokenizer.json", "vocab.json", "vocab.txt"].map(|name| folder.join(name));
        if saved.is_file() {
            return Self::read_saved(saved);
        }
        if byte_pairs.is_file() {
            return Self::read_byte_pairs(folder, byte_pairs);
        }
        if words.is_file() {
            let ids = WordPiece::read_bytes(read(&words)?.as_bytes()).map_err(|error| damaged(&words, &error.to_string()))?;
            return Ok(Self::of_files(words, Pieces::Words(ids)));
        }
        let hint = match folder.is_dir() {
            true => "take the folder that save_pretrained wrote",
            false => "the folder is not there",
        };
        Err(DiffusionError::MissingFile {
            folder: folder.to_owned(),
            expected: "tokenizer.json, vocab.json or vocab.txt".to_owned(),
            hint: hint.to_owned(),
        })
    }

    fn of_files(path: PathBuf, pieces: Pieces) -> Self {
        Self { path, pieces, saved: None, added: Vec::new(), baked: Baked::default() }
    }

    fn read_byte_pairs(folder: &Path, path: PathBuf) -> Result<Self, DiffusionError> {
        let merges_path = folder.join("merges.txt");
        if !merges_path.is_file() {
            return Err(DiffusionError::MissingFile {
                folder: folder.to_owned(),
                expected: "merges.txt".to_owned(),
                hint: "vocab.json is of no use without it: take the folder that save_pretrained wrote".to_owned(),
            });
        }
        let ids = ids(&path, &object(&path, &read(&path)?)?)?;
        let text = read(&merges_path)?;
        let lines = text.lines().filter(|line| !line.starts_with("#version"));
        let merges: Option<Merges> = lines.map(pair).collect();
        let merges = merges.ok_or_else(|| damaged(&merges_path, "a line is not two pieces with a blank between them"))?;
        check_merges(&merges_path, &ids, &merges, 0)?;
        Ok(Self::of_files(path, Pieces::BytePairs { ids, merges }))
    }

    fn read_saved(path: PathBuf) -> Result<Self, DiffusionError> {
        let text = read(&path)?;
        let file = object(&path, &text)?;
        let model = file.get("model").and_then(Value::as_object).ok_or_else(|| damaged(&path, "it has no `model`"))?;
        let vocab = model.get("vocab").and_then(Value::as_object);
        let kind = model.get("type").and_then(Value::as_str);
        let pieces = match (vocab, model.get("merges")) {
            (Some(vocab), Some(merges)) => {
                let ids = ids(&path, vocab)?;
                let merges = merges.as_array().and_then(|merges| merges.iter().map(saved_pair).collect());
                let merges: Merges = merges.ok_or_else(|| damaged(&path, "its `merges` are no pairs of pieces"))?;
                let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or_default();
                check_merges(&path, &ids, &merges, prefix.len())?;
                Pieces::BytePairs { ids, merges }
            }
            (Some(vocab), None) if kind.is_none_or(|kind| kind == "WordPiece") => Pieces::Words(ids(&path, vocab)?),
            _ => Pieces::Other,
        };
        let added = file.get("added_tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let added = added.iter().map(saved_token).collect::<Result<_, _>>();
        let added = added.map_err(|error| damaged(&path, &format!("its `added_tokens`: {error}")))?;
        if let Some(token) = file.get("post_processor").and_then(unknown_in_frame) {
            return Err(damaged(&path, &format!("its `post_processor` frames texts with `{token}` and gives no id for it")));
        }
        let baked = Baked {
            pad_token: file.get("padding").and_then(|padding| padding.get("pad_token")?.as_str().map(str::to_owned)),
            padding_side: file.get("padding").and_then(side),
            truncation_side: file.get("truncation").and_then(side),
        };
        Ok(Self { path, pieces, saved: Some(text), added, baked })
    }

    /// The file that the ids are from.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Added tokens of `tokenizer.json`.
    pub(super) fn added(&self) -> &[(u32, TokenEntry)] {
        &self.added
    }

    /// The kind of tokenizer that a vocabulary without a class is for.
    pub(super) fn kind(&self) -> Option<Kind> {
        match &self.pieces {
            _ if self.saved.is_some() => Some(Kind::AsSaved),
            Pieces::BytePairs { ids, .. } if ids.contains_key("<|startoftext|>") => Some(Kind::Clip),
            Pieces::BytePairs { ids, .. } if ids.contains_key("<s>") => Some(Kind::Roberta),
            Pieces::Words(_) => Some(Kind::Bert),
            _ => None,
        }
    }
}

fn read(path: &Path) -> Result<String, DiffusionError> {
    std::fs::read_to_string(path).map_err(|source| DiffusionError::Io { action: "read", path: path.to_owned(), source })
}

fn object(path: &Path, text: &str) -> Result<Map<String, Value>, DiffusionError> {
    serde_json::from_str(text).map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })
}

pub(super) fn damaged(path: &Path, message: &str) -> DiffusionError {
    DiffusionError::Tokenizer { path: path.to_owned(), message: format!("{message}; download or save it again") }
}

fn ids(path: &Path, vocab: &Map<String, Value>) -> Result<Vocab, DiffusionError> {
    let entry = |(piece, id): (&String, &Value)| {
        // Half of the range: ids are signed integers on a device.
        let id = id.as_u64().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| damaged(path, &format!("the id of `{piece}` is no number of 31 bits")))?;
        Ok((piece.clone(), id.cast_unsigned()))
    };
    vocab.iter().map(entry).collect()
}

fn pair(line: &str) -> Option<(String, String)> {
    let (left, right) = line.split_once(' ')?;
    (!right.contains(' ')).then(|| (left.to_owned(), right.to_owned()))
}

/// `"a b"` or `["a", "b"]`, as versions have it.
fn saved_pair(value: &Value) -> Option<(String, String)> {
    match value {
        Value::String(line) => pair(line),
        pair => <(String, String)>::deserialize(pair).ok(),
    }
}

/// Both pieces of a merge and what becomes of them must be in the vocabulary; the library relies on it.
fn check_merges(path: &Path, ids: &Vocab, merges: &Merges, prefix: usize) -> Result<(), DiffusionError> {
    for (i, (left, right)) in merges.iter().enumerate() {
        let merged = right.get(prefix..).map(|rest| format!("{left}{rest}"));
        let missing = match merged {
            Some(merged) if !ids.contains_key(&merged) => Some(merged),
            None => Some(right.clone()),
            _ => [left, right].into_iter().find(|piece| !ids.contains_key(*piece)).cloned(),
        };
        if let Some(missing) = missing {
            let message = format!("merge {} (`{left}` `{right}`) needs `{missing}`, which the vocabulary lacks", i + 1);
            return Err(damaged(path, &message));
        }
    }
    Ok(())
}

fn side(settings: &Value) -> Option<Side> {
    match settings.get("direction")?.as_str()? {
        "Left" => Some(Side::Left),
        _ => Some(Side::Right),
    }
}

/// A token that frames texts and has no id; the library relies on there being none.
fn unknown_in_frame(processor: &Value) -> Option<&str> {
    let (frame, ids) = (processor.get("single")?.as_array()?, processor.get("special_tokens"));
    let tokens = frame.iter().filter_map(|piece| piece.get("SpecialToken")?.get("id")?.as_str());
    tokens.into_iter().find(|token| ids.and_then(|ids| ids.get(token)).is_none())
}
