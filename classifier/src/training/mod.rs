//! Training: of classifiers with burn-train, counted in optimiser steps and resumable bit for bit on the CPU; and what fine-tuning
//! shares with it.
//!
//! | file | what it holds | shared with fine-tuning |
//! |---|---|---|
//! | `adamw`, `clip`, `schedule` | a step of the optimiser, the norm of gradients, the learning rate by step | yes |
//! | `smoothing` | the smoothed loss and whether it runs away; the moving average of weights | yes |
//! | `checkpoints` | folders that are whole at any moment, pruned, the newest readable one | yes |
//! | `log`, `tensorboard` | `metrics.jsonl` and TensorBoard event files | yes |
//! | `precision` | the numbers that a network computes with | yes |
//! | `config`, `augmentation`, `part` | settings of a classifier's run | |
//! | `loader`, `trainee` | what burn-train's loop pulls from and calls | |
//! | `journal`, `history` | what that loop tells of a run: written down, shown, saved; the rounds and the best of them | |

mod adamw;
mod augmentation;
mod checkpoints;
mod clip;
mod config;
mod history;
mod journal;
mod loader;
mod log;
mod part;
mod precision;
mod schedule;
mod smoothing;
mod tensorboard;
mod trainee;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use burn::train::checkpoint::CheckpointingStrategy;
use burn::train::logger::InMemoryMetricLogger;
use burn::train::{Interrupter, Learner, SupervisedTraining};
use roentgen_augment::batch::{CxrBatcher, targets};
use roentgen_augment::dataset::HeldOut;
use roentgen_augment::mix::MixedStream;
use roentgen_augment::progress::Task;

use journal::{Journal, LAYOUT, MODEL, NoRenderer, Opening};
use loader::{RoundLoader, WholeSetLoader};

pub use adamw::{AdamWConfig, Moments};
pub use augmentation::Augmentation;
pub use checkpoints::{CheckpointFolder, CheckpointLayout, Newest, file_digest};
pub use clip::{clip_factor, clip_grad_norm, grad_norm};
pub use config::{OptimizerKind, Selection, TrainConfig};
pub use history::{History, Round};
pub use log::{BinnedLoss, Metric, RoundMetric, StepLine, TrainMetric, TrainingLog, ValidMetric, peak_bytes, read_metrics};
pub use part::TrainedPart;
pub use precision::Precision;
pub use schedule::{LearningRateSchedule, WarmupSchedule};
pub use smoothing::{Ema, EmaConfig, LossWatch, Verdict, WatchConfig};
pub use trainee::{HeldOutBatches, Recipe, StepBatch, Trainee};

use crate::ClassifierError;
use crate::error::chain;
use crate::loss::MaskedBce;
use crate::networks::{Network, StochasticDepth};

/// Everything that one training run needs.
pub struct TrainJob<'a> {
    /// The network at its start, without autodiff.
    pub net: Network,
    /// What of it is trained.
    pub part: TrainedPart,
    /// Settings.
    pub config: &'a TrainConfig,
    /// The loss, with its weights.
    pub loss: MaskedBce,
    /// How samples become tensors.
    pub batcher: CxrBatcher,
    /// The training stream, real, synthetic or mixed.
    pub stream: MixedStream,
    /// Real images that choose the checkpoint.
    pub valid: &'a HeldOut,
    /// Seed of classical augmentation and of the branches that steps leave out.
    pub seed: u64,
    /// Where it trains.
    pub device: &'a Device,
    /// Folder of `metrics.jsonl` and `checkpoints/`; a run found there is continued.
    pub folder: PathBuf,
    /// Is told of the progress in optimiser steps.
    pub task: Box<dyn Task>,
}

/// A finished run.
#[derive(Debug)]
pub struct Trained {
    /// The network of the best round, without autodiff.
    pub net: Network,
    /// That round.
    pub best: Round,
    /// Every round.
    pub history: History,
}

impl Trained {
    /// Wall seconds of all rounds, those before a resume included.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.history.rounds().iter().map(|round| round.seconds).sum()
    }

    /// Share of that time the trainer waited for data, 0 to 1.
    #[must_use]
    pub fn wait_share(&self) -> f64 {
        let waited: f64 = self.history.rounds().iter().map(|round| round.waited).sum();
        waited / self.seconds().max(f64::MIN_POSITIVE)
    }
}

