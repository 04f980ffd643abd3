//! The data, and what every arm shares.

use maud::{Markup, html};
use roentgen_classifier::training::Precision;

use crate::report::lookup::SPLITS;
use crate::report::{ComparisonReport, FindingCount, format};

/// The data card.
pub(super) fn data(report: &ComparisonReport) -> Markup {
    let data = &report.data;
    let whole = |counts: &[usize; 3]| counts.iter().sum();
    html! {
        section #data {
            h2 { "Data" }
            div.scroll {
                table.dense {
                    caption {
                        (data.name) ", " strong { (data.nature) } " images. Splits share no patient; validation and test hold no synthetic image. "
                        "By finding: positive images / images with a usable label (share)."
                    }
                    thead { tr { th scope="col" {} @for split in SPLITS { th.number scope="col" { (split) } } th.number scope="col" { "All" } } }
                    tbody.group {
                        @for (name, counts) in [("Images", &data.images), ("Patients", &data.patients)] {
                            tr {
                                th scope="row" { (name) }
                                @for number in counts { td.number { (format::count(*number)) } }
                                td.number { (format::count(whole(counts))) }
                            }
                        }
                    }
                    tbody.group { @for count in &data.findings { (finding(count)) } }
                }
            }
        }
    }
}

/// What every arm shares.
pub(super) fn protocol(report: &ComparisonReport) -> Markup {
    let protocol = &report.protocol;
    let seeds: Vec<String> = protocol.seeds.iter().map(u64::to_string).collect();
    let size = protocol.image_size;
    let mut facts = vec![
        ("Network", format!("{}, {} trainable parameters", protocol.network, format::count(protocol.parameters))),
        ("Input", format!("{size} × {size} pixels")),
        (
            "Training",
            format!("{} optimiser steps of {} images", format::count(protocol.steps), format::count(protocol.batch_size)),
        ),
        ("Peak learning rate", format::small(protocol.learning_rate)),
        (
            "Precision",
            match protocol.precision {
                Precision::Fp32 => "fp32: 32-bit floats throughout".to_owned(),
                Precision::Bf16 => {
                    "bf16: activations and products in brain floats; weights, sums, norms’ statistics, loss and optimiser \
                                    in 32-bit floats"
                        .to_owned()
                }
            },
        ),
        ("Seeds", seeds.join(", ")),
        ("Checkpoint", protocol.selection.clone()),
        (
            "Intervals",
            format!(
                "{} percentile intervals from {} bootstrap resamples of the test patients",
                format::confidence(protocol.confidence),
                format::count(protocol.replicates)
            ),
        ),
        ("Device", report.device.clone()),
    ];
    facts.extend(report.prompts.as_ref().map(|prompts| ("Prompts", prompts.to_string())));
    html! {
        section #protocol {
            h2 { "Protocol" }
            p {
                "Arms differ in the training images they are shown (and, where their description says so, in augmentation). The number of optimiser "
                "steps is the same, and run " i { "i" } " of every arm starts from the same weights."
            }
            dl { @for (name, value) in &facts { dt { (name) } dd { (value) } } }
        }
    }
}

fn finding(count: &FindingCount) -> Markup {
    let cell = |positives: usize, labelled: usize| {
        html! {
            td.number {
                (format::count(positives)) " / " (format::count(labelled))
                @if labelled > 0 { span.interval { " (" (format::share(positives as f64 / labelled as f64)) ")" } }
            }
        }
    };
    html! {
        tr {
            th scope="row" { (count.finding) }
            @for (positives, labelled) in count.positives.iter().zip(&count.labelled) { (cell(*positives, *labelled)) }
            (cell(count.positives.iter().sum(), count.labelled.iter().sum()))
        }
    }
}
