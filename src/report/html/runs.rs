//! Every training run.

use maud::{Markup, html};

use super::number_cell;
use crate::report::{ArmReport, ComparisonReport, format};

pub(super) fn section(report: &ComparisonReport) -> Markup {
    html! {
        section #runs {
            h2 { "Training runs" }
            div.scroll {
                table.dense {
                    caption {
                        "Every run. Best step: the optimiser step whose checkpoint was kept. Waited: share of the training time that the trainer "
                        "waited for images."
                    }
                    thead {
                        tr {
                            th scope="col" { "Arm" }
                            th.number scope="col" { "Seed" }
                            th.number scope="col" { "Best step" }
                            th.number scope="col" { "Validation" br; "macro AUROC" }
                            th.number scope="col" { "Test" br; "macro AUROC" }
                            th.number scope="col" { "Spread over" br; "seeds (test)" }
                            th.number scope="col" { "Time" }
                            th.number scope="col" { "Waited" }
                        }
                    }
                    @for arm in &report.arms { (rows(arm)) }
                }
            }
        }
    }
}

fn rows(arm: &ArmReport) -> Markup {
    html! {
        tbody.group {
            @for (place, run) in arm.runs.iter().enumerate() {
                tr {
                    @if place == 0 { th scope="rowgroup" rowspan=(arm.runs.len()) { (arm.name) } }
                    td.number { (run.seed) }
                    td.number { (format::count(run.best_step)) }
                    (number_cell(run.valid_macro_auroc.map(format::auroc)))
                    (number_cell(run.test_macro_auroc.map(format::auroc)))
                    @if place == 0 { td.number rowspan=(arm.runs.len()) { (spread(arm)) } }
                    td.number { (format::duration(run.seconds)) }
                    td.number { (format::share(run.wait_share)) }
                }
            }
        }
    }
}

/// From the lowest to the highest run: `0.655 to 0.683`.
fn spread(arm: &ArmReport) -> String {
    let reached = arm.runs.iter().filter_map(|run| run.test_macro_auroc).filter(|auroc| auroc.is_finite());
    let (low, high, runs) = reached
        .fold((f64::INFINITY, f64::NEG_INFINITY, 0), |(low, high, runs), auroc| (auroc.min(low), auroc.max(high), runs + 1));
    if runs > 1 { format!("{} to {}", format::auroc(low), format::auroc(high)) } else { "–".to_owned() }
}
