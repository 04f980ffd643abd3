//! `run.json`: the record of a run's start, and the differences of a later start from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::error::RunFolderError;

/// Raised when the meaning of the file changes. Version 0.1.0 of the program wrote none, and less.
pub(super) const FORMAT: u32 = 2;

/// Settings by their full key, each as a TOML value.
pub type Settings = BTreeMap<String, String>;

/// The record of a run's start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this file.
    format: u32,
    /// Version of the program that wrote it last.
    version: String,
    /// The command of the folder: `compare`, `train`, `finetune` or `generate`.
    pub command: String,
    /// Settings that every start must repeat.
    pub settings: Settings,
    /// Settings of the last start that change no result; another start may change them.
    #[serde(default)]
    pub may_change: Settings,
    /// Digests, and other values that name content: data, weights, the order of rows. Every start must find the same.
    #[serde(default)]
    pub digests: BTreeMap<String, String>,
    /// As `digests`, but known only after the start, one by one: the device, the synthetic images of each arm.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// Further entries of the last start. Never compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// Whether it is from a version with fewer digests: those that it lacks are not compared.
    #[serde(skip)]
    pub(super) is_partial: bool,
}

impl Record {
    /// A record of `settings`, of which those in `may_change` are not compared.
    ///
    /// A pattern is a key, `*` standing for any one part of it; what lies below the key may change too.
    #[must_use]
    pub fn new(command: &str, settings: &Table, may_change: &[&str]) -> Self {
        let mut record = Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            settings: Settings::new(),
            may_change: Settings::new(),
            digests: BTreeMap::new(),
            claims: BTreeMap::new(),
            facts: BTreeMap::new(),
            is_partial: false,
        };
        let mut leaves = Vec::new();
        collect(settings, &mut Vec::new(), &mut leaves);
        for (parts, value) in leaves {
            let is_free = may_change.iter().any(|pattern| matches(pattern, &parts));
            let kept = if is_free { &mut record.may_change } else { &mut record.settings };
            kept.insert(key(&parts), value);
        }
        record
    }

    /// The bytes of `run.json`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a record is texts and numbers")
    }

    /// How the settings of a later start differ from these.
    #[must_use]
    pub fn settings_differences(&self, now: &Self) -> Vec<Difference> {
        if self.command != now.command {
            // Nothing else can be compared.
            return vec![Difference::value("command", Some(&self.command), Some(&now.command))];
        }
        let mut found = Vec::new();
        // A key that may change under one set of settings and not under the other is compared.
        let keys: BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        for key in keys {
            let [recorded, now] = [self, now].map(|record| record.settings.get(key).or_else(|| record.may_change.get(key)));
            if recorded != now {
                found.push(Difference::value(key, recorded, now));
            }
        }
        found
    }

    /// How the digests of a later start differ from these.
    #[must_use]
    pub fn digest_differences(&self, now: &Self) -> Vec<Difference> {
        let mut found = differences(&self.digests, &now.digests);
        found.retain(|difference| !(self.is_partial && matches!(difference, Difference::Value { recorded: None, .. })));
        found
    }

    /// Reads the bytes of `run.json`; `path` is named in errors.
    ///
    /// # Errors
    /// [`RunFolderError::Damaged`]; [`RunFolderError::OtherVersion`] for a record of version 0.1.0, or of a later one.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, RunFolderError> {
        let folder = || path.parent().unwrap_or(path).to_owned();
        match Found::parse(bytes, path)? {
            Found::Record(record) => Ok(*record),
            Found::Old(_) => Err(RunFolderError::OtherVersion {
                path: folder(),
                writer: "version 0.1.0".to_owned(),
                reason: "for another command",
            }),
        }
    }
}

/// The record of a folder.
pub(super) enum Found {
    /// From this version.
    Record(Box<Record>),
    /// From version 0.1.0, whose files differed between commands.
    Old(serde_json::Value),
}

impl Found {
    /// Reads the bytes of `run.json`.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, RunFolderError> {
        let damaged = |error: serde_json::Error| RunFolderError::Damaged {
            path: path.to_owned(),
            what: "the record of a run",
            message: error.to_string(),
            remedy: "give another --out, or delete the folder to start again",
        };
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            None if value.get("version").is_some() => Ok(Self::Old(value)),
            Some(format) if format > u64::from(FORMAT) => Err(RunFolderError::OtherVersion {
                path: path.parent().unwrap_or(path).to_owned(),
                writer: "a later version".to_owned(),
                reason: "which records what this one doesn't know",
            }),
            _ => Ok(Self::Record(serde_json::from_value(value).map_err(damaged)?)),
        }
    }
}

