//! What a run goes on from: weights, moments and averages, and what the loop remembers.
//!
//! `checkpoints/STEP/{state.safetensors, checkpoint.json}`, written and pruned by [`CheckpointFolder`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use roentgen_classifier::ClassifierError;
use roentgen_classifier::training::{CheckpointFolder, CheckpointLayout, LossWatch, file_digest};
use roentgen_classifier::weights::{open_f32, write_f32};
use serde::{Deserialize, Serialize};

use super::error::RunError;
use crate::finetune::TraineeState;

/// The `[checkpoints]` table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Steps between checkpoints. The last step, an interruption and a best validation also write one.
    pub every: u64,
    /// Number of newest checkpoints that are kept, besides the best.
    pub keep: usize,
    /// Which checkpoint becomes the pipeline at the end.
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

/// Everything that a run continues from.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Weights, moments, averages, counters.
    pub state: TraineeState,
    /// The state of the loop.
    pub memory: LoopMemory,
}

/// The state of the loop besides the weights. Order and random numbers are functions of the step.
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
pub struct Checkpoints(CheckpointFolder);

const STATE: &str = "state.safetensors";
const CARD: &str = "checkpoint.json";
const LAYOUT: CheckpointLayout = CheckpointLayout { digits: 8, files: &[STATE, CARD] };

impl Checkpoints {
    /// `run/checkpoints`; leftovers of a kill are removed.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn open(run: &Path) -> Result<Self, RunError> {
        Ok(Self(CheckpointFolder::open(run, LAYOUT)?))
    }

    /// Writes a checkpoint of `checkpoint.state.steps`, whole or not at all. The others stay.
    ///
    /// # Errors
    /// [`RunError::Save`], which says what to do about a full disk.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), RunError> {
        let step = checkpoint.state.steps;
        self.0.save(step, |folder| write(folder, checkpoint)).map_err(|source| {
            let kept = self.0.numbers().ok().and_then(|steps| steps.last().copied()).unwrap_or(0);
            RunError::Save { path: self.0.checkpoint(step), step, kept, source }
        })
    }

    /// Removes all but the newest `keep` and the best.
    ///
    /// # Errors
    /// [`RunError::Training`].
    pub fn prune(&self, keep: usize, best: Option<Best>) -> Result<(), RunError> {
        Ok(self.0.prune(keep, best.map(|best| best.step))?)
    }

    /// The newest checkpoint that can be read, and the damaged ones that were skipped.
    ///
    /// # Errors
    /// [`RunError::Training`] if there are checkpoints and none can be read.
    pub fn newest(&self) -> Result<(Option<Checkpoint>, Vec<String>), RunError> {
        let (found, damaged) = self.0.newest(read)?;
        Ok((found.map(|(_, checkpoint)| checkpoint), damaged))
    }

    /// The checkpoint of a step.
    ///
    /// # Errors
    /// [`RunError::Training`] for one that is damaged.
    pub fn load(&self, step: u64) -> Result<Checkpoint, RunError> {
        Ok(self.0.load(step, read)?)
    }
}

/// `checkpoint.json`
#[derive(Serialize, Deserialize)]
struct Card {
    steps: u64,
    ema_updates: u64,
    behind: BTreeMap<String, u64>,
    memory: LoopMemory,
    /// Of `state.safetensors`, where version 0.1 wrote it; digests of all files lie beside them now.
    #[serde(default, skip_serializing)]
    digest: Option<String>,
}

/// Writes the files into `folder`.
fn write(folder: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let TraineeState { steps, ema_updates, behind, tensors } = &checkpoint.state;
    let mut out = BufWriter::new(File::create(folder.join(STATE))?);
    write_f32(&mut out, tensors)?;
    out.flush()?;
    let card =
        Card { steps: *steps, ema_updates: *ema_updates, behind: behind.clone(), memory: checkpoint.memory, digest: None };
    std::fs::write(folder.join(CARD), serde_json::to_vec_pretty(&card).expect("a card is plain numbers and names"))
}

/// Opens a checkpoint's folder; values are read when they are asked for.
fn read(folder: &Path) -> Result<Checkpoint, ClassifierError> {
    let damaged = |message: String| ClassifierError::DamagedCheckpoint { path: folder.to_owned(), message };
    let bytes = std::fs::read(folder.join(CARD)).map_err(|error| damaged(format!("{CARD}: {error}")))?;
    let card: Card = serde_json::from_slice(&bytes).map_err(|error| damaged(format!("{CARD}: {error}")))?;
    if let Some(expected) = &card.digest {
        let found = file_digest(&folder.join(STATE)).map_err(|error| damaged(format!("{STATE}: {error}")))?;
        if found != *expected {
            return Err(damaged(format!("{STATE} is not what was written")));
        }
    }
    let tensors = open_f32(&folder.join(STATE)).map_err(|error| damaged(error.to_string()))?;
    let Card { steps, ema_updates, behind, memory, .. } = card;
    Ok(Checkpoint { state: TraineeState { steps, ema_updates, behind, tensors }, memory })
}

#[cfg(test)]
mod tests {
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
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        let (none, damaged) = checkpoints.newest().unwrap();
        assert!(none.is_none() && damaged.is_empty());
        checkpoints.save(&checkpoint(3)).unwrap();
        checkpoints.save(&checkpoint(3)).unwrap();
        assert_is(checkpoints.newest().unwrap().0, 3);
    }

    /// As version 0.1 left them: without digests beside the files, but with one in the card.
    #[test]
    fn a_checkpoint_of_the_version_before_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path()).unwrap();
        checkpoints.save(&checkpoint(3)).unwrap();
        let path = folder.path().join("checkpoints/00000003");
        std::fs::remove_file(path.join("B3SUMS")).unwrap();
        let mut card: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join(CARD)).unwrap()).unwrap();
        for (digest, good) in [(file_digest(&path.join(STATE)).unwrap(), true), ("0".repeat(64), false)] {
            card["digest"] = digest.into();
            std::fs::write(path.join(CARD), card.to_string()).unwrap();
            match checkpoints.newest() {
                Ok((found, _)) if good => assert_is(found, 3),
                found => assert!(!good && found.is_err()),
            }
        }
    }
}
