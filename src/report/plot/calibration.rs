//! Reliability diagrams: one small panel per finding, one line per arm.

use maud::{Markup, html};

use super::palette::{DARK, Ink, inks};
use super::{CHARACTER, FONT, at, shortened};
use crate::report::{ArmReport, CalibrationPoint, ComparisonReport};

const SIDE: f64 = 160.0;
const LEFT: f64 = 36.0;
const TOP: f64 = 22.0;
const WIDTH: f64 = LEFT + SIDE + 8.0;
const HEIGHT: f64 = TOP + SIDE + 32.0;

/// One panel per finding that has a curve, in the report's order.
pub(crate) fn calibration_panels(report: &ComparisonReport) -> Vec<Markup> {
    report.finding_names().into_iter().filter_map(|finding| panel(report, finding)).collect()
}

fn panel(report: &ComparisonReport, finding: &str) -> Option<Markup> {
    let arms = report.arms.iter().zip(inks(report));
    let curve = |(arm, ink): (&'_ ArmReport, Ink)| Some((arm.name.clone(), ink, shown(&arm.finding(finding)?.calibration)));
    let curves: Vec<(String, Ink, Vec<CalibrationPoint>)> =
        arms.filter_map(curve).filter(|(_, _, points)| !points.is_empty()).collect();
    let all = || curves.iter().flat_map(|(_, _, points)| points);
    let most = all().map(|point| point.count).max()?;
    // Rare findings have small probabilities: the axis ends where the dots do.
    let end = ends_at(all().map(|point| point.predicted.max(point.observed)).fold(0.0, f64::max));
    let x = |share: f64| LEFT + share / end * SIDE;
    let y = |share: f64| TOP + (1.0 - share / end) * SIDE;
    let line = |points: &[CalibrationPoint]| {
        points.iter().map(|point| format!("{},{}", at(x(point.predicted)), at(y(point.observed)))).collect::<Vec<_>>().join(" ")
    };
    // The area of a dot is the share of the images.
    let radius = |count: usize| 1.2 + 3.0 * (count as f64 / most as f64).sqrt();
    Some(html! {
        svg viewBox={ "0 0 " (at(WIDTH)) " " (at(HEIGHT)) } role="img" aria-label={ "Calibration curves for " (finding) }
            font-family=(FONT) font-size="10" fill=(DARK) {
            text x=(at(LEFT)) y="14" font-size="12.5" font-weight="bold" {
                title { (finding) }
                (shortened(finding, ((SIDE + 8.0) / (12.5 * (CHARACTER + 0.04))) as usize))
            }
            rect x=(at(LEFT)) y=(at(TOP)) width=(at(SIDE)) height=(at(SIDE)) fill="#ffffff" stroke="#bbbbbb" {}
            @for share in [0.0, end / 2.0, end] {
                text x=(at(x(share))) y=(at(TOP + SIDE + 13.0)) text-anchor="middle" fill="#555555" { (share) }
                text x=(at(LEFT - 5.0)) y=(at(y(share) + 3.5)) text-anchor="end" fill="#555555" { (share) }
            }
            text x=(at(LEFT + SIDE / 2.0)) y=(at(TOP + SIDE + 26.0)) text-anchor="middle" fill="#555555" { "probability" }
            text x="0" y="0" transform={ "translate(8 " (at(TOP + SIDE / 2.0)) ") rotate(-90)" } text-anchor="middle" fill="#555555" { "share with it" }
            line x1=(at(LEFT)) y1=(at(TOP + SIDE)) x2=(at(LEFT + SIDE)) y2=(at(TOP)) stroke="#bbbbbb" stroke-dasharray="3 3" {}
            @for (arm, ink, points) in &curves {
                g {
                    title { (arm) }
                    polyline points=(line(points)) fill="none" stroke=(ink.colour) stroke-width="1.5" stroke-dasharray=(ink.dash) stroke-linejoin="round" {}
                    @for point in points {
                        circle cx=(at(x(point.predicted))) cy=(at(y(point.observed))) r=(at(radius(point.count))) fill=(ink.colour) {}
                    }
                }
            }
        }
    })
}

/// The points that are numbers.
fn shown(points: &[CalibrationPoint]) -> Vec<CalibrationPoint> {
    points.iter().copied().filter(|point| point.predicted.is_finite() && point.observed.is_finite()).collect()
}

/// The end of an axis that holds `largest`: 0.2, 0.4, … 1, whose halves are short to write.
fn ends_at(largest: f64) -> f64 {
    ((largest * 5.0).ceil().clamp(1.0, 5.0) * 2.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn every_finding_with_cases_has_a_line_per_arm() {
        let panels = calibration_panels(&mock::typical());
        assert_eq!(panels.len(), 13, "the 14th finding is undefined");
        let svg = panels[0].clone().into_string();
        assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (5, 40));
        mock::assert_well_formed(&svg);
    }

    #[test]
    fn the_axis_ends_where_the_dots_do() {
        assert_eq!([0.0, 0.11, 0.2, 0.21, 0.75, 1.0].map(ends_at), [0.2, 0.2, 0.2, 0.4, 0.8, 1.0]);
    }

    #[test]
    fn what_is_no_number_is_not_drawn() {
        let mut report = mock::report(1, 1);
        for point in &mut report.arms[0].findings[0].calibration {
            point.observed = f64::NAN;
        }
        assert!(calibration_panels(&report).is_empty());
    }
}
