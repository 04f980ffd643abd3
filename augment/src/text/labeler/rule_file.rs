//! The tables of the file of rules, as TOML has them.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) no_finding: Option<NoFindingRules>,
    #[serde(default)]
    pub(super) parents: BTreeMap<String, String>,
    pub(super) finding: Vec<FindingRules>,
    pub(super) cues: CueRules,
    pub(super) words: WordRules,
    #[serde(default)]
    pub(super) sides: SideRules,
    #[serde(default)]
    pub(super) severities: SeverityRules,
    #[serde(default)]
    pub(super) locations: LocationRules,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFindingRules {
    pub(super) name: String,
    #[serde(default)]
    pub(super) unaffected_by: Vec<String>,
    #[serde(default)]
    pub(super) other: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindingRules {
    pub(super) name: String,
    #[serde(default)]
    pub(super) custom: bool,
    #[serde(default = "yes")]
    pub(super) sided: bool,
    #[serde(default)]
    pub(super) present: Vec<String>,
    #[serde(default)]
    pub(super) absent: Vec<String>,
    #[serde(default)]
    pub(super) uncertain: Vec<String>,
    #[serde(default)]
    pub(super) except: Vec<String>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CueRules {
    pub(super) negation_before: Vec<String>,
    pub(super) negation_after: Vec<String>,
    pub(super) negation: Vec<String>,
    pub(super) uncertainty_before: Vec<String>,
    pub(super) uncertainty_after: Vec<String>,
    pub(super) uncertainty: Vec<String>,
    pub(super) pseudo: Vec<String>,
    pub(super) unmention_before: Vec<String>,
    pub(super) unmention_after: Vec<String>,
    pub(super) stops: Vec<String>,
    pub(super) bridges: Vec<String>,
    pub(super) alternatives: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WordRules {
    pub(super) verbs: Vec<String>,
    pub(super) openers: Vec<String>,
    pub(super) list_words: Vec<String>,
    pub(super) gap_stops: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SideRules {
    pub(super) left: Vec<String>,
    pub(super) right: Vec<String>,
    pub(super) both: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SeverityRules {
    pub(super) mild: Vec<String>,
    pub(super) moderate: Vec<String>,
    pub(super) severe: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LocationRules {
    pub(super) upper_lobe: Vec<String>,
    pub(super) middle_lobe: Vec<String>,
    pub(super) lower_lobe: Vec<String>,
    pub(super) lingula: Vec<String>,
    pub(super) upper_zone: Vec<String>,
    pub(super) middle_zone: Vec<String>,
    pub(super) lower_zone: Vec<String>,
    pub(super) apex: Vec<String>,
    pub(super) base: Vec<String>,
    pub(super) perihilar: Vec<String>,
    pub(super) retrocardiac: Vec<String>,
    pub(super) several: Vec<String>,
}
