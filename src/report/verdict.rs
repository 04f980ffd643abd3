//! The conclusion about an arm, in one sentence.

use super::lookup::NO_MACRO;
use super::{AdherenceReport, ArmReport, ComparisonReport, Difference, format};

/// The conclusion from the interval of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The whole interval is above 0, and p agrees.
    Better,
    /// The whole interval is below 0, and p agrees.
    Worse,
    /// 0 is inside, or too few replicates were defined for p to agree: no difference could be shown, which isn't equality.
    NotShown,
}

impl Verdict {
    pub(crate) fn of(difference: &Difference) -> Self {
        match (difference.absolute.low, difference.absolute.high) {
            _ if difference.p_bootstrap > 0.05 => Self::NotShown,
            (low, high) if low > 0.0 && high > 0.0 => Self::Better,
            (low, high) if low < 0.0 && high < 0.0 => Self::Worse,
            _ => Self::NotShown,
        }
    }

    /// The conclusion from Holm's corrected p-value of one finding; none without a p-value.
    pub(crate) fn after_holm(difference: &Difference, confidence: f64) -> Self {
        match difference.p_holm {
            // Not `1 - confidence`, which is a little less than 0.05 in floating point.
            Some(p) if p + confidence <= 1.0 && difference.absolute.value > 0.0 => Self::Better,
            Some(p) if p + confidence <= 1.0 && difference.absolute.value < 0.0 => Self::Worse,
            _ => Self::NotShown,
        }
    }
}

impl ComparisonReport {
    /// The conclusion about `arm` relative to the baseline, without its name.
    pub(crate) fn sentence(&self, arm: &ArmReport) -> String {
        let baseline = &self.baseline;
        if self.is_baseline(arm) {
            return match &arm.macro_auroc {
                Some(auroc) => format!("the baseline, macro AUROC {}", format::auroc_estimate(auroc)),
                None => format!("the baseline, macro AUROC {NO_MACRO}"),
            };
        }
        let Some(difference) = &arm.difference else {
            return format!("not compared with {baseline}: macro AUROC {NO_MACRO}");
        };
        let number = format::difference_estimate(&difference.absolute);
        let p = format::p_in_words(difference.p_bootstrap);
        match Verdict::of(difference) {
            Verdict::Better => format!("better than {baseline}: {number}, {p}"),
            Verdict::Worse => format!("worse than {baseline}: {number}, {p}"),
            Verdict::NotShown => format!("no difference from {baseline} could be shown: {number}, {p}"),
        }
    }

    /// The conclusion about the synthetic images.
    pub(crate) fn adherence_sentence(&self, adherence: &AdherenceReport) -> String {
        let AdherenceReport { judge, arm, images, .. } = adherence;
        let pool = format!("{} synthetic images of {arm}", format::count(*images));
        let Some(auroc) = &adherence.macro_auroc else {
            return format!("too few of {pool} were requested with any one finding to judge them");
        };
        let number = format::auroc_estimate(auroc);
        let judged = adherence.findings.iter().filter(|finding| finding.auroc.is_some()).count();
        let findings = format::counted(judged, "finding");
        let found = format!(
            "the classifiers of {judge} find what was requested in {pool} with a macro AUROC of {number} over {findings}"
        );
        if auroc.low > 0.5 { format!("{found}, above chance") } else { format!("{found}: not shown to be above chance") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Estimate;
    use crate::report::mock;

    fn difference(value: f64, low: f64, high: f64) -> Difference {
        let absolute = Estimate { value, low, high };
        Difference { absolute, relative: absolute, p_bootstrap: 0.03, p_delong: None, p_holm: None }
    }

    #[test]
    fn an_interval_with_zero_shows_nothing() {
        assert_eq!(Verdict::of(&difference(-0.004, -0.021, 0.012)), Verdict::NotShown);
        assert_eq!(Verdict::of(&difference(0.01, 0.0, 0.02)), Verdict::NotShown);
        assert_eq!(Verdict::of(&difference(0.01, 0.001, 0.02)), Verdict::Better);
        assert_eq!(Verdict::of(&difference(-0.01, -0.02, -0.001)), Verdict::Worse);
        assert_eq!(Verdict::of(&difference(0.01, f64::NAN, 0.02)), Verdict::NotShown);
    }

    #[test]
    fn a_finding_needs_the_corrected_p() {
        let with = |value, p_holm| Difference { p_holm, ..difference(value, -0.1, 0.1) };
        assert_eq!(Verdict::after_holm(&with(0.02, Some(0.05)), 0.95), Verdict::Better);
        assert_eq!(Verdict::after_holm(&with(-0.02, Some(0.01)), 0.95), Verdict::Worse);
        assert_eq!(Verdict::after_holm(&with(0.02, Some(0.051)), 0.95), Verdict::NotShown);
        assert_eq!(Verdict::after_holm(&with(0.02, None), 0.95), Verdict::NotShown);
    }

    #[test]
    fn a_null_result_is_stated_plainly() {
        let mut report = mock::typical();
        report.baseline = "real-only".to_owned();
        report.arms[1].difference = Some(difference(-0.004, -0.021, 0.012));
        let expected = "no difference from real-only could be shown: -0.004 [-0.021, 0.012], p = 0.03";
        assert_eq!(report.sentence(&report.arms[1]), expected);
    }
}
