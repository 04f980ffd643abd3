//! The same for people: a section of the page, lines of the terminal.

use maud::{Markup, html};

use super::HEADLINE;
use super::report::{ReportsReport, SetText, TextRow};
use crate::report::format::{UNDEFINED, count, fixed, share, typographic};

/// The section of the page.
pub(in crate::evaluation::run) fn section(report: &ReportsReport) -> Markup {
    let [synthetic, real] = [&report.synthetic, &report.real];
    let names = |set: &SetText| set.figures.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    let names = if synthetic.figures.len() >= real.figures.len() { names(synthetic) } else { names(real) };
    html! {
        section {
            h2 { "Reports by " (report.by) }
            @if let Some(decoder) = &report.decoder {
                p.note {
                    "Trained here on " (count(decoder.trained_on)) " real (image, report) pairs and ended by " (count(decoder.held_out))
                    " of other patients: " (count(decoder.words)) " words, " (count(decoder.parameters)) " numbers, epoch "
                    (decoder.best_epoch) " of " (decoder.epochs) ", " (fixed(decoder.held_out_loss, 2)) " nats per held-out word, of which it knows "
                    (share(decoder.known)) ". It is small: read its figures beside those on real images and the two floors, never alone."
                }
            }
            @for (name, set) in [("synthetic", synthetic), ("real", real)] {
                @if let Some(reason) = &set.undefined { p.undefined { "Of the " (name) " images: undefined, " (reason) "." } }
            }
            @if !names.is_empty() {
                div.scroll {
                    table.dense {
                        caption {
                            "Reports against the texts that the images were made from (" (count(synthetic.reports)) ") and against those of real images ("
                            (count(real.reports)) "), with 95 % intervals by patient. “Shuffled”: the same reports dealt to other images"
                            @if report.decoder.is_some() { "; “same”: the most frequent training report for every image" }
                            ". BLEU of sacrebleu is from 0 to 100, all else from 0 to 1."
                        }
                        thead { tr { th { "Figure" } th.number { "Synthetic" } th.number { "Real: the upper row" } } }
                        tbody {
                            @for name in &names {
                                tr {
                                    th scope="row" { (name) }
                                    @for set in [synthetic, real] { (cell(set.figure(name))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(row: Option<&TextRow>) -> Markup {
    let Some(row) = row else { return html! { td.number { span.none { "–" } } } };
    let floor = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {}", number(row, value)));
    let floors: Vec<String> =
        [floor("shuffled", row.shuffled), floor("same", row.most_frequent)].into_iter().flatten().collect();
    html! {
        td.number {
            span.value { (typographic(&with_interval(row))) }
            span.interval { (typographic(&floors.join(", "))) }
        }
    }
}

/// A line per set, with the figure that says most.
pub(in crate::evaluation::run) fn terminal_lines(report: &ReportsReport) -> String {
    let line = |name: &str, set: &SetText| {
        let text = match (set.figure(HEADLINE), &set.undefined) {
            (Some(row), _) => {
                let shuffled = row.shuffled.map_or_else(String::new, |value| format!(", shuffled {}", number(row, value)));
                format!("{HEADLINE} {}{shuffled}, over {} reports", with_interval(row), count(set.reports))
            }
            (None, Some(reason)) => format!("{UNDEFINED} ({reason})"),
            (None, None) => UNDEFINED.to_owned(),
        };
        format!("Reports of {name} images, by {}: {text}\n", report.by)
    };
    format!("{}{}", line("synthetic", &report.synthetic), line("real", &report.real))
}

/// BLEU of sacrebleu in tenths, shares in thousandths.
fn number(row: &TextRow, value: f64) -> String {
    fixed(value, if row.name.contains("sacrebleu") { 1 } else { 3 })
}

fn with_interval(row: &TextRow) -> String {
    let interval =
        row.interval.map_or_else(String::new, |[low, high]| format!(" [{}, {}]", number(row, low), number(row, high)));
    format!("{}{interval}", number(row, row.value))
}
