//! Details of an image that only some data sets have.

use std::collections::BTreeMap;
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

/// Where in the lung a finding is, beside its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// The upper lobe.
    UpperLobe,
    /// The middle lobe of the right lung.
    MiddleLobe,
    /// The lower lobe.
    LowerLobe,
    /// The lingula, a part of the left upper lobe.
    Lingula,
    /// The upper third of a frontal image's lung, whatever its lobe.
    UpperZone,
    /// The middle third.
    MiddleZone,
    /// The lower third.
    LowerZone,
    /// The top of the lung.
    Apex,
    /// The bottom of the lung, above the diaphragm.
    Base,
    /// Around the hilum.
    Perihilar,
    /// Behind the heart.
    Retrocardiac,
}

impl Location {
    /// Every location.
    pub const ALL: [Self; 11] = [
        Self::UpperLobe,
        Self::MiddleLobe,
        Self::LowerLobe,
        Self::Lingula,
        Self::UpperZone,
        Self::MiddleZone,
        Self::LowerZone,
        Self::Apex,
        Self::Base,
        Self::Perihilar,
        Self::Retrocardiac,
    ];

    /// The words for it in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UpperLobe => "upper lobe",
            Self::MiddleLobe => "middle lobe",
            Self::LowerLobe => "lower lobe",
            Self::Lingula => "lingula",
            Self::UpperZone => "upper zone",
            Self::MiddleZone => "middle zone",
            Self::LowerZone => "lower zone",
            Self::Apex => "apex",
            Self::Base => "base",
            Self::Perihilar => "perihilar",
            Self::Retrocardiac => "retrocardiac",
        }
    }
}

impl fmt::Display for Location {
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
    /// Where in the lung it is, if that is known and one place.
    pub location: Option<Location>,
}

/// Details of an image that only some data sets have: columns of a table, or the phantom's truth. Never guessed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Race or ethnicity in the data set's own words.
    pub race: Option<String>,
    /// Text that was made from the truth by rule. It is not a report and is never called one.
    pub template: Option<String>,
    /// Sides, severities and locations, as far as known, each finding once.
    pub findings: Vec<FindingDetail>,
    /// Which of a patient's images comes first: a date as a number (2019-03-31 is 20190331, the time of day behind the point), or a
    /// follow-up number. Compared within a data set only, as most of them shift their dates.
    pub order: Option<f64>,
    /// Cells of the columns that were to be kept, by the names under which they were asked for; what is blank is absent. They group images
    /// and say nothing else.
    pub columns: BTreeMap<String, String>,
}

impl Details {
    /// What is known of `finding`.
    #[must_use]
    pub fn of(&self, finding: Finding) -> Option<&FindingDetail> {
        self.findings.iter().find(|detail| detail.finding == finding)
    }
}
