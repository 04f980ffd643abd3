//! `probe.html`: one page that works without network and scripts.

use maud::{Markup, html};

use super::fit::ProbeKind;
use super::measure::{Change, Figures, Quantity};
use super::report::{EncoderCard, ProbeReport};
use super::texts::LabelSource;
use crate::report::{Estimate, format, page};

/// The result page of a probe: everything in one file, nothing loaded from elsewhere.
#[must_use]
pub fn render_page(report: &ProbeReport) -> String {
    let body = html! {
        header {
            h1 { @if report.is_result { "Text encoder probe" } @else { "Text encoder probe: not a result" } }
            p.lede {
                (format::counted(report.texts.texts, "text")) " of " (format::counted(report.texts.patients, "patient")) " from "
                (report.texts.name) ", in " (report.settings.folds) " folds by patient. Before: " (report.before.name)
                ". After: " (report.after.name) "."
            }
        }
        main {
            (warnings(report))
            @for kind in &report.settings.probes { (probe(report, *kind)) }
            (undefined(report))
            (methods(report))
        }
        footer {
            "Made by roentgen " (report.version) ". The same numbers, unrounded, are in " code { "probe.json" }
            "; the scores behind them are in " code { "predictions.csv" } "."
        }
    };
    page::page("Text encoder probe", report.version, &body)
}

fn warnings(report: &ProbeReport) -> Markup {
    html! {
        @if !report.is_result || !report.notes.is_empty() {
            section.warnings role="note" aria-label="Warnings" {
                h2 { "Before you quote a number" }
                ul {
                    @if !report.is_result { li { strong { "Not a result. " } (NOT_A_RESULT) } }
                    @for note in &report.notes { li { (note) } }
                }
            }
        }
    }
}

/// What is said of template text.
pub(super) const NOT_A_RESULT: &str = "Most of the texts are template text, lists of labels. A probe finds labels in them whatever the \
                                       encoder has learnt: these figures say nothing of the encoders.";

fn probe(report: &ProbeReport, kind: ProbeKind) -> Markup {
    let title = match kind {
        ProbeKind::Linear => "Linear probe",
        ProbeKind::Mlp => "Probe with a hidden layer",
    };
    let rows: Vec<_> = report.findings.iter().filter_map(|outcome| Some((outcome, outcome.probes.get(&kind)?))).collect();
    type Part = fn(&Figures) -> &Change;
    let others: [(&str, Part); 3] =
        [("average precision", |f| &f.average_precision), ("F1", |f| &f.f1), ("macro F1", |f| &f.macro_f1)];
    html! {
        section {
            h2 { (title) }
            div.scroll {
                table {
                    caption {
                        "AUROC out of fold with 95 % intervals over patients. Change: after minus before on the same resamples; relative: "
                        "divided by before. Name in text: AUROC of the rule that calls a text positive if it has the finding's name."
                    }
                    thead {
                        tr {
                            th { "Finding" } th.number { "Positive" } th.number { "Before" } th.number { "After" } th.number { "Change" }
                            th.number { "Relative" } th.number { "Name in text" }
                        }
                    }
                    tbody {
                        @for (outcome, figures) in &rows {
                            tr {
                                th { (outcome.finding) }
                                td.number { (format::count(outcome.positives)) " of " (format::count(outcome.texts)) }
                                (cells(&figures.auroc))
                                td.number { (outcome.name_in_text.map_or_else(|| "–".to_owned(), format::auroc)) }
                            }
                        }
                    }
                    @if let Some(mean) = report.mean.get(&kind) {
                        tfoot { tr.summary { th { "Mean of " (rows.len()) } td {} (cells(&mean.auroc)) td {} } }
                    }
                }
            }
            details {
                summary { "Average precision and F1" }
                @for (name, change) in others {
                    div.scroll {
                        table.dense {
                            caption { "Out of fold, " (name) "." }
                            thead {
                                tr { th { "Finding" } th.number { "Before" } th.number { "After" } th.number { "Change" } th.number { "Relative" } }
                            }
                            tbody { @for (outcome, figures) in &rows { tr { th { (outcome.finding) } (cells(change(figures))) } } }
                            @if let Some(mean) = report.mean.get(&kind) {
                                tfoot { tr.summary { th { "Mean of " (rows.len()) } (cells(change(mean))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Before, after, change and relative change.
fn cells(change: &Change) -> Markup {
    let cell = |quantity: &Quantity, value: fn(f64) -> String, interval: fn(&Estimate) -> String| {
        let Some(estimate) = estimate(quantity) else { return html! { td.undefined { "undefined" } } };
        html! {
            td.number {
                span.value { (format::typographic(&value(estimate.value))) } " "
                span.interval { (format::typographic(&interval(&estimate))) }
            }
        }
    };
    html! {
        (cell(&change.before, format::auroc, format::auroc_interval))
        (cell(&change.after, format::auroc, format::auroc_interval))
        (cell(&change.absolute, format::difference, format::auroc_interval))
        (cell(&change.relative, format::relative, format::relative_interval))
    }
}

/// With its interval, if it is defined.
pub(super) fn estimate(quantity: &Quantity) -> Option<Estimate> {
    let (low, high) = quantity.interval.map_or((f64::NAN, f64::NAN), |interval| (interval.lower, interval.upper));
    quantity.value.map(|value| Estimate { value, low, high })
}

fn undefined(report: &ProbeReport) -> Markup {
    let reasons: Vec<_> =
        report.findings.iter().filter_map(|outcome| Some((outcome.finding, outcome.undefined.as_ref()?))).collect();
    html! {
        @if !reasons.is_empty() {
            section {
                h2 { "Findings without figures" }
                ul.sentences { @for (finding, reason) in reasons { li { strong { (finding) } ": " (reason) } } }
            }
        }
    }
}

fn methods(report: &ProbeReport) -> Markup {
    let settings = &report.settings;
    let encoder = |card: &EncoderCard| {
        html! {
            (card.name) ": " (card.class) ", width " (card.width) ", " (card.pooling.name()) " pooling, at most " (card.length) " tokens"
            @if card.cut > 0 { ", " (format::counted(card.cut, "text")) " cut" }
        }
    };
    html! {
        section {
            h2 { "Protocol" }
            dl {
                dt { "Encoder before" } dd { (encoder(&report.before)) }
                dt { "Encoder after" } dd { (encoder(&report.after)) }
                dt { "Labels" }
                dd {
                    @match settings.labels {
                        LabelSource::Table => "Columns of the table",
                        LabelSource::Text => "Read from the same texts by rule: weak labels",
                    }
                }
                dt { "Linear probe" }
                dd { "Logistic regression on standardised embeddings, L2 penalty with C = " (settings.fit.c) ", fitted to convergence" }
                @if settings.probes.contains(&ProbeKind::Mlp) {
                    dt { "Other probe" } dd { (settings.fit.hidden) " hidden units, the same penalty, seed " (settings.fit.seed) }
                }
                dt { "Classes" } dd { @if settings.fit.balanced { "Weighted to count equally" } @else { "Not weighted" } }
                dt { "Folds" } dd { (settings.folds) " by patient, findings spread evenly, seed " (settings.seed) }
                dt { "Intervals" }
                dd {
                    (format::count(settings.bootstrap)) " resamples of the patients with the fits held fixed: they cover which patients are "
                    "judged, not which are trained on, and are not corrected for the number of findings"
                }
            }
        }
    }
}
