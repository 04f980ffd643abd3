//! Progress for people: bars on a terminal, elsewhere a line now and then.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use roentgen_augment::progress::{Progress, Silent, Task};

/// How often a bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Time between two lines of one task.
const PAUSE: Duration = Duration::from_secs(30);

/// What long work shows: bars on a terminal, lines in a log, nothing when the output is for a script.
#[derive(Debug)]
pub enum Bars {
    /// Notes alone.
    Hidden,
    /// One bar per task, below each other.
    Drawn(MultiProgress),
    /// A line now and then.
    Written,
}

impl Bars {
    /// What fits standard error; nothing if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        match quiet {
            true => Self::Hidden,
            false if std::io::stderr().is_terminal() => Self::Drawn(MultiProgress::new()),
            false => Self::Written,
        }
    }

    /// A task that counts to `total`, or is a sign of life if that is 0.
    #[must_use]
    pub fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task> {
        match self {
            Self::Hidden => Silent.begin(name, total, unit),
            Self::Drawn(bars) => {
                let bar = bars.add(ProgressBar::new(total));
                bar.set_style(style(total, unit));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(TICK);
                Box::new(Bar { bar, unit })
            }
            Self::Written => {
                let now = Instant::now();
                let count = Count { name: name.to_owned(), unit, total, before: 0, done: 0, message: String::new() };
                Box::new(Line(Mutex::new(LineState { count, began: now, said: now })))
            }
        }
    }
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

/// Lines on standard error, every [`PAUSE`] while a task goes on.
#[derive(Debug)]
struct Line(Mutex<LineState>);

#[derive(Debug)]
struct LineState {
    count: Count,
    began: Instant,
    /// When the last line was written.
    said: Instant,
}

/// What a line says.
#[derive(Debug)]
struct Count {
    name: String,
    unit: &'static str,
    /// 0 if it is not known.
    total: u64,
    /// Of earlier starts.
    before: u64,
    done: u64,
    message: String,
}

impl Count {
    /// The line after `elapsed`: how far, how long, how long still.
    fn line(&self, elapsed: Duration) -> String {
        let Self { name, unit, total, before, done, message } = self;
        let mut line = if name.is_empty() { String::new() } else { format!("{name}: ") };
        line.push_str(&match total {
            0 => format!("{done} {unit}, {} elapsed", HumanDuration(elapsed)),
            _ => format!("{done}/{total} {unit}, {} elapsed", HumanDuration(elapsed)),
        });
        let (now, left) = (done.saturating_sub(*before), total.saturating_sub(*done));
        if now > 0 && left > 0 {
            let left = Duration::try_from_secs_f64(elapsed.as_secs_f64() * left as f64 / now as f64).unwrap_or(Duration::MAX);
            line.push_str(&format!(", about {} left", HumanDuration(left)));
        }
        if !message.is_empty() {
            line.push_str(&format!("; {message}"));
        }
        line
    }
}

impl Line {
    fn change(&self, change: impl FnOnce(&mut LineState)) {
        let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut state);
        if state.said.elapsed() >= PAUSE {
            state.said = Instant::now();
            eprintln!("{}", state.count.line(state.began.elapsed()));
        }
    }
}

impl Task for Line {
    fn set_total(&self, total: u64) {
        self.change(|state| state.count.total = total);
    }

    fn resume_at(&self, done: u64) {
        self.change(|state| {
            (state.count.before, state.count.done) = (done, done);
            state.began = Instant::now();
        });
    }

    fn set(&self, done: u64) {
        self.change(|state| state.count.done = done);
    }

    fn advance(&self, by: u64) {
        self.change(|state| state.count.done = state.count.done.saturating_add(by));
    }

    fn message(&self, text: &str) {
        self.change(|state| text.clone_into(&mut state.count.message));
    }

    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(total: u64, before: u64, done: u64, message: &str) -> Count {
        Count { name: "real seed 1".to_owned(), unit: "steps", total, before, done, message: message.to_owned() }
    }

    #[test]
    fn a_line_says_how_long_it_still_takes() {
        let minute = Duration::from_secs(60);
        assert_eq!(count(0, 0, 7, "").line(minute), "real seed 1: 7 steps, 60 seconds elapsed");
        let line = count(100, 0, 25, "loss 0.3").line(minute);
        assert_eq!(line, "real seed 1: 25/100 steps, 60 seconds elapsed, about 3 minutes left; loss 0.3");
        // 50 steps of an earlier start took this one no time.
        assert_eq!(count(100, 50, 75, "").line(minute), "real seed 1: 75/100 steps, 60 seconds elapsed, about 60 seconds left");
        assert_eq!(count(100, 0, 100, "").line(minute), "real seed 1: 100/100 steps, 60 seconds elapsed");
        assert!(!count(u64::MAX, 0, 1, "").line(minute).is_empty());
    }

    #[test]
    fn tasks_count_whatever_they_are_told() {
        for progress in [Bars::Hidden, Bars::Drawn(MultiProgress::new()), Bars::Written] {
            let task = progress.begin("x", 0, "images");
            task.set_total(3);
            task.resume_at(2);
            task.advance(u64::MAX);
            task.set(1);
            task.message("well");
        }
    }
}
