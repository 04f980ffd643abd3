//! The answer: a sentence, a row and a line of the forest plot for every arm.

use maud::{Markup, html};

use super::{auroc_cell, estimate_cell};
use crate::report::lookup::NO_MACRO;
use crate::report::plot::macro_forest;
use crate::report::verdict::Verdict;
use crate::report::{ArmReport, ComparisonReport, Difference, format};

pub(super) fn section(report: &ComparisonReport) -> Markup {
    html! {
        section #headline {
            h2 { "Result" }
            @if report.compared_arms().next().is_some() { (sentences(report)) }
            (table(report))
            @if report.compared_arms().next().is_some() { (forest(report)) }
        }
    }
}

fn sentences(report: &ComparisonReport) -> Markup {
    html! {
        ul.sentences {
            @for arm in report.compared_arms() {
                li { strong { (arm.name) } ": " (format::typographic_prose(&report.sentence(arm))) "." }
            }
        }
    }
}

fn table(report: &ComparisonReport) -> Markup {
    let level = format::confidence(report.protocol.confidence);
    let compared = report.compared_arms().next().is_some();
    html! {
        div.scroll {
            table {
                caption {
                    "Macro AUROC of every arm on the test set: mean over seeds [" (level) " interval over test patients]"
                    @if compared { ", and its difference to " (report.baseline) " on the same patients" } "."
                }
                thead {
                    tr {
                        th scope="col" { "Arm" }
                        th.number scope="col" { "Real images" br; "an epoch" }
                        th.number scope="col" { "Synthetic" br; "an epoch" }
                        th.number scope="col" { "Macro AUROC" br; "[" (level) " CI]" }
                        @if compared {
                            th.number scope="col" { "Difference" br; "[" (level) " CI]" }
                            th.number scope="col" { "Relative" br; "[" (level) " CI]" }
                            th.number scope="col" { "p" br; "(bootstrap)" }
                        }
                    }
                }
                tbody { @for arm in &report.arms { (row(report, arm, compared)) } }
            }
        }
        @if let Some(note) = left_out(report) { p.note { (note) } }
    }
}

fn row(report: &ComparisonReport, arm: &ArmReport, compared: bool) -> Markup {
    html! {
        tr.baseline[report.is_baseline(arm)] {
            th scope="row" { (arm.name) span.description { (arm.description) } }
            td.number { (format::count(arm.real_per_epoch)) }
            td.number { (format::count(arm.synthetic_per_epoch)) }
            (auroc_cell(arm.macro_auroc, NO_MACRO))
            @match &arm.difference {
                Some(difference) => (difference_cells(difference)),
                None if !compared => {},
                None if report.is_baseline(arm) => td.reference colspan="3" { "baseline" },
                None => td.undefined colspan="3" { (format::UNDEFINED) },
            }
        }
    }
}

fn difference_cells(difference: &Difference) -> Markup {
    let Difference { absolute, relative, p_bootstrap, .. } = difference;
    let shown = Verdict::of(difference) != Verdict::NotShown;
    html! {
        (estimate_cell(&format::difference(absolute.value), &format::auroc_interval(absolute)))
        (estimate_cell(&format::relative(relative.value), &format::relative_interval(relative)))
        td.number.shown[shown] { (format::p_value(*p_bootstrap)) }
    }
}

fn forest(report: &ComparisonReport) -> Markup {
    html! {
        figure {
            (macro_forest(report))
            figcaption {
                "Difference in macro AUROC to " (report.baseline) " with " (format::confidence(report.protocol.confidence))
                " intervals. Filled: the interval excludes 0. Small ticks below: the difference of each seed’s run to the baseline’s run "
                "with the same seed."
            }
        }
    }
}

/// Which findings the means leave out.
fn left_out(report: &ComparisonReport) -> Option<String> {
    let undefined = report.arms.iter().map(|arm| arm.undefined).max().filter(|undefined| *undefined > 0)?;
    let names: Vec<&str> = report
        .finding_names()
        .into_iter()
        .filter(|name| report.arms.iter().all(|arm| arm.finding(name).is_none_or(|finding| finding.auroc.is_none())))
        .collect();
    let listed = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    let findings = format::counted(undefined, "finding");
    let verb = if undefined == 1 { "is" } else { "are" };
    Some(format!("{findings} without both classes in the test set {verb} left out of the macro mean in every arm{listed}."))
}
