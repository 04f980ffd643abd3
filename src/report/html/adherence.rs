//! Whether the synthetic images show what was requested.

use maud::{Markup, html};

use super::auroc_cell;
use crate::report::{AdherenceReport, ComparisonReport, format};

/// Text for a finding that was requested, or not requested, on too few images.
pub(super) const TOO_FEW: &str = "too few to judge";

/// Nothing if no synthetic image was judged.
pub(super) fn section(report: &ComparisonReport) -> Markup {
    html! {
        @if let Some(adherence) = &report.adherence {
            section #adherence {
                h2 { "Do the synthetic images show what was requested?" }
                p { (report.adherence_sentence(adherence)) }
                div.scroll {
                    table.dense {
                        caption {
                            "The classifiers of " (adherence.judge) ", trained without any synthetic image, score the synthetic images of "
                            (adherence.arm) "; the requested labels are the targets. 0.5 is chance. Below what the same classifiers "
                            "reach on the test images, the images show less than was requested, or show it differently. The requests may come "
                            "from the rows that the classifiers learnt from: copies of training images would be judged well too. Intervals: "
                            "resampled by the patients of the source rows; runs are held fixed."
                        }
                        thead {
                            tr {
                                th scope="col" { "Finding" }
                                th.number scope="col" { "Asked for" }
                                th.number scope="col" { "AUROC on" br; "synthetic images" }
                                th.number scope="col" { "AUROC on" br; "test images" }
                            }
                        }
                        tbody { (rows(report, adherence)) }
                    }
                }
            }
        }
    }
}

fn rows(report: &ComparisonReport, adherence: &AdherenceReport) -> Markup {
    let judge = report.arms.iter().find(|arm| arm.name == adherence.judge);
    html! {
        @for finding in &adherence.findings {
            tr {
                th scope="row" { (finding.finding) }
                td.number { (format::count(finding.asked_for)) }
                (auroc_cell(finding.auroc, TOO_FEW))
                (auroc_cell(judge.and_then(|arm| arm.finding(&finding.finding)?.auroc), &report.undefined_because(&finding.finding)))
            }
        }
        tr.summary {
            th scope="row" { "Macro mean" }
            td.number { (format::count(adherence.images)) " images" }
            (auroc_cell(adherence.macro_auroc, format::UNDEFINED))
            (auroc_cell(judge.and_then(|arm| arm.macro_auroc), format::UNDEFINED))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn every_finding_has_a_row_and_rare_ones_say_so() {
        let page = section(&mock::typical()).into_string();
        assert!(page.contains("0.641") && page.contains(TOO_FEW), "{page}");
        mock::assert_well_formed(&page);
    }

    #[test]
    fn a_study_without_synthetic_images_says_nothing() {
        let report = ComparisonReport { adherence: None, ..mock::typical() };
        assert!(section(&report).into_string().is_empty());
    }
}
