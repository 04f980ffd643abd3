//! A component's JSON configuration, read without ignoring an option.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use roentgen_augment::image::MAX_SIDE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::DiffusionError;

/// Widths and numbers of channels, heads and groups: far above any model (Stable Diffusion has 1280), far below what overflows.
pub(crate) const WIDTH: RangeInclusive<usize> = 1..=65_536;
/// Numbers of layers, of which Stable Diffusion has at most 24 in one stack.
pub(crate) const LAYERS: RangeInclusive<usize> = 1..=100;
/// Resolutions of an autoencoder: each one doubles the side of a latent in pixels.
pub(crate) const RESOLUTIONS: RangeInclusive<usize> = 1..=10;
/// Sides of images and latents.
pub(crate) const SIDE: RangeInclusive<usize> = 1..=MAX_SIDE;
/// Rows of an embedding: the largest vocabulary in use has 256,000.
pub(crate) const ROWS: RangeInclusive<usize> = 1..=4_000_000;

/// Options of a `config.json` or `scheduler_config.json` that are not yet consumed.
///
/// Every option is consumed, or listed as one without influence, or must have its neutral value; [`finish`](Self::finish) refuses
/// the rest.
#[derive(Clone)]
pub(crate) struct Options {
    path: PathBuf,
    values: Map<String, Value>,
}

