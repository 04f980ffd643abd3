//! How long work will take, said once its first steps have shown their pace, and what is cheaper.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use roentgen_augment::progress::Task;

use super::format;

/// Work that takes less says nothing.
const LONG: Duration = Duration::from_secs(600);

/// The pace is taken over this many steps, or over [`MEASURED`] if they take longer.
const STEPS: u64 = 20;

/// See [`STEPS`].
const MEASURED: Duration = Duration::from_secs(20);

/// A forward pass costs a third of a training step, whose backward pass is two products for each of the forward one's.
pub(crate) const FORWARD: f64 = 1.0 / 3.0;

/// Long work, in steps of equal length.
#[derive(Clone, Debug)]
pub struct Work {
    /// What it is, such as `6 runs of 1,500 steps`.
    pub what: String,
    /// What a step of it is called.
    pub unit: &'static str,
    /// All of it, in steps.
    pub total: f64,
    /// What makes it shorter.
    pub cheaper: Vec<&'static str>,
}

impl Work {
    /// Runs of equally many training steps, each followed or interrupted by what takes as long as `judged` steps.
    #[must_use]
    pub fn training(runs: usize, steps: usize, judged: f64, cheaper: Vec<&'static str>) -> Self {
        let what = format!("{} of {}", format::counted(runs, "run"), format::counted(steps, "step"));
        Self { what, unit: "step", total: (steps as f64 + judged) * runs as f64, cheaper }
    }
}

/// What work will take.
#[derive(Debug)]
pub struct Outlook {
    work: Work,
    pace: Mutex<Pace>,
}

/// What is known of the pace.
#[derive(Debug)]
enum Pace {
    Unknown,
    /// Since this step was done at that time. The steps before it made caches and kernels, and took longer.
    From(u64, Instant),
    Said,
}

impl Outlook {
    /// Nothing is known of the pace yet.
    #[must_use]
    pub fn new(work: Work) -> Arc<Self> {
        Arc::new(Self { work, pace: Mutex::new(Pace::Unknown) })
    }

    /// The task of a run, whose first steps show the pace. What the work will take is a note on it.
    #[must_use]
    pub fn watch(self: &Arc<Self>, task: Box<dyn Task>) -> Box<dyn Task> {
        Box::new(Watched { task, outlook: self.clone() })
    }

    /// What is to be said when `done` steps are done now.
    #[must_use]
    pub fn tell(&self, done: u64) -> Option<String> {
        self.step(done, Instant::now())
    }

    /// What is to be said when `done` steps of a run are done at `now`.
    pub(crate) fn step(&self, done: u64, now: Instant) -> Option<String> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        match *pace {
            Pace::Unknown => *pace = Pace::From(done, now),
            // Another run, or an earlier step.
            Pace::From(first, _) if done < first => *pace = Pace::From(done, now),
            Pace::From(first, began) => {
                let (steps, taken) = (done - first, now.saturating_duration_since(began));
                if steps >= STEPS || steps > 0 && taken >= MEASURED {
                    *pace = Pace::Said;
                    return self.say(done, taken.as_secs_f64() / steps as f64);
                }
            }
            Pace::Said => {}
        }
        None
    }

    /// What the work will take at this many seconds per step, if it is long.
    fn say(&self, done: u64, seconds_per_step: f64) -> Option<String> {
        let Work { what, unit, total, cheaper } = &self.work;
        let seconds = (total - done as f64) * seconds_per_step;
        if seconds < LONG.as_secs_f64() {
            return None;
        }
        let (time, pace, cheaper) = (about(seconds), format::duration(seconds_per_step), cheaper.join(", "));
        Some(format!(
            "note: about {time} for {what}, at {pace} per {unit}; cheaper: {cheaper}. A run that is stopped continues with the same command"
        ))
    }
}

/// A time in words, as exact as an estimate is: `15 min`, `2 h 10 min`, `3 days 4 h`.
fn about(seconds: f64) -> String {
    let in_units = |unit: f64| (seconds / unit).round() as u64;
    let (minutes, tens, hours) = (in_units(60.0), in_units(600.0), in_units(3600.0));
    match minutes {
        0..60 => format!("{minutes} min"),
        60..2880 => format!("{} h {:02} min", tens / 6, tens % 6 * 10),
        _ => format!("{} days {} h", format::count((hours / 24) as usize), hours % 24),
    }
}

