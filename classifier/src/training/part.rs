//! What training changes.

use serde::{Deserialize, Serialize};

/// What training changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainedPart {
    /// All weights.
    #[default]
    Whole,
    /// The linear head. What is before it stays as it is, with the statistics of its batch norms, and computes as it does in evaluation.
    Head,
}

impl TrainedPart {
    /// Whether it is all weights.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}
