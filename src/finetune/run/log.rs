//! Where a run's numbers go: the progress bar, `metrics.jsonl`, TensorBoard, the loss plot.

use indicatif::ProgressBar;
use roentgen_classifier::training::{Metric, StepLine, TrainingLog, ValidMetric};

use super::error::RunError;
use super::evaluation::Painted;
use super::folder::RunFolder;
use crate::report::svg_losses;

/// The logs of one start of a run.
#[derive(Debug)]
pub struct RunLog {
    log: TrainingLog,
    bar: ProgressBar,
}

impl RunLog {
    /// The logs of a run that goes on after `step`, 0 for one that begins; `pending` if what is due after that step has still to be
    /// done.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn open(folder: &RunFolder, step: u64, pending: bool, every: u64, bar: ProgressBar) -> Result<Self, RunError> {
        let kept = |metric: &Metric| match metric {
            Metric::Train(metric) => metric.step <= step,
            Metric::Valid(metric) => step > 0 && metric.step + u64::from(pending) <= step,
        };
        Ok(Self { log: TrainingLog::open(folder.path(), step, every, kept)?, bar })
    }

    /// A training step; every `log_every`th becomes a line.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn step(&mut self, line: &StepLine) -> Result<(), RunError> {
        self.bar.set_position(line.step);
        if let Some(metric) = self.log.step(line)? {
            let memory = metric.memory_mib.map_or_else(String::new, |mib| format!(", {mib} MiB"));
            self.bar.set_message(format!("loss {:.4}, {:.1} images/s{memory}", line.smoothed, metric.images_per_second));
        }
        Ok(())
    }

    /// What is done between steps is no part of their speed.
    pub fn restart(&mut self) {
        self.log.restart();
    }

    /// A validation.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn validation(&mut self, metric: ValidMetric) -> Result<(), RunError> {
        Ok(self.log.validation(metric)?)
    }

    /// A sample sheet.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn sheet(&mut self, step: u64, sheet: Painted) -> Result<(), RunError> {
        Ok(self.log.image(step, "samples", sheet.size, sheet.png)?)
    }

    /// Draws all losses so far into `loss.svg`.
    ///
    /// # Errors
    /// [`RunError::Training`]; [`RunError::Io`].
    pub fn plot(&self, folder: &RunFolder) -> Result<(), RunError> {
        folder.write("loss.svg", svg_losses(&self.log.read()?).as_bytes())
    }

    /// A line for people, above the bar.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}