/// Trains to the end, from the newest complete checkpoint in the folder if there is one.
///
/// A network computes in the type of its images, which is that of `precision`; so does validation.
///
/// A run that was killed and continued gives the same weights as one that was not, bit for bit on the CPU: the stream, the
/// augmentation and the schedule are functions of the step, and a round's checkpoint holds weights, batch-norm statistics,
/// optimiser and schedule.
///
/// # Errors
/// [`ClassifierError::Setting`] and [`ClassifierError::UndefinedSelection`] before anything is trained,
/// [`ClassifierError::DamagedCheckpoint`] if there are checkpoints and none is whole, [`ClassifierError::NonFiniteLoss`] with the last
/// good checkpoint kept, [`ClassifierError::Training`] for an unreadable image or a full disk.
pub fn train(job: TrainJob<'_>) -> Result<Trained, ClassifierError> {
    let config = job.config;
    config.validate()?;
    config.precision.check("precision", job.device)?;
    std::fs::create_dir_all(&job.folder).map_err(ClassifierError::io("create", &job.folder))?;
    let checkpoints = CheckpointFolder::open(&job.folder, LAYOUT)?;
    let (newest, damaged) = checkpoints.newest(|_| Ok::<_, ClassifierError>(()))?;
    damaged.iter().for_each(|message| job.task.note(&format!("warning: {message}")));
    let resumed = newest.map_or(0, |(round, ())| round as usize);
    let last_step = resumed.saturating_mul(config.eval_every).min(config.steps) as u64;
    let path = job.folder.join("metrics.jsonl");
    let mut metrics = read_metrics(&path).map_err(ClassifierError::io("read", &path))?;
    metrics.retain(|metric| metric.step() <= last_step);
    let mut history = History::resume(&metrics, config.select, config.eval_every, resumed);

    let plain = job.device.clone();
    let valid = HeldOutBatches::new(job.valid, &job.batcher, config.eval_batch_size, &plain)?.with_precision(config.precision);
    check_selection(config.select, job.valid, &job.batcher)?;

    let interrupter = Interrupter::new();
    let non_finite = Arc::new(Mutex::new(None));
    let recipe = Recipe {
        part: job.part,
        depth: StochasticDepth { rate: config.stochastic_depth, seed: job.seed, pass: 0 },
        loss: job.loss,
        clip_norm: f64::from(config.clip_norm),
        interrupter: interrupter.clone(),
        non_finite: non_finite.clone(),
    };
    let trainee = Trainee::new(job.net.fork(&plain).train().unfreeze(), recipe);

    let finished = |history: &History| {
        resumed >= config.rounds() || config.patience > 0 && history.rounds_without_improvement() >= config.patience
    };
    if !finished(&history) {
        // Validation recurs: its images go into the cache first, and a damaged one is found now, not an hour later.
        valid.batches().check()?;
        let loader = RoundLoader::new(job.stream, job.batcher, config, job.seed, plain.clone().autodiff(), resumed);
        job.task.set_total(config.steps as u64);
        job.task.resume_at(last_step);
        let journal = Journal::open(Opening {
            config,
            log: TrainingLog::open(&job.folder, last_step, 1, |metric| metric.step() <= last_step)?,
            metrics: &metrics,
            history,
            clock: loader.clock(),
            interrupter: interrupter.clone(),
            task: job.task,
        });
        let [model, optimizer, scheduler] = journal.checkpointers(&checkpoints);
        let mut training = SupervisedTraining::new(&job.folder, Arc::new(loader), Arc::new(WholeSetLoader::new(valid)))
            .with_application_logger(None)
            .with_metric_logger(InMemoryMetricLogger::new())
            .with_interrupter(interrupter.clone())
            .metric_train(journal.steps())
            .metric_valid(journal.validations())
            .with_custom_checkpointers(model, optimizer, scheduler)
            .with_checkpointing_strategy(Box::new(journal.clone()) as Box<dyn CheckpointingStrategy>)
            .early_stopping(journal.clone())
            .renderer(Box::new(NoRenderer))
            .num_epochs(config.rounds());
        if resumed > 0 {
            training = training.checkpoint(resumed);
        }
        let learner = Learner::new(trainee.clone(), config.optimizer(), WarmupSchedule::new(config));
        let result = training.launch(learner);
        history = journal.history();
        let last_good = history.rounds().last().map_or(0, |round| round.step);
        if let Some((step, loss)) = *non_finite.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(ClassifierError::NonFiniteLoss { step, loss, last_good });
        }
        if let Some(error) = result.error {
            return Err(ClassifierError::Training { message: chain(&*error) });
        }
        if let Some(stop) = result.interrupted {
            return Err(ClassifierError::Training { message: stop.reason.unwrap_or_else(|| "interrupted".to_owned()) });
        }
        // The threads that save have ended by now; what went wrong in the last of them reached nobody.
        let last = history.rounds().last().map(|round| round.round as u64);
        if checkpoints.numbers()?.last().copied() != last {
            let message = format!(
                "the checkpoint of step {last_good} was not written; make room on the disk and run the same command again"
            );
            return Err(ClassifierError::Training { message });
        }
    }
    let best = *history.best().ok_or_else(|| ClassifierError::Training { message: "no round was finished".to_owned() })?;
    let record = checkpoints.load(best.round as u64, |folder| {
        let path = folder.join(MODEL);
        ModuleRecord::load(path.clone())
            .map_err(|error| ClassifierError::DamagedCheckpoint { path, message: error.to_string() })
    })?;
    Ok(Trained { net: trainee.load_record(record).net.valid().fork(&plain), best, history })
}

/// Refuses validation images by which no checkpoint can be chosen.
///
/// # Errors
/// [`ClassifierError::UndefinedSelection`] if there is none, or if `select` asks for an AUROC and no finding has both a positive and a
/// negative among them.
pub fn check_selection(select: Selection, valid: &HeldOut, batcher: &CxrBatcher) -> Result<(), ClassifierError> {
    let (findings, rows) = (batcher.vocabulary.len(), valid.data().rows());
    let records: Vec<_> = rows.iter().map(|row| row.record.clone()).collect();
    let mut seen = vec![[false; 2]; findings];
    for (i, target) in targets(&records, &batcher.vocabulary, &batcher.policy).into_iter().enumerate() {
        if !target.is_nan() {
            seen[i % findings][usize::from(target > 0.5)] = true;
        }
    }
    let defined = !rows.is_empty() && (select != Selection::MacroAuroc || seen.contains(&[true, true]));
    if defined { Ok(()) } else { Err(ClassifierError::UndefinedSelection { findings, images: rows.len() }) }
}

#[cfg(test)]
mod tests;
