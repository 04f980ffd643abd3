//! Where a run's numbers go: whoever shows the progress, `metrics.jsonl`, TensorBoard, the loss plot.

use roentgen_augment::progress::Task;
use roentgen_classifier::training::{Metric, StepLine, TrainingLog, ValidMetric};

use super::error::RunError;
use super::evaluation::Painted;
use crate::report::svg_losses;
use crate::run_folder::RunFolder;

/// The logs of one start of a run.
#[derive(Debug)]
pub struct RunLog {
    log: TrainingLog,
    task: Box<dyn Task>,
}

impl RunLog {
    /// The logs of a run that continues after `step`, 0 for a new one; `pending` if the work due after that step is still to be
    /// done.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn open(folder: &RunFolder, step: u64, pending: bool, every: u64, task: Box<dyn Task>) -> Result<Self, RunError> {
        let kept = |metric: &Metric| match metric {
            Metric::Train(metric) => metric.step <= step,
            Metric::Valid(metric) => step > 0 && metric.step + u64::from(pending) <= step,
        };
        Ok(Self { log: TrainingLog::open(folder.path(), step, every, kept)?, task })
    }

    /// A training step; every `log_every`th becomes a line.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn step(&mut self, line: &StepLine) -> Result<(), RunError> {
        self.task.set(line.step);
        if let Some(metric) = self.log.step(line)? {
            let memory = metric.memory_mib.map_or_else(String::new, |mib| format!(", {mib} MiB"));
            self.task.message(&format!("loss {:.4}, {:.1} images/s{memory}", line.smoothed, metric.images_per_second));
        }
        Ok(())
    }

    /// Excludes the time between steps from their speed.
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
        Ok(folder.write("loss.svg", svg_losses(&self.log.read()?).as_bytes())?)
    }

    /// A line for people that stays.
    pub fn say(&self, text: &str) {
        self.task.note(text);
    }
}
