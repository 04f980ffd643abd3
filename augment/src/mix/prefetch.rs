//! Batches made ahead of the trainer, by other threads, in order.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How far and with how many threads to work ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Threads that make batches; with 0, the consumer makes each batch when it needs it.
    pub workers: usize,
    /// Most batches that are being made or waiting at any time; at least one is.
    pub in_flight: usize,
}

impl Default for Prefetch {
    /// Two threads, four batches.
    fn default() -> Self {
        Self { workers: 2, in_flight: 4 }
    }
}

type Load<T, E> = Arc<dyn Fn(u64) -> Result<T, E> + Send + Sync>;

/// The batches of steps `start`, `start + 1`, … in that order, however many threads make them.
///
/// An error is delivered at its step, and the steps after it are still delivered. Dropping the stream stops the threads:
/// each finishes its current batch.
pub struct BatchStream<T, E> {
    load: Load<T, E>,
    steps: Range<u64>,
    queue: Arc<Queue<Result<T, E>>>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
    delivered: u64,
}

struct Queue<B> {
    state: Mutex<State<B>>,
    changed: Condvar,
    in_flight: u64,
}

struct State<B> {
    /// First step that no worker has taken.
    next: u64,
    /// First step that the consumer has not received.
    wanted: u64,
    end: u64,
    ready: BTreeMap<u64, Result<B, Box<dyn Any + Send>>>,
    stopped: bool,
}

impl<T: Send + 'static, E: Send + 'static> BatchStream<T, E> {
    /// Starts making the batches of `steps` (`t0..u64::MAX` for no end). `load` makes the batch of a step, and must be a
    /// function of the step alone.
    pub fn new(steps: Range<u64>, prefetch: Prefetch, load: impl Fn(u64) -> Result<T, E> + Send + Sync + 'static) -> Self {
        let load: Load<T, E> = Arc::new(load);
        let state = State { next: steps.start, wanted: steps.start, end: steps.end, ready: BTreeMap::new(), stopped: false };
        let in_flight = prefetch.in_flight.max(1) as u64;
        let queue = Arc::new(Queue { state: Mutex::new(state), changed: Condvar::new(), in_flight });
        let workers = (0..prefetch.workers)
            .map(|_| {
                let (queue, load) = (Arc::clone(&queue), Arc::clone(&load));
                thread::spawn(move || queue.work(|step| load(step)))
            })
            .collect();
        Self { load, steps, queue, workers, waited: Duration::ZERO, delivered: 0 }
    }
}

impl<T, E> BatchStream<T, E> {
    /// Time that the consumer has spent waiting for batches so far.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Batches delivered so far, errors included.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }
}

impl<T, E> Iterator for BatchStream<T, E> {
    type Item = Result<T, E>;

    /// # Panics
    /// If `load` panicked for this step: with its message.
    fn next(&mut self) -> Option<Self::Item> {
        let step = self.steps.next()?;
        let asked = Instant::now();
        let batch = if self.workers.is_empty() { (self.load)(step) } else { self.queue.take(step) };
        self.waited += asked.elapsed();
        self.delivered += 1;
        Some(batch)
    }
}

impl<T, E> Drop for BatchStream<T, E> {
    fn drop(&mut self) {
        self.queue.lock().stopped = true;
        self.queue.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch the panics of `load`, so joining them reports nothing.
            let _ = worker.join();
        }
    }
}

impl<B> Queue<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<B>>) -> MutexGuard<'a, State<B>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes batches until there are no more steps or the stream is dropped.
    fn work(&self, load: impl Fn(u64) -> B) {
        let mut state = self.lock();
        while !state.stopped && state.next < state.end {
            if state.next - state.wanted >= self.in_flight {
                state = self.wait(state);
                continue;
            }
            let step = state.next;
            state.next += 1;
            drop(state);
            // The consumer has to see a panic: without a batch here it would wait for ever.
            let batch = catch_unwind(AssertUnwindSafe(|| load(step)));
            state = self.lock();
            state.ready.insert(step, batch);
            self.changed.notify_all();
        }
    }

    fn take(&self, step: u64) -> B {
        let mut state = self.lock();
        loop {
            if let Some(batch) = state.ready.remove(&step) {
                state.wanted = step + 1;
                drop(state);
                self.changed.notify_all();
                return batch.unwrap_or_else(|panic| resume_unwind(panic));
            }
            state = self.wait(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn prefetch(workers: usize, in_flight: usize) -> Prefetch {
        Prefetch { workers, in_flight }
    }

    #[test]
    fn batches_come_in_order_whatever_their_time() {
        for workers in [0, 1, 4] {
            let stream = BatchStream::new(5..45, prefetch(workers, 6), |step| {
                thread::sleep(Duration::from_micros(step * 7919 % 1000));
                Ok::<_, ()>(step)
            });
            assert_eq!(stream.map(Result::unwrap).collect::<Vec<_>>(), (5..45).collect::<Vec<_>>(), "{workers} workers");
        }
    }

    #[test]
    fn an_error_comes_at_its_place() {
        let load = |step| if step % 4 == 3 { Err(step) } else { Ok(step) };
        let found: Vec<_> = BatchStream::new(0..8, prefetch(3, 3), load).collect();
        assert_eq!(found, (0..8).map(load).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_than_allowed_is_in_flight() {
        let made = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&made);
        let mut stream = BatchStream::new(0..u64::MAX, prefetch(4, 3), move |step| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, ()>(step)
        });
        for delivered in 1..=20 {
            stream.next().unwrap().unwrap();
            thread::sleep(Duration::from_millis(1));
            assert!(made.load(Ordering::SeqCst) <= delivered + 3);
        }
    }

    #[test]
    fn dropping_the_stream_ends_its_threads() {
        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let mut stream = BatchStream::new(0..u64::MAX, prefetch(3, 5), move |step| {
            let _ = &held;
            Ok::<_, ()>(step)
        });
        stream.next();
        drop(stream);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn the_wait_is_measured() {
        let pause = Duration::from_millis(20);
        let mut stream = BatchStream::new(0..2, prefetch(1, 1), move |step| {
            thread::sleep(pause);
            Ok::<_, ()>(step)
        });
        stream.by_ref().for_each(drop);
        assert!(stream.waited() >= pause);
        assert_eq!(stream.delivered(), 2);
    }

    #[test]
    #[should_panic(expected = "step 2 went wrong")]
    fn a_panic_reaches_the_consumer() {
        BatchStream::new(0..5, prefetch(2, 2), |step| {
            assert!(step != 2, "step {step} went wrong");
            Ok::<_, ()>(step)
        })
        .for_each(drop);
    }
}
