//! Whether every group of patients is served equally well.

use maud::{Markup, html};

use super::auroc_cell;
use crate::report::{ComparisonReport, Estimate, FairnessArm, FairnessAttribute, FairnessGap, FairnessReport, format};

/// Text for a group, or a figure of it, with too few images.
const TOO_FEW: &str = "too few to judge";

/// Nothing if the data set records no group.
pub(super) fn section(report: &ComparisonReport) -> Markup {
    html! {
        @if let Some(fairness) = &report.fairness {
            section #fairness {
                h2 { "By group of patients" }
                (by_group(fairness, "Arm", report.protocol.confidence))
            }
        }
    }
}

/// A table of each attribute, and how to read it. `rows` is what a row is, `confidence` that of the intervals.
pub(crate) fn by_group(fairness: &FairnessReport, rows: &str, confidence: f64) -> Markup {
    html! {
        p {
            "AUROC: mean over the findings with at least " (fairness.fewest) " positive and " (fairness.fewest)
            " negative images in every group, the same findings in all of them. "
            (underdiagnosis(fairness)) " "
            "Gap: largest minus smallest group. Groups of fewer than " (fairness.fewest_patients) " patients are not judged. Brackets: "
            (format::confidence(confidence)) " intervals over patients; classifiers are held fixed. That of a gap "
            "holds for all pairs of groups at once: where it reaches below 0, these two groups could not be told apart."
        }
        @for attribute in &fairness.attributes { (table(fairness, attribute, rows)) }
    }
}

fn underdiagnosis(fairness: &FairnessReport) -> Markup {
    html! {
        @match &fairness.operating_point {
            Some(point) => {
                "Under-diagnosis: share of the images with at least one finding on which no finding reaches its threshold. Operating point: "
                (point) "."
                @if !fairness.without_operating_point.is_empty() {
                    " Left out of it, as validation gives them no threshold: " (fairness.without_operating_point.join(", ")) "."
                }
            },
            None if !fairness.without_operating_point.is_empty() => {
                "Under-diagnosis is not judged: validation gives no finding a threshold."
            },
            None => {
                "Under-diagnosis is not judged: it needs thresholds chosen on validation images, and the weights of a run are gone."
            },
        }
    }
}

fn table(fairness: &FairnessReport, attribute: &FairnessAttribute, rows: &str) -> Markup {
    html! {
        h3 { "By " (attribute.name) }
        div.scroll {
            table.dense {
                caption {
                    @if attribute.findings.is_empty() {
                        "No finding has enough images in every group for an AUROC."
                    } @else {
                        "AUROC over " (format::counted(attribute.findings.len(), "finding")) ": " (attribute.findings.join(", ")) "."
                    }
                    @if attribute.unknown > 0 {
                        " Not recorded, and in no group: " (format::counted(attribute.unknown, "image")) "."
                    }
                }
                thead {
                    tr {
                        th scope="col" { (rows) }
                        @for group in &attribute.groups {
                            th.number scope="col" {
                                (group.name) br;
                                (format::counted(group.images, "image")) ", " (format::count(group.ill)) " ill"
                            }
                        }
                        th.number scope="col" { "Gap" }
                    }
                }
                (body(attribute, "AUROC", |arm| (&arm.auroc, arm.auroc_gap.as_ref())))
                @if fairness.operating_point.is_some() {
                    (body(attribute, "Under-diagnosis rate", |arm| (&arm.underdiagnosis, arm.underdiagnosis_gap.as_ref())))
                }
            }
        }
    }
}

/// The figure of every arm and group, and its gap.
fn body(
    attribute: &FairnessAttribute,
    name: &str,
    figure: impl Fn(&FairnessArm) -> (&Vec<Option<Estimate>>, Option<&FairnessGap>),
) -> Markup {
    html! {
        tbody {
            tr.summary { th scope="rowgroup" colspan=(attribute.groups.len() + 2) { (name) } }
            @for arm in &attribute.arms {
                @let (values, gap) = figure(arm);
                tr {
                    th scope="row" { (arm.arm) }
                    @for value in values { (auroc_cell(*value, TOO_FEW)) }
                    @match gap {
                        Some(gap) => td.number {
                            span.value { (format::auroc(gap.size.value)) } " "
                            span.interval { (format::typographic(&format::auroc_interval(&gap.size))) } br;
                            "worst: " (gap.worst)
                        },
                        None => td.undefined { (format::UNDEFINED) },
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn groups_gaps_and_what_is_not_judged_are_said() {
        let page = section(&mock::typical()).into_string();
        for said in ["By sex", "worst: female", "0.041", TOO_FEW, "Youden", "Hernia", "Not recorded, and in no group: 7 images"]
        {
            assert!(page.contains(said), "{said}: {page}");
        }
        mock::assert_well_formed(&page);
    }

    #[test]
    fn without_thresholds_only_the_auroc_is_shown() {
        let mut report = mock::typical();
        report.fairness.as_mut().unwrap().operating_point = None;
        let page = section(&report).into_string();
        assert!(page.contains("validation gives no finding a threshold") && !page.contains("Under-diagnosis rate"), "{page}");
        report.fairness.as_mut().unwrap().without_operating_point.clear();
        let page = section(&report).into_string();
        assert!(page.contains("weights of a run are gone") && !page.contains("Under-diagnosis rate"), "{page}");
        report.fairness = None;
        assert!(section(&report).into_string().is_empty());
    }
}
