//! What is requested from a generator.

mod doubts;
mod plan;

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::record::{Label, PatientId, Sex, View};
use crate::text::PromptKind;

pub use doubts::doubts;
pub(crate) use plan::shows;
pub use plan::{LabelPlan, RequestPlan};

/// Most requests that are made at once. More is considered a mistake: the requests alone would take gigabytes.
pub const MAX_REQUESTS: usize = 10_000_000;

/// Refuses more than [`MAX_REQUESTS`]; `None` stands for a number that overflowed.
pub(crate) fn check_count(key: &str, count: Option<usize>) -> Result<usize, AugmentError> {
    let found = count.map_or_else(|| "too large a number to represent".to_owned(), |count| count.to_string());
    let within = count.filter(|count| *count <= MAX_REQUESTS);
    within.ok_or_else(|| AugmentError::setting(key, found, format!("at most {MAX_REQUESTS} images in one pool")))
}

/// The training row a request descends from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestSource {
    /// [`CxrRecord::id`](crate::record::CxrRecord::id) of the row.
    pub id: String,
    /// Its patient. A request whose source patient is in validation or test is refused by the mixture.
    pub patient_id: PatientId,
    /// Cross-validation fold of the row, if there is one.
    pub fold: Option<u32>,
}

/// One synthetic image, fully determined: the same request to the same generator gives the same pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRequest {
    /// Text condition.
    pub prompt: String,
    /// What kind of text it is; not part of the cache key, since it does not change the pixels.
    #[serde(default, skip_serializing_if = "PromptKind::is_free")]
    pub prompt_kind: PromptKind,
    /// The labels the image will carry, in the order of the training set's vocabulary.
    pub labels: Vec<Label>,
    /// Noise seed.
    pub seed: u64,
    /// 0, 1, … among the requests of one source row.
    pub replica: u32,
    /// The training row it descends from; `None` for free prompts.
    pub source: Option<RequestSource>,
    /// Years, for generators that take demographics.
    pub age: Option<f32>,
    /// Sex, for generators that take demographics.
    pub sex: Option<Sex>,
    /// Projection.
    pub view: Option<View>,
}

impl SampleRequest {
    /// Whether no label is known.
    #[must_use]
    pub fn is_unlabelled(&self) -> bool {
        self.labels.iter().all(|label| *label == Label::Missing)
    }
}
