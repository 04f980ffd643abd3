//! Retrieval for people: sections of the page, and lines for the terminal.

use maud::{Markup, html};

use super::report::{NetworkRetrieval, ProtocolRetrieval, Retrieved, TextRetrieval};
use super::table::query_rows;
use crate::evaluation::query::{LabelSetReport, QueryReport, SetRetrieval};
use crate::report::Estimate;
use crate::report::format::{UNDEFINED, auroc_estimate, count, fixed, typographic};

/// Decimals of shares.
const DECIMALS: usize = 3;

/// The section of one network.
pub(in crate::evaluation::run) fn section(report: &NetworkRetrieval) -> Markup {
    html! {
        section {
            h2 { "Retrieval by " (report.network) }
            p.note {
                "An image or a text asks, and the images whose features point the same way (cosine) answer. Precision at k: the share of the "
                "first k that show the finding that was asked for. Higher is better; real images of other patients are the most that can be "
                "expected, chance is the least. Weights: " code { (report.weights) } "."
                @if let Some(drawn) = report.drawn { " Of each set, " (count(drawn)) " images were drawn." }
            }
            @if let Some(reason) = &report.undefined { p.undefined { "Images among images: " (reason) } }
            @if let Some(first) = query_rows(report).first() { (means(report, first.2)) }
            @if let Some(images) = &report.images {
                (by_finding(images))
                (label_sets(images))
            }
            @if let Some(texts) = &report.texts { (of_texts(texts)) }
            (protocol(&report.chexpert))
            @for note in notes(report) { p.note { (note) } }
        }
    }
}

/// The means over findings of every kind of query; `first` knows the ks.
fn means(report: &NetworkRetrieval, first: &QueryReport) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Mean precision over findings [95 % CI, by patient]." }
                thead {
                    tr {
                        th { "Who asks" }
                        th { "Among" }
                        th.number { "Queries" }
                        th.number { "Images" }
                        @for k in &first.ks { th.number { "At " (k) } }
                        th.number { "By chance" }
                    }
                }
                tbody {
                    @for (who, among, found) in query_rows(report) {
                        tr {
                            th scope="row" { (capital(who)) }
                            td { (among) }
                            td.number { (count(found.queries)) }
                            td.number { (count(found.candidates)) }
                            @for value in &found.macro_precision { (cell(value.as_ref())) }
                            td.number { (share(found.chance)) }
                        }
                    }
                }
            }
        }
    }
}

fn by_finding(images: &SetRetrieval) -> Markup {
    let real = |name: &str| images.real.categories.iter().find(|other| other.category == name);
    html! {
        div.scroll {
            table.dense {
                caption { "Precision of synthetic images for each finding, above that of real images of other patients." }
                thead {
                    tr {
                        th { "Finding" }
                        th.number { "Queries" }
                        th.number { "Images with it" }
                        @for k in &images.synthetic.ks { th.number { "At " (k) } }
                    }
                }
                tbody {
                    @for one in &images.synthetic.categories {
                        tr {
                            th scope="row" { (one.category) }
                            td.number { (count(one.queries)) }
                            td.number { (count(one.candidates)) }
                            @if let Some(reason) = &one.undefined {
                                td.undefined colspan=(one.precision.len()) { (reason) }
                            } @else {
                                @for (place, value) in one.precision.iter().enumerate() {
                                    td.number {
                                        span.value { (share(*value)) }
                                        span.interval { "real " (share(real(&one.category).and_then(|real| real.precision[place]))) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn label_sets(images: &SetRetrieval) -> Markup {
    let rows = |who: &str, found: &LabelSetReport| {
        let chance = vec![found.precision_by_chance; found.ks.len()];
        let figures = [("Precision", &found.precision, &chance), ("Recall", &found.recall, &found.recall_by_chance)];
        html! {
            @for (name, values, chances) in figures {
                tr {
                    th scope="row" { (who) span.description { (name) ", " (count(found.queries)) " queries" } }
                    @for (value, chance) in values.iter().zip(chances) {
                        td.number {
                            @match value {
                                Some(value) => {
                                    span.value { (typographic(&auroc_estimate(value))) }
                                    span.interval { "chance " (share(*chance)) }
                                },
                                None => { span.none { "–" } },
                            }
                        }
                    }
                }
            }
        }
    };
    html! {
        div.scroll {
            table.dense {
                caption {
                    "Exactly the same labels. Precision: share of the first k that have them; recall: share of queries that find one among the "
                    "first k. [95 % CI, by patient]"
                }
                thead { tr { th { "Who asks" } @for k in &images.synthetic_label_sets.ks { th.number { "At " (k) } } } }
                tbody {
                    (rows("Synthetic images", &images.synthetic_label_sets))
                    (rows("Real images of other patients", &images.real_label_sets))
                }
            }
        }
    }
}

fn of_texts(texts: &TextRetrieval) -> Markup {
    html! {
        p.note { (count(texts.texts)) " texts ask, by embeddings from " code { (texts.source) } "." }
        @for (among, retrieved) in [("real", &texts.real), ("synthetic", &texts.synthetic)] {
            @if let Some(reason) = &retrieved.undefined { p.undefined { "Texts among " (among) " images: " (reason) } }
        }
    }
}

fn protocol(found: &ProtocolRetrieval) -> Markup {
    html! {
        @if let Some(reason) = &found.undefined { p.note { "CheXpert 8x200 can't be followed: " (reason) "." } }
        @for (who, retrieved) in [("Synthetic images", &found.synthetic), ("Texts", &found.texts)] {
            @if let Some(reason) = retrieved.as_ref().and_then(|retrieved| retrieved.undefined.as_ref()) {
                p.undefined { (who) " by CheXpert 8x200: " (reason) }
            }
        }
    }
}

/// Every note, once.
pub(super) fn notes(report: &NetworkRetrieval) -> Vec<&str> {
    let of_sets = report.images.iter().flat_map(|images| &images.notes);
    let of_queries = query_rows(report).into_iter().flat_map(|(_, _, found)| &found.notes);
    let mut notes: Vec<&str> = Vec::new();
    for note in of_sets.chain(of_queries) {
        if !notes.contains(&note.as_str()) {
            notes.push(note);
        }
    }
    notes
}

/// A line for each kind of queries.
pub(in crate::evaluation::run) fn text(report: &NetworkRetrieval) -> String {
    let line = |(who, among, found): (&str, &str, &QueryReport)| {
        let at = |(k, value): (&usize, &Option<Estimate>)| format!("at {k} {}", share(value.map(|value| value.value)));
        let values = found.ks.iter().zip(&found.macro_precision).map(at).collect::<Vec<_>>().join(", ");
        format!("Retrieval by {}, {who} among {among}: precision {values}; chance {}\n", report.network, share(found.chance))
    };
    let texts =
        report.texts.iter().flat_map(|texts| [("texts among real", &texts.real), ("texts among synthetic", &texts.synthetic)]);
    let undefined = texts.filter_map(|(who, retrieved): (&str, &Retrieved)| Some((who, retrieved.undefined.as_deref()?)));
    let undefined = report.undefined.as_deref().map(|reason| ("images", reason)).into_iter().chain(undefined);
    let undefined = undefined.map(|(who, reason)| format!("Retrieval by {}, {who}: {UNDEFINED} ({reason})\n", report.network));
    query_rows(report).into_iter().map(line).chain(undefined).collect()
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| UNDEFINED.to_owned(), |value| fixed(value, DECIMALS))
}

fn cell(value: Option<&Estimate>) -> Markup {
    html! { td.number { @match value { Some(value) => (typographic(&auroc_estimate(value))), None => span.none { "–" } } } }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}
