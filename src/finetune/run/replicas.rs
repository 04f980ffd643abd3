//! The same weights on several devices: each computes its part of every batch, and all take the same step by the sum of their
//! gradients.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::cache::CodeCache;
use super::error::RunError;
use super::samples::{Coder, HostSample};
use crate::finetune::{FinetuneError, MicroLoss, StepReport, Trainee, TraineeState};

/// How gradients are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// burn's collective where devices have one (CUDA, by NCCL), else the host.
    #[default]
    Auto,
    /// Through main memory, in the order of the devices: on any device, and with the same bits each time.
    Host,
}

/// The meeting point of all devices of a run.
#[derive(Debug)]
pub enum Exchange {
    /// Through main memory.
    Host(Meeting),
    /// By burn's collective operations.
    Collective(Vec<Device>),
}

/// Where devices wait for each other's gradients.
#[derive(Debug)]
pub struct Meeting {
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Debug)]
struct Table {
    /// The contribution of each device to the present sum.
    brought: Vec<Option<TensorData>>,
    /// Devices that have received it.
    taken: usize,
    /// A device has failed.
    lost: bool,
}

/// A device failed, so that waiting for it is useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl Exchange {
    /// The meeting point of `devices`.
    #[must_use]
    pub fn new(kind: ExchangeKind, devices: &[Device], collective: bool) -> Self {
        match kind {
            ExchangeKind::Auto if collective => Self::Collective(devices.to_vec()),
            _ => Self::Host(Meeting {
                table: Mutex::new(Table { brought: vec![None; devices.len()], taken: 0, lost: false }),
                changed: Condvar::new(),
            }),
        }
    }

    /// The sum over all devices, each calling from its own thread, with the same tensors in the same order.
    ///
    /// # Errors
    /// [`Lost`] if [`give_up`](Self::give_up) is called meanwhile or was before.
    pub fn sum(&self, rank: usize, gradient: Tensor<1>) -> Result<Tensor<1>, Lost> {
        let meeting = match self {
            Self::Collective(devices) => return Ok(all_reduce(gradient, ReduceOperation::Sum, devices.clone()).resolve()),
            Self::Host(meeting) => meeting,
        };
        let device = gradient.device();
        let parts = meeting.exchange(rank, gradient.into_data())?;
        let parts = parts.into_iter().map(|part| Tensor::<1>::from_data(part, &device));
        Ok(parts.reduce(|sum, part| sum + part).expect("this device has brought one"))
    }

    /// Tells the other devices that one has failed. burn's collectives have no such call: they end with the process.
    pub fn give_up(&self) {
        if let Self::Host(meeting) = self {
            meeting.lock().lost = true;
            meeting.changed.notify_all();
        }
    }
}

impl Meeting {
    /// The sum, once all devices have contributed.
    fn exchange(&self, rank: usize, part: TensorData) -> Result<Vec<TensorData>, Lost> {
        // No device contributes to the next sum before all have received the last.
        let mut table = self.wait(self.lock(), |table| table.brought[rank].is_none())?;
        table.brought[rank] = Some(part);
        self.changed.notify_all();
        let mut table = self.wait(table, |table| table.brought.iter().all(Option::is_some))?;
        let parts = table.brought.iter().flatten().cloned().collect();
        table.taken += 1;
        if table.taken == table.brought.len() {
            table.taken = 0;
            table.brought.fill(None);
            self.changed.notify_all();
        }
        Ok(parts)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, table: MutexGuard<'a, Table>, ready: impl Fn(&Table) -> bool) -> Result<MutexGuard<'a, Table>, Lost> {
        let waits = |table: &mut Table| !table.lost && !ready(table);
        let table = self.changed.wait_while(table, waits).unwrap_or_else(PoisonError::into_inner);
        if table.lost { Err(Lost) } else { Ok(table) }
    }
}

/// Gives up for its device if it is dropped by a panic.
pub struct GiveUpOnPanic<'a>(pub &'a Exchange);

