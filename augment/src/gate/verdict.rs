//! What is wrong with a sample.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::record::Finding;

/// The training image that a sample is most similar to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestReal {
    /// [`CxrRecord::id`](crate::record::CxrRecord::id) of the training image.
    pub id: String,
    /// Distance to it, 0 for a copy; see [`NearestTraining`](crate::gate::NearestTraining) for the measure.
    pub distance: f32,
}

/// Why a sample is rejected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum Fault {
    /// Hardly any contrast.
    Blank {
        /// Standard deviation of the gray values, of a range of 1.
        deviation: f32,
    },
    /// Too much of it is fully black or fully white.
    Saturated {
        /// Share of the pixels.
        share: f32,
    },
    /// The generator painted in colour.
    Coloured {
        /// Mean over pixels of the largest difference between two channels, of a range of 1.
        spread: f32,
    },
    /// A classifier does not find what was requested, or finds what was not.
    Disagrees {
        /// The finding.
        finding: Finding,
        /// The classifier's probability.
        score: f32,
        /// The probability it had to reach, or not to exceed.
        limit: f32,
    },
    /// Nearer to a training image than images of other people are.
    Copy {
        /// Distance to the nearest training image.
        distance: f32,
        /// Distance it had to keep.
        limit: f32,
    },
}

impl Fault {
    /// The word for its kind, for counts.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Blank { .. } => "blank",
            Self::Saturated { .. } => "saturated",
            Self::Coloured { .. } => "coloured",
            Self::Disagrees { .. } => "disagrees",
            Self::Copy { .. } => "copy",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank { deviation } => write!(f, "blank (deviation {deviation:.3})"),
            Self::Saturated { share } => write!(f, "saturated (share {share:.3})"),
            Self::Coloured { spread } => write!(f, "coloured (spread {spread:.3})"),
            Self::Disagrees { finding, score, limit } => write!(f, "disagrees ({finding} {score:.3}, limit {limit:.3})"),
            Self::Copy { distance, limit } => write!(f, "copy (distance {distance:.3}, limit {limit:.3})"),
        }
    }
}

/// The judges' verdict on one image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Everything that is wrong with it; nothing for a sample that passes.
    pub faults: Vec<Fault>,
    /// The training image it is most similar to, if that was computed.
    pub nearest_real: Option<NearestReal>,
}

impl Verdict {
    /// Whether the image may train.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults.is_empty()
    }

    /// Both verdicts on one image.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.faults.extend(other.faults);
        Self { nearest_real: self.nearest_real.or(other.nearest_real), ..self }
    }
}

/// What became of a request at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateOutcome {
    /// The image of this attempt (from 1) passed.
    Passed(u32),
    /// None of this many attempts passed.
    Rejected(u32),
}

impl fmt::Display for GateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(attempt) => write!(f, "passed {attempt}"),
            Self::Rejected(attempts) => write!(f, "rejected {attempts}"),
        }
    }
}

impl GateOutcome {
    /// The outcome that [`Display`](fmt::Display) writes so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (word, number) = text.split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "passed" => Some(Self::Passed(number)),
            "rejected" => Some(Self::Rejected(number)),
            _ => None,
        }
    }
}