/// The values alone: a fingerprint of settings must not depend on how their file's path is written.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl Options {
    /// Reads a file. Options whose name begins with `_` are notes of the library that wrote it (`_class_name`,
    /// `_diffusers_version`, `_name_or_path`).
    pub(crate) fn read(path: &Path) -> Result<Self, DiffusionError> {
        let text = std::fs::read_to_string(path).map_err(|source| DiffusionError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Reads a text; `path` is for messages.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        let values = serde_json::from_str(&quote_infinities(text))
            .map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), values })
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An option, without consuming it.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// Gives an option another value.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), value);
    }

    /// The option, or `None` where it is absent or null.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, DiffusionError> {
        match self.values.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|source| DiffusionError::Option {
                path: self.path.clone(),
                key: key.to_owned(),
                found: value.to_string(),
                expected: source.to_string(),
            }),
        }
    }

    /// The option, or its default where it is absent or null.
    pub(crate) fn take_or<T: DeserializeOwned>(&mut self, key: &str, default: T) -> Result<T, DiffusionError> {
        Ok(self.take(key)?.unwrap_or(default))
    }

    /// The option, which must be there.
    pub(crate) fn require<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, DiffusionError> {
        self.take(key)?.ok_or_else(|| self.refuse(key, "nothing", "a value: this option has no default"))
    }

    /// Consumes an option that this program supports for some values only: absent, null, or one of `known`.
    pub(crate) fn neutral(&mut self, key: &str, known: &[Value]) -> Result<(), DiffusionError> {
        match self.values.remove(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if known.iter().any(|known| equal(known, &value)) => Ok(()),
            Some(value) => {
                let known: Vec<_> = known.iter().map(Value::to_string).collect();
                let expected = if known.is_empty() { "null".to_owned() } else { known.join(" or ") };
                Err(self.refuse(key, &value.to_string(), &format!("{expected}: this program computes no other")))
            }
        }
    }

    /// Consumes options that have no influence here.
    pub(crate) fn without_influence(&mut self, keys: &[&str]) {
        keys.iter().for_each(|key| drop(self.values.remove(*key)));
    }

    /// Consumes the options that transformers writes into every configuration and that change no forward pass.
    pub(crate) fn without_training(&mut self) {
        self.without_influence(&[
            "bos_token_id",
            "dtype",
            "eos_token_id",
            "finetuning_task",
            "gradient_checkpointing",
            "chunk_size_feed_forward",
            "id2label",
            "initializer_range",
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
    }

    /// Refuses options that were not consumed; null is an option that is not set.
    pub(crate) fn finish(self) -> Result<(), DiffusionError> {
        match self.values.into_iter().find(|(key, value)| !key.starts_with('_') && !value.is_null()) {
            None => Ok(()),
            Some((key, value)) => Err(DiffusionError::UnknownOption { path: self.path, key, value: value.to_string() }),
        }
    }

    /// The error of an option with an invalid value.
    pub(crate) fn refuse(&self, key: &str, found: &str, expected: &str) -> DiffusionError {
        DiffusionError::Option {
            path: self.path.clone(),
            key: key.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }

    /// Refuses the configuration of another class; one without a class counts as `class`.
    pub(crate) fn expect_class(&self, class: &str) -> Result<(), DiffusionError> {
        match self.peek("_class_name") {
            None => Ok(()),
            Some(name) if name == class => Ok(()),
            Some(name) => Err(DiffusionError::OtherModel {
                path: self.path().to_owned(),
                found: format!("the configuration of {name}"),
                expected: format!("expected that of \"{class}\""),
            }),
        }
    }

    /// A whole number in `range`.
    pub(crate) fn within(&mut self, key: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, DiffusionError> {
        let value = self.take_or(key, default)?;
        self.in_range(key, &[value], range)?;
        Ok(value)
    }

    /// One or more whole numbers in `range`, as many as an autoencoder can have resolutions.
    pub(crate) fn per_resolution(
        &mut self,
        key: &str,
        default: Vec<usize>,
        range: RangeInclusive<usize>,
    ) -> Result<Vec<usize>, DiffusionError> {
        let values = self.take_or(key, default)?;
        if !RESOLUTIONS.contains(&values.len()) {
            let expected = format!("{} to {} numbers, one for each resolution", RESOLUTIONS.start(), RESOLUTIONS.end());
            return Err(self.refuse(key, &format!("a list of {}", values.len()), &expected));
        }
        self.in_range(key, &values, range)?;
        Ok(values)
    }

    /// Refuses values outside `range`.
    pub(crate) fn in_range(&self, key: &str, values: &[usize], range: RangeInclusive<usize>) -> Result<(), DiffusionError> {
        match values.iter().find(|value| !range.contains(value)) {
            None => Ok(()),
            Some(value) => Err(self.refuse(key, &value.to_string(), &format!("{} to {}", range.start(), range.end()))),
        }
    }

    /// A finite number above 0.
    pub(crate) fn factor(&mut self, key: &str, default: f64) -> Result<f64, DiffusionError> {
        let factor = self.take_or(key, default)?;
        match factor.is_finite() && factor > 0.0 {
            true => Ok(factor),
            false => Err(self.refuse(key, &factor.to_string(), "a number above 0")),
        }
    }
}

/// Numbers are equal by value: `1` is `1.0`.
fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Python writes `Infinity`, `-Infinity` and `NaN`, which are not JSON; they become strings.
fn quote_infinities(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(['"', 'I', 'N', '-']) {
        quoted.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = if rest.starts_with('"') {
            string_length(rest)
        } else if let Some(name) = ["-Infinity", "Infinity", "NaN"].iter().find(|name| rest.starts_with(*name)) {
            quoted.push_str(&format!("\"{name}\""));
            rest = &rest[name.len()..];
            continue;
        } else {
            1
        };
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted.push_str(rest);
    quoted
}

/// Bytes of the JSON string at the start of `text`, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(text: &str) -> Options {
        Options::parse(text, Path::new("config.json")).unwrap()
    }

    #[test]
    fn python_infinities_are_read() {
        let mut options = options(r#"{"a": -Infinity, "b": [NaN, -1, 2.5e-3], "c": "Infinity \" -Infinity", "d": Infinity}"#);
        assert_eq!(options.take::<Value>("a").unwrap(), Some(json!("-Infinity")));
        assert_eq!(options.take::<Value>("b").unwrap(), Some(json!(["NaN", -1, 2.5e-3])));
        assert_eq!(options.take::<String>("c").unwrap().unwrap(), "Infinity \" -Infinity");
        assert_eq!(options.take::<Value>("d").unwrap(), Some(json!("Infinity")));
        options.finish().unwrap();
    }

    #[test]
    fn what_is_left_is_refused_by_name() {
        let mut options = options(r#"{"_class_name": "X", "known": 1, "not_set": null, "new_trick": {"a": 1}}"#);
        assert_eq!(options.take_or("known", 0).unwrap(), 1);
        let message = options.finish().unwrap_err().to_string();
        assert!(message.contains("`new_trick` (= {\"a\":1})"), "{message}");
    }

    #[test]
    fn wrong_types_and_values_are_refused_by_name() {
        let mut options = options(r#"{"steps": "many", "act": "mish", "scale": 1}"#);
        assert!(options.take::<usize>("steps").unwrap_err().to_string().contains("`steps` is \"many\""));
        assert!(
            options.neutral("act", &[json!("silu")]).unwrap_err().to_string().contains("`act` is \"mish\", expected \"silu\"")
        );
        options.neutral("scale", &[json!(1.0)]).unwrap();
        options.neutral("absent", &[]).unwrap();
        assert!(options.require::<usize>("size").unwrap_err().to_string().contains("`size` is nothing"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "[]", "{\"a\"", "{\"a\": -}", "{\"a\": \"\\"] {
            assert!(matches!(Options::parse(text, Path::new("x")), Err(DiffusionError::NotJson { .. })), "{text}");
        }
    }
}
