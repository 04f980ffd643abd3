//! What burn-train's loop tells of a classifier's run: written down, shown, and made into checkpoints.

use std::error::Error;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::TensorReadError;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy};
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::store::EventStoreClient;
use burn::train::metric::{Metric as BurnMetric, MetricDefinition, MetricMetadata, MetricName, SerializedEntry};
use burn::train::renderer::{EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining};
use burn::train::{EarlyStoppingStrategy, Interrupter, LearnerSummary};
use roentgen_augment::progress::Task;

use super::checkpoints::{CheckpointFolder, CheckpointLayout};
use super::history::{History, Round};
use super::loader::WaitClock;
use super::log::{Metric, StepLine, TrainingLog};
use super::smoothing::{LossWatch, WatchConfig};
use super::trainee::{StepReport, ValidReport};
use super::{TrainConfig, WarmupSchedule};
use crate::ClassifierError;
use crate::error::chain;

/// Checkpoints are numbered by round.
pub(super) const LAYOUT: CheckpointLayout = CheckpointLayout { digits: 5, files: &[MODEL, "optimizer.bpk", "scheduler.bpk"] };
/// The file of a checkpoint that has the weights and the statistics of batch norms.
pub(super) const MODEL: &str = "model.bpk";

/// The journal of a run, shared by everything that burn-train calls.
#[derive(Clone)]
pub(super) struct Journal(Arc<Mutex<Entries>>);

struct Entries {
    config: TrainConfig,
    schedule: WarmupSchedule,
    log: TrainingLog,
    history: History,
    watch: LossWatch,
    clock: WaitClock,
    interrupter: Interrupter,
    task: Box<dyn Task>,
    /// The round in progress.
    round: Ongoing,
}

struct Ongoing {
    started: Instant,
    waited: Duration,
    losses: f64,
    steps: usize,
    valid: Option<ValidReport>,
}

impl Ongoing {
    fn begin() -> Self {
        Self { started: Instant::now(), waited: Duration::ZERO, losses: 0.0, steps: 0, valid: None }
    }
}

/// What a journal is opened with.
pub(super) struct Opening<'a> {
    pub(super) config: &'a TrainConfig,
    pub(super) log: TrainingLog,
    /// Lines of earlier starts that count.
    pub(super) metrics: &'a [Metric],
    pub(super) history: History,
    pub(super) clock: WaitClock,
    pub(super) interrupter: Interrupter,
    pub(super) task: Box<dyn Task>,
}

impl Journal {
    pub(super) fn open(opening: Opening<'_>) -> Self {
        let Opening { config, log, metrics, history, clock, interrupter, task } = opening;
        let mut watch = LossWatch::default();
        for metric in metrics {
            if let Metric::Train(step) = metric {
                watch.push(step.loss, &WatchConfig::default());
            }
        }
        let (config, schedule) = (config.clone(), WarmupSchedule::new(config));
        let round = Ongoing::begin();
        Self(Arc::new(Mutex::new(Entries { config, schedule, log, history, watch, clock, interrupter, task, round })))
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rounds so far.
    pub(super) fn history(&self) -> History {
        self.lock().history.clone()
    }

    /// Hands every training step to this journal.
    pub(super) fn steps(&self) -> Tap<StepReport> {
        Tap { journal: self.clone(), name: "steps", take: Entries::step, item: PhantomData }
    }

    /// Hands every validation to this journal.
    pub(super) fn validations(&self) -> Tap<ValidReport> {
        Tap { journal: self.clone(), name: "validations", take: Entries::validation, item: PhantomData }
    }

    /// Checkpointers of the parts of `checkpoints`, in the order of [`LAYOUT`].
    pub(super) fn checkpointers(&self, checkpoints: &CheckpointFolder) -> [PartCheckpointer; 3] {
        let publishing = Arc::new(Mutex::new(()));
        let part = |part: usize| PartCheckpointer {
            journal: self.clone(),
            checkpoints: checkpoints.clone(),
            file: LAYOUT.files[part],
            publishing: publishing.clone(),
        };
        [part(0), part(1), part(2)]
    }
}

impl Entries {
    fn step(&mut self, report: &StepReport) -> Result<(), ClassifierError> {
        self.round.losses += report.loss;
        self.round.steps += 1;
        self.watch.push(report.loss, &WatchConfig::default());
        let waited = self.clock.take();
        self.round.waited += waited;
        self.log.step(&StepLine {
            step: report.step as u64,
            epoch: None,
            loss: report.loss,
            smoothed: self.watch.smoothed(),
            grad_norm: report.gradient_norm,
            learning_rate: self.schedule.rate(report.step as u64),
            images: self.config.batch_size,
            waited,
        })?;
        self.task.set(report.step as u64);
        let auroc = self.history.rounds().last().and_then(|round| round.valid_macro_auroc);
        let auroc = auroc.map_or_else(|| "–".to_owned(), |auroc| format!("{auroc:.4}"));
        self.task.message(&format!("loss {:.4}  valid AUROC {auroc}", self.round.losses / self.round.steps as f64));
        Ok(())
    }

