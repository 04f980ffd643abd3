//! The files of a checkpoint.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::View;
use safetensors::{Dtype, SafeTensors};

use super::{Card, Checkpoint};
use crate::finetune::TraineeState;
use crate::finetune::run::error::RunError;

const STATE: &str = "state.safetensors";
const CARD: &str = "checkpoint.json";

/// A tensor whose bytes are written as they lie in memory.
struct Stored<'a>(&'a TensorData);

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0.as_bytes())
    }

    fn data_len(&self) -> usize {
        self.0.as_bytes().len()
    }
}

/// Writes the files into `folder`, which is replaced, and syncs them.
pub(super) fn write(folder: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let TraineeState { steps, ema_updates, behind, tensors } = &checkpoint.state;
    assert!(tensors.values().all(|data| data.dtype() == DType::F32), "states are of 32-bit floats");
    let state = folder.join(STATE);
    let views = tensors.iter().map(|(name, data)| (name, Stored(data)));
    safetensors::serialize_to_file(views, None, &state).map_err(into_io)?;
    File::open(&state)?.sync_all()?;
    let (steps, ema_updates, behind) = (*steps, *ema_updates, behind.clone());
    let card = Card { steps, ema_updates, behind, memory: checkpoint.memory, digest: digest(&state)? };
    let mut file = File::create(folder.join(CARD))?;
    file.write_all(&serde_json::to_vec_pretty(&card).expect("a card is plain numbers and names"))?;
    file.sync_all()?;
    sync_folder(folder)
}

/// The system's error, which says whether the disk is full.
fn into_io(error: safetensors::SafeTensorError) -> io::Error {
    match error {
        safetensors::SafeTensorError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_string())
}

/// Makes names in `folder` survive a loss of power, where the system lets folders be opened.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Reads a checkpoint's folder.
pub(super) fn read(folder: &Path) -> Result<Checkpoint, RunError> {
    let damaged = |message: String| RunError::Damaged { path: folder.to_owned(), message };
    let bytes = |name: &str| std::fs::read(folder.join(name)).map_err(|error| damaged(format!("{name}: {error}")));
    let card: Card = serde_json::from_slice(&bytes(CARD)?).map_err(|error| damaged(format!("{CARD}: {error}")))?;
    let state = bytes(STATE)?;
    if blake3::hash(&state).to_string() != card.digest {
        return Err(damaged(format!("{STATE} is not what was written")));
    }
    let file = SafeTensors::deserialize(&state).map_err(|error| damaged(format!("{STATE}: {error}")))?;
    let tensors = file.iter().map(|(name, view)| {
        let values = view.data().chunks_exact(4).map(|value| f32::from_le_bytes(value.try_into().expect("chunks of four")));
        (name.to_owned(), TensorData::new(values.collect::<Vec<f32>>(), view.shape().to_vec()))
    });
    let tensors = tensors.collect();
    let Card { steps, ema_updates, behind, memory, .. } = card;
    Ok(Checkpoint { state: TraineeState { steps, ema_updates, behind, tensors }, memory })
}
