//! The figures for the terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};

use super::report::{CopiesReport, EvaluationReport, FidelityRow, Figure, JudgeReport, Measured, NetworkFidelity};
use super::reports::terminal_lines;
use super::{lpips, retrieval};
use crate::report::Estimate;
use crate::report::format::{UNDEFINED, auroc_estimate, count, fixed};
use crate::report::table::groups;

/// Decimals of the figures of a row, in its order: FID in hundredths, KID in ten thousandths, shares in thousandths.
const DECIMALS: [usize; 7] = [2, 4, 3, 3, 3, 3, 1];

/// One table per network, then diversity and warnings.
#[must_use]
pub fn terminal_table(report: &EvaluationReport) -> String {
    let networks: String = report.fidelity.iter().map(|network| format!("{}\n", of_network(report, network))).collect();
    let diversity = [
        ("MS-SSIM among images of one prompt", &report.diversity.intra_prompt),
        ("MS-SSIM among real images of one label set", &report.diversity.real_labels),
        ("MS-SSIM of synthetic images and their sources", &report.diversity.paired),
    ];
    let diversity: String = diversity.iter().map(|(name, measured)| format!("{name}: {}\n", measured_text(measured))).collect();
    let lpips = report.diversity.lpips.as_ref().map_or_else(String::new, lpips::text);
    let retrieval: String = report.retrieval.iter().map(retrieval::text).collect();
    let judges: String = report.correctness.iter().map(judge_text).collect();
    let copies: String = report.memorisation.iter().map(copies_text).collect();
    let reports: String = report.reports.iter().map(terminal_lines).collect();
    let warnings: String = report.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    format!("{networks}{diversity}{lpips}{retrieval}{judges}{copies}{reports}{warnings}")
}

fn judge_text(judge: &JudgeReport) -> String {
    let auroc =
        |estimate: Option<Estimate>| estimate.map_or_else(|| UNDEFINED.to_owned(), |estimate| auroc_estimate(&estimate));
    let text = match (&judge.correctness, &judge.undefined) {
        (Some(found), _) => format!(
            "macro AUROC {} on synthetic images, {} on real ones, over {} findings",
            auroc(found.synthetic.macro_auroc),
            auroc(found.real.and_then(|real| real.macro_auroc)),
            count(found.averaged.len())
        ),
        (None, Some(reason)) => format!("{UNDEFINED} ({reason})"),
        (None, None) => UNDEFINED.to_owned(),
    };
    let by_group: String = judge.groups.iter().map(|found| groups(Table::new(), found, 0.95)).collect();
    format!("Asked for and shown, by {}: {text}\n{by_group}", judge.weights)
}

fn copies_text(copies: &CopiesReport) -> String {
    let found = &copies.found;
    let flagged = found.flagged.zip(found.limit).map_or_else(String::new, |(flagged, limit)| {
        format!(
            "{} of {} synthetic images nearer than {} to a training image ({} of {} held-out ones)",
            count(flagged),
            count(found.synthetic),
            fixed(limit, 3),
            count(found.held_out_flagged.unwrap_or_default()),
            count(found.held_out)
        )
    });
    let nearer = found.nearer.map_or_else(String::new, |nearer| format!("; nearer than a held-out one: {}", fixed(nearer, 3)));
    format!("Copies, by {}: {flagged}{nearer}\n", copies.by)
}

/// A mean with what it is over, or why there is none.
pub(super) fn measured_text(measured: &Measured) -> String {
    match (measured.mean, &measured.undefined) {
        (Some(mean), _) => {
            let deviation = measured.deviation.map_or_else(String::new, |deviation| format!(" ± {}", fixed(deviation, 3)));
            format!("{}{deviation} over {} groups", fixed(mean, 3), count(measured.groups))
        }
        (None, Some(reason)) => format!("{UNDEFINED} ({reason})"),
        (None, None) => UNDEFINED.to_owned(),
    }
}

fn of_network(report: &EvaluationReport, network: &NetworkFidelity) -> String {
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic).load_preset(presets::NOTHING);
    let rules = [TableComponent::TopBorder, TableComponent::HeaderLines, TableComponent::BottomBorder];
    let crossings = [TableComponent::TopBorderIntersections, TableComponent::BottomBorderIntersections];
    for rule in rules.into_iter().chain(crossings) {
        table.set_style(rule, '─');
    }
    table.set_header(["", "Figure", "All images [95 % CI]", "At half", "Floor"]);
    for row in std::iter::once(&network.overall).chain(&network.findings) {
        table.add_rows(lines(row));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let head = format!(
        "{} against {} ({} real, {} synthetic images)\n{}: {} features; {}",
        report.synthetic.name,
        report.real.name,
        count(report.real.images),
        count(report.synthetic.images),
        network.network,
        count(network.width),
        network.preparation
    );
    format!("{head}\n{}\n", table.trim_fmt())
}

fn lines(row: &FidelityRow) -> Vec<[String; 5]> {
    let name = row.finding.as_deref().unwrap_or("All images");
    let half = if row.half > 0 { format!(", halves of {}", count(row.half)) } else { String::new() };
    let name = format!("{name} ({} and {}{half})", count(row.real), count(row.synthetic));
    let known = row.figures().into_iter().zip(DECIMALS);
    let known = known.filter_map(|((figure, value), decimals)| value.as_ref().map(|value| cells(figure, value, decimals)));
    let mut lines: Vec<[String; 5]> = known.collect();
    lines.extend(row.undefined.iter().map(|reason| {
        let [none, also, none_too] = [String::new(), String::new(), String::new()];
        [none, UNDEFINED.to_owned(), reason.clone(), also, none_too]
    }));
    if let Some([first, ..]) = lines.first_mut() {
        *first = name;
    }
    lines
}

fn cells(name: &str, figure: &Figure, decimals: usize) -> [String; 5] {
    let [value, at_half, floor] = texts(figure, decimals);
    [String::new(), name.to_owned(), value, at_half, floor]
}

/// The figure with its interval, at half, and its floor.
pub(super) fn texts(figure: &Figure, decimals: usize) -> [String; 3] {
    let number = |value| fixed(value, decimals);
    let interval = figure.interval.map_or_else(String::new, |[low, high]| format!(" [{}, {}]", number(low), number(high)));
    let spread = |spread: Option<super::Spread>| {
        spread.map_or_else(String::new, |spread| format!("{} ± {}", number(spread.mean), number(spread.deviation)))
    };
    [format!("{}{interval}", number(figure.value)), spread(figure.at_half), spread(figure.floor)]
}

/// Decimals of each figure of a row.
pub(super) fn decimals() -> [usize; 7] {
    DECIMALS
}
