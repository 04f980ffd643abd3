//! ROC curves: one small panel per finding, one line per arm.

use maud::{Markup, html};

use super::palette::{DARK, Ink, inks};
use super::{CHARACTER, FONT, at, shortened};
use crate::report::lookup::TEST;
use crate::report::{ArmReport, ComparisonReport, format};

const SIDE: f64 = 160.0;
const LEFT: f64 = 36.0;
const TOP: f64 = 36.0;
const WIDTH: f64 = LEFT + SIDE + 8.0;
const HEIGHT: f64 = TOP + SIDE + 32.0;

/// One panel per finding, in the report's order.
pub(crate) fn roc_panels(report: &ComparisonReport) -> Vec<Markup> {
    report.finding_names().into_iter().map(|finding| panel(report, finding)).collect()
}

/// The legend: which line belongs to which arm.
pub(crate) fn legend(report: &ComparisonReport) -> Markup {
    html! {
        ul.legend {
            @for (arm, ink) in report.arms.iter().zip(inks(report)) {
                li {
                    svg width="28" height="10" viewBox="0 0 28 10" aria-hidden="true" {
                        line x1="0" x2="28" y1="5" y2="5" stroke=(ink.colour) stroke-dasharray=(ink.dash) stroke-width="2.2" {}
                    }
                    " " (arm.name)
                    @if report.is_baseline(arm) { " (baseline)" }
                }
            }
        }
    }
}

fn panel(report: &ComparisonReport, finding: &str) -> Markup {
    let arms = report.arms.iter().zip(inks(report));
    let curves: Vec<(&ArmReport, Ink, String)> =
        arms.filter_map(|(arm, ink)| Some((arm, ink, points(&arm.finding(finding)?.roc)?))).collect();
    html! {
        svg viewBox={ "0 0 " (at(WIDTH)) " " (at(HEIGHT)) } role="img" aria-label={ "ROC curves for " (finding) }
            font-family=(FONT) font-size="10" fill=(DARK) {
            text x=(at(LEFT)) y="14" font-size="12.5" font-weight="bold" {
                title { (finding) }
                (shortened(finding, ((SIDE + 8.0) / (12.5 * (CHARACTER + 0.04))) as usize))
            }
            @if let Some(labels) = report.labels(finding) {
                text x=(at(LEFT)) y="28" fill="#555555" {
                    (format::count(labels.positives[TEST])) " of " (format::count(labels.labelled[TEST])) " positive"
                }
            }
            (frame())
            @if !curves.is_empty() {
                line x1=(at(LEFT)) y1=(at(TOP + SIDE)) x2=(at(LEFT + SIDE)) y2=(at(TOP)) stroke="#bbbbbb" stroke-dasharray="3 3" {}
            }
            @for (arm, ink, points) in &curves {
                polyline points=(points) fill="none" stroke=(ink.colour) stroke-width="1.5" stroke-dasharray=(ink.dash) stroke-linejoin="round" {
                    title { (arm.name) }
                }
            }
            @if curves.is_empty() {
                @let reason = report.undefined_because(finding);
                @for (line, text) in reason.split_inclusive("undefined ").enumerate() {
                    text x=(at(LEFT + SIDE / 2.0)) y=(at(TOP + SIDE * 0.47 + 14.0 * line as f64)) text-anchor="middle" fill="#767676" font-style="italic" {
                        (text)
                    }
                }
            }
        }
    }
}

fn frame() -> Markup {
    html! {
        rect x=(at(LEFT)) y=(at(TOP)) width=(at(SIDE)) height=(at(SIDE)) fill="#ffffff" stroke="#bbbbbb" {}
        @for (share, label) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1")] {
            text x=(at(LEFT + share * SIDE)) y=(at(TOP + SIDE + 13.0)) text-anchor="middle" fill="#555555" { (label) }
            text x=(at(LEFT - 5.0)) y=(at(TOP + (1.0 - share) * SIDE + 3.5)) text-anchor="end" fill="#555555" { (label) }
        }
        text x=(at(LEFT + SIDE / 2.0)) y=(at(TOP + SIDE + 26.0)) text-anchor="middle" fill="#555555" { "false positive rate" }
        text x="0" y="0" transform={ "translate(10 " (at(TOP + SIDE / 2.0)) ") rotate(-90)" } text-anchor="middle" fill="#555555" { "true positive rate" }
    }
}

/// The curve in the panel's coordinates, without points that don't exist; `None` if fewer than two remain.
fn points(roc: &[[f64; 2]]) -> Option<String> {
    let inside: Vec<String> = roc
        .iter()
        .filter(|[false_positive, true_positive]| false_positive.is_finite() && true_positive.is_finite())
        .map(|[false_positive, true_positive]| {
            format!("{},{}", at(LEFT + false_positive * SIDE), at(TOP + (1.0 - true_positive) * SIDE))
        })
        .collect();
    (inside.len() > 1).then(|| inside.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn the_corners_of_the_unit_square_are_those_of_the_frame() {
        // LEFT 36, TOP 36 and SIDE 160: (0, 0) is the lower left corner, (1, 1) the upper right one.
        assert_eq!(points(&[[0.0, 0.0], [f64::NAN, 0.5], [1.0, 1.0]]).as_deref(), Some("36.0,196.0 196.0,36.0"));
        assert_eq!(points(&[[0.0, f64::NAN], [1.0, 1.0]]), None);
    }

    #[test]
    fn every_panel_has_a_line_an_arm_or_a_reason() {
        for (place, panel) in roc_panels(&mock::typical()).into_iter().enumerate() {
            let svg = panel.into_string();
            let is_hernia = place == 13;
            assert_eq!(svg.matches("<polyline").count(), if is_hernia { 0 } else { 5 });
            assert_eq!(svg.contains("(no positives in test)"), is_hernia, "{svg}");
        }
    }
}
