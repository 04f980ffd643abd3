//! What passed the gate.

use maud::{Markup, html};
use roentgen_augment::gate::GateReport;

use crate::report::{ComparisonReport, format};

/// Nothing if no arm has a gate.
pub(super) fn section(report: &ComparisonReport) -> Markup {
    let gated: Vec<(&str, &GateReport)> =
        report.arms.iter().filter_map(|arm| Some((arm.name.as_str(), arm.gate.as_ref()?))).collect();
    html! {
        @if let Some((_, first)) = gated.first() {
            section #gate {
                h2 { "Quality gate" }
                div.scroll {
                    table.dense {
                        caption {
                            "Synthetic images that had to pass before they could train. A request whose image fails is tried again with "
                            "other noise; one that never passes is left out. Limits: " (first.limits.join("; ")) "."
                        }
                        thead {
                            tr {
                                th scope="col" { "Arm" }
                                th.number scope="col" { "Requests" }
                                th.number scope="col" { "Passed at once" }
                                th.number scope="col" { "Passed later" }
                                th.number scope="col" { "Left out" }
                                th.number scope="col" { "Images judged" }
                                th scope="col" { "Faults" }
                            }
                        }
                        tbody.group { @for (arm, gate) in &gated { (row(arm, gate)) } }
                    }
                }
            }
        }
    }
}

fn row(arm: &str, gate: &GateReport) -> Markup {
    let first = gate.passed.first().copied().unwrap_or(0);
    let faults: Vec<_> = gate.faults.iter().map(|(kind, count)| format!("{kind} {}", format::count(*count))).collect();
    html! {
        tr {
            th scope="row" { (arm) }
            td.number { (format::count(gate.requests)) }
            td.number { (format::count(first)) }
            td.number { (format::count(gate.accepted() - first)) }
            td.number { (format::count(gate.rejected)) }
            td.number { (format::count(gate.judged)) }
            td { @if faults.is_empty() { "none" } @else { (faults.join(", ")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn gated_arms_are_counted_and_others_not_shown() {
        let page = section(&mock::report(9, 3)).into_string();
        assert!(page.contains("balanced") && page.contains("disagrees 440") && !page.contains("real-only"), "{page}");
        mock::assert_well_formed(&page);
        let mut report = mock::typical();
        report.arms.iter_mut().for_each(|arm| arm.gate = None);
        assert!(section(&report).into_string().is_empty());
    }
}
