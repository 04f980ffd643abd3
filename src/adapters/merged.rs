//! A pipeline's folder with adapters in its weights, which a study or diffusers can name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use roentgen_augment::atomic::write_atomic;
use serde_json::json;

use super::{AdapterError, EmbeddingChoice, LoraChoice, add_all};
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::{Checkpoint, OpenOptions};

/// What was merged, in the folder.
const RECORD: &str = "merged.json";

/// Why no folder was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The base.
    #[error(transparent)]
    Diffusion(#[from] DiffusionError),
    /// A LoRA or an embedding.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// There is something in its place.
    #[error("{} is not empty; give a folder that does not exist yet", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// It can't be written.
    #[error("cannot write {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Writes the pipeline in `base` with adapters merged and tokens added to `out`: plain files, what changed in 32-bit floats, the rest in
/// the type that it had. The folder is complete or absent; `merged.json` in it says what it was made of. `opened` is told each step.
///
/// # Errors
/// [`MergeError`].
pub fn write_merged(
    base: &Path,
    loras: &[LoraChoice],
    embeddings: &[EmbeddingChoice],
    out: &Path,
    mut opened: impl FnMut(&str),
) -> Result<(), MergeError> {
    let io = |source| MergeError::Io { path: out.to_owned(), source };
    if out.exists() && !is_empty_folder(out).map_err(io)? {
        return Err(MergeError::Taken { path: out.to_owned() });
    }
    let pipeline =
        Checkpoint::read(base)?.load(&OpenOptions::new(&Device::flex()), |part| opened(&format!("{part} loaded")))?;
    let fingerprint = pipeline.fingerprint();
    let merged = add_all(pipeline, loras, embeddings)?;
    let above = out.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(above).map_err(io)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp-");
    // Temporary folders are private by default; the result is an ordinary one, as the user's umask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let folder = builder.tempdir_in(above).map_err(io)?;
    opened("writing");
    merged.save(folder.path())?;
    let record = json!({
        "roentgen": env!("CARGO_PKG_VERSION"),
        "base": { "folder": base, "fingerprint": fingerprint.to_string() },
        "adapters": merged.adapters(),
    });
    write_atomic(&folder.path().join(RECORD), |file| writeln!(file, "{record:#}")).map_err(io)?;
    std::fs::rename(folder.path(), out).map_err(io)?;
    // It is the result from now on.
    let _ = folder.keep();
    Ok(())
}

fn is_empty_folder(path: &Path) -> io::Result<bool> {
    Ok(path.is_dir() && path.read_dir()?.next().is_none())
}