    fn validation(&mut self, report: &ValidReport) -> Result<(), ClassifierError> {
        self.round.valid = Some(*report);
        Ok(())
    }

    /// Writes the round down.
    fn finish(&mut self, round: usize) -> Result<(), ClassifierError> {
        let ongoing = std::mem::replace(&mut self.round, Ongoing::begin());
        let step = round.saturating_mul(self.config.eval_every).min(self.config.steps);
        let valid = ongoing.valid.unwrap_or(ValidReport { loss: f64::NAN, macro_auroc: f64::NAN });
        let round = Round {
            round,
            step,
            train_loss: ongoing.losses / ongoing.steps as f64,
            valid_loss: valid.loss,
            valid_macro_auroc: valid.macro_auroc.is_finite().then_some(valid.macro_auroc),
            learning_rate: self.schedule.rate(step as u64),
            seconds: ongoing.started.elapsed().as_secs_f64(),
            waited: ongoing.waited.as_secs_f64(),
        };
        self.log.validation(round.metric())?;
        self.history.push(round);
        self.log.restart();
        Ok(())
    }
}

/// A metric of burn-train's that measures nothing: what a step says of itself reaches the journal through it.
///
/// burn-train's own store of metrics counts rounds from where a run was entered, so that a resumed run would look up the wrong one.
pub(super) struct Tap<T> {
    journal: Journal,
    name: &'static str,
    take: fn(&mut Entries, &T) -> Result<(), ClassifierError>,
    item: PhantomData<fn() -> T>,
}

impl<T> Clone for Tap<T> {
    fn clone(&self) -> Self {
        Self { journal: self.journal.clone(), ..*self }
    }
}

impl<T: 'static> BurnMetric for Tap<T> {
    type Input = T;

    fn name(&self) -> MetricName {
        Arc::new(self.name.to_owned())
    }

    fn update(&mut self, item: &T, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let mut entries = self.journal.lock();
        if let Err(error) = (self.take)(&mut entries, item) {
            entries.interrupter.stop(Some(&chain(&error)));
        }
        self.compute_nothing()
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.compute_nothing()
    }

    fn clear(&mut self) {}
}

impl<T> Tap<T> {
    fn compute_nothing(&self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::new(String::new(), String::new()))
    }
}

/// A round is written down, then saved.
impl CheckpointingStrategy for Journal {
    fn checkpointing(&mut self, round: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        let mut entries = self.lock();
        match entries.finish(round) {
            Ok(()) => vec![CheckpointingAction::Save],
            Err(error) => {
                entries.interrupter.stop(Some(&chain(&error)));
                Vec::new()
            }
        }
    }
}

/// Stops after too many rounds without improvement.
impl EarlyStoppingStrategy for Journal {
    fn should_stop(&mut self, _: usize, _: &EventStoreClient) -> bool {
        let entries = self.lock();
        let patience = entries.config.patience;
        patience > 0 && entries.history.rounds_without_improvement() >= patience
    }
}

