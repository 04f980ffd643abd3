//! `report.json`: all results of the comparison, as numbers.

use roentgen_augment::gate::GateReport;
use roentgen_augment::text::PromptSummary;
use roentgen_classifier::training::Precision;
use serde::{Deserialize, Serialize};

use crate::evaluation::run::EvaluationReport;

/// One comparison of arms on one data set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// Version of `roentgen` that wrote it.
    pub version: String,
    /// Title from the run file.
    pub title: String,
    /// Device that trained, as `--device` names it.
    pub device: String,
    /// Name of the arm that the others are compared with.
    pub baseline: String,
    /// What was learnt from and judged on.
    pub data: DataCard,
    /// What every arm shares.
    pub protocol: Protocol,
    /// One entry per arm, in the order of the run file.
    pub arms: Vec<ArmReport>,
    /// What the prompts of the generator were made from; `None` if it reads none.
    #[serde(default)]
    pub prompts: Option<PromptSummary>,
    /// Whether the synthetic images show what was requested; `None` if no classifier trained on real images alone judged them.
    #[serde(default)]
    pub adherence: Option<AdherenceReport>,
    /// How alike the arms serve groups of patients; `None` if the data set records none.
    #[serde(default)]
    pub fairness: Option<FairnessReport>,
    /// What the synthetic images are like; `None` unless the run file has an `[evaluation]` table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Box<EvaluationReport>>,
    /// What a reader must know before quoting a number: undefined findings, few positives, phantom data, shifted simulators.
    pub warnings: Vec<String>,
}

/// How well classifiers that were trained on real images alone find in synthetic images what was requested.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdherenceReport {
    /// Arm whose classifiers, one per seed, judged.
    pub judge: String,
    /// Arm whose synthetic images were judged: the largest set.
    pub arm: String,
    /// Images judged.
    pub images: usize,
    /// Mean over seeds of the macro AUROC against the requested labels, with an interval resampled by source patient; 0.5 is
    /// chance.
    pub macro_auroc: Option<Estimate>,
    /// One entry per finding.
    pub findings: Vec<AdherenceFinding>,
}

/// One finding in synthetic images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdherenceFinding {
    /// Finding.
    pub finding: String,
    /// Images requested with it.
    pub asked_for: usize,
    /// Mean over seeds of the AUROC; `None` if too few images were requested with it, or without.
    pub auroc: Option<Estimate>,
}

/// How alike the arms serve groups of patients.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FairnessReport {
    /// How the thresholds of the under-diagnosis rate were chosen; `None` if they could not be: the weights of a run were deleted.
    pub operating_point: Option<String>,
    /// Findings that validation gives no threshold, which stay out of the under-diagnosis rate.
    pub without_operating_point: Vec<String>,
    /// Fewest positive and negative images of a finding in every group, and fewest ill images of a group, that are judged.
    pub fewest: usize,
    /// Fewest patients of a group that is judged.
    pub fewest_patients: usize,
    /// One entry per attribute that the data set records.
    pub attributes: Vec<FairnessAttribute>,
}

/// The groups of one attribute, such as sex.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FairnessAttribute {
    /// Its name.
    pub name: String,
    /// Test images without it, which are in no group.
    pub unknown: usize,
    /// Groups in the test set.
    pub groups: Vec<FairnessGroup>,
    /// Findings that the AUROC is the mean of, the same in every group.
    pub findings: Vec<String>,
    /// One entry per arm.
    pub arms: Vec<FairnessArm>,
}

/// One group of test images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FairnessGroup {
    /// Its name.
    pub name: String,
    /// Images.
    pub images: usize,
    /// Patients.
    pub patients: usize,
    /// Images with at least one positive finding that has a threshold.
    pub ill: usize,
    /// Whether it is too small to be judged.
    pub is_small: bool,
}

/// One arm in the groups of an attribute; figures are in the order of the groups, means over seeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FairnessArm {
    /// Its name.
    pub arm: String,
    /// Macro AUROC; `None` for small groups, and if no finding is judged.
    pub auroc: Vec<Option<Estimate>>,
    /// Largest minus smallest AUROC.
    pub auroc_gap: Option<FairnessGap>,
    /// Share of the ill images on which no finding reaches its threshold; `None` for small groups and without thresholds.
    pub underdiagnosis: Vec<Option<Estimate>>,
    /// Largest minus smallest share.
    pub underdiagnosis_gap: Option<FairnessGap>,
}

/// How far apart groups are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FairnessGap {
    /// Largest minus smallest. The interval over resampled patients holds for the differences of all pairs of groups at once, and reaches
    /// below 0 where these two can't be told apart.
    pub size: Estimate,
    /// Name of the group that is served worst.
    pub worst: String,
    /// Name of the group that is served best.
    pub best: String,
}

/// The data set and its splits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataCard {
    /// Name of the data set.
    pub name: String,
    /// `real` or `phantom`: phantom images are never called real.
    pub nature: String,
    /// Images in training, validation, test.
    pub images: [usize; 3],
    /// Patients in training, validation, test.
    pub patients: [usize; 3],
    /// Counts by finding.
    pub findings: Vec<FindingCount>,
}

