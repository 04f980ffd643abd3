//! What peft's settings say of a module: `adapter_config.json`, or the same in the header of a file of diffusers.

use std::collections::BTreeMap;
use std::fmt;

use regex::{RegexSet, RegexSetBuilder};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::adapters::foreign;

/// Ranks and alphas of the modules of a network.
#[derive(Debug, Default)]
pub(super) struct Definition {
    rank: Option<f64>,
    alpha: Option<f64>,
    ranks: Patterns,
    alphas: Patterns,
    /// Whether the product is divided by the root of the rank (Kalajdzievski 2023, arXiv 2312.03732).
    rank_stabilised: bool,
}

/// The value of a setting. Patterns keep the order of the file, in which peft tries them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Setting {
    Numbers(InOrder),
    Other(Value),
}

/// A table of numbers in the order of the file.
#[derive(Debug)]
pub(super) struct InOrder(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = InOrder;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(InOrder(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Setting {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Other(value) => value.as_f64(),
            Self::Numbers(_) => None,
        }
    }

    /// Whether it is a way of saying "not used".
    fn is_neutral(&self) -> bool {
        match self {
            Self::Numbers(InOrder(pairs)) => pairs.is_empty(),
            Self::Other(Value::Null | Value::Bool(false)) => true,
            Self::Other(Value::Array(values)) => values.is_empty(),
            Self::Other(Value::Object(pairs)) => pairs.is_empty(),
            Self::Other(Value::String(text)) => text == "none",
            Self::Other(_) => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Numbers(InOrder(pairs)) => format!("{pairs:?}"),
            Self::Other(value) => value.to_string(),
        }
    }
}

/// Numbers by regular expressions over the ends of module names.
#[derive(Debug, Default)]
struct Patterns {
    set: RegexSet,
    numbers: Vec<f64>,
}

impl Patterns {
    /// The first pattern that fits counts: peft's `get_pattern_key`, `re.match(rf"(.*\.)?({key})$", module)`.
    fn new(key: &str, pairs: Option<&Setting>) -> Result<Self, String> {
        /// More than the modules of any network of this kind.
        const MOST: usize = 10_000;
        /// Bytes of all expressions of a file, compiled.
        const MOST_BYTES: usize = 64 << 20;
        let pairs = match pairs {
            Some(Setting::Numbers(InOrder(pairs))) => pairs.as_slice(),
            Some(setting) if !setting.is_neutral() => {
                return Err(format!(
                    "its `{key}` is {}, expected a table from ends of module names to numbers",
                    setting.text()
                ));
            }
            _ => &[],
        };
        if pairs.len() > MOST {
            return Err(format!("its `{key}` has {} patterns, expected at most {MOST}", pairs.len()));
        }
        let patterns = pairs.iter().map(|(pattern, _)| format!(r"^(?:.*\.)?(?:{pattern})$"));
        let set = RegexSetBuilder::new(patterns).size_limit(MOST_BYTES).build().map_err(|error| {
            format!(
                "its `{key}` has a regular expression that this program can't use ({error}): name the modules in full there"
            )
        })?;
        Ok(Self { set, numbers: pairs.iter().map(|(_, number)| *number).collect() })
    }

    fn of(&self, module: &str) -> Option<f64> {
        self.set.matches(module).iter().next().map(|first| self.numbers[first])
    }
}

/// Settings that would change the computation, with what they are.
const VARIANTS: [(&str, Option<&str>); 12] = [
    ("use_dora", Some("DoRA")),
    ("use_qalora", Some("QA-LoRA")),
    ("use_bdlora", Some("BD-LoRA")),
    ("alora_invocation_tokens", Some("activated LoRA")),
    ("arrow_config", Some("Arrow")),
    ("lora_bias", None),
    ("bias", None),
    ("fan_in_fan_out", None),
    ("modules_to_save", None),
    ("layer_replication", None),
    ("target_parameters", None),
    ("trainable_token_indices", None),
];

impl Definition {
    /// Refuses settings that would change the computation, with a message.
    pub(super) fn new(settings: &BTreeMap<&str, &Setting>) -> Result<Self, String> {
        for (key, kind) in VARIANTS {
            if let Some(setting) = settings.get(key).filter(|setting| !setting.is_neutral()) {
                return Err(foreign::setting(key, &setting.text(), kind));
            }
        }
        if let Some(kind) =
            settings.get("peft_type").filter(|kind| !matches!(kind, Setting::Other(Value::String(kind)) if kind == "LORA"))
        {
            return Err(foreign::setting("peft_type", &kind.text(), None));
        }
        // These change the base's weights when an adapter is made, which its file does not hold.
        if let Some(Setting::Other(Value::String(init))) = settings.get("init_lora_weights")
            && !["gaussian", "eva", "orthogonal"].contains(&init.as_str())
        {
            return Err(foreign::setting("init_lora_weights", init, Some("an adapter of changed base weights")));
        }
        let number = |key: &str| settings.get(key).and_then(|setting| setting.number());
        Ok(Self {
            rank: number("r"),
            alpha: number("lora_alpha"),
            ranks: Patterns::new("rank_pattern", settings.get("rank_pattern").copied())?,
            alphas: Patterns::new("alpha_pattern", settings.get("alpha_pattern").copied())?,
            rank_stabilised: matches!(settings.get("use_rslora"), Some(Setting::Other(Value::Bool(true)))),
        })
    }

    /// The alpha of a module whose factors have this rank, so that `alpha / rank` is the factor of the product; `None` if nothing says it.
    /// Another rank than the settings' is an error.
    pub(super) fn alpha(&self, module: &str, rank: usize) -> Result<Option<f64>, String> {
        let stated = self.ranks.of(module).or(self.rank);
        if let Some(stated) = stated.filter(|stated| *stated != rank as f64) {
            return Err(format!(
                "its settings give {module} the rank {stated}, its tensors have {rank}: the settings are of another file"
            ));
        }
        let alpha = self.alphas.of(module).or(self.alpha);
        Ok(alpha.map(|alpha| if self.rank_stabilised { alpha * (rank as f64).sqrt() } else { alpha }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(text: &str) -> Result<Definition, String> {
        let settings: BTreeMap<String, Setting> = serde_json::from_str(text).unwrap();
        Definition::new(&settings.iter().map(|(key, setting)| (key.as_str(), setting)).collect())
    }

    #[test]
    fn the_first_pattern_that_fits_the_end_of_a_name_counts() {
        let text = r#"{"r": 4, "lora_alpha": 8, "rank_pattern": {"to_q": 2}, "alpha_pattern": {
            "z.*to_k": 1, "attn1.to_k": 3, ".*to_k": 5, "^up.to_v": 7, "o_q": 9}}"#;
        let of = |module: &str, rank| definition(text).unwrap().alpha(module, rank);
        assert_eq!(of("up.attn1.to_q", 2), Ok(Some(8.0)), "`o_q` does not begin at a dot");
        assert_eq!(of("up.attn1.to_k", 4), Ok(Some(3.0)), "not the last, though it fits too");
        assert_eq!(of("up.attn2.to_k", 4), Ok(Some(5.0)));
        assert_eq!((of("up.to_v", 4), of("down.up.to_v", 4)), (Ok(Some(7.0)), Ok(Some(8.0))));
        assert!(of("up.attn1.to_q", 4).unwrap_err().contains("rank 2, its tensors have 4"));
    }

    #[test]
    fn stabilised_ranks_divide_by_their_root() {
        let definition = definition(r#"{"lora_alpha": 6, "use_rslora": true}"#).unwrap();
        // 6 / sqrt(4) = 12 / 4.
        assert_eq!(definition.alpha("x", 4), Ok(Some(12.0)));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_its_key() {
        for (text, said) in [
            (r#"{"use_dora": true}"#, "`use_dora` is true (DoRA)"),
            (r#"{"bias": "all"}"#, "`bias`"),
            (r#"{"peft_type": "LOHA"}"#, "`peft_type` is \"LOHA\""),
            (r#"{"init_lora_weights": "pissa_niter_4"}"#, "`init_lora_weights` is pissa_niter_4"),
            (r#"{"alpha_pattern": {"(?=x)": 1}}"#, "`alpha_pattern` has a regular expression"),
            (r#"{"alpha_pattern": {"x": "y"}}"#, "`alpha_pattern` is {\"x\":\"y\"}, expected a table"),
            (r#"{"alpha_pattern": {"((a{1000}){1000}){9}": 1}}"#, "`alpha_pattern` has a regular expression"),
        ] {
            let message = definition(text).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
        let neutral =
            r#"{"use_dora": false, "bias": "none", "peft_type": "LORA", "alpha_pattern": {}, "init_lora_weights": true}"#;
        definition(neutral).unwrap();
    }
}
