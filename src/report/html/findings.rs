//! Results of every arm for every finding.

use maud::{Markup, html};

use super::{auroc_cell, estimate_cell, number_cell};
use crate::report::lookup::{NO_MACRO, TEST};
use crate::report::plot::{finding_forests, inks};
use crate::report::verdict::Verdict;
use crate::report::{ArmReport, ComparisonReport, Difference, FindingReport, format};

/// A table with more arms than this is printed in landscape format.
const ARMS_ACROSS: usize = 5;

pub(super) fn section(report: &ComparisonReport) -> Markup {
    html! {
        section #findings.wide[report.arms.len() > ARMS_ACROSS] {
            h2 { "By finding" }
            (table(report))
            @if report.compared_arms().next().is_some() { (forests(report)) }
        }
    }
}

/// One table per arm with all its numbers.
pub(super) fn supplement(report: &ComparisonReport) -> Markup {
    html! {
        section #supplement {
            h2 { "Every number of every arm" }
            @for arm in &report.arms {
                details {
                    summary { (arm.name) span.description { (arm.description) } }
                    (arm_table(report, arm))
                }
            }
        }
    }
}

fn table(report: &ComparisonReport) -> Markup {
    html! {
        div.scroll {
            table.dense {
                caption {
                    "AUROC by finding on the test set: mean over seeds [" (format::confidence(report.protocol.confidence))
                    " interval over test patients]. n+: positive images among those with a label."
                    @if report.compared_arms().next().is_some() {
                        " ▲ ▼: above or below " (report.baseline) ", p at most " (format::level(1.0 - report.protocol.confidence))
                        " after Holm’s correction over the findings of that arm."
                    }
                }
                thead {
                    tr {
                        th scope="col" { "Finding" }
                        th.number scope="col" { "n+ / n" }
                        @for (arm, ink) in report.arms.iter().zip(inks(report)) {
                            th.number.arm scope="col" style={ "border-top-color:" (ink.colour) } { (arm.name) }
                        }
                    }
                }
                tbody {
                    @for finding in report.finding_names() {
                        tr {
                            th scope="row" { (finding) }
                            td.number.nowrap {
                                @match report.labels(finding) {
                                    Some(labels) => {
                                        (format::count(labels.positives[TEST])) " / " (format::count(labels.labelled[TEST]))
                                    },
                                    None => span.none { "–" },
                                }
                            }
                            (finding_cells(report, finding))
                        }
                    }
                }
                tfoot { (means(report)) }
            }
        }
    }
}

fn finding_cells(report: &ComparisonReport, name: &str) -> Markup {
    let undefined = report.undefined_because(name);
    let nowhere = report.arms.iter().all(|arm| arm.finding(name).is_none_or(|finding| finding.auroc.is_none()));
    html! {
        @if nowhere {
            td.undefined.across colspan=(report.arms.len().max(1)) { (undefined) }
        } @else {
            @for arm in &report.arms { (finding_cell(arm.finding(name), &undefined, report.protocol.confidence)) }
        }
    }
}

fn finding_cell(finding: Option<&FindingReport>, undefined: &str, confidence: f64) -> Markup {
    let difference = finding.and_then(|finding| finding.difference);
    let sign = match difference.map(|difference| Verdict::after_holm(&difference, confidence)) {
        Some(Verdict::Better) => "▲ ",
        Some(Verdict::Worse) => "▼ ",
        Some(Verdict::NotShown) | None => "",
    };
    match finding.and_then(|finding| finding.auroc).filter(|auroc| auroc.value.is_finite()) {
        Some(auroc) => estimate_cell(&format!("{sign}{}", format::auroc(auroc.value)), &format::auroc_interval(&auroc)),
        None => auroc_cell(None, undefined),
    }
}

fn means(report: &ComparisonReport) -> Markup {
    let plain = |name: &str, mean: fn(&ArmReport) -> Option<f64>| {
        html! {
            tr { th scope="row" { (name) } td {} @for arm in &report.arms { (number_cell(mean(arm).map(format::auroc))) } }
        }
    };
    html! {
        tr.summary { th scope="row" { "Macro mean" } td {} @for arm in &report.arms { (auroc_cell(arm.macro_auroc, NO_MACRO)) } }
        (plain("Mean weighted by positives", |arm| arm.weighted_auroc))
        (plain("Micro", |arm| arm.micro_auroc))
    }
}

fn forests(report: &ComparisonReport) -> Markup {
    html! {
        figure {
            div.forests {
                @for (arm, panel) in finding_forests(report) { div { h3 { (arm.name) } (panel) } }
            }
            figcaption {
                "Difference in AUROC to " (report.baseline) " by finding, " (format::confidence(report.protocol.confidence))
                " intervals, the same axis in every panel; diamond: macro mean. Filled: p at most "
                (format::level(1.0 - report.protocol.confidence)) " after Holm’s correction over the findings of that arm. "
                "Rare findings have wide intervals: see n+ above."
            }
        }
    }
}

fn arm_table(report: &ComparisonReport, arm: &ArmReport) -> Markup {
    let level = format::confidence(report.protocol.confidence);
    let compared = !report.is_baseline(arm);
    html! {
        div.scroll {
            table.dense {
                thead {
                    tr {
                        th scope="col" { "Finding" }
                        th.number scope="col" { "AUROC [" (level) " CI]" }
                        th.number scope="col" { "Average" br; "precision" }
                        th.number scope="col" { "Calibration" br; "error" }
                        @if compared {
                            th.number scope="col" { "Difference to" br; (report.baseline) }
                            th.number scope="col" { "Relative" }
                            th.number scope="col" { "p" br; "bootstrap" }
                            th.number scope="col" { "p" br; "Holm" }
                            th.number scope="col" { "p" br; "DeLong" }
                        }
                    }
                }
                tbody {
                    @for finding in &arm.findings {
                        tr {
                            th scope="row" { (finding.finding) }
                            (auroc_cell(finding.auroc, &report.undefined_because(&finding.finding)))
                            (number_cell(finding.average_precision.map(format::auroc)))
                            (number_cell(finding.ece.map(format::auroc)))
                            @if compared { (difference_cells(finding.difference.as_ref())) }
                        }
                    }
                }
                tfoot {
                    tr.summary {
                        th scope="row" { "Macro mean" }
                        (auroc_cell(arm.macro_auroc, NO_MACRO))
                        td {} td {}
                        @if compared { (difference_cells(arm.difference.as_ref())) }
                    }
                }
            }
        }
    }
}

fn difference_cells(difference: Option<&Difference>) -> Markup {
    html! {
        @match difference {
            Some(Difference { absolute, relative, p_bootstrap, p_delong, p_holm }) => {
                (estimate_cell(&format::difference(absolute.value), &format::auroc_interval(absolute)))
                (estimate_cell(&format::relative(relative.value), &format::relative_interval(relative)))
                (number_cell(Some(format::p_value(*p_bootstrap))))
                (number_cell(p_holm.map(format::p_value)))
                (number_cell(p_delong.map(format::p_value)))
            },
            None => { @for _ in 0..5 { (number_cell(None)) } },
        }
    }
}
