//! One row of a data set: everything known about an image except its pixels.

mod detail;
mod finding;
mod label;
mod sample;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use detail::{Details, FindingDetail, Laterality, Location, Severity};
pub use finding::{CHEXPERT_14, Finding, NIH_14, Vocabulary, XRV_18, by_finding};
pub use label::{Label, LabelPolicy, Target};
pub use sample::CxrSample;

/// The person whose image it is. Splits and bootstrap resamples are made by patient, never by image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PatientId(String);

impl PatientId {
    /// A patient of that identifier.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PatientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sex as the data set records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sex {
    /// `F`
    Female,
    /// `M`
    Male,
}

/// Projection of the radiograph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum View {
    /// Posterior-anterior: upright, beam from behind.
    #[serde(rename = "PA")]
    Pa,
    /// Anterior-posterior: beam from the front, often supine or at the bedside.
    #[serde(rename = "AP")]
    Ap,
    /// Lateral.
    #[serde(rename = "L", alias = "LL", alias = "LATERAL")]
    Lateral,
}

/// The part of a study an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trains the classifier and the generator.
    Train,
    /// Chooses the checkpoint.
    #[serde(alias = "val", alias = "validate", alias = "validation")]
    Valid,
    /// Used once, for the final evaluation.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        })
    }
}

/// Where a synthetic image comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The request that made it.
    pub request: crate::request::SampleRequest,
    /// What made it, see [`SynthesizerCard::model`](crate::supply::SynthesizerCard::model).
    pub model: String,
    /// The outcome at a gate, if one judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<crate::gate::GateOutcome>,
    /// The training image it is most similar to, if a gate compared it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nearest_real: Option<crate::gate::NearestReal>,
}

impl Provenance {
    /// An image that no gate has judged.
    #[must_use]
    pub fn new(request: crate::request::SampleRequest, model: &str) -> Self {
        Self { request, model: model.to_owned(), gate: None, nearest_real: None }
    }
}

/// Real or synthetic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Taken of a patient.
    #[default]
    Real,
    /// Made by a [`Synthesizer`](crate::supply::Synthesizer).
    Synthetic(Box<Provenance>),
}

impl Origin {
    /// Whether this is [`Origin::Synthetic`].
    #[must_use]
    pub fn is_synthetic(&self) -> bool {
        matches!(self, Self::Synthetic(_))
    }
}

/// One row of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct CxrRecord {
    /// The image's name, unique within its data set (`00000001_000.png`).
    pub id: String,
    /// The patient; for a synthetic image, the patient of the row its request came from, if there is one.
    pub patient_id: Option<PatientId>,
    /// One label per finding, in the order of the data set's vocabulary.
    pub labels: Vec<Label>,
    /// Years.
    pub age: Option<f32>,
    /// Sex as recorded.
    pub sex: Option<Sex>,
    /// Projection.
    pub view: Option<View>,
    /// Text of a radiologist's report, whole or its impression, if the data set has one.
    pub report: Option<String>,
    /// The data set's own split, if it has one.
    pub split: Option<Split>,
    /// Real or synthetic.
    pub origin: Origin,
    /// Details that only some data sets have: sides, severities, locations, race, template text.
    pub details: Details,
}

impl CxrRecord {
    /// A radiograph of which only that is known.
    #[must_use]
    pub fn real(id: String, patient_id: Option<PatientId>, labels: Vec<Label>) -> Self {
        Self {
            id,
            patient_id,
            labels,
            age: None,
            sex: None,
            view: None,
            report: None,
            split: None,
            origin: Origin::Real,
            details: Details::default(),
        }
    }

    /// The record of a sample: what its request asked for. It is in no split.
    #[must_use]
    pub fn of_sample(id: String, provenance: Provenance) -> Self {
        let request = &provenance.request;
        Self {
            id,
            patient_id: request.source.as_ref().map(|source| source.patient_id.clone()),
            labels: request.labels.clone(),
            age: request.age,
            sex: request.sex,
            view: request.view,
            report: None,
            split: None,
            origin: Origin::Synthetic(Box::new(provenance)),
            details: Details::default(),
        }
    }

    /// Everybody whom the image shows or descends from: the row's patient, and that of the row a synthetic image was requested from.
    pub fn patients(&self) -> impl Iterator<Item = &PatientId> {
        let source = match &self.origin {
            Origin::Synthetic(provenance) => provenance.request.source.as_ref(),
            Origin::Real => None,
        };
        self.patient_id.iter().chain(source.map(|source| &source.patient_id))
    }
}
