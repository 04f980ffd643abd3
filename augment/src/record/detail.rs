//! Details of an image that only some data sets have.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Finding;

/// The patient's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Laterality {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
    /// Both sides.
    #[serde(alias = "bilateral")]
    Both,
}

impl fmt::Display for Laterality {
    /// The adjective a reader would write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Both => "bilateral",
        })
    }
}

/// How much of a finding there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Little.
    Mild,
    /// Something between.
    Moderate,
    /// Much.
    Severe,
}

impl Severity {
    /// The word for it in tables and prompts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mild => "mild",
            Self::Moderate => "moderate",
            Self::Severe => "severe",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a positive finding is, and how much of it there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FindingDetail {
    /// The finding.
    pub finding: Finding,
    /// Its side, if it is known.
    pub side: Option<Laterality>,
    /// Its severity, if it is known.
    pub severity: Option<Severity>,
}

/// Details of an image that only some data sets have: columns of a table, or the phantom's truth. Never guessed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Race or ethnicity in the data set's own words.
    pub race: Option<String>,
    /// Text that was made from the truth by rule. It is not a report and is never called one.
    pub template: Option<String>,
    /// Sides and severities, as far as known, each finding once.
    pub findings: Vec<FindingDetail>,
    /// Which of a patient's images comes first: a date as a number (2019-03-31 is 20190331, the time of day behind the point), or a
    /// follow-up number. Compared within a data set only, as most of them shift their dates.
    pub order: Option<f64>,
}

impl Details {
    /// What is known of `finding`.
    #[must_use]
    pub fn of(&self, finding: Finding) -> Option<&FindingDetail> {
        self.findings.iter().find(|detail| detail.finding == finding)
    }
}
