//! What was retrieved in the features of one network, for `evaluation.json`.

use serde::{Deserialize, Serialize};

use crate::evaluation::query::{QueryError, QueryReport, SetRetrieval};

/// Retrieval in the features of one network. Distances are cosines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkRetrieval {
    /// The network.
    pub network: String,
    /// The weights that were given.
    pub weights: String,
    /// Images on each side, where that is less than there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<usize>,
    /// Synthetic images ask among real ones, beside real images of other patients.
    pub images: Option<SetRetrieval>,
    /// Why they don't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// The same by the protocol of CheXpert 8x200.
    pub chexpert: ProtocolRetrieval,
    /// Texts ask, where they look in this network's features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextRetrieval>,
}

/// Ten queries of each of eight categories among 200 candidates of each, which are real and of this category alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProtocolRetrieval {
    /// Why it can't be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// Real images of other patients ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<Retrieved>,
    /// Synthetic images ask, none of them of a candidate's patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synthetic: Option<Retrieved>,
    /// Texts ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<Retrieved>,
}

/// What texts find.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TextRetrieval {
    /// Where the embeddings are from.
    pub source: String,
    /// Texts that ask for a finding.
    pub texts: usize,
    /// Texts that are longer than the encoder sees.
    pub cut: usize,
    /// Among real images.
    pub real: Retrieved,
    /// Among synthetic images, by what they were asked to show.
    pub synthetic: Retrieved,
}

/// What was found, or why nothing could be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Retrieved {
    /// All figures.
    pub found: Option<QueryReport>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

impl Retrieved {
    pub(super) fn undefined(why: impl ToString) -> Self {
        Self { found: None, undefined: Some(why.to_string()) }
    }
}

impl From<Result<QueryReport, QueryError>> for Retrieved {
    fn from(found: Result<QueryReport, QueryError>) -> Self {
        found.map_or_else(Self::undefined, |found| Self { found: Some(found), undefined: None })
    }
}