/// Saves one part of a checkpoint. burn-train saves each on a thread of its own; the last to be done gives the whole its name and
/// removes what is neither newest nor best.
#[derive(Clone)]
pub(super) struct PartCheckpointer {
    journal: Journal,
    checkpoints: CheckpointFolder,
    file: &'static str,
    publishing: Arc<Mutex<()>>,
}

impl<R: Checkpoint> Checkpointer<R> for PartCheckpointer {
    fn save(&self, round: usize, record: R) -> Result<(), CheckpointerError> {
        let draft = self.checkpoints.draft(round as u64);
        std::fs::create_dir_all(&draft).map_err(CheckpointerError::IOError)?;
        let temporary = draft.join(format!(".{}", self.file));
        record.save(temporary.clone())?;
        let _guard = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::rename(&temporary, draft.join(self.file)).map_err(CheckpointerError::IOError)?;
        if !LAYOUT.files.iter().all(|file| draft.join(file).is_file()) {
            return Ok(());
        }
        self.checkpoints.publish(round as u64).map_err(CheckpointerError::IOError)?;
        // The best of what is saved: rounds that are written down since may never be.
        let best = self.journal.lock().history.best_until(round).map(|best| best.round as u64);
        self.checkpoints.prune(1, best).map_err(|error| CheckpointerError::Unknown(chain(&error)))
    }

    /// Nobody asks for it: see [`save`](Self::save).
    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, round: usize) -> Result<R, CheckpointerError> {
        R::load(self.checkpoints.checkpoint(round as u64).join(self.file))
    }
}

/// Shows nothing: the journal's task does.
pub(super) struct NoRenderer;

impl MetricsRendererTraining for NoRenderer {
    fn update_train(&mut self, _: MetricState) {}
    fn update_valid(&mut self, _: MetricState) {}
    fn on_train_end(&mut self, _: Option<LearnerSummary>) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}

impl TrainingProgressLogger for NoRenderer {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, _: &str, _: usize) {}
    fn update_split(&mut self, _: usize) {}
    fn end_split(&mut self) {}
    fn end(&mut self) {}
    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for NoRenderer {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}

impl MetricsRendererEvaluation for NoRenderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for NoRenderer {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}

#[cfg(test)]
mod tests {
    use burn::lr_scheduler::LrSchedulerRecord;
    use roentgen_augment::progress::Silent;

    use super::*;
    use crate::training::Selection;

    /// burn-train saves the parts of a checkpoint on three threads and waits for none of them: whichever is behind, the checkpoint
    /// before stays whole until the new one is.
    #[test]
    fn a_kill_between_two_parts_leaves_the_checkpoint_before() {
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let folder = tempfile::tempdir().unwrap();
            let config = TrainConfig::default();
            let checkpoints = CheckpointFolder::open(folder.path(), LAYOUT).unwrap();
            let journal = Journal::open(Opening {
                config: &config,
                log: TrainingLog::open(folder.path(), 0, 1, |_| true).unwrap(),
                metrics: &[],
                history: History::resume(&[], Selection::Last, config.eval_every, 0),
                clock: WaitClock::default(),
                interrupter: Interrupter::new(),
                task: Box::new(Silent),
            });
            let parts = journal.checkpointers(&checkpoints);
            for (round, before) in [(1, vec![]), (2, vec![1])] {
                for part in order {
                    assert_eq!(checkpoints.numbers().unwrap(), before, "{part} of {order:?}");
                    let record = LrSchedulerRecord::new().with_scalar("step", round as u64);
                    parts[part].save(round, record).unwrap();
                }
                assert_eq!(checkpoints.numbers().unwrap(), [round as u64]);
                let found: LrSchedulerRecord = parts[0].restore(round).unwrap();
                assert_eq!(found.scalar::<u64>("step"), Some(round as u64));
            }
        }
    }
}