/// A run's task that also tells the outlook of every step.
#[derive(Debug)]
struct Watched {
    task: Box<dyn Task>,
    outlook: Arc<Outlook>,
}

impl Task for Watched {
    fn set_total(&self, total: u64) {
        self.task.set_total(total);
    }

    fn resume_at(&self, done: u64) {
        self.task.resume_at(done);
    }

    fn set(&self, done: u64) {
        self.task.set(done);
        if let Some(text) = self.outlook.tell(done) {
            self.task.note(&text);
        }
    }

    fn advance(&self, by: u64) {
        self.task.advance(by);
    }

    fn message(&self, text: &str) {
        self.task.message(text);
    }

    fn note(&self, text: &str) {
        self.task.note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(runs: usize, steps: usize, judged: f64) -> Outlook {
        let cheaper = vec!["`network.architecture = \"small\"`", "fewer `seeds`"];
        Outlook { work: Work::training(runs, steps, judged, cheaper), pace: Mutex::new(Pace::Unknown) }
    }

    #[test]
    fn a_long_study_is_announced_with_what_is_cheaper() {
        // 6 * (1,500 + 60) - 21 steps of 0.8 s are 7,471 s.
        assert_eq!(
            outlook(6, 1_500, 60.0).say(21, 0.8).unwrap(),
            "note: about 2 h 00 min for 6 runs of 1,500 steps, at 0.8 s per step; cheaper: `network.architecture = \"small\"`, fewer \
             `seeds`. A run that is stopped continues with the same command"
        );
        assert!(outlook(1, 600, 1.0).say(0, 1.0).unwrap().starts_with("note: about 10 min for 1 run of 600 steps, at 1.0 s"));
        assert_eq!(outlook(1, 600, 0.0).say(1, 1.0), None);
        assert_eq!(outlook(0, 600, 0.0).say(600, 1.0), None);
    }

    #[test]
    fn other_work_is_counted_in_its_own_unit() {
        let cheaper = vec!["a smaller `generator.size`"];
        let work = Work { what: "3,000 samples".to_owned(), unit: "sample", total: 3_000.0, cheaper };
        assert_eq!(
            Outlook { work, pace: Mutex::new(Pace::Unknown) }.say(24, 2.0).unwrap(),
            "note: about 1 h 40 min for 3,000 samples, at 2.0 s per sample; cheaper: a smaller `generator.size`. A run that is stopped \
             continues with the same command"
        );
    }

    #[test]
    fn the_pace_is_that_of_the_steps_after_the_first() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let fast = outlook(1, 100_000, 0.0);
        // The first step takes an hour.
        assert_eq!(fast.step(1, began + 3600 * second), None);
        let said: Vec<_> = (2..100).map(|step| fast.step(step, began + (3599 + step as u32) * second)).collect();
        assert_eq!(said.iter().flatten().count(), 1);
        assert!(said[19].as_ref().unwrap().contains("at 1.0 s per step"), "{said:?}");
        // Slow steps are not waited for.
        let slow = outlook(1, 100_000, 0.0);
        assert_eq!(slow.step(1, began), None);
        assert!(slow.step(2, began + 40 * second).unwrap().contains("at 40.0 s per step"));
        assert_eq!(slow.step(3, began + 80 * second), None);
        // A run that went on from step 500, and the next one.
        let resumed = outlook(2, 100_000, 0.0);
        assert_eq!(resumed.step(501, began), None);
        assert_eq!(resumed.step(1, began + 5 * second), None);
        assert!(resumed.step(21, began + 25 * second).unwrap().contains("at 1.0 s per step"));
    }

    #[test]
    fn times_are_rounded_as_estimates_are() {
        let minutes = [12.4, 59.4, 59.6, 64.0, 131.0, 1439.0, 2879.0, 4560.0].map(|minutes| about(60.0 * minutes));
        assert_eq!(
            minutes,
            ["12 min", "59 min", "1 h 00 min", "1 h 00 min", "2 h 10 min", "24 h 00 min", "48 h 00 min", "3 days 4 h"]
        );
    }
}
