//! Where a run's numbers go: the progress bar, `metrics.jsonl`, TensorBoard, the loss plot.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::error::RunError;
use super::events::EventFile;
use super::memory::peak_bytes;
use super::metrics::{self, Metric, MetricsFile, TrainMetric, ValidMetric};
use super::sheet::Painted;
use crate::report::svg_losses;
use crate::run_folder::RunFolder;

/// The logs of one start of a run.
#[derive(Debug)]
pub struct RunLog {
    metrics: MetricsFile,
    events: EventFile,
    bar: ProgressBar,
    every: u64,
    /// Since the last line.
    started: Instant,
    images: usize,
    waited: Duration,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub struct StepLine {
    /// Optimiser steps taken.
    pub step: u64,
    /// Passes over the training set.
    pub epoch: f64,
    /// Mean loss of the samples, before the step.
    pub loss: f64,
    /// Smoothed loss.
    pub smoothed: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// The highest of all parts.
    pub learning_rate: f64,
    /// Images of the step.
    pub images: usize,
    /// Time spent waiting for them.
    pub waited: Duration,
}

impl RunLog {
    /// The logs of a run that goes on after `step`, 0 for one that begins; `pending` if what is due after that step has still to be
    /// done.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn open(folder: &RunFolder, step: u64, pending: bool, every: u64, bar: ProgressBar) -> Result<Self, RunError> {
        let (metrics, events) = (folder.path().join("metrics.jsonl"), folder.path().join("tensorboard"));
        let kept = |metric: &Metric| match metric {
            Metric::Train(metric) => metric.step <= step,
            Metric::Valid(metric) => step > 0 && metric.step + u64::from(pending) <= step,
        };
        Ok(Self {
            metrics: MetricsFile::open(&metrics, kept).map_err(RunError::io("write", &metrics))?,
            events: EventFile::create(&events, step).map_err(RunError::io("write", &events))?,
            bar,
            every,
            started: Instant::now(),
            images: 0,
            waited: Duration::ZERO,
        })
    }

    /// A training step; every `log_every`th becomes a line.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn step(&mut self, line: &StepLine) -> Result<(), RunError> {
        self.images += line.images;
        self.waited += line.waited;
        self.bar.set_position(line.step);
        if !line.step.is_multiple_of(self.every) {
            return Ok(());
        }
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let metric = TrainMetric {
            step: line.step,
            epoch: line.epoch,
            loss: line.loss,
            smoothed: line.smoothed,
            grad_norm: line.grad_norm,
            learning_rate: line.learning_rate,
            images_per_second: self.images as f64 / seconds,
            waited: self.waited.as_secs_f64() / seconds,
            memory_mib: peak_bytes().map(|bytes| bytes >> 20),
        };
        let memory = metric.memory_mib.map_or_else(String::new, |mib| format!(", {mib} MiB"));
        self.bar.set_message(format!("loss {:.4}, {:.1} images/s{memory}", line.smoothed, metric.images_per_second));
        let tags = [
            ("train/loss", metric.loss),
            ("train/smoothed_loss", metric.smoothed),
            ("train/grad_norm", metric.grad_norm),
            ("train/learning_rate", metric.learning_rate),
            ("speed/images_per_second", metric.images_per_second),
            ("speed/waited", metric.waited),
        ];
        self.scalars(line.step, tags.map(|(tag, value)| (tag.to_owned(), value)).to_vec())?;
        self.line(&Metric::Train(metric))?;
        self.restart();
        Ok(())
    }

    /// What is done between steps is no part of their speed.
    pub fn restart(&mut self) {
        (self.started, self.images, self.waited) = (Instant::now(), 0, Duration::ZERO);
    }

    /// A validation.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn validation(&mut self, metric: ValidMetric) -> Result<(), RunError> {
        let mut values = Vec::new();
        for (name, loss) in [("live", Some(&metric.live)), ("ema", metric.ema.as_ref())] {
            let Some(loss) = loss else { continue };
            values.push((format!("valid/{name}"), loss.mean));
            values.extend(loss.bins.iter().enumerate().map(|(bin, loss)| (format!("valid/{name}/bin_{bin}"), *loss)));
        }
        self.scalars(metric.step, values)?;
        self.line(&Metric::Valid(metric))
    }

    /// A sample sheet.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn sheet(&mut self, step: u64, sheet: Painted) -> Result<(), RunError> {
        let written = self.events.image(step, "samples", sheet.size, sheet.png);
        written.map_err(RunError::io("write", self.metrics.path()))
    }

    /// Draws all losses so far into `loss.svg`.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn plot(&self, folder: &RunFolder) -> Result<(), RunError> {
        let metrics = metrics::read(self.metrics.path()).map_err(RunError::io("read", self.metrics.path()))?;
        Ok(folder.write("loss.svg", svg_losses(&metrics).as_bytes())?)
    }

    /// A line for people, above the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    fn scalars(&mut self, step: u64, values: Vec<(String, f64)>) -> Result<(), RunError> {
        self.events.scalars(step, &values).map_err(RunError::io("write", self.metrics.path()))
    }

    fn line(&mut self, metric: &Metric) -> Result<(), RunError> {
        self.metrics.push(metric).map_err(RunError::io("write", self.metrics.path()))
    }
}
