//! Forest plots: differences to the baseline with their intervals, and a line where there is none.

use maud::Markup;

use super::layout::{Layout, Mark, Row};
use super::{CHARACTER, shortened};
use crate::report::verdict::Verdict;
use crate::report::{ArmReport, ComparisonReport, Difference, format};

/// The forest plot of macro AUROC differences as a standalone SVG document, for a README or a paper.
#[must_use]
pub fn svg_forest(report: &ComparisonReport) -> String {
    let svg = macro_forest(report).into_string();
    // Inside an HTML page the name space is implied; a standalone file must state it.
    svg.replacen("<svg ", r#"<svg xmlns="http://www.w3.org/2000/svg" "#, 1)
}

/// Differences in macro AUROC: one row per arm.
pub(crate) fn macro_forest(report: &ComparisonReport) -> Markup {
    let rows: Vec<Row> = report.compared_arms().map(|arm| macro_row(report, arm)).collect();
    let longest = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let labels = (longest as f64 * 13.0 * CHARACTER + 24.0).clamp(110.0, 290.0);
    let layout = Layout {
        font: 13.0,
        row: 30.0,
        labels,
        plot: 680.0 - labels,
        numbers: 190.0,
        ticks: 6,
        head: Some([
            format!("Macro AUROC minus that of {}", shortened(&report.baseline, 24)),
            format!("[{} CI]", format::confidence(report.protocol.confidence)),
        ]),
    };
    let name = format!("Differences in macro AUROC to {}", report.baseline);
    layout.draw(&rows, &name)
}

/// Differences by finding: one panel per arm on a common axis, the macro mean last.
pub(crate) fn finding_forests(report: &ComparisonReport) -> Vec<(&ArmReport, Markup)> {
    let names = report.finding_names();
    let panels: Vec<(&ArmReport, Vec<Row>)> = report.compared_arms().map(|arm| (arm, rows_of(report, arm, &names))).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("Macro mean".len());
    let labels = (longest as f64 * 11.5 * CHARACTER + 12.0).clamp(70.0, 150.0);
    let layout = Layout { font: 11.5, row: 17.0, labels, plot: 324.0 - labels, numbers: 0.0, ticks: 4, head: None };
    let axis = layout.axis(panels.iter().flat_map(|(_, rows)| rows));
    let draw = |arm: &ArmReport, rows: &[Row]| {
        layout.draw_on(&axis, rows, &format!("Differences in AUROC of {} to {} by finding", arm.name, report.baseline))
    };
    panels.iter().map(|(arm, rows)| (*arm, draw(arm, rows))).collect()
}

fn macro_row<'a>(report: &ComparisonReport, arm: &'a ArmReport) -> Row<'a> {
    let runs = report.baseline_arm().map(|baseline| arm.differences_by_seed(baseline)).unwrap_or_default();
    let estimate = arm.difference.map(|difference| difference.absolute);
    Row {
        label: &arm.name,
        number: estimate.map_or_else(|| format::UNDEFINED.to_owned(), |estimate| format::difference_estimate(&estimate)),
        tooltip: format!("{}: {}", arm.name, report.sentence(arm)),
        mark: mark(arm.difference.as_ref().is_some_and(|difference| Verdict::of(difference) != Verdict::NotShown)),
        estimate,
        runs,
    }
}

fn rows_of<'a>(report: &'a ComparisonReport, arm: &'a ArmReport, names: &[&'a str]) -> Vec<Row<'a>> {
    let findings = names.iter().map(|name| {
        let difference = arm.finding(name).and_then(|finding| finding.difference);
        finding_row(report, name, difference)
    });
    let summary = Row { label: "Macro mean", mark: Mark::Diamond, runs: Vec::new(), ..macro_row(report, arm) };
    findings.chain([summary]).collect()
}

fn finding_row<'a>(report: &ComparisonReport, name: &'a str, difference: Option<Difference>) -> Row<'a> {
    let confidence = report.protocol.confidence;
    let holm = difference.and_then(|difference| difference.p_holm);
    let number = difference
        .map_or_else(|| report.undefined_because(name), |difference| format::difference_estimate(&difference.absolute));
    let after_holm = holm.map(|p| format!(", {} after Holm", format::p_in_words(p))).unwrap_or_default();
    Row {
        label: name,
        tooltip: format!("{name}: {number}{after_holm}"),
        number,
        estimate: difference.map(|difference| difference.absolute),
        mark: mark(difference.is_some_and(|difference| Verdict::after_holm(&difference, confidence) != Verdict::NotShown)),
        runs: Vec::new(),
    }
}

fn mark(shown: bool) -> Mark {
    if shown { Mark::Filled } else { Mark::Hollow }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn a_figure_stands_alone() {
        let report = mock::report(4, 14);
        let svg = svg_forest(&report);
        mock::assert_well_formed(&svg);
        assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" "), "{svg}");
        for arm in report.compared_arms() {
            assert!(svg.contains(&format!(">{}</text>", arm.name)), "{svg}");
        }
        assert!(svg.contains(">−0.011 [−0.028, 0.006]</text>"), "{svg}");
        // One dot per arm, filled where the interval excludes 0: in one of three of the invented report.
        assert_eq!((svg.matches("<circle").count(), svg.matches("fill=\"#ffffff\"></circle>").count()), (3, 2));
    }

    #[test]
    fn a_figure_of_one_arm_says_so() {
        assert!(svg_forest(&mock::report(1, 2)).contains("One arm only"));
    }

    #[test]
    fn undefined_findings_have_their_reason_instead_of_a_mark() {
        let report = mock::typical();
        let panels = finding_forests(&report);
        assert_eq!(panels.len(), 4);
        for (_, panel) in panels {
            let svg = panel.into_string();
            assert_eq!(svg.matches("<circle").count(), 13);
            assert!(svg.contains(">undefined (no positives in test)</text>"), "{svg}");
        }
    }

    #[test]
    fn names_are_escaped() {
        let mut report = mock::typical();
        report.arms[1].name = "<b>\"&".to_owned();
        let svg = svg_forest(&report);
        mock::assert_well_formed(&svg);
        assert!(svg.contains("&lt;b&gt;&quot;&amp;"), "{svg}");
    }
}
