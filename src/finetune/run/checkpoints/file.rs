//! The files of a checkpoint.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use roentgen_classifier::weights::{open_f32, write_f32};

use super::{Card, Checkpoint};
use crate::finetune::TraineeState;
use crate::finetune::run::error::RunError;

const STATE: &str = "state.safetensors";
const CARD: &str = "checkpoint.json";

/// Writes the files into `folder`, which is replaced, and syncs them.
pub(super) fn write(folder: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let TraineeState { steps, ema_updates, behind, tensors } = &checkpoint.state;
    let state = folder.join(STATE);
    let mut out = BufWriter::new(File::create(&state)?);
    write_f32(&mut out, tensors)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    let (steps, ema_updates, behind) = (*steps, *ema_updates, behind.clone());
    let card = Card { steps, ema_updates, behind, memory: checkpoint.memory, digest: digest(&state)? };
    let mut file = File::create(folder.join(CARD))?;
    file.write_all(&serde_json::to_vec_pretty(&card).expect("a card is plain numbers and names"))?;
    file.sync_all()?;
    sync_folder(folder)
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

/// Opens a checkpoint's folder. Its values are compared with their digest now and read when they are asked for.
pub(super) fn read(folder: &Path) -> Result<Checkpoint, RunError> {
    let damaged = |message: String| RunError::Damaged { path: folder.to_owned(), message };
    let bytes = |name: &str| std::fs::read(folder.join(name)).map_err(|error| damaged(format!("{name}: {error}")));
    let card: Card = serde_json::from_slice(&bytes(CARD)?).map_err(|error| damaged(format!("{CARD}: {error}")))?;
    let state = folder.join(STATE);
    if digest(&state).map_err(|error| damaged(format!("{STATE}: {error}")))? != card.digest {
        return Err(damaged(format!("{STATE} is not what was written")));
    }
    let tensors = open_f32(&state).map_err(|error| damaged(error.to_string()))?;
    let Card { steps, ema_updates, behind, memory, .. } = card;
    Ok(Checkpoint { state: TraineeState { steps, ema_updates, behind, tensors }, memory })
}
