//! What a classifier says of a set, for reports, and why it can't.

use roentgen_classifier::metrics::MetricsError;
use serde::{Deserialize, Serialize};

use crate::report::Estimate;

/// Whether synthetic images show what was asked for, beside real ones. Intervals are 95 % bootstrap intervals over patients (of
/// synthetic images: over the patients or rows they were requested from).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CorrectnessReport {
    /// Synthetic images.
    pub images: usize,
    /// Patients or source rows that they come from.
    pub groups: usize,
    /// Real images, if there are any.
    pub real_images: Option<usize>,
    /// Every finding that classifier and labels both know, in the order of the classifier's outputs.
    pub findings: Vec<FindingCorrectness>,
    /// Findings that the averages are over: those that are defined on every set.
    pub averaged: Vec<String>,
    /// Averages on synthetic images.
    pub synthetic: Averages,
    /// Averages on real images.
    pub real: Option<Averages>,
    /// Macro AUROC on synthetic images less that on real ones.
    pub macro_difference: Option<Estimate>,
    /// Outputs of the classifier that were never trained, and are left out: exactly 0.5 everywhere, or without an operating point.
    pub untrained: Vec<String>,
    /// Other outputs that no label is known of.
    pub without_label: Vec<String>,
    /// Labels that the classifier has no output for.
    pub without_output: Vec<String>,
    /// Whether scores were scaled so that each output's operating point is 0.5; AUROCs of single findings don't change with it.
    pub operating_points: bool,
    /// What is doubtful, a sentence each.
    pub notes: Vec<String>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingCorrectness {
    /// Its name among the labels.
    pub finding: String,
    /// Its name among the classifier's outputs.
    pub output: String,
    /// On synthetic images.
    pub synthetic: SetCorrectness,
    /// On real images; `None` if there are none, or their labels lack it.
    pub real: Option<SetCorrectness>,
    /// AUROC on synthetic images less that on real ones.
    pub difference: Option<Estimate>,
}

/// One finding on one set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetCorrectness {
    /// Images with a known label.
    pub cases: usize,
    /// Those that were asked to show it.
    pub positives: usize,
    /// Area under the ROC curve.
    pub auroc: Option<Estimate>,
    /// Why there is none.
    pub undefined: Option<String>,
    /// Decisions at the operating point; `None` without cases.
    pub decisions: Option<Decisions>,
}

/// What is called positive at a score of `threshold` or more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decisions {
    /// The operating point, as a probability of the classifier.
    pub threshold: f64,
    /// Share of the called that were asked for; 0 if none is called.
    pub precision: f64,
    /// Share of the asked for that are called; 0 if none was asked for.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// Averages over findings; `None` where no finding is defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Plain mean of the AUROCs.
    pub macro_auroc: Option<Estimate>,
    /// AUROC of all pairs of image and finding together.
    pub micro_auroc: Option<Estimate>,
    /// Mean of the AUROCs weighted by the number of positives.
    pub weighted_auroc: Option<Estimate>,
    /// Plain mean of F1.
    pub macro_f1: Option<f64>,
    /// F1 of all decisions together.
    pub micro_f1: Option<f64>,
}

/// Agreement with a column, such as the sex that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnAgreement {
    /// The column, or the question for an order (`age>=60`).
    pub asked: String,
    /// Images that were asked for one of the values that the classifier knows.
    pub cases: usize,
    /// Images that were asked for another value, or for none.
    pub left_out: usize,
    /// Share of the cases where the classifier sees the value that was asked for.
    pub agreement: Option<Estimate>,
    /// Agreement of somebody who always says the commonest value.
    pub commonest: Option<f64>,
    /// One entry per output.
    pub values: Vec<ValueAgreement>,
}

/// One value of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueAgreement {
    /// The output's name.
    pub output: String,
    /// The output against the value.
    pub correctness: SetCorrectness,
}

/// Why a classifier's scores say nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CorrectnessError {
    /// There is nothing to judge.
    #[error("the {set} set has no image: give at least one")]
    Empty {
        /// Which set.
        set: &'static str,
    },
    /// Tables don't fit.
    #[error("the {set} set has {found} {what}, {expected} expected: one per image and {per}")]
    Length {
        /// Which set.
        set: &'static str,
        /// `scores` or `targets`.
        what: &'static str,
        /// Their number.
        found: usize,
        /// What it must be.
        expected: usize,
        /// `output` or `finding`.
        per: &'static str,
    },
    /// One finding has two columns.
    #[error("`{first}` and `{second}` of the {what} are the same finding; keep one of them")]
    Twice {
        /// `outputs` or `labels`.
        what: &'static str,
        /// The first name.
        first: String,
        /// The second.
        second: String,
    },
    /// Sets were judged by different classifiers.
    #[error("the real images were judged by a classifier with other outputs than the synthetic ones")]
    OtherClassifier,
    /// Operating points of another classifier.
    #[error("{found} operating points for {outputs} outputs; they are those of another classifier")]
    Thresholds {
        /// Operating points.
        found: usize,
        /// Outputs.
        outputs: usize,
    },
    /// An operating point that no probability passes.
    #[error(
        "the operating point of `{output}` is {found}, expected a probability above 0 and below 1 (or NaN for an untrained output)"
    )]
    Threshold {
        /// The output.
        output: String,
        /// Its operating point.
        found: f32,
    },
    /// Classifier and labels have nothing in common.
    #[error("the classifier knows none of the labelled findings: it has {outputs}; the labels are {labels}")]
    NothingShared {
        /// Names of the outputs.
        outputs: String,
        /// Names of the labels.
        labels: String,
    },
    /// A score that is no probability, or a target that is no label.
    #[error("{set} set: {source}")]
    Metrics {
        /// Which set.
        set: &'static str,
        /// The cause.
        source: MetricsError,
    },
}