impl Drop for GiveUpOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.give_up();
        }
    }
}

/// Samples of micro-batches.
pub type Micro = Vec<Vec<HostSample>>;

/// The weights under training on each device, always equal between two steps. With one device there are no workers, and everything
/// below is a plain call.
#[derive(Debug)]
pub struct Replicas {
    first: Trainee,
    /// Outputs of frozen networks.
    cache: Arc<CodeCache>,
    workers: Vec<Worker>,
    exchange: Arc<Exchange>,
}

/// A device besides the first, with a thread of its own.
#[derive(Debug)]
struct Worker {
    jobs: Option<Sender<Job>>,
    results: Receiver<Result<Vec<MicroLoss>, RunError>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Accumulate { micro: Micro, share: f64 },
    Step(f64),
    Restore(Box<TraineeState>),
}

/// Adds up the gradients of micro-batches.
fn accumulate(trainee: &mut Trainee, cache: &CodeCache, micro: Micro, share: f64) -> Result<(), RunError> {
    for samples in micro {
        let batch = Coder { trainee, cache }.batch(samples)?;
        trainee.accumulate_unread(&batch, share)?;
    }
    Ok(())
}

/// What ends a step that failed on some devices, in their order: a loss that is not finite before a gradient that is not, as all
/// devices have the sum of all gradients.
fn cause(mut errors: Vec<RunError>) -> RunError {
    let of_loss = |error: &RunError| matches!(error, RunError::Finetune(FinetuneError::NonFiniteLoss { .. }));
    let first = errors.iter().position(of_loss).unwrap_or(0);
    errors.swap_remove(first)
}

