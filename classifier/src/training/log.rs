//! The metrics of a training run: `metrics.jsonl` and TensorBoard, one format for classifiers and fine-tuning.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roentgen_augment::atomic::write_atomic;
use serde::{Deserialize, Deserializer, Serialize};

use super::tensorboard::EventFile;
use crate::ClassifierError;

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Metric {
    /// A training step.
    Train(TrainMetric),
    /// A validation.
    Valid(ValidMetric),
}

/// A training step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainMetric {
    /// Optimiser steps taken, this one included.
    pub step: u64,
    /// Passes over the training set so far; none for a mixture, which has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<f64>,
    /// Mean loss of the step's samples, before the step.
    #[serde(deserialize_with = "number_or_nan")]
    pub loss: f64,
    /// Exponential average of the losses.
    #[serde(deserialize_with = "number_or_nan")]
    pub smoothed: f64,
    /// Norm of all gradients before clipping.
    #[serde(deserialize_with = "number_or_nan")]
    pub grad_norm: f64,
    /// Highest learning rate of all parts.
    pub learning_rate: f64,
    /// Since the last logged step.
    pub images_per_second: f64,
    /// Share of the time spent waiting for data, 0 to 1.
    pub waited: f64,
    /// Most main memory held so far, MiB.
    pub memory_mib: Option<u64>,
}

/// A validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidMetric {
    /// Optimiser steps taken.
    pub step: u64,
    /// Of the weights that train.
    pub live: BinnedLoss,
    /// Of their moving average, if there is one.
    #[serde(default)]
    pub ema: Option<BinnedLoss>,
    /// Results of a classifier's validation besides its loss.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<RoundMetric>,
}

/// Results of a classifier's validation, and of the steps since the one before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundMetric {
    /// Macro AUROC on validation; `None` if undefined.
    pub macro_auroc: Option<f64>,
    /// Mean training loss of the steps.
    #[serde(deserialize_with = "number_or_nan")]
    pub train_loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Wall seconds, validation included.
    pub seconds: f64,
    /// Seconds that the trainer waited for data.
    pub waited: f64,
}

/// A loss over the held-out images, by timestep where there are timesteps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinnedLoss {
    /// Mean over all bins.
    #[serde(deserialize_with = "number_or_nan")]
    pub mean: f64,
    /// Mean of each bin, from the least noise to the most; none for a classifier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bins: Vec<f64>,
}

impl ValidMetric {
    /// The loss of the weights that are exported: the average's, if there is one.
    #[must_use]
    pub fn exported(&self) -> f64 {
        self.ema.as_ref().unwrap_or(&self.live).mean
    }

    /// Numbers by the tags that TensorBoard groups them by.
    fn scalars(&self) -> Vec<(String, f64)> {
        let mut values = Vec::new();
        for (name, loss) in [("live", Some(&self.live)), ("ema", self.ema.as_ref())] {
            let Some(loss) = loss else { continue };
            values.push((format!("valid/{name}"), loss.mean));
            values.extend(loss.bins.iter().enumerate().map(|(bin, loss)| (format!("valid/{name}/bin_{bin}"), *loss)));
        }
        let auroc = self.classifier.and_then(|round| round.macro_auroc);
        values.extend(auroc.map(|auroc| ("valid/macro_auroc".to_owned(), auroc)));
        values
    }
}

impl TrainMetric {
    fn scalars(&self) -> Vec<(String, f64)> {
        let tags = [
            ("train/loss", self.loss),
            ("train/smoothed_loss", self.smoothed),
            ("train/grad_norm", self.grad_norm),
            ("train/learning_rate", self.learning_rate),
            ("speed/images_per_second", self.images_per_second),
            ("speed/waited", self.waited),
        ];
        tags.map(|(tag, value)| (tag.to_owned(), value)).to_vec()
    }
}

impl Metric {
    /// Optimiser steps taken.
    #[must_use]
    pub fn step(&self) -> u64 {
        match self {
            Self::Train(metric) => metric.step,
            Self::Valid(metric) => metric.step,
        }
    }
}

/// JSON has no NaN: it is written as null.
fn number_or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A line of any version.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Metric(Metric),
    Round(EarlierRound),
}

/// The form of classifiers up to version 0.1: one line per validation.
#[derive(Deserialize)]
struct EarlierRound {
    step: u64,
    #[serde(deserialize_with = "number_or_nan")]
    train_loss: f64,
    #[serde(deserialize_with = "number_or_nan")]
    valid_loss: f64,
    valid_macro_auroc: Option<f64>,
    learning_rate: f64,
    seconds: f64,
    waited: f64,
}

