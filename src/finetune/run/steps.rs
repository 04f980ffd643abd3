//! The loop.

use std::path::PathBuf;
use std::time::Duration;

use roentgen_augment::AugmentError;
use roentgen_augment::mix::{BatchStream, Prefetch};
use roentgen_classifier::training::{StepLine, ValidMetric, Verdict};

use super::checkpoints::{Best, Checkpoint, Checkpoints, ExportChoice, LoopMemory};
use super::error::RunError;
use super::evaluation::{SampleSheet, Validation};
use super::interrupt::Interrupt;
use super::log::RunLog;
use super::random::Order;
use super::replicas::Replicas;
use super::samples::{HostSample, SampleMaker};
use crate::diffusion::DiffusionError;
use crate::finetune::{FinetuneConfig, FinetuneError, Trainee, Which};
use crate::run_folder::RunFolder;

/// A run, ready to continue.
#[derive(Debug)]
pub struct Run {
    pub(super) config: FinetuneConfig,
    pub(super) folder: RunFolder,
    pub(super) replicas: Replicas,
    pub(super) memory: LoopMemory,
    pub(super) checkpoints: Checkpoints,
    pub(super) order: Order,
    pub(super) samples: SampleMaker,
    pub(super) validation: Option<Validation>,
    pub(super) sheet: Option<SampleSheet>,
    pub(super) log: RunLog,
    /// Step of the newest checkpoint; 0 for none.
    pub(super) saved: u64,
    pub(super) interrupt: Interrupt,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// Optimiser steps taken so far.
    pub steps: u64,
    /// Whether it was interrupted, and saved.
    pub interrupted: bool,
    /// Smoothed training loss.
    pub loss: Option<f64>,
    /// Step and loss of the best validation.
    pub best: Option<(u64, f64)>,
    /// The pipeline's folder, once all steps are taken.
    pub pipeline: Option<PathBuf>,
}

impl Run {
    /// Trains to the end or to an interruption. The files on disk are complete at any moment, and a run that is started again
    /// continues with the same bits.
    ///
    /// # Errors
    /// [`RunError`]; the last checkpoint stays.
    pub fn go(&mut self) -> Result<RunOutcome, RunError> {
        let (steps, first) = (self.config.schedule.steps, self.trainee().steps());
        if (first == 0 || self.memory.pending) && !self.finish_step()? {
            return self.interrupted();
        }
        let mut batches = self.batches(first..steps);
        for step in first..steps {
            let waited = batches.waited();
            let samples = batches.next().expect("a batch for every step")?;
            self.train(step, samples, batches.waited() - waited)?;
            if self.interrupt.is_asked() || !self.finish_step()? {
                return self.interrupted();
            }
        }
        self.export()
    }

    /// The weights on the first device.
    fn trainee(&self) -> &Trainee {
        self.replicas.trainee()
    }

    /// Batches made ahead by other threads, in order.
    fn batches(&self, steps: std::ops::Range<u64>) -> BatchStream<Vec<HostSample>, AugmentError> {
        let (order, samples) = (self.order.clone(), self.samples.clone());
        let prefetch = Prefetch { workers: self.config.workers, in_flight: self.config.workers.saturating_mul(2) };
        let load =
            move |step| order.step(step).into_iter().map(|sample| samples.make(sample.number, sample.row, None)).collect();
        BatchStream::new(steps, prefetch, load)
    }

    /// One optimiser step.
    fn train(&mut self, step: u64, mut samples: Vec<HostSample>, waited: Duration) -> Result<(), RunError> {
        let images = samples.len();
        let share = 1.0 / self.config.accumulation as f64;
        let mut micro = Vec::with_capacity(self.config.accumulation);
        while !samples.is_empty() {
            micro.push(samples.drain(..images / self.config.accumulation).collect());
        }
        self.replicas.accumulate(micro, share)?;
        let rates = self.config.trainee().learning_rates;
        let highest = self.trainee().parts().into_iter().map(|part| rates.of(part)).fold(0.0, f64::max);
        let factor = self.config.schedule.factor(step, highest);
        let report = self.replicas.step(factor).map_err(|error| non_finite(error, self.saved))?;
        let loss = report.losses.iter().fold(0.0, |sum, loss| sum + share * loss.mean);
        let verdict = self.memory.watch.push(loss, &self.config.watch);
        self.memory.pending = true;
        let smoothed = self.memory.watch.smoothed();
        let line = StepLine {
            step: report.step,
            epoch: Some(report.step as f64 * images as f64 / self.samples.pairs().pairs().len() as f64),
            loss,
            smoothed,
            grad_norm: report.gradient_norm,
            learning_rate: factor * highest,
            images,
            waited,
        };
        self.log.step(&line)?;
        self.judge(report.step, verdict)
    }