impl Replicas {
    /// The first trainee computes on the caller's thread, each of the others on one of its own. They meet at `exchange`.
    #[must_use]
    pub fn new(first: Trainee, others: Vec<Trainee>, exchange: Exchange, cache: Arc<CodeCache>) -> Self {
        let exchange = Arc::new(exchange);
        let worker = |(rank, mut trainee): (usize, Trainee)| {
            let (jobs, inbox) = channel();
            let (outbox, results) = channel();
            let (exchange, cache) = (Arc::clone(&exchange), Arc::clone(&cache));
            let thread = std::thread::spawn(move || {
                let _guard = GiveUpOnPanic(&exchange);
                while let Ok(job) = inbox.recv() {
                    let result = match job {
                        Job::Accumulate { micro, share } => accumulate(&mut trainee, &cache, micro, share).map(|()| Vec::new()),
                        Job::Step(factor) => {
                            let summed = trainee.exchange_gradients(|gradient| exchange.sum(rank + 1, gradient));
                            let stepped = summed.map_err(RunError::from).and_then(|()| Ok(trainee.step(factor)?));
                            stepped.map(|report| report.losses)
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
        let workers = others.into_iter().enumerate().map(worker).collect();
        Self { first, cache, workers, exchange }
    }

    /// The weights on the first device, which are those of all.
    #[must_use]
    pub fn trainee(&self) -> &Trainee {
        &self.first
    }

    /// Makes batches for the first device.
    #[must_use]
    pub fn coder(&self) -> Coder<'_> {
        Coder { trainee: &self.first, cache: &self.cache }
    }

    /// Adds up the gradients of the micro-batches of a step; each device computes an equal part of them.
    ///
    /// # Errors
    /// The first device's error that there is; no weight has changed then.
    pub fn accumulate(&mut self, mut micro: Micro, share: f64) -> Result<(), RunError> {
        let each = micro.len() / (self.workers.len() + 1);
        for worker in self.workers.iter().rev() {
            let part = micro.split_off(micro.len() - each);
            worker.ask(Job::Accumulate { micro: part, share })?;
        }
        let own = accumulate(&mut self.first, &self.cache, micro, share);
        // All have answered before an error ends the run, so that none is interrupted.
        let others: Vec<_> = self.workers.iter().map(Worker::answer).collect();
        own?;
        others.into_iter().try_for_each(|other| other.map(drop))
    }

    /// The same step on every device, by the sum of all gradients. Its report has the losses of all micro-batches, in their order.
    ///
    /// # Errors
    /// Those of [`Trainee::step`]: a loss that is not finite first, as the gradients of all devices are not finite then.
    pub fn step(&mut self, factor: f64) -> Result<StepReport, RunError> {
        if !self.workers.is_empty() {
            let exchange = &self.exchange;
            let _guard = GiveUpOnPanic(exchange);
            let asked = self.workers.iter().try_for_each(|worker| worker.ask(Job::Step(factor)));
            // The devices that are computing must not wait for one that has failed.
            asked.inspect_err(|_| exchange.give_up())?;
            self.first.exchange_gradients(|gradient| exchange.sum(0, gradient))?;
        }
        let report = self.first.step(factor);
        let others: Vec<_> = self.workers.iter().map(Worker::answer).collect();
        let (mut losses, mut errors) = (Vec::new(), Vec::new());
        for other in others {
            match other {
                Ok(more) => losses.extend(more),
                Err(error) => errors.push(error),
            }
        }
        match report {
            Ok(mut report) if errors.is_empty() => {
                report.losses.extend(losses);
                Ok(report)
            }
            Ok(_) => Err(cause(errors)),
            Err(error) => {
                errors.insert(0, error.into());
                Err(cause(errors))
            }
        }
    }

    /// Takes all devices to a state.
    ///
    /// # Errors
    /// Those of [`Trainee::restore`].
    pub fn restore(&mut self, state: TraineeState) -> Result<(), RunError> {
        self.workers.iter().try_for_each(|worker| worker.ask(Job::Restore(Box::new(state.clone()))))?;
        self.workers.iter().try_for_each(|worker| worker.answer().map(|_| ()))?;
        Ok(self.first.restore(state)?)
    }
}

impl Worker {
    fn ask(&self, job: Job) -> Result<(), RunError> {
        let jobs = self.jobs.as_ref().expect("jobs are given until the worker is dropped");
        jobs.send(job).map_err(|_| RunError::DeviceLost)
    }

    fn answer(&self) -> Result<Vec<MicroLoss>, RunError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_gets_the_sum() {
        let devices = vec![Device::flex(); 3];
        let exchange = Exchange::new(ExchangeKind::Auto, &devices, false);
        let sums = std::thread::scope(|scope| {
            let exchange = &exchange;
            let threads: Vec<_> = (0..3)
                .map(|rank| {
                    let bring = move |value: f32| Tensor::<1>::from_floats([value, 1.0], &Device::flex());
                    scope.spawn(move || {
                        let sums = (1..50).map(|i| exchange.sum(rank, bring((i * (rank + 1)) as f32)).unwrap().into_data());
                        sums.map(|sum| sum.iter::<f32>().collect::<Vec<_>>()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for sums in sums {
            assert_eq!(sums, (1..50).map(|i| vec![6.0 * i as f32, 3.0]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_device_that_gives_up_ends_the_wait_of_the_others() {
        let exchange = Exchange::new(ExchangeKind::Host, &[Device::flex(), Device::flex()], false);
        let waiting = || exchange.sum(0, Tensor::<1>::from_floats([1.0], &Device::flex())).map(|_| ());
        std::thread::scope(|scope| {
            let first = scope.spawn(waiting);
            let second = scope.spawn(|| {
                let _guard = GiveUpOnPanic(&exchange);
                panic!("out of memory, say");
            });
            assert!(second.join().is_err());
            assert_eq!(first.join().unwrap(), Err(Lost));
        });
        assert_eq!(waiting(), Err(Lost), "nor does anybody wait later");
    }
}
