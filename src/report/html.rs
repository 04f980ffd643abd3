//! `report.html`: one page that works without network and scripts.

mod adherence;
pub(crate) mod fairness;
mod findings;
mod gate;
mod headline;
mod methods;
mod reading;
mod runs;

use maud::{Markup, html};

use super::lookup::{PHANTOM_CAVEAT, TEST};
use super::plot::{calibration_panels, legend, roc_panels};
use super::{ComparisonReport, Estimate, SampleGrid, format, page};

/// The results page of a comparison: everything in one file, nothing loaded from elsewhere.
///
/// `grid` shows images; `None` or an empty grid leaves that figure out. `evaluation` are the sections on the synthetic images, see
/// [`sections`](crate::evaluation::run::sections).
#[must_use]
pub fn render_html(report: &ComparisonReport, grid: Option<&SampleGrid>, evaluation: Option<&Markup>) -> String {
    let grid = grid.filter(|grid| !grid.is_empty());
    let body = html! {
        (masthead(report))
        main {
            (warnings(report))
            (headline::section(report))
            @if let Some(grid) = grid { (samples(report, grid)) }
            (adherence::section(report))
            @if let Some(sections) = evaluation {
                section #evaluation {
                    h2 { "The synthetic images" }
                    p { "Measured against the test images. The same tables stand alone in " code { "evaluation.html" } "." }
                }
                (sections)
            }
            (findings::section(report))
            (roc(report))
            (calibration(report))
            (fairness::section(report))
            (runs::section(report))
            (gate::section(report))
            (methods::data(report))
            (methods::protocol(report))
            (reading::how_to_read(report))
            (reading::how_to_cite(report))
            (findings::supplement(report))
        }
        footer {
            "Made by roentgen " (report.version) " on " (report.device) ". The same numbers, unrounded, are in "
            code { "report.json" } " beside this page; the scores behind them are in " code { "predictions.csv" } " of each arm."
        }
    };
    page::page(&report.title, &report.version, &body)
}

fn masthead(report: &ComparisonReport) -> Markup {
    let [train, _, test] = report.data.images.map(format::count);
    html! {
        header {
            h1 { (report.title) }
            p.lede {
                (format::counted(report.arms.len(), "arm")) " of training data, judged on "
                (test) " " (report.data.nature) " test images of "
                (format::counted(report.data.patients[TEST], "patient")) " from " (report.data.name) ". "
                (train) " training images before mixing, " (format::counted(report.data.findings.len(), "finding")) "; "
                (report.protocol.network) ", " (format::counted(report.protocol.seeds.len(), "seed")) " an arm, "
                (format::count(report.protocol.steps)) " optimiser steps each. "
                @if report.compared_arms().next().is_some() { "Baseline: " strong { (report.baseline) } "." }
            }
        }
    }
}

fn warnings(report: &ComparisonReport) -> Markup {
    html! {
        @if report.on_phantom() || !report.warnings.is_empty() {
            section.warnings role="note" aria-label="Warnings" {
                h2 { "Before you quote a number" }
                ul {
                    @if report.on_phantom() {
                        li {
                            strong { "Phantom data. " }
                            (PHANTOM_CAVEAT)
                        }
                    }
                    @for warning in &report.warnings { li { (warning) } }
                }
            }
        }
    }
}

fn samples(report: &ComparisonReport, grid: &SampleGrid) -> Markup {
    html! {
        section #samples {
            h2 { "Samples" }
            figure {
                (grid.render())
                figcaption {
                    "Training images: " (report.data.nature) " images beside synthetic ones, with their labels. Below a synthetic image, the prompt "
                    "that it was made from, and the attempt that passed the gate where there was one."
                }
            }
        }
    }
}

fn roc(report: &ComparisonReport) -> Markup {
    html! {
        section #roc {
            h2 { "ROC curves" }
            figure {
                (legend(report))
                div.panels { @for panel in roc_panels(report) { (panel) } }
                figcaption {
                    "ROC curves on the test set. Each line is drawn from scores averaged over the seeds of an arm, so its area may differ "
                    "from the mean AUROC of single runs in the tables. Dashed diagonal: chance."
                }
            }
        }
    }
}

fn calibration(report: &ComparisonReport) -> Markup {
    html! {
        @if report.arms.iter().flat_map(|arm| &arm.findings).any(|finding| !finding.calibration.is_empty()) {
            section #calibration {
                h2 { "Calibration" }
                figure {
                    (legend(report))
                    div.panels { @for panel in calibration_panels(report) { (panel) } }
                    figcaption {
                        "How often a finding is there, by the probability that was given to it: scores averaged over the seeds of an arm, in 15 bins of "
                        "equal width; bins without images are left out. On the dashed diagonal, what is called 30 % is there in 30 %. Below it, "
                        "probabilities are too high. Dots: bins, larger with more images. A bin of few images says little."
                    }
                }
            }
        }
    }
}

/// A cell with a number above its interval.
fn estimate_cell(value: &str, interval: &str) -> Markup {
    html! { td.number { span.value { (format::typographic(value)) } " " span.interval { (format::typographic(interval)) } } }
}

/// A cell with an AUROC above its interval, or why there is none.
fn auroc_cell(estimate: Option<Estimate>, undefined: &str) -> Markup {
    let Some(estimate) = estimate.filter(|estimate| estimate.value.is_finite()) else {
        return html! { td.undefined { (undefined) } };
    };
    estimate_cell(&format::auroc(estimate.value), &format::auroc_interval(&estimate))
}

/// A cell with one number that may be missing.
fn number_cell(number: Option<String>) -> Markup {
    html! { td.number { @match number { Some(number) => (format::typographic(&number)), None => span.none { "–" } } } }
}

#[cfg(test)]
mod tests;
