//! Checkpoints that a kill at any moment leaves whole.
//!
//! `checkpoints/STEP/{state.safetensors, checkpoint.json}`: written into a folder under another name, synced file by file, then
//! renamed. A folder with a step's name is whole; anything else is a leftover.

mod file;

use std::path::{Path, PathBuf};

use roentgen_classifier::training::LossWatch;
use serde::{Deserialize, Serialize};

use super::error::RunError;
use crate::finetune::TraineeState;

/// The `[checkpoints]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between two checkpoints. The last step, an interruption and a best validation make one too.
    pub every: u64,
    /// How many of the newest are kept, besides the best.
    pub keep: usize,
    /// Which one becomes the pipeline at the end.
    pub export: ExportChoice,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: 500, keep: 2, export: ExportChoice::Last }
    }
}

/// Which weights become the pipeline at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportChoice {
    /// Those of the last step.
    #[default]
    Last,
    /// Those of the best validation.
    Best,
}

/// Everything a run goes on from.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Weights, moments, averages, counters.
    pub state: TraineeState,
    /// What the loop remembers.
    pub memory: LoopMemory,
}

/// What the loop carries from step to step besides the weights. Order and random numbers are functions of the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopMemory {
    /// The smoothed loss.
    pub watch: LossWatch,
    /// The best validation so far.
    pub best: Option<Best>,
    /// Whether the run was interrupted after the step and before what is due after it.
    pub pending: bool,
}

/// The best validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Best {
    /// Its step.
    pub step: u64,
    /// Bits of its loss.
    loss: u64,
}

impl Best {
    /// A validation of that loss.
    #[must_use]
    pub fn new(step: u64, loss: f64) -> Self {
        Self { step, loss: loss.to_bits() }
    }

    /// Its loss.
    #[must_use]
    pub fn loss(&self) -> f64 {
        f64::from_bits(self.loss)
    }
}

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct CheckpointFolder(PathBuf);

const LEFTOVER: &str = ".tmp-";

impl CheckpointFolder {
    /// `run/checkpoints`; leftovers of a kill are removed.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn open(run: &Path) -> Result<Self, RunError> {
        let folder = Self(run.join("checkpoints"));
        std::fs::create_dir_all(&folder.0).map_err(RunError::io("create", &folder.0))?;
        for path in folder.entries()? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LEFTOVER)) {
                std::fs::remove_dir_all(&path).map_err(RunError::io("remove", &path))?;
            }
        }
        Ok(folder)
    }

    fn entries(&self) -> Result<Vec<PathBuf>, RunError> {
        let read = || std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        read().map_err(RunError::io("read", &self.0))
    }

    /// Its steps, oldest first.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn steps(&self) -> Result<Vec<u64>, RunError> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        let mut steps: Vec<u64> = self.entries()?.iter().filter_map(number).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn step(&self, step: u64) -> PathBuf {
        self.0.join(format!("{step:08}"))
    }

    /// Writes a checkpoint of `checkpoint.state.steps`, whole or not at all. The others stay.
    ///
    /// # Errors
    /// [`RunError::Save`], which says what to do about a full disk.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), RunError> {
        let step = checkpoint.state.steps;
        let (temporary, target) = (self.0.join(format!("{LEFTOVER}{step:08}")), self.step(step));
        let kept = || self.steps().ok().and_then(|steps| steps.last().copied()).unwrap_or(0);
        file::write(&temporary, checkpoint)
            .and_then(|()| {
                if target.exists() {
                    std::fs::remove_dir_all(&target)?;
                }
                std::fs::rename(&temporary, &target)?;
                file::sync_folder(&self.0)
            })
            .map_err(|source| {
                // Room for whatever made the disk full; a leftover that stays is removed at the next start.
                let _ = std::fs::remove_dir_all(&temporary);
                RunError::Save { path: target.clone(), step, kept: kept(), source }
            })
    }

    /// Removes all but the newest `keep` and the best.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn prune(&self, keep: usize, best: Option<Best>) -> Result<(), RunError> {
        let steps = self.steps()?;
        let old = steps.len().saturating_sub(keep.max(1));
        for step in steps[..old].iter().filter(|step| best.is_none_or(|best| best.step != **step)) {
            let path = self.step(*step);
            // Under its own name until it is whole no more.
            let leaving = self.0.join(format!("{LEFTOVER}{step:08}"));
            std::fs::rename(&path, &leaving).map_err(RunError::io("remove", &path))?;
            std::fs::remove_dir_all(&leaving).map_err(RunError::io("remove", &leaving))?;
        }
        Ok(())
    }

    /// The newest checkpoint that can be read, and the damaged ones passed over on the way to it.
    ///
    /// # Errors
    /// [`RunError::Io`]; [`RunError::Damaged`] if there are checkpoints and none can be read.
    pub fn newest(&self) -> Result<(Option<Checkpoint>, Vec<String>), RunError> {
        let mut damaged = Vec::new();
        let steps = self.steps()?;
        for step in steps.iter().rev() {
            match self.load(*step) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        match damaged.first() {
            None => Ok((None, damaged)),
            Some(message) => Err(RunError::Damaged { path: self.0.clone(), message: message.clone() }),
        }
    }

    /// The checkpoint of a step.
    ///
    /// # Errors
    /// [`RunError::Damaged`].
    pub fn load(&self, step: u64) -> Result<Checkpoint, RunError> {
        file::read(&self.step(step))
    }
}

