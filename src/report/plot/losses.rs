//! Losses over a training run.

use maud::{Markup, html};
use roentgen_classifier::training::{Metric, TrainMetric, ValidMetric};

use super::palette::DARK;
use super::{FONT, at};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// Points of a line; more are invisible at this size.
const POINTS: usize = 700;

/// One line of the figure.
struct Line {
    name: &'static str,
    colour: &'static str,
    width: f64,
    points: Vec<[f64; 2]>,
}

/// Losses by step as a standalone figure: those of single steps, their smoothed course, and those of validation. The vertical
/// axis is logarithmic.
#[must_use]
pub fn svg_losses(metrics: &[Metric]) -> String {
    let train: Vec<&TrainMetric> = metrics.iter().filter_map(|metric| as_train(metric)).collect();
    let valid: Vec<&ValidMetric> = metrics.iter().filter_map(|metric| as_valid(metric)).collect();
    let of_train = |value: fn(&TrainMetric) -> f64| train.iter().map(|m| [m.step as f64, value(m)]).collect::<Vec<_>>();
    let average = valid.iter().filter_map(|m| Some([m.step as f64, m.ema.as_ref()?.mean])).collect();
    let lines = [
        Line { name: "a step", colour: "#c8d4de", width: 0.8, points: of_train(|m| m.loss) },
        Line { name: "smoothed", colour: DARK, width: 1.6, points: of_train(|m| m.smoothed) },
        Line {
            name: "validation",
            colour: "#d55e00",
            width: 1.8,
            points: valid.iter().map(|m| [m.step as f64, m.live.mean]).collect(),
        },
        Line { name: "validation, averaged weights", colour: "#0072b2", width: 1.8, points: average },
    ];
    let lines = lines.map(|line| Line { points: thinned(line.points), ..line });
    draw(&lines).into_string()
}

fn as_train(metric: &Metric) -> Option<&TrainMetric> {
    match metric {
        Metric::Train(metric) => Some(metric),
        Metric::Valid(_) => None,
    }
}

fn as_valid(metric: &Metric) -> Option<&ValidMetric> {
    match metric {
        Metric::Valid(metric) => Some(metric),
        Metric::Train(_) => None,
    }
}

/// Evenly chosen points that can be drawn on a logarithmic axis, the last among them.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let points: Vec<_> = points.into_iter().filter(|[_, y]| y.is_finite() && *y > 0.0).collect();
    let every = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(place, _)| place % every == 0 || *place == last).map(|(_, point)| point).collect()
}

fn draw(lines: &[Line]) -> Markup {
    let all = || lines.iter().flat_map(|line| &line.points);
    let steps = all().map(|[x, _]| *x).fold(1.0, f64::max);
    let low = all().map(|[_, y]| *y).fold(f64::INFINITY, f64::min);
    let high = all().map(|[_, y]| *y).fold(0.0, f64::max);
    let (low, high) = if low < high { (low / 1.1, high * 1.1) } else { (0.1, 1.0) };
    let x = |step: f64| LEFT + step / steps * (WIDTH - LEFT - RIGHT);
    let y = |loss: f64| TOP + (high / loss).ln() / (high / low).ln() * (HEIGHT - TOP - BOTTOM);
    let path =
        |line: &Line| line.points.iter().map(|[step, loss]| format!("{},{}", at(x(*step)), at(y(*loss)))).collect::<Vec<_>>();
    let shown: Vec<&Line> = lines.iter().filter(|line| !line.points.is_empty()).collect();
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (at(WIDTH)) " " (at(HEIGHT)) } width=(at(WIDTH)) height=(at(HEIGHT))
            role="img" aria-label="Loss by step" font-family=(FONT) font-size="12" fill=(DARK) {
            rect width="100%" height="100%" fill="#ffffff" {}
            @for tick in log_ticks(low, high) {
                line x1=(at(LEFT)) x2=(at(WIDTH - RIGHT)) y1=(at(y(tick))) y2=(at(y(tick))) stroke="#e4e4e4" {}
                text x=(at(LEFT - 6.0)) y=(at(y(tick) + 4.0)) text-anchor="end" fill="#555555" { (tick) }
            }
            @for share in 0..=4 {
                @let step = (steps * f64::from(share) / 4.0).round();
                text x=(at(x(step))) y=(at(HEIGHT - BOTTOM + 18.0)) text-anchor="middle" fill="#555555" { (step) }
            }
            text x=(at((LEFT + WIDTH - RIGHT) / 2.0)) y=(at(HEIGHT - 8.0)) text-anchor="middle" fill="#555555" { "optimiser steps" }
            @for (place, line) in shown.iter().enumerate() {
                @let left = LEFT + 160.0 * place as f64;
                line x1=(at(left)) x2=(at(left + 22.0)) y1="16" y2="16" stroke=(line.colour) stroke-width="2.5" {}
                text x=(at(left + 28.0)) y="20" { (line.name) }
                @if line.points.len() == 1 {
                    circle cx=(at(x(line.points[0][0]))) cy=(at(y(line.points[0][1]))) r="2.5" fill=(line.colour) {}
                } @else {
                    polyline points=(path(line).join(" ")) fill="none" stroke=(line.colour) stroke-width=(at(line.width)) stroke-linejoin="round" {
                        title { (line.name) }
                    }
                }
            }
        }
    }
}

/// 1, 2 and 5 times powers of ten within the range; powers of ten alone where that would be too many.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    const MANY: usize = 10;
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let ticks = |factors: &[f64]| -> Vec<f64> {
        let all = decades.clone().flat_map(|decade| factors.iter().map(move |factor| tick(*factor, decade)));
        all.filter(|tick| (low..=high).contains(tick)).collect()
    };
    let fine = ticks(&[1.0, 2.0, 5.0]);
    if fine.len() > MANY { ticks(&[1.0]) } else { fine }
}

/// The number written `factor e decade`, without rounding errors of powers.
fn tick(factor: f64, decade: i32) -> f64 {
    format!("{factor}e{decade}").parse().expect("a number in scientific notation")
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::training::BinnedLoss;

    use super::*;

    fn train(step: u64, loss: f64) -> Metric {
        let (epoch, grad_norm, learning_rate, images_per_second, waited) = (None, 1.0, 1e-4, 1.0, 0.0);
        let smoothed = loss;
        let memory_mib = None;
        Metric::Train(TrainMetric {
            step,
            epoch,
            loss,
            smoothed,
            grad_norm,
            learning_rate,
            images_per_second,
            waited,
            memory_mib,
        })
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(log_ticks(0.03, 1.1), [0.05, 0.1, 0.2, 0.5, 1.0]);
        assert_eq!(log_ticks(1e-6, 2.0), [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0]);
    }

    #[test]
    fn every_kind_of_loss_has_a_line() {
        let live = BinnedLoss { mean: 0.5, bins: vec![0.5] };
        let valid = |step, ema| Metric::Valid(ValidMetric { step, live: live.clone(), ema, classifier: None });
        let metrics: Vec<_> = (1..3_000).map(|step| train(step, 1.0 / step as f64)).collect();
        assert_eq!(svg_losses(&metrics).matches("<polyline").count(), 2);
        let with_average = [metrics, vec![valid(10, Some(live.clone())), valid(20, Some(live.clone()))]].concat();
        let svg = svg_losses(&with_average);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.len() < 100_000, "{} bytes", svg.len());
        assert!(svg_losses(&[]).contains("<svg") && !svg_losses(&[train(1, f64::NAN)]).contains("NaN"));
    }
}
