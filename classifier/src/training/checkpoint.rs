//! Checkpoints that a kill at any moment leaves whole.
//!
//! `checkpoints/ROUND/{model,optimizer,scheduler}.bpk`, each written beside itself, synced and renamed. A round counts once all
//! three are there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use burn::train::{EarlyStoppingStrategy, Interrupter};

use super::gauge::Dial;
use super::history::{History, Round};
use super::loader::WaitClock;
use super::{TrainConfig, WarmupSchedule};

const PARTS: [&str; 3] = ["model", "optimizer", "scheduler"];

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct CheckpointFolder(PathBuf);

impl CheckpointFolder {
    /// `folder/checkpoints`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.join("checkpoints"))
    }

    fn part(&self, round: usize, part: &str) -> PathBuf {
        self.0.join(format!("{round:05}")).join(format!("{part}.bpk"))
    }

    /// The newest round of which every part is there, 0 if there is none.
    #[must_use]
    pub fn newest(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return 0 };
        let rounds = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<usize>().ok());
        rounds.filter(|round| PARTS.iter().all(|part| self.part(*round, part).is_file())).max().unwrap_or(0)
    }

    /// Path of the model of `round`.
    #[must_use]
    pub fn model(&self, round: usize) -> PathBuf {
        self.part(round, PARTS[0])
    }

    /// Checkpointers for model, optimiser and scheduler.
    #[must_use]
    pub fn checkpointers(&self) -> [PartCheckpointer; 3] {
        PARTS.map(|part| PartCheckpointer { folder: self.clone(), part })
    }
}

/// Saves one part of a checkpoint.
#[derive(Clone, Debug)]
pub struct PartCheckpointer {
    folder: CheckpointFolder,
    part: &'static str,
}

impl<R: Checkpoint> Checkpointer<R> for PartCheckpointer {
    fn save(&self, round: usize, record: R) -> Result<(), CheckpointerError> {
        let path = self.folder.part(round, self.part);
        let folder = path.parent().expect("a part lies in its round's folder");
        std::fs::create_dir_all(folder).map_err(CheckpointerError::IOError)?;
        let temporary = folder.join(format!(".{}.tmp.bpk", self.part));
        record.save(temporary.clone())?;
        std::fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(CheckpointerError::IOError)?;
        std::fs::rename(&temporary, &path).map_err(CheckpointerError::IOError)
    }

    fn delete(&self, round: usize) -> Result<(), CheckpointerError> {
        let path = self.folder.part(round, self.part);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(CheckpointerError::IOError(error)),
            _ => {}
        }
        // The last part to go takes the folder with it.
        let _ = std::fs::remove_dir(path.parent().expect("a part lies in its round's folder"));
        Ok(())
    }

    fn restore(&self, round: usize) -> Result<R, CheckpointerError> {
        R::load(self.folder.part(round, self.part))
    }
}

/// Writes the round down, saves it, and deletes what is neither newest nor best.
pub struct KeepBestAndNewest {
    /// Shared with [`Patience`].
    pub history: Arc<Mutex<History>>,
    /// The run's settings.
    pub config: TrainConfig,
    /// Reports a history that can't be written.
    pub interrupter: Interrupter,
    /// Time spent waiting for data.
    pub clock: WaitClock,
    /// Start of the round in progress.
    pub started: Instant,
    /// What the round measured.
    pub dials: Dials,
}

/// What a round measures.
#[derive(Clone, Debug, Default)]
pub struct Dials {
    /// Mean training loss.
    pub train_loss: Dial,
    /// Loss on validation.
    pub valid_loss: Dial,
    /// Macro AUROC on validation.
    pub valid_macro_auroc: Dial,
}

impl CheckpointingStrategy for KeepBestAndNewest {
    fn checkpointing(&mut self, round: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        let step = (round * self.config.eval_every).min(self.config.steps);
        let auroc = self.dials.valid_macro_auroc.read();
        let entry = Round {
            round,
            step,
            train_loss: self.dials.train_loss.read(),
            valid_loss: self.dials.valid_loss.read(),
            valid_macro_auroc: auroc.is_finite().then_some(auroc),
            learning_rate: WarmupSchedule::new(&self.config).rate(step as u64),
            seconds: self.started.elapsed().as_secs_f64(),
            waited: self.clock.take().as_secs_f64(),
        };
        self.started = Instant::now();
        let mut history = self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let kept_before = history.best().map(|best| best.round);
        if let Err(error) = history.push(entry) {
            self.interrupter.stop(Some(&error.to_string()));
            return Vec::new();
        }
        let best = history.best().map(|best| best.round);
        let mut actions = vec![CheckpointingAction::Save];
        let stale = [Some(round - 1).filter(|last| *last > 0), kept_before];
        for old in stale.into_iter().flatten().filter(|old| Some(*old) != best) {
            if !actions.contains(&CheckpointingAction::Delete(old)) {
                actions.push(CheckpointingAction::Delete(old));
            }
        }
        actions
    }
}

/// Stops after too many rounds without improvement.
#[derive(Clone)]
pub struct Patience {
    /// Shared with [`KeepBestAndNewest`], which has written the round down by the time this is asked.
    pub history: Arc<Mutex<History>>,
    /// Rounds.
    pub patience: usize,
}

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, _: usize, _: &EventStoreClient) -> bool {
        let history = self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.patience > 0 && history.rounds_without_improvement() >= self.patience
    }
}
