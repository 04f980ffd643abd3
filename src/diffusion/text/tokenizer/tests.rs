//! Small vocabularies, ids by hand. The same rules are checked on large ones in the parity tests.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Encoded, Tokenizer};
use crate::diffusion::DiffusionError;

/// A folder of files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const CLIP_VOCAB: &str =
    r#"{"!": 0, "a": 1, "b": 2, "!</w>": 3, "a</w>": 4, "b</w>": 5, "ab</w>": 6, "<|startoftext|>": 7, "<|endoftext|>": 8}"#;
const CLIP_MERGES: &str = "#version: 0.2\na b</w>\n";
const BERT_VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n##c\nAb\n";
const ROBERTA_VOCAB: &str =
    r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6, "Ġ": 7, "Ġab": 8, "<mask>": 9}"#;
const ROBERTA_MERGES: &str = "#version: 0.2\na b\nĠ ab\n";

fn clip(config: &Value) -> TempDir {
    folder(&[("vocab.json", CLIP_VOCAB), ("merges.txt", CLIP_MERGES), ("tokenizer_config.json", &config.to_string())])
}

fn bert(config: &Value) -> TempDir {
    folder(&[("vocab.txt", BERT_VOCAB), ("tokenizer_config.json", &config.to_string())])
}

fn roberta(config: &Value) -> TempDir {
    folder(&[("vocab.json", ROBERTA_VOCAB), ("merges.txt", ROBERTA_MERGES), ("tokenizer_config.json", &config.to_string())])
}

fn open(folder: &TempDir) -> Tokenizer {
    Tokenizer::open(folder.path()).unwrap()
}

fn ids(folder: &TempDir, text: &str, max_length: usize) -> Vec<u32> {
    let encoded = open(folder).encode(&[text], max_length).unwrap();
    encoded.input_ids.into_iter().next().unwrap()
}

fn refusal(folder: &Path) -> String {
    Tokenizer::open(folder).unwrap_err().to_string()
}

#[test]
fn clip_lowers_splits_merges_and_pads_with_the_end_token() {
    assert_eq!(ids(&clip(&json!({"tokenizer_class": "CLIPTokenizer"})), " AB \t a!", 8), [7, 6, 4, 3, 8, 8, 8, 8]);
}

#[test]
fn a_pad_token_that_is_a_sign_is_found_in_texts_too() {
    // Stable Diffusion 2; transformers 5 finds special tokens before it splits words: "!" is 0, not "!</w>".
    assert_eq!(ids(&clip(&json!({"pad_token": "!"})), "ab!", 6), [7, 6, 0, 8, 0, 0]);
    assert_eq!(open(&clip(&json!({"pad_token": "!"}))).pad_id(), 0);
    // As text it is another token.
    assert_eq!(ids(&clip(&json!({"pad_token": "!", "split_special_tokens": true})), "ab!", 6), [7, 6, 3, 8, 0, 0]);
}

#[test]
fn bert_splits_words_into_pieces() {
    let uncased = bert(&json!({"tokenizer_class": "BertTokenizerFast", "do_lower_case": true}));
    assert_eq!(ids(&uncased, "Äbc xyz [MASK]", 8), [2, 5, 6, 1, 4, 3, 0, 0]);
    assert_eq!(ids(&bert(&json!({"do_lower_case": false})), "Abc abc", 7), [2, 7, 6, 5, 6, 3, 0]);
    assert_eq!(ids(&bert(&json!({"strip_accents": false})), "äbc", 4), [2, 1, 3, 0]);
}

#[test]
fn roberta_has_other_ids_after_a_blank() {
    let folder = roberta(&json!({"tokenizer_class": "RobertaTokenizer"}));
    assert_eq!(ids(&folder, "ab ab", 6), [0, 6, 8, 2, 1, 1]);
    assert_eq!(ids(&roberta(&json!({"add_prefix_space": true})), "ab ab", 6), [0, 8, 8, 2, 1, 1]);
}

#[test]
fn the_kind_is_seen_from_the_files_where_no_class_is_named() {
    let without = |files: &[(&str, &str)]| ids(&folder(files), "ab", 4);
    assert_eq!(without(&[("vocab.json", CLIP_VOCAB), ("merges.txt", CLIP_MERGES)]), [7, 6, 8, 8]);
    assert_eq!(without(&[("vocab.json", ROBERTA_VOCAB), ("merges.txt", ROBERTA_MERGES)]), [0, 6, 2, 1]);
    assert_eq!(without(&[("vocab.txt", BERT_VOCAB)]), [2, 5, 3, 0]);
}