impl From<Line> for Metric {
    fn from(line: Line) -> Self {
        let round = match line {
            Line::Metric(metric) => return metric,
            Line::Round(round) => round,
        };
        let EarlierRound { step, train_loss, valid_loss, valid_macro_auroc: macro_auroc, learning_rate, seconds, waited } =
            round;
        let classifier = Some(RoundMetric { macro_auroc, train_loss, learning_rate, seconds, waited });
        Self::Valid(ValidMetric { step, live: BinnedLoss { mean: valid_loss, bins: Vec::new() }, ema: None, classifier })
    }
}

fn parse(line: &str) -> Option<Metric> {
    serde_json::from_str::<Line>(line).ok().map(Metric::from)
}

/// The metrics of a file, none if it does not exist; truncated lines are skipped.
///
/// # Errors
/// Those of the file system.
pub fn read_metrics(path: &Path) -> io::Result<Vec<Metric>> {
    Ok(text(path)?.lines().filter_map(parse).collect())
}

/// The text of a file, empty if it does not exist.
fn text(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

/// What a step reports to the log.
#[derive(Clone, Copy, Debug)]
pub struct StepLine {
    /// Optimiser steps taken.
    pub step: u64,
    /// Passes over the training set, where it has an end.
    pub epoch: Option<f64>,
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

/// The logs of one start of a run.
#[derive(Debug)]
pub struct TrainingLog {
    path: PathBuf,
    metrics: File,
    events: EventFile,
    every: u64,
    /// Since the last line.
    started: Instant,
    images: usize,
    waited: Duration,
}

impl TrainingLog {
    /// `metrics.jsonl` and `tensorboard/` in `folder`, for a run that continues after `step` (0 for a new run). Lines that are
    /// not `kept` belong to lost work and are removed, as is a truncated last one. Every `every`th step becomes a
    /// line.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn open(folder: &Path, step: u64, every: u64, kept: impl Fn(&Metric) -> bool) -> Result<Self, ClassifierError> {
        let (path, events) = (folder.join("metrics.jsonl"), folder.join("tensorboard"));
        let events = EventFile::create(&events, step).map_err(ClassifierError::io("write", &events))?;
        let metrics = reopened(&path, kept).map_err(ClassifierError::io("write", &path))?;
        Ok(Self { path, metrics, events, every, started: Instant::now(), images: 0, waited: Duration::ZERO })
    }

    /// A training step, and the line that it became.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn step(&mut self, line: &StepLine) -> Result<Option<TrainMetric>, ClassifierError> {
        self.images += line.images;
        self.waited += line.waited;
        if !line.step.is_multiple_of(self.every) {
            return Ok(None);
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
        self.write(metric.step, metric.scalars(), &Metric::Train(metric.clone()))?;
        self.restart();
        Ok(Some(metric))
    }

    /// A validation.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn validation(&mut self, metric: ValidMetric) -> Result<(), ClassifierError> {
        self.write(metric.step, metric.scalars(), &Metric::Valid(metric))
    }

    /// A gray picture of a step, of this height and width, as the bytes of a PNG: for TensorBoard.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn image(&mut self, step: u64, tag: &str, size: [usize; 2], png: Vec<u8>) -> Result<(), ClassifierError> {
        self.events.image(step, tag, size, png).map_err(ClassifierError::io("write", &self.path))
    }

    /// Excludes the time between steps from their speed.
    pub fn restart(&mut self) {
        (self.started, self.images, self.waited) = (Instant::now(), 0, Duration::ZERO);
    }

    /// Everything logged so far, earlier starts included.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn read(&self) -> Result<Vec<Metric>, ClassifierError> {
        read_metrics(&self.path).map_err(ClassifierError::io("read", &self.path))
    }

    fn write(&mut self, step: u64, scalars: Vec<(String, f64)>, metric: &Metric) -> Result<(), ClassifierError> {
        let line = format!("{}\n", serde_json::to_string(metric).expect("metrics are plain numbers"));
        let written = self.events.scalars(step, &scalars).and_then(|()| self.metrics.write_all(line.as_bytes()));
        written.map_err(ClassifierError::io("write", &self.path))
    }
}