/// `checkpoint.json`
#[derive(Serialize, Deserialize)]
struct Card {
    steps: u64,
    ema_updates: u64,
    behind: std::collections::BTreeMap<String, u64>,
    memory: LoopMemory,
    /// Of `state.safetensors`.
    digest: String,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::store::bridge;
    use burn::tensor::TensorData;

    use super::*;
    use crate::finetune::testing::contents;

    fn checkpoint(steps: u64) -> Checkpoint {
        let tensor = |name: &str, value: f32| {
            let data = TensorData::new(vec![value, -value, f32::MIN_POSITIVE], [3, 1]);
            (name.to_owned(), bridge::from_data(data, name.to_owned(), None))
        };
        let tensors = BTreeMap::from([tensor("weight.a", steps as f32), tensor("average.a", 0.1)]);
        let behind = BTreeMap::from([("a".to_owned(), 1)]);
        let state = TraineeState { steps, ema_updates: steps + 1, behind, tensors };
        Checkpoint { state, memory: LoopMemory { watch: LossWatch::default(), best: Some(Best::new(2, 0.1)), pending: true } }
    }

    fn assert_is(found: Option<Checkpoint>, steps: u64) {
        let (found, expected) = (found.unwrap(), checkpoint(steps));
        assert_eq!(contents(&found.state), contents(&expected.state));
        assert_eq!(found.memory, expected.memory);
    }

    #[test]
    fn a_checkpoint_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::open(folder.path()).unwrap();
        let (none, damaged) = checkpoints.newest().unwrap();
        assert!(none.is_none() && damaged.is_empty());
        checkpoints.save(&checkpoint(3)).unwrap();
        checkpoints.save(&checkpoint(3)).unwrap();
        assert_is(checkpoints.newest().unwrap().0, 3);
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::open(folder.path()).unwrap();
        for step in 1..=6 {
            checkpoints.save(&checkpoint(step)).unwrap();
            checkpoints.prune(2, Some(Best::new(2, 0.1))).unwrap();
        }
        assert_eq!(checkpoints.steps().unwrap(), [2, 5, 6]);
    }

    #[test]
    fn damage_is_passed_over_and_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::open(folder.path()).unwrap();
        (1..=3).for_each(|step| checkpoints.save(&checkpoint(step)).unwrap());
        std::fs::create_dir_all(folder.path().join("checkpoints/.tmp-00000004")).unwrap();
        let state = folder.path().join("checkpoints/00000003/state.safetensors");
        let mut bytes = std::fs::read(&state).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&state, bytes).unwrap();
        std::fs::remove_file(folder.path().join("checkpoints/00000002/checkpoint.json")).unwrap();
        let checkpoints = CheckpointFolder::open(folder.path()).unwrap();
        let (found, damaged) = checkpoints.newest().unwrap();
        assert_is(found, 1);
        assert_eq!(damaged.len(), 2);
        assert!(!folder.path().join("checkpoints/.tmp-00000004").exists());
        std::fs::remove_dir_all(folder.path().join("checkpoints/00000001")).unwrap();
        assert!(matches!(checkpoints.newest(), Err(RunError::Damaged { .. })));
    }
}