/// Every name whose value differs.
#[must_use]
pub fn differences(recorded: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<Difference> {
    let keys: BTreeSet<&String> = recorded.keys().chain(now.keys()).collect();
    let both = keys.into_iter().map(|key| (key, recorded.get(key), now.get(key)));
    both.filter(|(_, recorded, now)| recorded != now)
        .map(|(key, recorded, now)| Difference::value(key, recorded, now))
        .collect()
}

/// A difference from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A setting or a digest.
    Value {
        /// Its name.
        key: String,
        /// As recorded; `None` for absent.
        recorded: Option<String>,
        /// As it is now.
        now: Option<String>,
    },
    /// Rows of the data set, in words.
    Data(String),
}

impl Difference {
    /// A setting or a digest.
    #[must_use]
    pub fn value(key: &str, recorded: Option<&String>, now: Option<&String>) -> Self {
        Self::Value { key: key.to_owned(), recorded: recorded.cloned(), now: now.cloned() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { key, recorded, now } => {
                let show = |value: &Option<String>| value.as_deref().map_or_else(|| "absent".to_owned(), shortened);
                write!(f, "{key}: {}, now {}", show(recorded), show(now))
            }
            Self::Data(words) => write!(f, "data: {words}"),
        }
    }
}

/// A digest by its first digits.
fn shortened(value: &str) -> String {
    let is_digest = value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest { format!("{}…", &value[..12]) } else { value.to_owned() }
}

/// Every value that is not a table, with the parts of its key.
fn collect<'a>(table: &'a Table, above: &mut Vec<&'a str>, found: &mut Vec<(Vec<&'a str>, String)>) {
    for (name, value) in table {
        above.push(name);
        match value {
            Value::Table(inner) => collect(inner, above, found),
            value => found.push((above.clone(), value.to_string())),
        }
        above.pop();
    }
}

/// The key in TOML's syntax.
fn key(parts: &[&str]) -> String {
    let is_bare = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let written = |part: &&str| if is_bare(part) { (*part).to_owned() } else { format!("{part:?}") };
    parts.iter().map(written).collect::<Vec<_>>().join(".")
}

fn matches(pattern: &str, parts: &[&str]) -> bool {
    let mut parts = parts.iter();
    pattern.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == *part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::new("train", &toml::from_str(text).unwrap(), &["title", "bootstrap", "arms.*.description"])
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let old = record("title = \"a\"\nseed = 1\n[training]\nsteps = 4\n[arms.\"v1.5\"]\npool = 3\ndescription = \"x\"");
        let now =
            record("title = \"b\"\nseed = 2\n[training]\nsteps = 4\nsize = 1\n[arms.\"v1.5\"]\npool = 4\ndescription = \"y\"");
        let said: Vec<_> = old.settings_differences(&now).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["arms.\"v1.5\".pool: 3, now 4", "seed: 1, now 2", "training.size: absent, now 1"]);
        assert!(old.settings_differences(&old).is_empty());
        let other = Record { command: "compare".to_owned(), ..old.clone() };
        assert_eq!(old.settings_differences(&other)[0].to_string(), "command: train, now compare");
    }

    #[test]
    fn what_lies_below_a_free_key_is_free_and_what_begins_like_it_is_not() {
        let record = record("titles = 1\n[bootstrap]\nseed = 1\n[bootstraps]\nseed = 1");
        assert_eq!(record.settings.keys().collect::<Vec<_>>(), ["bootstraps.seed", "titles"]);
        assert_eq!(record.may_change.keys().collect::<Vec<_>>(), ["bootstrap.seed"]);
    }

    #[test]
    fn a_key_that_became_free_is_compared_with_what_it_was() {
        let of = |text: &str, free: &[&str]| Record::new("finetune", &toml::from_str(text).unwrap(), free);
        let fixed = of("steps = 4", &[]);
        assert!(fixed.settings_differences(&of("steps = 4", &["steps"])).is_empty());
        assert_eq!(of("steps = 4", &["steps"]).settings_differences(&of("steps = 5", &[])).len(), 1);
    }

    #[test]
    fn digests_that_come_or_go_are_differences_unless_the_record_is_of_a_version_without_them() {
        let mut old = record("seed = 1");
        old.digests.insert("data".to_owned(), "ab".repeat(32));
        let mut now = old.clone();
        now.digests.insert("order".to_owned(), "cd".repeat(32));
        let said = |old: &Record, now: &Record| old.digest_differences(now).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(said(&old, &now), ["order: absent, now cdcdcdcdcdcd…"]);
        assert_eq!(said(&now, &old), ["order: cdcdcdcdcdcd…, now absent"]);
        old.is_partial = true;
        assert!(said(&old, &now).is_empty());
        now.digests.insert("data".to_owned(), "ef".repeat(32));
        assert_eq!(said(&old, &now), ["data: abababababab…, now efefefefefef…"]);
    }

    #[test]
    fn it_comes_back() {
        let mut old = record("seed = 1\nname = \"é\\n\"\n[t]\nx = 0.1");
        old.claims.insert("device".to_owned(), "cpu".to_owned());
        assert_eq!(serde_json::from_slice::<Record>(&old.to_json()).unwrap(), old);
    }
}
