//! Progress for people: bars on a terminal, elsewhere a line now and then.

mod line;

use std::env;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use roentgen_augment::progress::{Progress, Task};

use line::Lines;

/// How often a bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Time between two lines of one task.
const PAUSE: Duration = Duration::from_secs(30);

/// Another number of seconds between two lines.
const PAUSE_VARIABLE: &str = "ROENTGEN_PROGRESS_SECONDS";

/// What long work shows on standard error: bars on a terminal, lines in a log.
#[derive(Debug)]
pub enum Bars {
    /// One bar per task, below each other.
    Drawn(MultiProgress),
    /// A line now and then.
    Written(Lines),
}

impl Bars {
    /// What fits standard error; lines at a terminal too if `plain`, for scripts.
    #[must_use]
    pub fn new(plain: bool) -> Self {
        if !plain && std::io::stderr().is_terminal() {
            return Self::Drawn(MultiProgress::new());
        }
        let set = env::var(PAUSE_VARIABLE).ok();
        let pause = set.as_deref().map_or(Ok(PAUSE), pause).unwrap_or_else(|note| {
            eprintln!("{note}");
            PAUSE
        });
        Self::Written(Lines::new(pause, |line| eprintln!("{line}")))
    }

    /// A task that counts to `total`, or is a sign of life if that is 0.
    #[must_use]
    pub fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task> {
        match self {
            Self::Drawn(bars) => {
                let bar = bars.add(ProgressBar::new(total));
                bar.set_style(style(total, unit));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(TICK);
                Box::new(Bar { bar, unit })
            }
            Self::Written(lines) => lines.begin(name, total, unit),
        }
    }
}

/// The pause that the variable asks for, or why it can't be had.
fn pause(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    let pause = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|pause| !pause.is_zero());
    pause.ok_or_else(|| {
        format!("note: {PAUSE_VARIABLE} is `{text}`, expected a number of seconds above 0; progress is written every 30 s")
    })
}

impl Progress for Bars {
    fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task> {
        Self::begin(self, name, total, unit)
    }
}

/// A bar that is taken away with its task.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    unit: &'static str,
}

fn style(total: u64, unit: &str) -> ProgressStyle {
    let template = match total {
        0 => format!("{{spinner}} {{prefix}}  {{pos}} {unit}  {{elapsed}} elapsed  {{msg}}"),
        _ => format!("{{prefix:<28}} {{bar:24.cyan/blue}} {{pos}}/{{len}} {unit}  {{elapsed}} elapsed, {{eta}} left  {{msg}}"),
    };
    ProgressStyle::with_template(&template).expect("the template is well-formed")
}

impl Task for Bar {
    fn set_total(&self, total: u64) {
        self.bar.set_length(total);
        self.bar.set_style(style(total, self.unit));
    }

    fn resume_at(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    fn message(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_count_whatever_they_are_told() {
        for progress in [Bars::Drawn(MultiProgress::new()), Bars::Written(Lines::new(PAUSE, |_| ()))] {
            let task = progress.begin("x", 0, "images");
            task.set_total(3);
            task.resume_at(2);
            task.advance(u64::MAX);
            task.set(1);
            task.message("well");
        }
    }

    #[test]
    fn another_pause_is_a_number_of_seconds() {
        assert_eq!(pause("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(pause(" 60 "), Ok(Duration::from_secs(60)));
        for text in ["", "0", "-1", "nan", "inf", "1e300", "1e-300", "half a minute"] {
            let note = pause(text).unwrap_err();
            assert!(note.contains(&format!("ROENTGEN_PROGRESS_SECONDS is `{text}`, expected a number of seconds")), "{note}");
        }
    }
}
