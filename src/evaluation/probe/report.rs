//! `probe.json`: everything that a probe found, for people and scripts.

use std::collections::BTreeMap;

use roentgen_augment::record::{Finding, Target};
use roentgen_augment::text::Dropped;
use serde::Serialize;

use super::encoder::{FrozenEncoder, Pooling};
use super::fit::{FitConfig, ProbeKind};
use super::measure::Figures;
use super::store::Embedded;
use super::texts::LabelSource;

/// The result of a probe.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    /// Of the program.
    pub version: &'static str,
    /// False for template text: the figures say nothing of the encoders.
    pub is_result: bool,
    /// What decides the result: a repetition has the same.
    pub settings: Settings,
    /// The texts.
    pub texts: TextCard,
    /// The encoder before.
    pub before: EncoderCard,
    /// The encoder after.
    pub after: EncoderCard,
    /// What the two have in common, if the difference can't be anything but 0.
    pub identical: Option<Identical>,
    /// Every finding of the labels, in their order.
    pub findings: Vec<FindingOutcome>,
    /// Plain means over the defined findings, by probe.
    pub mean: BTreeMap<ProbeKind, Figures>,
    /// What is doubtful, a sentence each.
    pub notes: Vec<String>,
}

/// What decides the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Digest of the texts with their patients and labels.
    pub texts: String,
    /// Fingerprint of the encoder before, with its pooling.
    pub before: String,
    /// Of the encoder after.
    pub after: String,
    /// Where labels come from.
    pub labels: LabelSource,
    /// What an uncertain label becomes.
    pub uncertain: Target,
    /// What a blank label becomes.
    pub blank: Target,
    /// Number of folds.
    pub folds: usize,
    /// The probes.
    pub probes: Vec<ProbeKind>,
    /// How they are fitted.
    pub fit: FitConfig,
    /// Resamples of the patients.
    pub bootstrap: usize,
    /// Seed of folds and resamples.
    pub seed: u64,
}

/// The texts of a probe.
#[derive(Clone, Debug, Serialize)]
pub struct TextCard {
    /// Of the table or data set.
    pub name: String,
    /// Texts.
    pub texts: usize,
    /// Distinct ones.
    pub distinct: usize,
    /// Patients.
    pub patients: usize,
    /// Texts that are template text.
    pub templates: usize,
    /// Rows without a text, by the reason.
    pub dropped: BTreeMap<Dropped, usize>,
}

/// One of the two encoders.
#[derive(Clone, Debug, Serialize)]
pub struct EncoderCard {
    /// As the user named it.
    pub name: String,
    /// Its class in transformers.
    pub class: &'static str,
    /// Numbers per embedding.
    pub width: usize,
    /// How states were pooled.
    pub pooling: Pooling,
    /// Most tokens of a text that it sees.
    pub length: usize,
    /// Texts that were cut to that.
    pub cut: usize,
    /// Distinct texts whose embeddings were computed by this start.
    pub computed: usize,
    /// Distinct texts whose embeddings were there.
    pub found: usize,
}

impl EncoderCard {
    pub(super) fn new(encoder: &FrozenEncoder, embedded: &Embedded) -> Self {
        Self {
            name: encoder.name.clone(),
            class: encoder.class(),
            width: encoder.width(),
            pooling: encoder.pooling,
            length: encoder.length(),
            cut: embedded.cut,
            computed: embedded.computed,
            found: embedded.found,
        }
    }
}

/// Why the difference is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Identical {
    /// The two encoders have the same weights, options and vocabulary.
    Weights,
    /// Every text has the same embedding.
    Embeddings,
}

/// What was found for one finding.
#[derive(Clone, Debug, Serialize)]
pub struct FindingOutcome {
    /// The finding.
    pub finding: Finding,
    /// Texts with a known label.
    pub texts: usize,
    /// Positive ones.
    pub positives: usize,
    /// Patients with a positive one.
    pub positive_patients: usize,
    /// Why there are no figures.
    pub undefined: Option<String>,
    /// AUROC of the rule "its name is in the text": what no encoder is needed for.
    pub name_in_text: Option<f64>,
    /// Figures by probe; empty where undefined.
    pub probes: BTreeMap<ProbeKind, Figures>,
}
