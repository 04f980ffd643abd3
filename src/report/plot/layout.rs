//! Rows of marks and intervals on one axis.

use maud::{Markup, html};

use super::axis::Axis;
use super::palette::DARK;
use super::{CHARACTER, FONT, at, shortened};
use crate::report::{Estimate, format};

const GRAY: &str = "#767676";
const GRID: &str = "#e4e4e4";

/// Space to the right of the plot, for half a tick's label.
const MARGIN: f64 = 14.0;

/// One row of a forest plot.
pub(super) struct Row<'a> {
    pub(super) label: &'a str,
    /// Text to the right; why there is no estimate where there is none.
    pub(super) number: String,
    /// The tooltip of the row.
    pub(super) tooltip: String,
    pub(super) estimate: Option<Estimate>,
    pub(super) mark: Mark,
    /// Differences of single runs, drawn as small ticks.
    pub(super) runs: Vec<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Filled,
    Hollow,
    Diamond,
}

/// Sizes of a forest plot in units of the view box.
pub(super) struct Layout {
    pub(super) font: f64,
    pub(super) row: f64,
    pub(super) labels: f64,
    pub(super) plot: f64,
    /// Width of the rows' numbers; 0 for a plot without them.
    pub(super) numbers: f64,
    pub(super) ticks: usize,
    /// Title above the axis and above the numbers, for a plot that stands alone: it then also shows which side is better.
    pub(super) head: Option<[String; 2]>,
}

impl Layout {
    /// The axis that these rows need.
    pub(super) fn axis<'a>(&self, rows: impl Iterator<Item = &'a Row<'a>>) -> Axis {
        let ends = |row: &Row| row.estimate.map_or([0.0; 3], |estimate| [estimate.low, estimate.value, estimate.high]);
        let values = rows.flat_map(|row| ends(row).into_iter().chain(row.runs.clone()).collect::<Vec<_>>());
        Axis::around_zero(values, self.labels, self.plot, self.ticks)
    }

    /// The plot on its own axis.
    pub(super) fn draw(&self, rows: &[Row], name: &str) -> Markup {
        self.draw_on(&self.axis(rows.iter()), rows, name)
    }

    /// The plot on an axis that it shares with others; `name` is its text for screen readers.
    pub(super) fn draw_on(&self, axis: &Axis, rows: &[Row], name: &str) -> Markup {
        let width = self.labels + self.plot + self.numbers + MARGIN;
        let (above, below) = if self.head.is_some() { (2.1, 3.6) } else { (0.4, 2.0) };
        let top = self.font * above;
        let bottom = top + self.row * rows.len().max(1) as f64;
        let height = bottom + self.font * below;
        html! {
            svg viewBox={ "0 0 " (at(width)) " " (at(height)) } width=(at(width)) height=(at(height)) role="img" aria-label=(name)
                font-family=(FONT) font-size=(at(self.font)) fill=(DARK) {
                rect width="100%" height="100%" fill="#ffffff" {}
                @for (place, label) in axis.ticks() {
                    line x1=(at(place)) x2=(at(place)) y1=(at(top)) y2=(at(bottom)) stroke=(GRID) {}
                    text x=(at(place)) y=(at(bottom + self.font * 1.3)) text-anchor="middle" font-size=(at(self.font * 0.88)) fill="#555555" { (label) }
                }
                line x1=(at(axis.place(0.0))) x2=(at(axis.place(0.0))) y1=(at(top)) y2=(at(bottom)) stroke=(DARK) stroke-width="1.2" {}
                @if let Some([title, numbers]) = &self.head {
                    text x=(at(self.labels)) y=(at(self.font * 1.1)) font-weight="bold" { (title) }
                    text x=(at(self.labels + self.plot + MARGIN)) y=(at(self.font * 1.1)) font-weight="bold" { (numbers) }
                    (self.sides(axis, bottom + self.font * 2.9))
                }
                @if rows.is_empty() {
                    text x=(at(8.0)) y=(at(top + self.row * 0.6)) fill=(GRAY) { "One arm only: nothing to compare." }
                }
                @for (index, row) in rows.iter().enumerate() {
                    (self.row(axis, row, top + self.row * (index as f64 + 0.5)))
                }
            }
        }
    }

    fn sides(&self, axis: &Axis, y: f64) -> Markup {
        let zero = axis.place(0.0);
        let has_room = |span: f64| span > 22.0 * self.font * CHARACTER;
        html! {
            @if has_room(zero - self.labels) {
                text x=(at(zero - 10.0)) y=(at(y)) text-anchor="end" fill="#555555" { "← worse than baseline" }
            }
            @if has_room(self.labels + self.plot + self.numbers - zero) {
                text x=(at(zero + 10.0)) y=(at(y)) fill="#555555" { "better than baseline →" }
            }
        }
    }

    fn row(&self, axis: &Axis, row: &Row, y: f64) -> Markup {
        let room = ((self.labels - 10.0) / (self.font * CHARACTER)) as usize;
        let baseline = y + self.font * 0.35;
        let weight = if row.mark == Mark::Diamond { "bold" } else { "normal" };
        html! {
            g {
                title { (row.tooltip) }
                @if row.mark == Mark::Diamond {
                    line x1="0" x2=(at(self.labels + self.plot)) y1=(at(y - self.row * 0.5)) y2=(at(y - self.row * 0.5)) stroke="#bbbbbb" {}
                }
                text x="0" y=(at(baseline)) font-weight=(weight) { (shortened(row.label, room)) }
                @if let Some(estimate) = row.estimate.filter(is_finite) {
                    (self.estimate(axis, row, &estimate, y))
                    @if self.numbers > 0.0 {
                        text x=(at(self.labels + self.plot + MARGIN)) y=(at(baseline)) { (format::typographic(&row.number)) }
                    }
                } @else {
                    text x=(at(self.labels + 4.0)) y=(at(baseline)) fill=(GRAY) font-style="italic" paint-order="stroke" stroke="#ffffff" stroke-width="5" { (row.number) }
                }
            }
        }
    }

    fn estimate(&self, axis: &Axis, row: &Row, estimate: &Estimate, y: f64) -> Markup {
        let [low, value, high] = [estimate.low, estimate.value, estimate.high].map(|end| axis.place(end));
        let size = self.font * 0.36;
        let diamond = || {
            format!("M{low:.1} {y:.1} L{value:.1} {:.1} L{high:.1} {y:.1} L{value:.1} {:.1} Z", y - size * 1.3, y + size * 1.3)
        };
        html! {
            @for run in &row.runs {
                @let x = at(axis.place(*run));
                line x1=(x) x2=(x) y1=(at(y + size * 1.3)) y2=(at(y + size * 2.6)) stroke=(GRAY) stroke-width="1.2" {}
            }
            @if row.mark == Mark::Diamond {
                path d=(diamond()) fill=(DARK) {}
            } @else {
                line x1=(at(low)) x2=(at(high)) y1=(at(y)) y2=(at(y)) stroke=(DARK) stroke-width="1.6" {}
                circle cx=(at(value)) cy=(at(y)) r=(at(size)) stroke=(DARK) stroke-width="1.6"
                    fill=(if row.mark == Mark::Filled { DARK } else { "#ffffff" }) {}
            }
        }
    }
}

fn is_finite(estimate: &Estimate) -> bool {
    estimate.value.is_finite() && estimate.low.is_finite() && estimate.high.is_finite()
}
