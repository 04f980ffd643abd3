//! Progress of long work.
//!
//! The library starts tasks and counts their units; a program decides whether to show a bar, some lines, or nothing.

use std::fmt;

/// Shows the progress of long work.
pub trait Progress: fmt::Debug + Send + Sync {
    /// Starts a task `name` of `total` units; a `total` of 0 is unknown. The task ends when it is dropped.
    fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task>;
}

/// One piece of long work.
pub trait Task: fmt::Debug + Send + Sync {
    /// Corrects the number of units of the whole task.
    fn set_total(&self, total: u64);

    /// Units of earlier starts: the time left is estimated without them.
    fn resume_at(&self, done: u64);

    /// Units done so far, those of earlier starts included.
    fn set(&self, done: u64);

    /// More units are done.
    fn advance(&self, by: u64);

    /// Further text on the task, such as a loss; replaces the text before.
    fn message(&self, text: &str);

    /// A line that stays, such as a warning.
    fn note(&self, text: &str);
}

/// Shows only notes, on standard error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64, _: &'static str) -> Box<dyn Task> {
        Box::new(Self)
    }
}

impl Task for Silent {
    fn set_total(&self, _: u64) {}

    fn resume_at(&self, _: u64) {}

    fn set(&self, _: u64) {}

    fn advance(&self, _: u64) {}

    fn message(&self, _: &str) {}

    fn note(&self, text: &str) {
        eprintln!("{text}");
    }
}
