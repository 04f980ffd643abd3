//! The result of a probe for a terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::measure::{Change, Quantity};
use super::page::{NOT_A_RESULT, estimate};
use super::report::ProbeReport;
use crate::report::{Estimate, format};

/// A table per probe, then the findings without figures, then the notes.
#[must_use]
pub fn render_table(report: &ProbeReport) -> String {
    let mut parts = Vec::new();
    if !report.is_result {
        parts.push(format!("NOT A RESULT. {NOT_A_RESULT}"));
    }
    for (kind, mean) in &report.mean {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        table.set_header(["finding", "positive", "before", "after", "change", "relative", "name in text"]);
        let mut count = 0;
        for outcome in &report.findings {
            let Some(figures) = outcome.probes.get(kind) else { continue };
            count += 1;
            let named = outcome.name_in_text.map_or_else(|| "–".to_owned(), format::auroc);
            let positives = format!("{} of {}", outcome.positives, outcome.texts);
            table.add_row([vec![outcome.finding.to_string(), positives], cells(&figures.auroc), vec![named]].concat());
        }
        table.add_row([vec![format!("mean of {count}"), String::new()], cells(&mean.auroc), vec![String::new()]].concat());
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        parts.push(format!("{} probe, AUROC out of fold with 95 % intervals over patients\n{table}", kind.name()));
    }
    let reasons = report.findings.iter().filter_map(|outcome| Some((outcome.finding, outcome.undefined.as_ref()?)));
    let reasons: Vec<String> = reasons.map(|(finding, reason)| format!("  {finding}: {reason}")).collect();
    if !reasons.is_empty() {
        parts.push(format!("without figures:\n{}", reasons.join("\n")));
    }
    parts.extend(
        (!report.notes.is_empty())
            .then(|| report.notes.iter().map(|note| format!("note: {note}")).collect::<Vec<_>>().join("\n")),
    );
    parts.join("\n\n")
}

/// Before, after, change and relative change.
fn cells(change: &Change) -> Vec<String> {
    let cell = |quantity: &Quantity, text: fn(&Estimate) -> String| {
        estimate(quantity).map_or_else(|| "undefined".to_owned(), |estimate| text(&estimate))
    };
    vec![
        cell(&change.before, |estimate| format::auroc(estimate.value)),
        cell(&change.after, |estimate| format::auroc(estimate.value)),
        cell(&change.absolute, format::difference_estimate),
        cell(&change.relative, format::relative_estimate),
    ]
}