    fn judge(&self, step: u64, verdict: Verdict) -> Result<(), RunError> {
        let (smoothed, best) = (self.memory.watch.smoothed(), self.memory.watch.best());
        match verdict {
            Verdict::Fine => Ok(()),
            Verdict::Warn { ratio } => {
                self.log.say(&format!(
                    "warning: step {step}: the smoothed loss {smoothed:.4} is {ratio:.1} times its best ({best:.4}); if it keeps rising, \
                     start again with a lower learning rate or a longer warm-up"
                ));
                Ok(())
            }
            Verdict::Stop { ratio } => Err(RunError::Diverged { step, smoothed, best, ratio, kept: self.saved }),
        }
    }

    /// The work due after a step: validation, samples, checkpoint, in this order, so that a checkpoint implies the rest.
    /// False if it was interrupted.
    fn finish_step(&mut self) -> Result<bool, RunError> {
        let step = self.trainee().steps();
        let last = step == self.config.schedule.steps;
        let due = |every: u64| every > 0 && (last || step.is_multiple_of(every));
        let mut best = false;
        if due(self.config.validation.every) {
            best = self.validate(step)?;
        }
        if due(self.config.samples.every) && !self.paint(step)? {
            return Ok(false);
        }
        self.memory.pending = false;
        if step > 0 && (best || due(self.config.checkpoints.every)) {
            self.save()?;
        }
        Ok(true)
    }

    /// Whether this validation is the best so far.
    fn validate(&mut self, step: u64) -> Result<bool, RunError> {
        let Some(validation) = &self.validation else { return Ok(false) };
        let coder = self.replicas.coder();
        let live = validation.loss(&coder, Which::Live)?;
        let ema = self.config.ema.map(|_| validation.loss(&coder, Which::Ema)).transpose()?;
        let metric = ValidMetric { step, live, ema, classifier: None };
        let loss = metric.exported();
        self.log.validation(metric)?;
        self.log.plot(&self.folder)?;
        self.log.restart();
        let better = step > 0 && self.memory.best.is_none_or(|best| loss < best.loss());
        if better {
            self.memory.best = Some(Best::new(step, loss));
        }
        Ok(better)
    }

    /// False if it was interrupted.
    fn paint(&mut self, step: u64) -> Result<bool, RunError> {
        let Some(sheet) = &self.sheet else { return Ok(true) };
        match sheet.paint(&self.trainee().pipeline(Which::Ema), step, &self.interrupt) {
            Ok(painted) => self.log.sheet(step, painted)?,
            Err(RunError::Diffusion(DiffusionError::Stopped { .. })) => return Ok(false),
            // A model that can't sample yet is no reason to end.
            Err(RunError::Diffusion(error @ DiffusionError::NonFiniteImage { .. })) => {
                self.log.say(&format!("warning: step {step}: no samples: {error}"));
            }
            Err(error) => return Err(error),
        }
        self.log.restart();
        Ok(true)
    }

    fn save(&mut self) -> Result<(), RunError> {
        self.checkpoints.save(&Checkpoint { state: self.trainee().state(), memory: self.memory })?;
        self.saved = self.trainee().steps();
        self.checkpoints.prune(self.config.checkpoints.keep, self.memory.best)?;
        self.log.restart();
        Ok(())
    }

    fn interrupted(&mut self) -> Result<RunOutcome, RunError> {
        if self.trainee().steps() > self.saved {
            self.save()?;
        }
        Ok(self.outcome(true, None))
    }

    /// The pipeline of the last step or of the best one, renamed once it is complete.
    fn export(&mut self) -> Result<RunOutcome, RunError> {
        self.log.plot(&self.folder)?;
        let steps = self.trainee().steps();
        let (folder, temporary) = (self.folder.path().join("pipeline"), self.folder.path().join(".tmp-pipeline"));
        if let (ExportChoice::Best, Some(best)) = (self.config.checkpoints.export, self.memory.best) {
            self.replicas.restore(self.checkpoints.load(best.step)?.state)?;
        }
        for path in [&temporary, &folder] {
            if path.exists() {
                std::fs::remove_dir_all(path).map_err(RunError::io("replace", path))?;
            }
        }
        self.trainee().export(&temporary, Which::Ema)?;
        self.trainee().export_adapters(&self.folder.path().join("adapters"), Which::Ema)?;
        std::fs::rename(&temporary, &folder).map_err(RunError::io("write", &folder))?;
        Ok(RunOutcome { steps, ..self.outcome(false, Some(folder)) })
    }

    fn outcome(&self, interrupted: bool, pipeline: Option<PathBuf>) -> RunOutcome {
        let loss = self.memory.watch.smoothed();
        RunOutcome {
            steps: self.trainee().steps(),
            interrupted,
            loss: loss.is_finite().then_some(loss),
            best: self.memory.best.map(|best| (best.step, best.loss())),
            pipeline,
        }
    }
}

/// An error with the last checkpoint, if the loss or a gradient is not finite.
fn non_finite(error: RunError, kept: u64) -> RunError {
    match error {
        RunError::Finetune(source @ (FinetuneError::NonFiniteLoss { .. } | FinetuneError::NonFiniteGradient { .. })) => {
            RunError::NonFinite { kept, source }
        }
        other => other,
    }
}
