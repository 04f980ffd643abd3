//! One colour and dash per arm.

use crate::report::ComparisonReport;

/// How an arm's lines and marks are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ink {
    /// Colour.
    pub(crate) colour: &'static str,
    /// `stroke-dasharray`; also tells arms apart on gray paper.
    pub(crate) dash: &'static str,
}

/// Colour of the baseline, of axes and of text.
pub(super) const DARK: &str = "#222222";

/// Okabe & Ito's colour-blind-safe palette without its yellow, which is invisible on white paper; then two of Paul Tol's muted ones.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933"];

const DASHES: [&str; 4] = ["none", "7 2.5", "2 1.6", "8 2 2 2"];

/// Colour and dash of every arm, in the report's order; the baseline is dark and solid.
pub(crate) fn inks(report: &ComparisonReport) -> Vec<Ink> {
    let mut place = 0;
    let ink_of = |arm| {
        if report.is_baseline(arm) {
            return Ink { colour: DARK, dash: DASHES[0] };
        }
        place += 1;
        ink(place - 1)
    };
    report.arms.iter().map(ink_of).collect()
}

/// Colour and dash of the arm at this index among those that are compared with the baseline.
fn ink(place: usize) -> Ink {
    // The second round of colours begins with another dash, so that no pair repeats before all are used.
    let dash = place + place / COLOURS.len();
    Ink { colour: COLOURS[place % COLOURS.len()], dash: DASHES[dash % DASHES.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::mock;

    #[test]
    fn two_dozen_arms_look_different() {
        let inks = inks(&mock::report(25, 1));
        assert!(inks.iter().enumerate().all(|(place, ink)| !inks[..place].contains(ink)));
        assert_eq!(inks[0].colour, DARK);
    }
}
