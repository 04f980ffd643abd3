//! Access to the parts of a comparison report.

use super::format::UNDEFINED;
use super::{ArmReport, ComparisonReport, FindingCount, FindingReport};

/// Splits in the order of the arrays of [`super::DataCard`] and [`FindingCount`].
pub(crate) const SPLITS: [&str; 3] = ["Training", "Validation", "Test"];

/// Index of the test split in those arrays.
pub(crate) const TEST: usize = 2;

/// Why there is no macro AUROC.
pub(crate) const NO_MACRO: &str = "undefined (no finding has both classes in test)";

/// The caveat of a study on phantom images.
pub(crate) const PHANTOM_CAVEAT: &str = "Every image here is drawn by a computer, the test set included. These numbers show how the \
                                         method works; they say nothing about radiographs of people.";

impl ComparisonReport {
    /// Whether the images are drawn by the phantom.
    pub(crate) fn on_phantom(&self) -> bool {
        self.data.nature == "phantom"
    }

    /// All arms but the baseline.
    pub(crate) fn compared_arms(&self) -> impl Iterator<Item = &ArmReport> {
        self.arms.iter().filter(|arm| !self.is_baseline(arm))
    }

    /// The arm that the others are compared with, unless the report doesn't hold it.
    pub(crate) fn baseline_arm(&self) -> Option<&ArmReport> {
        self.arms.iter().find(|arm| self.is_baseline(arm))
    }

    pub(crate) fn is_baseline(&self, arm: &ArmReport) -> bool {
        arm.name == self.baseline
    }

    /// Findings of the data card in its order, then any that only an arm has.
    pub(crate) fn finding_names(&self) -> Vec<&str> {
        let listed = self.data.findings.iter().map(|count| count.finding.as_str());
        let judged = self.arms.iter().flat_map(|arm| &arm.findings).map(|finding| finding.finding.as_str());
        let mut names: Vec<&str> = Vec::new();
        for name in listed.chain(judged) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Labels of a finding.
    pub(crate) fn labels(&self, finding: &str) -> Option<&FindingCount> {
        self.data.findings.iter().find(|count| count.finding == finding)
    }

    /// Why a finding has no AUROC on the test set: `undefined (no positives in test)`.
    pub(crate) fn undefined_because(&self, finding: &str) -> String {
        let reason = self.labels(finding).and_then(|count| match (count.positives[TEST], count.labelled[TEST]) {
            (_, 0) => Some("no labels in test"),
            (0, _) => Some("no positives in test"),
            (positives, labelled) if positives == labelled => Some("no negatives in test"),
            _ => None,
        });
        reason.map_or_else(|| UNDEFINED.to_owned(), |reason| format!("{UNDEFINED} ({reason})"))
    }
}

impl ArmReport {
    /// The result of this arm for a finding.
    pub(crate) fn finding(&self, name: &str) -> Option<&FindingReport> {
        self.findings.iter().find(|finding| finding.finding == name)
    }

    /// Test macro AUROC of each run minus that of the baseline's run with the same seed.
    pub(crate) fn differences_by_seed(&self, baseline: &ArmReport) -> Vec<f64> {
        let theirs = |seed| baseline.runs.iter().find(|run| run.seed == seed)?.test_macro_auroc;
        let pairs = self.runs.iter().filter_map(|run| run.test_macro_auroc.zip(theirs(run.seed)));
        pairs.map(|(ours, theirs)| ours - theirs).filter(|difference| difference.is_finite()).collect()
    }
}
