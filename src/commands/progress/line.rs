//! Progress in lines, for logs and scripts.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::HumanDuration;
use roentgen_augment::progress::Task;

/// A task that took less than this part of the pause leaves no line.
const SHORT: u32 = 30;

/// Between changes, lines are not written more often than this.
const TICK: Duration = Duration::from_millis(1);

/// Lines about tasks, one per pause while a task goes on, and one at its end.
///
/// Of several tasks at once, the one that began last is reported on: it is a part of the others.
#[derive(Clone, Debug)]
pub struct Lines {
    pause: Duration,
    say: Say,
    /// Tasks that go on, in the order in which they began.
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    begun: u64,
    ids: Vec<u64>,
}

/// Where lines go.
#[derive(Clone)]
struct Say(Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Say")
    }
}

impl Lines {
    /// Gives each line to `say`; `pause` is the time between two lines of one task.
    #[must_use]
    pub fn new(pause: Duration, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { pause, say: Say(Arc::new(say)), open: Arc::default() }
    }

    /// A task that counts to `total`, or is a sign of life if that is 0.
    #[must_use]
    pub fn begin(&self, name: &str, total: u64, unit: &'static str) -> Box<dyn Task> {
        let id = {
            let mut open = lock(&self.open);
            open.begun += 1;
            let id = open.begun;
            open.ids.push(id);
            id
        };
        let now = Instant::now();
        let count = Count { name: name.to_owned(), unit, total, before: 0, done: 0, message: String::new() };
        let state = State { count, began: now, said: now, ended: false };
        let shared = Arc::new(Shared { lines: self.clone(), id, state: Mutex::new(state), end: Condvar::new() });
        let ticking = shared.clone();
        // Without a thread, lines are written when something changes.
        let ticker = thread::Builder::new().name("progress".to_owned()).spawn(move || ticking.tick()).ok();
        Box::new(Line { shared, ticker })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task that is reported on.
#[derive(Debug)]
struct Line {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    lines: Lines,
    id: u64,
    state: Mutex<State>,
    end: Condvar,
}

#[derive(Debug)]
struct State {
    count: Count,
    began: Instant,
    /// When the last line was written.
    said: Instant,
    ended: bool,
}

impl Shared {
    /// Writes a line after every pause until the task ends.
    fn tick(&self) {
        let pause = self.lines.pause.max(TICK);
        let mut state = lock(&self.state);
        while !state.ended {
            let left = pause.saturating_sub(state.said.elapsed());
            // Always waits, and so lets the work change the state.
            state = self.end.wait_timeout(state, left.max(TICK)).unwrap_or_else(PoisonError::into_inner).0;
            if !state.ended && state.said.elapsed() >= pause {
                self.say(&mut state);
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        if state.said.elapsed() >= self.lines.pause {
            self.say(&mut state);
        }
    }

    /// Writes a line, unless a part of this task is being reported on.
    fn say(&self, state: &mut State) {
        state.said = Instant::now();
        // Held while the line is written: no line of this task comes after the first of a part.
        let open = lock(&self.lines.open);
        if open.ids.last() == Some(&self.id) {
            (self.lines.say.0)(&state.count.line(state.began.elapsed()));
        }
    }
}

impl Task for Line {
    fn set_total(&self, total: u64) {
        self.shared.change(|state| state.count.total = total);
    }

    fn resume_at(&self, done: u64) {
        self.shared.change(|state| {
            (state.count.before, state.count.done) = (done, done);
            state.began = Instant::now();
        });
    }

    fn set(&self, done: u64) {
        self.shared.change(|state| state.count.done = done);
    }

    fn advance(&self, by: u64) {
        self.shared.change(|state| state.count.done = state.count.done.saturating_add(by));
    }

    fn message(&self, text: &str) {
        self.shared.change(|state| text.clone_into(&mut state.count.message));
    }

    fn note(&self, text: &str) {
        (self.shared.lines.say.0)(text);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let shared = &self.shared;
        lock(&shared.state).ended = true;
        shared.end.notify_all();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
        lock(&shared.lines.open).ids.retain(|id| *id != shared.id);
        let state = lock(&shared.state);
        let elapsed = state.began.elapsed();
        if elapsed >= shared.lines.pause / SHORT {
            (shared.lines.say.0)(&state.count.line(elapsed));
        }
    }
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
    /// The line after `elapsed`: how far, how long, how fast, how long still.
    fn line(&self, elapsed: Duration) -> String {
        let Self { name, unit, total, before, done, message } = self;
        let mut line = if name.is_empty() { String::new() } else { format!("{name}: ") };
        line.push_str(&match total {
            0 => format!("{done} {unit}, {} elapsed", HumanDuration(elapsed)),
            _ => format!("{done}/{total} {unit}, {} elapsed", HumanDuration(elapsed)),
        });
        let (now, left) = (done.saturating_sub(*before), total.saturating_sub(*done));
        if now > 0 {
            line.push_str(&format!(", {}", rate(now as f64, elapsed.as_secs_f64())));
        }
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

/// `2.5/s`, or `2.4 s each` if less than one is done in a second.
fn rate(units: f64, seconds: f64) -> String {
    match units / seconds.max(1e-9) {
        rate if rate >= 1.0 => format!("{rate:.1}/s"),
        _ => format!("{:.1} s each", seconds / units),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn count(total: u64, before: u64, done: u64, message: &str) -> Count {
        Count { name: "real seed 1".to_owned(), unit: "steps", total, before, done, message: message.to_owned() }
    }

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long_still() {
        let minute = Duration::from_secs(60);
        assert_eq!(count(0, 0, 0, "").line(minute), "real seed 1: 0 steps, 60 seconds elapsed");
        assert_eq!(count(0, 0, 120, "").line(minute), "real seed 1: 120 steps, 60 seconds elapsed, 2.0/s");
        let line = count(100, 0, 25, "loss 0.3").line(minute);
        assert_eq!(line, "real seed 1: 25/100 steps, 60 seconds elapsed, 2.4 s each, about 3 minutes left; loss 0.3");
        // 50 steps of an earlier start took this one no time.
        let line = count(100, 50, 75, "").line(minute);
        assert_eq!(line, "real seed 1: 75/100 steps, 60 seconds elapsed, 2.4 s each, about 60 seconds left");
        assert_eq!(count(100, 0, 100, "").line(minute), "real seed 1: 100/100 steps, 60 seconds elapsed, 1.7/s");
        assert!(!count(u64::MAX, 0, 1, "").line(minute).is_empty());
        assert!(!count(1, 0, 1, "").line(Duration::ZERO).is_empty());
    }

    /// Lines of pauses of `pause`, and where they arrive.
    fn lines(pause: Duration) -> (Lines, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel();
        (Lines::new(pause, move |line| drop(sender.send(line.to_owned()))), receiver)
    }

    #[test]
    fn a_task_that_stands_still_is_reported_on() {
        let (lines, said) = lines(Duration::from_millis(1));
        let task = lines.begin("x", 2, "images");
        for _ in 0..3 {
            assert!(said.recv().unwrap().starts_with("x: 0/2 images, "));
        }
        task.advance(2);
        drop(task);
        assert!(said.try_iter().last().unwrap().starts_with("x: 2/2 images, "));
    }

    #[test]
    fn the_innermost_task_is_reported_on_and_every_task_at_its_end() {
        let (lines, said) = lines(Duration::from_millis(1));
        let whole = lines.begin("", 2, "runs");
        let part = lines.begin("real seed 1", 5, "steps");
        while !said.recv().unwrap().starts_with("real") {}
        for _ in 0..5 {
            assert!(said.recv().unwrap().starts_with("real"), "the part has begun");
        }
        drop(part);
        while !said.recv().unwrap().starts_with("0/2 runs") {}
        drop(whole);
        assert!(said.try_iter().last().unwrap().starts_with("0/2 runs"));
    }

    #[test]
    fn a_short_task_leaves_no_line() {
        let (lines, said) = lines(Duration::from_secs(3600));
        drop(lines.begin("x", 2, "images"));
        assert_eq!(said.try_iter().next(), None);
        let task = lines.begin("x", 2, "images");
        task.note("a warning");
        assert_eq!(said.try_iter().collect::<Vec<_>>(), ["a warning"]);
    }
}