#[test]
fn special_tokens_are_read_from_either_file() {
    let map =
        json!({"pad_token": {"content": "a", "lstrip": false, "normalized": false, "rstrip": false, "single_word": false}});
    let folder = clip(&json!({}));
    std::fs::write(folder.path().join("special_tokens_map.json"), map.to_string()).unwrap();
    assert_eq!(ids(&folder, "b", 4), [7, 5, 8, 1]);
    // The newer list replaces the file.
    let decoder = json!({"added_tokens_decoder": {"9": {"content": "<new>", "special": false}}});
    std::fs::write(folder.path().join("tokenizer_config.json"), decoder.to_string()).unwrap();
    assert_eq!(ids(&folder, "b <NEW>", 6), [7, 5, 9, 8, 8, 8]);
    assert_eq!(open(&folder).vocabulary_size(), 10);
    assert_eq!(open(&clip(&json!({}))).vocabulary_size(), 9);
}

/// What transformers 5 saves for the small BERT, with a normaliser that keeps case.
fn saved() -> Value {
    let special = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let token = |id: u32, name: &str| json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 3}, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0,
            "pad_token": "[PAD]"},
        "added_tokens": [token(0, "[PAD]"), token(1, "[UNK]"), token(2, "[CLS]"), token(3, "[SEP]"), token(4, "[MASK]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": false},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "ab": 5, "##c": 6, "Ab": 7}}
    })
}

