//! Labels of findings in a data set, and the targets that a classifier trains on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::{Finding, by_finding};

/// The label of one finding in one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// Present (`1`).
    Positive,
    /// Absent (`0`).
    Negative,
    /// Mentioned as uncertain (`-1` in CheXpert and MIMIC-CXR).
    Uncertain,
    /// Not mentioned (a blank cell).
    Missing,
}

impl Label {
    /// Reads a cell of a label table: `1`, `0`, `-1` (with or without decimals), `True` or `False`, `yes` or `no` (in upper or lower
    /// case), or blank.
    ///
    /// `None` for anything else: the caller names the file, row and column.
    #[must_use]
    pub fn parse(cell: &str) -> Option<Self> {
        let cell = cell.trim();
        match cell {
            "" | "nan" | "NaN" => return Some(Self::Missing),
            "1" | "1.0" => return Some(Self::Positive),
            "0" | "0.0" => return Some(Self::Negative),
            "-1" | "-1.0" => return Some(Self::Uncertain),
            _ => (),
        }
        let is = |word: &str| cell.eq_ignore_ascii_case(word);
        if is("true") || is("yes") {
            return Some(Self::Positive);
        }
        if is("false") || is("no") {
            return Some(Self::Negative);
        }
        let (number, decimals) = cell.split_once('.').unwrap_or((cell, ""));
        let zeros = |text: &str| text.bytes().all(|byte| byte == b'0');
        let negative = number.starts_with('-');
        let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
        if !zeros(decimals) || digits.is_empty() {
            return None;
        }
        match digits.trim_start_matches('0') {
            "" => Some(Self::Negative),
            "1" if negative => Some(Self::Uncertain),
            "1" => Some(Self::Positive),
            _ => None,
        }
    }

    /// The cell that [`Label::parse`] reads back.
    #[must_use]
    pub fn cell(self) -> &'static str {
        match self {
            Self::Positive => "1",
            Self::Negative => "0",
            Self::Uncertain => "-1",
            Self::Missing => "",
        }
    }
}

/// What a label that is neither positive nor negative becomes (CheXpert paper's U-Ignore, U-Zeros, U-Ones).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Left out of the loss and of every metric.
    #[default]
    Ignore,
    /// Taken as negative.
    Zero,
    /// Taken as positive.
    One,
}

/// How labels become targets, finding by finding.
///
/// The default ignores uncertain and blank labels alike, as torchxrayvision does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelPolicy {
    /// What `-1` becomes.
    pub uncertain: Target,
    /// What a blank cell becomes.
    pub blank: Target,
    /// What `-1` becomes for single findings, over `uncertain`.
    #[serde(deserialize_with = "by_finding")]
    pub uncertain_for: BTreeMap<Finding, Target>,
    /// What a blank cell becomes for single findings, over `blank`.
    #[serde(deserialize_with = "by_finding")]
    pub blank_for: BTreeMap<Finding, Target>,
}

impl LabelPolicy {
    /// The target of `label`: `Some(1.0)`, `Some(0.0)`, or `None` where it is ignored.
    #[must_use]
    pub fn target(&self, finding: Finding, label: Label) -> Option<f32> {
        let policy = match label {
            Label::Positive => return Some(1.0),
            Label::Negative => return Some(0.0),
            Label::Uncertain => self.uncertain_for.get(&finding).unwrap_or(&self.uncertain),
            Label::Missing => self.blank_for.get(&finding).unwrap_or(&self.blank),
        };
        match policy {
            Target::Ignore => None,
            Target::Zero => Some(0.0),
            Target::One => Some(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_round_trip() {
        for label in [Label::Positive, Label::Negative, Label::Uncertain, Label::Missing] {
            assert_eq!(Label::parse(label.cell()), Some(label));
        }
        for (cell, label) in [
            ("True", Label::Positive),
            ("FALSE", Label::Negative),
            ("1.00", Label::Positive),
            ("0.0", Label::Negative),
            ("-0.0", Label::Negative),
            ("-1.0", Label::Uncertain),
            ("Yes", Label::Positive),
            ("no", Label::Negative),
            (" NaN ", Label::Missing),
        ] {
            assert_eq!(Label::parse(cell), Some(label), "{cell}");
        }
        for bad in ["7", "y", "0.5", "-2", "1e0", "inf", "-", "+", "true?", "1,0", "0.99999999999999999999999"] {
            assert_eq!(Label::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_policy_is_per_finding() {
        let atelectasis = Finding::parse("Atelectasis").unwrap();
        let edema = Finding::parse("Edema").unwrap();
        let policy = LabelPolicy {
            uncertain: Target::Zero,
            uncertain_for: BTreeMap::from([(atelectasis, Target::One)]),
            ..LabelPolicy::default()
        };
        assert_eq!(policy.target(atelectasis, Label::Uncertain), Some(1.0));
        assert_eq!(policy.target(edema, Label::Uncertain), Some(0.0));
        assert_eq!(policy.target(edema, Label::Missing), None);
        assert_eq!(policy.target(edema, Label::Positive), Some(1.0));
    }
}
