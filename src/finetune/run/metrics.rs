//! `metrics.jsonl`: one line a logged step, one a validation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;
use serde::{Deserialize, Serialize};

/// What was measured at a step.
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
    /// Passes over the training set so far.
    pub epoch: f64,
    /// Mean loss of the step's samples, before the step.
    pub loss: f64,
    /// Exponential average of the losses.
    pub smoothed: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Of the part that trains with the highest.
    pub learning_rate: f64,
    /// Since the last logged step.
    pub images_per_second: f64,
    /// Time spent waiting for data, as a share of all.
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
    pub ema: Option<BinnedLoss>,
}

/// A loss over the held-out images by timestep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BinnedLoss {
    /// Mean over all bins.
    pub mean: f64,
    /// Mean of each bin, from the least noise to the most.
    pub bins: Vec<f64>,
}

impl ValidMetric {
    /// The loss of the weights that are exported: the average's, if there is one.
    #[must_use]
    pub fn exported(&self) -> f64 {
        self.ema.as_ref().unwrap_or(&self.live).mean
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

/// The file.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
    path: PathBuf,
}

impl MetricsFile {
    /// Opens `path` for a run that goes on, keeping the lines that are `kept` and leaving out a last one that was cut off.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path, kept: impl Fn(&Metric) -> bool) -> io::Result<Self> {
        // Lines stay as they were written: numbers that are read and written again may lose their last digit.
        let text = text(path)?;
        let kept = text.lines().filter(|line| serde_json::from_str(line).is_ok_and(|metric| kept(&metric)));
        let text: String = kept.map(|line| format!("{line}\n")).collect();
        write_atomic(path, |out| out.write_all(text.as_bytes()))?;
        Ok(Self { file: OpenOptions::new().append(true).open(path)?, path: path.to_owned() })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn push(&mut self, metric: &Metric) -> io::Result<()> {
        self.file.write_all(line(metric).as_bytes())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The metrics of a file, none if it is not there; lines that are cut off are left out.
///
/// # Errors
/// Those of the file system.
pub fn read(path: &Path) -> io::Result<Vec<Metric>> {
    Ok(text(path)?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// The text of a file, empty if it is not there.
fn text(path: &Path) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result,
    }
}

fn line(metric: &Metric) -> String {
    format!("{}\n", serde_json::to_string(metric).expect("metrics are plain numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(step: u64) -> Metric {
        let live = BinnedLoss { mean: 0.5, bins: vec![0.75, 0.25] };
        Metric::Valid(ValidMetric { step, live, ema: None })
    }

    #[test]
    fn what_came_after_the_checkpoint_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, |_| true).unwrap();
        (1..=5).for_each(|step| file.push(&valid(step)).unwrap());
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"kind\":\"valid\",\"st").unwrap();
        let mut file = MetricsFile::open(&path, |metric| metric.step() <= 3).unwrap();
        file.push(&valid(4)).unwrap();
        assert_eq!(read(&path).unwrap(), (1..=4).map(valid).collect::<Vec<_>>());
    }
}