#[test]
fn a_saved_tokenizer_is_taken_as_it_stands_unless_a_class_is_named() {
    let text = saved().to_string();
    // Case is kept; padding is on the side of the last call, its length and the truncation are not.
    assert_eq!(ids(&folder(&[("tokenizer.json", &text)]), "Abc abc", 8), [0, 0, 2, 7, 6, 5, 6, 3][..]);
    // transformers 5 builds the class anew and takes do_lower_case from the configuration.
    let named = [("tokenizer.json", text.as_str()), ("tokenizer_config.json", r#"{"tokenizer_class": "BertTokenizer"}"#)];
    assert_eq!(ids(&folder(&named), "Abc abc", 8), [0, 0, 2, 5, 6, 5, 6, 3]);
}

#[test]
fn long_texts_are_cut_and_keep_the_end_token() {
    let words = vec!["ab"; 10_000].join(" ");
    let encoded = open(&clip(&json!({}))).encode(&["a", &words], 77).unwrap();
    assert_eq!(encoded.input_ids[1], [&[7], &[6; 75][..], &[8]].concat());
    assert_eq!(encoded.untruncated_length, [3, 10_002]);
    assert_eq!(encoded.dropped(), [0, 9_925]);
    let left = clip(&json!({"truncation_side": "left", "padding_side": "left"}));
    assert_eq!(ids(&left, "a b ab", 4), [7, 5, 6, 8]);
    assert_eq!(open(&left).encode(&["a"], 5).unwrap().attention_mask, [[false, false, true, true, true]]);
}

#[test]
fn a_length_without_room_for_a_token_is_refused() {
    let tokenizer = open(&clip(&json!({})));
    assert!(matches!(tokenizer.encode(&["ab"], 2), Err(DiffusionError::Setting { key: "max_length", .. })));
    assert_eq!(tokenizer.encode(&["ab b"], 3).unwrap().input_ids, [[7, 6, 8]]);
    assert_eq!(tokenizer.encode(&[], 3).unwrap(), Encoded::with_capacity(0, 3));
}

#[test]
fn the_models_own_length_may_be_none() {
    let length = |config: &str| {
        let tokenizer = open(&folder(&[("vocab.txt", BERT_VOCAB), ("tokenizer_config.json", config)]));
        let encoded = tokenizer.encode_to_model_length(&["ab ab", "ab"], 6).unwrap();
        (tokenizer.model_max_length(), encoded.max_length)
    };
    assert_eq!(length(r#"{"model_max_length": 5}"#), (Some(5), 5));
    assert_eq!(length(r#"{"max_len": 512}"#), (Some(512), 6));
    assert_eq!(length(r#"{"model_max_length": 1000000000000000019884624838656}"#), (None, 4));
    assert_eq!(length("{}"), (None, 4));
    let refused = folder(&[("vocab.txt", BERT_VOCAB), ("tokenizer_config.json", r#"{"model_max_length": 0}"#)]);
    assert!(refusal(refused.path()).contains("`model_max_length` is 0"));
}

#[test]
fn missing_and_damaged_files_are_named() {
    let check = |files: &[(&str, &str)], parts: &[&str]| {
        let message = refusal(folder(files).path());
        parts.iter().for_each(|part| assert!(message.contains(part), "{part} in {message}"));
    };
    assert!(refusal(Path::new("nowhere")).contains("the folder is not there"));
    check(&[], &["tokenizer.json, vocab.json or vocab.txt"]);
    check(&[("vocab.json", CLIP_VOCAB)], &["merges.txt"]);
    check(&[("vocab.json", &CLIP_VOCAB[..50]), ("merges.txt", CLIP_MERGES)], &["vocab.json"]);
    check(&[("vocab.json", r#"{"a": -1}"#), ("merges.txt", CLIP_MERGES)], &["vocab.json", "`a`", "31 bits"]);
    check(&[("vocab.json", CLIP_VOCAB), ("merges.txt", "a b</w> a")], &["merges.txt", "two pieces"]);
    // Longer than anything in the vocabulary: the library would run past a buffer.
    let long = "<|endoftext|> <|startoftext|>";
    check(&[("vocab.json", CLIP_VOCAB), ("merges.txt", long)], &["merges.txt", "merge 1", "the vocabulary lacks"]);
    check(&[("vocab.json", r#"{"a": 1}"#), ("merges.txt", "")], &["vocab.json", "neither CLIP's nor RoBERTa's"]);
    check(&[("vocab.txt", "ab\n")], &["vocab.txt", "`[SEP]` (`sep_token`)"]);
    check(&[("tokenizer.json", "{}")], &["tokenizer.json", "no `model`"]);
    let class = |name: &str| json!({"tokenizer_class": name}).to_string();
    let bert = ("vocab.txt", BERT_VOCAB);
    check(&[bert, ("tokenizer_config.json", &class("T5Tokenizer"))], &["tokenizer_config.json", "T5Tokenizer"]);
    check(&[bert, ("tokenizer_config.json", &class("CLIPTokenizer"))], &["vocab.txt", "<|endoftext|>"]);
    check(&[bert, ("tokenizer_config.json", &class("PreTrainedTokenizerFast"))], &["tokenizer.json"]);
    check(&[bert, ("tokenizer_config.json", "{")], &["tokenizer_config.json"]);
    check(&[bert, ("special_tokens_map.json", r#"{"pad_token": 3}"#)], &["special_tokens_map.json", "`pad_token` is 3"]);
    let mut unframed = saved();
    unframed["post_processor"]["special_tokens"] = json!({"[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}});
    check(&[("tokenizer.json", &unframed.to_string())], &["tokenizer.json", "`[CLS]`"]);
}

proptest! {
    #[test]
    fn every_text_is_framed_and_as_long_as_asked(text in "\\PC{0,40}|[ab! ]{0,40}", max_length in 3usize..20) {
        for (folder, [start, end]) in [(clip(&json!({})), [7, 8]), (bert(&json!({})), [2, 3]), (roberta(&json!({})), [0, 2])] {
            let tokenizer = open(&folder);
            let encoded = tokenizer.encode(&[&text], max_length).unwrap();
            let row = &encoded.input_ids[0];
            let tokens = encoded.untruncated_length[0].min(max_length);
            prop_assert_eq!(row.len(), max_length);
            prop_assert_eq!((row[0], row[tokens - 1]), (start, end));
            prop_assert!(row[tokens..].iter().all(|id| *id == tokenizer.pad_id()));
            prop_assert!(row.iter().all(|id| (*id as usize) < tokenizer.vocabulary_size()));
            let mask: Vec<bool> = (0..max_length).map(|i| i < tokens).collect();
            prop_assert_eq!(&encoded.attention_mask[0], &mask);
            // More room changes nothing before the end token.
            let longer = tokenizer.encode(&[&text], max_length + 7).unwrap();
            prop_assert_eq!(&longer.input_ids[0][..tokens - 1], &row[..tokens - 1]);
            prop_assert_eq!(longer.untruncated_length, encoded.untruncated_length);
        }
    }

    #[test]
    fn files_cut_anywhere_never_panic(part in 0.0f64..1.0) {
        let cut = |text: &str| {
            let bytes = &text.as_bytes()[..(text.len() as f64 * part) as usize];
            String::from_utf8_lossy(bytes).into_owned()
        };
        let texts = [cut(CLIP_VOCAB), cut(ROBERTA_MERGES), cut(BERT_VOCAB), cut(&saved().to_string())];
        let merges = ("merges.txt", texts[1].as_str());
        for files in [
            [("vocab.json", texts[0].as_str()), ("merges.txt", CLIP_MERGES)],
            [("vocab.json", ROBERTA_VOCAB), merges],
            [("vocab.txt", &texts[2]), merges],
            [("tokenizer.json", &texts[3]), merges],
        ] {
            if let Ok(tokenizer) = Tokenizer::open(folder(&files).path()) {
                // A cut vocabulary may still be one; a character may then be in none.
                drop(tokenizer.encode(&["ab abc!"], 8));
            }
        }
    }
}