/// The file with the lines that are kept, to be appended to.
fn reopened(path: &Path, kept: impl Fn(&Metric) -> bool) -> io::Result<File> {
    // Lines are kept verbatim: numbers that are parsed and written again may lose their last digit.
    let text = text(path)?;
    let kept = text.lines().filter(|line| parse(line).is_some_and(|metric| kept(&metric)));
    let text: String = kept.map(|line| format!("{line}\n")).collect();
    write_atomic(path, |out| out.write_all(text.as_bytes()))?;
    OpenOptions::new().append(true).open(path)
}

/// Peak main memory of the process so far, in bytes, where the system reports it (Linux).
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    status_field(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// A field of `/proc/self/status`, which is in kB.
fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(step: u64) -> ValidMetric {
        ValidMetric { step, live: BinnedLoss { mean: 0.5, bins: vec![0.75, 0.25] }, ema: None, classifier: None }
    }

    #[test]
    fn what_came_after_the_checkpoint_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut log = TrainingLog::open(folder.path(), 0, 1, |_| true).unwrap();
        (1..=5).for_each(|step| log.validation(valid(step)).unwrap());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"kind\":\"valid\",\"st").unwrap();
        let mut log = TrainingLog::open(folder.path(), 3, 1, |metric| metric.step() <= 3).unwrap();
        log.validation(valid(4)).unwrap();
        assert_eq!(log.read().unwrap(), (1..=4).map(|step| Metric::Valid(valid(step))).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(folder.path().join("tensorboard")).unwrap().count(), 2, "one file for each start");
    }

    #[test]
    fn lines_of_a_classifier_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let round = RoundMetric { macro_auroc: None, train_loss: 0.5, learning_rate: 0.25, seconds: 1.0, waited: 0.5 };
        let metric =
            ValidMetric { step: 7, live: BinnedLoss { mean: 0.125, bins: Vec::new() }, ema: None, classifier: Some(round) };
        let mut log = TrainingLog::open(folder.path(), 0, 2, |_| true).unwrap();
        log.validation(metric.clone()).unwrap();
        let line = |step| StepLine {
            step,
            epoch: None,
            loss: 0.5,
            smoothed: 0.5,
            grad_norm: 2.0,
            learning_rate: 0.25,
            images: 8,
            waited: Duration::ZERO,
        };
        assert_eq!(log.step(&line(1)).unwrap(), None, "every second step is a line");
        let step = log.step(&line(2)).unwrap().unwrap();
        assert_eq!(log.read().unwrap(), [Metric::Valid(metric), Metric::Train(step)]);
    }

    /// Lines as version 0.1 wrote them, of a classifier and of fine-tuning.
    #[test]
    fn files_of_the_version_before_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let text = concat!(
            r#"{"round":2,"step":20,"train_loss":0.5,"valid_loss":0.25,"valid_macro_auroc":0.75,"learning_rate":0.001,"seconds":3.5,"waited":0.5}"#,
            "\n",
            r#"{"kind":"train","step":3,"epoch":0.5,"loss":1.0,"smoothed":1.5,"grad_norm":2.0,"learning_rate":0.1,"images_per_second":9.0,"waited":0.25,"memory_mib":64}"#,
            "\n",
            r#"{"kind":"valid","step":4,"live":{"mean":0.5,"bins":[0.75,0.25]},"ema":null}"#,
            "\n",
        );
        std::fs::write(&path, text).unwrap();
        let round = RoundMetric { macro_auroc: Some(0.75), train_loss: 0.5, learning_rate: 0.001, seconds: 3.5, waited: 0.5 };
        let train = TrainMetric {
            step: 3,
            epoch: Some(0.5),
            loss: 1.0,
            smoothed: 1.5,
            grad_norm: 2.0,
            learning_rate: 0.1,
            images_per_second: 9.0,
            waited: 0.25,
            memory_mib: Some(64),
        };
        let live = BinnedLoss { mean: 0.25, bins: Vec::new() };
        assert_eq!(
            read_metrics(&path).unwrap(),
            [
                Metric::Valid(ValidMetric { step: 20, live, ema: None, classifier: Some(round) }),
                Metric::Train(train),
                Metric::Valid(valid(4)),
            ]
        );
    }

    #[test]
    fn a_field_of_the_status_is_in_kilobytes() {
        let status = "Name:\troentgen\nVmHWM:\t   12345 kB\nThreads:\t3\n";
        assert_eq!(status_field(status, "VmHWM:"), Some(12_345 * 1024));
        assert_eq!(status_field(status, "VmRSS:"), None);
    }
}