/// Labels of one finding.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingCount {
    /// Finding.
    pub finding: String,
    /// Positives in training, validation, test.
    pub positives: [usize; 3],
    /// Images with a usable label in training, validation, test.
    pub labelled: [usize; 3],
}

/// What every arm shares, so that only the data differs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Protocol {
    /// Architecture.
    pub network: String,
    /// Trainable parameters.
    pub parameters: usize,
    /// Pixels per side.
    pub image_size: usize,
    /// Optimiser steps of every arm.
    pub steps: usize,
    /// Images per optimiser step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// What the networks compute in.
    #[serde(default)]
    pub precision: Precision,
    /// Classifier seeds; run `i` of every arm starts from the same weights.
    pub seeds: Vec<u64>,
    /// How the checkpoint is chosen.
    pub selection: String,
    /// Bootstrap replicates.
    pub replicates: usize,
    /// Confidence level of every interval.
    pub confidence: f64,
}

/// A number with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// On the whole test set.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// One arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ArmReport {
    /// Key in the run file.
    pub name: String,
    /// Text for people.
    pub description: String,
    /// Real images in one epoch of its mixture (first epoch).
    pub real_per_epoch: usize,
    /// Synthetic images in one epoch of its mixture (first epoch).
    pub synthetic_per_epoch: usize,
    /// One entry per seed.
    pub runs: Vec<RunReport>,
    /// Mean over seeds of the macro AUROC, with its patient-bootstrap interval; `None` if no finding has both classes.
    pub macro_auroc: Option<Estimate>,
    /// Mean over seeds of the AUROC weighted by positives.
    pub weighted_auroc: Option<f64>,
    /// Mean over seeds of the micro AUROC.
    pub micro_auroc: Option<f64>,
    /// Findings without both classes in the test set, left out of the means.
    pub undefined: usize,
    /// One entry per finding.
    pub findings: Vec<FindingReport>,
    /// Macro AUROC minus the baseline's; `None` for the baseline.
    pub difference: Option<Difference>,
    /// What the gate did to its synthetic images; `None` for an arm without a gate.
    #[serde(default)]
    pub gate: Option<GateReport>,
}

/// One training run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// Classifier seed.
    pub seed: u64,
    /// Optimiser step of the chosen checkpoint.
    pub best_step: usize,
    /// Macro AUROC on validation at that step.
    pub valid_macro_auroc: Option<f64>,
    /// Macro AUROC on test.
    pub test_macro_auroc: Option<f64>,
    /// Wall time of training in seconds.
    pub seconds: f64,
    /// Share of that time the trainer waited for data, 0 to 1.
    pub wait_share: f64,
}

/// One finding of one arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FindingReport {
    /// Finding.
    pub finding: String,
    /// Mean over seeds of the AUROC; `None` if undefined on this test set.
    pub auroc: Option<Estimate>,
    /// Mean over seeds of the average precision.
    pub average_precision: Option<f64>,
    /// Mean over seeds of the expected calibration error (15 bins).
    pub ece: Option<f64>,
    /// ROC curve of the scores averaged over seeds: points (false positive rate, true positive rate), thinned for plotting.
    pub roc: Vec<[f64; 2]>,
    /// Reliability of the scores averaged over seeds, a point per bin of probabilities that has any; empty if undefined.
    #[serde(default)]
    pub calibration: Vec<CalibrationPoint>,
    /// AUROC minus the baseline's; `None` for the baseline or if undefined.
    pub difference: Option<Difference>,
}

/// Images with about the same probability of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// Their mean probability.
    pub predicted: f64,
    /// The share of them that have the finding.
    pub observed: f64,
    /// How many there are.
    pub count: usize,
}

/// A difference to the baseline on the same test patients.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// This arm's AUROC minus the baseline's.
    pub absolute: Estimate,
    /// The same divided by the baseline's AUROC.
    pub relative: Estimate,
    /// Two-sided p-value of the paired patient bootstrap.
    pub p_bootstrap: f64,
    /// Two-sided p-value of the paired DeLong test on scores averaged over seeds (images treated as independent); `None` for macro.
    pub p_delong: Option<f64>,
    /// `p_bootstrap` after Holm's correction over the findings of this arm; `None` for macro.
    pub p_holm: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assume, proptest};

    use super::RunReport;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]
        /// A comparison that is continued reads the reports of its finished runs and writes them again.
        #[test]
        fn numbers_survive_being_written_and_read(seconds in any::<f64>(), wait_share in 0.0f64..1.0) {
            prop_assume!(seconds.is_finite());
            let run = RunReport {
                seed: 1,
                best_step: 2,
                valid_macro_auroc: Some(wait_share),
                test_macro_auroc: None,
                seconds,
                wait_share,
            };
            let text = serde_json::to_string(&run).unwrap();
            let read: RunReport = serde_json::from_str(&text).unwrap();
            prop_assert!(read.seconds.to_bits() == seconds.to_bits() && read.wait_share.to_bits() == wait_share.to_bits());
            prop_assert!(serde_json::to_string(&read).unwrap() == text);
        }
    }
}
