//! Progress bars of long work.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Bars on the terminal; none when the output is for a script.
#[must_use]
pub fn bars(quiet: bool) -> MultiProgress {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    MultiProgress::with_draw_target(target)
}

/// Style of the bar over all runs.
#[must_use]
pub fn overall() -> ProgressStyle {
    ProgressStyle::with_template("{bar:28.cyan/blue} run {pos}/{len}  {elapsed} elapsed, {eta} left")
        .expect("the template is well-formed")
}

/// A bar that counts `unit`s.
#[must_use]
pub fn counting(bars: &MultiProgress, total: usize, unit: &str) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(total as u64));
    let template = format!("{{bar:28.cyan/blue}} {{pos}}/{{len}} {unit}  {{eta}} left");
    bar.set_style(ProgressStyle::with_template(&template).expect("the template is well-formed"));
    bar
}

/// A bar over sampler steps.
#[must_use]
pub fn steps(bars: &MultiProgress, total: usize) -> ProgressBar {
    let bar = bars.add(ProgressBar::new(total as u64));
    let template = "{bar:28.cyan/blue} step {pos}/{len}  {elapsed} elapsed, {eta} left  {msg}";
    bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
    bar.enable_steady_tick(TICK);
    bar
}

/// Style of the bar over the requests of an arm at the gate.
#[must_use]
pub fn gate() -> ProgressStyle {
    let template = "{bar:28.cyan/blue} {prefix}: {pos}/{len} samples passed the gate  {msg}  {elapsed} elapsed";
    ProgressStyle::with_template(template).expect("the template is well-formed")
}

/// A sign of life of work whose length is not known.
#[must_use]
pub fn spinner(bars: &MultiProgress, message: String) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_message(message);
    bar.enable_steady_tick(TICK);
    bar
}
