//! The same weights on several devices, each with its part of every batch.
//!
//! With one device there are no workers, and everything below is a plain call.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use burn::tensor::Device;

use super::cache::CodeCache;
use super::codes::Coder;
use super::error::RunError;
use super::exchange::{Exchange, GiveUpOnPanic};
use super::sample::HostSample;
use crate::finetune::{StepReport, Trainee, TraineeState};

/// Samples of micro-batches.
pub type Micro = Vec<Vec<HostSample>>;

/// The devices besides the first.
#[derive(Debug, Default)]
pub struct Replicas {
    workers: Vec<Worker>,
    exchange: Option<Arc<Exchange>>,
}

#[derive(Debug)]
struct Worker {
    jobs: Option<Sender<Job>>,
    results: Receiver<Result<Vec<f64>, RunError>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Accumulate { micro: Micro, share: f64 },
    Step(f64),
    Restore(Box<TraineeState>),
}

/// One device's weights.
pub struct Seat<'a> {
    /// The weights.
    pub trainee: &'a mut Trainee,
    /// What frozen networks made.
    pub cache: &'a CodeCache,
    /// The device.
    pub device: &'a Device,
}

impl Seat<'_> {
    /// Losses of micro-batches, whose gradients are added up.
    fn accumulate(&mut self, micro: Micro, share: f64) -> Result<Vec<f64>, RunError> {
        let mut losses = Vec::with_capacity(micro.len());
        for samples in micro {
            let batch = Coder { trainee: self.trainee, cache: self.cache, device: self.device }.batch(samples)?;
            losses.push(self.trainee.accumulate(&batch, share)?.mean);
        }
        Ok(losses)
    }
}

impl Replicas {
    /// Workers for `trainees`, each on its device; the first device is the caller's. They meet at `exchange`.
    #[must_use]
    pub fn new(trainees: Vec<(Trainee, Device)>, exchange: Exchange, cache: &Arc<CodeCache>) -> Self {
        let exchange = Arc::new(exchange);
        let worker = |(rank, (mut trainee, device)): (usize, (Trainee, Device))| {
            let (jobs, inbox) = channel();
            let (outbox, results) = channel();
            let (exchange, cache) = (Arc::clone(&exchange), Arc::clone(cache));
            let thread = std::thread::spawn(move || {
                let _guard = GiveUpOnPanic(&exchange);
                while let Ok(job) = inbox.recv() {
                    let result = match job {
                        Job::Accumulate { micro, share } => {
                            Seat { trainee: &mut trainee, cache: &cache, device: &device }.accumulate(micro, share)
                        }
                        Job::Step(factor) => {
                            let summed = trainee.exchange_gradients(|gradient| exchange.sum(rank + 1, gradient));
                            let stepped = summed.map_err(RunError::from).and_then(|()| Ok(trainee.step(factor)?));
                            stepped.map(|_| Vec::new())
                        }
                        Job::Restore(state) => trainee.restore(*state).map(|()| Vec::new()).map_err(RunError::from),
                    };
                    if outbox.send(result).is_err() {
                        break;
                    }
                }
            });
            Worker { jobs: Some(jobs), results, thread: Some(thread) }
        };
        let workers = trainees.into_iter().enumerate().map(worker).collect();
        Self { workers, exchange: Some(exchange) }
    }

    /// Losses of the micro-batches of a step in their order; each device computes an equal part of them.
    ///
    /// # Errors
    /// The first device's error that there is; no weight has changed then.
    pub fn accumulate(&self, seat: &mut Seat<'_>, mut micro: Micro, share: f64) -> Result<Vec<f64>, RunError> {
        let each = micro.len() / (self.workers.len() + 1);
        for worker in self.workers.iter().rev() {
            let part = micro.split_off(micro.len() - each);
            worker.ask(Job::Accumulate { micro: part, share })?;
        }
        let own = seat.accumulate(micro, share);
        // All are heard before an error ends the run, so that none is left in the middle of something.
        let others: Vec<_> = self.workers.iter().map(Worker::answer).collect();
        let mut losses = own?;
        for other in others {
            losses.extend(other?);
        }
        Ok(losses)
    }

    /// The same step on every device, by the sum of all gradients.
    ///
    /// # Errors
    /// Those of [`Trainee::step`].
    pub fn step(&self, trainee: &mut Trainee, factor: f64) -> Result<StepReport, RunError> {
        if let Some(exchange) = &self.exchange {
            let _guard = GiveUpOnPanic(exchange);
            let asked = self.workers.iter().try_for_each(|worker| worker.ask(Job::Step(factor)));
            // Those that were asked must not wait for one that is gone.
            asked.inspect_err(|_| exchange.give_up())?;
            trainee.exchange_gradients(|gradient| exchange.sum(0, gradient))?;
        }
        let report = trainee.step(factor);
        let others: Vec<_> = self.workers.iter().map(Worker::answer).collect();
        let report = report?;
        others.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(report)
    }

    /// Takes the other devices to a state.
    ///
    /// # Errors
    /// Those of [`Trainee::restore`].
    pub fn restore(&self, state: &TraineeState) -> Result<(), RunError> {
        self.workers.iter().try_for_each(|worker| worker.ask(Job::Restore(Box::new(state.clone()))))?;
        self.workers.iter().try_for_each(|worker| worker.answer().map(|_| ()))
    }
}

impl Worker {
    fn ask(&self, job: Job) -> Result<(), RunError> {
        let jobs = self.jobs.as_ref().expect("jobs are given until the worker is dropped");
        jobs.send(job).map_err(|_| RunError::DeviceLost)
    }

    fn answer(&self) -> Result<Vec<f64>, RunError> {
        self.results.recv().map_err(|_| RunError::DeviceLost)?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
