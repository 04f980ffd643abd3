//! Progress bars on the terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use roentgen_augment::progress::{Progress, Task};

/// How often a bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// Bars on the terminal, one below the other.
#[derive(Debug)]
pub struct Bars(MultiProgress);

impl Bars {
    /// Bars on standard error; none when the output is for a script.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }

    /// A bar that counts to `total`, or a sign of life if that is 0.
    #[must_use]
    pub fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task> {
        let bar = Bar { bar: self.0.add(ProgressBar::new(0)), unit };
        bar.bar.set_prefix(name.to_owned());
        bar.set_total(total);
        bar.bar.enable_steady_tick(TICK);
        Box::new(bar)
    }
}

impl Progress for Bars {
    fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task> {
        Self::begin(self, name, total, unit)
    }
}

/// One bar, which goes when its task ends.
#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    unit: &'static str,
}

impl Task for Bar {
    fn set_total(&self, total: u64) {
        let template = match total {
            0 => "{spinner} {prefix}  {msg}".to_owned(),
            _ => format!(
                "{{bar:28.cyan/blue}} {{prefix}} {{pos}}/{{len}} {}  {{elapsed}} elapsed, {{eta}} left  {{msg}}",
                self.unit
            ),
        };
        self.bar.set_style(ProgressStyle::with_template(&template).expect("the template is well-formed"));
        self.bar.set_length(total);
    }

    fn resume_at(&self, done: u64) {
        self.bar.set_position(done);
        // The time left is estimated from this start's own work.
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
