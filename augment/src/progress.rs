//! How far long work has come, told to whoever shows it.
//!
//! The library begins tasks and counts on them; a program decides whether that becomes a bar, a line now and then, or nothing.

use std::fmt;

/// Shows the progress of long work.
pub trait Progress: fmt::Debug + Send + Sync {
    /// Begins a task called `name` of `total` units; a `total` of 0 is not known yet. The task ends when it is dropped.
    fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task>;
}

/// One piece of long work.
pub trait Task: fmt::Debug + Send + Sync {
    /// Corrects the number of units of the whole task.
    fn set_total(&self, total: u64);

    /// Units that an earlier start did: the time left is estimated without them.
    fn resume_at(&self, done: u64);

    /// Units done so far, those of earlier starts included.
    fn set(&self, done: u64);

    /// More units are done.
    fn advance(&self, by: u64);

    /// What else there is to say of the task now, such as a loss; replaces what was said before.
    fn message(&self, text: &str);

    /// A line that stays, such as a warning.
    fn note(&self, text: &str);
}

/// Shows nothing but notes, which go to standard error.
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
