//! The start of a run: the pipeline of the `[model]` table, as a folder.

use std::path::{Path, PathBuf};

use roentgen_augment::digest::Fingerprint;

use super::error::RunError;
use crate::diffusion::autoencoder::{is_taesd, write_taesd};
use crate::diffusion::pipeline::{Checkpoint, PipelineSource};
use crate::finetune::{Assembly, Origin};
use crate::run_folder::pipeline_digest;

/// A pipeline that can be trained, with digests of what is in it.
#[derive(Debug)]
pub struct StartingPoint {
    /// Its configurations; weights are not read yet.
    pub checkpoint: Checkpoint,
    /// Digest of everything.
    pub digest: Fingerprint,
    /// Digest of what turns images into latents.
    pub vae: Fingerprint,
    /// Digest of what turns texts into states.
    pub text: Fingerprint,
}

impl StartingPoint {
    /// Opens the base as it is, or puts the parts together in `run/start`; a folder that was put together by an earlier start is
    /// taken as it is.
    ///
    /// # Errors
    /// [`RunError::Finetune`] for parts that are missing or don't fit; [`RunError::Diffusion`]; [`RunError::Io`].
    pub fn open(assembly: &Assembly, run: &Path) -> Result<Self, RunError> {
        let (folder, checkpoint) = match &assembly.base {
            Some(base) if assembly.is_base() => {
                let source = PipelineSource { folder: base.path(), variant: assembly.variant.clone(), unet: None };
                (base.path(), Checkpoint::read(source)?)
            }
            _ => assembled(assembly, &run.join("start"))?,
        };
        Ok(Self {
            digest: pipeline_digest(
                &folder,
                &["", "scheduler", "text_encoder", "text_projection", "tokenizer", "unet", "vae"],
            )?,
            vae: pipeline_digest(&folder, &["vae"])?,
            text: pipeline_digest(&folder, &["text_encoder", "tokenizer"])?,
            checkpoint,
        })
    }
}

/// The parts in one folder. A kill leaves a folder without `model_index.json`, which is assembled again.
fn assembled(assembly: &Assembly, folder: &Path) -> Result<(PathBuf, Checkpoint), RunError> {
    if folder.join("model_index.json").is_file() {
        return Ok((folder.to_owned(), Checkpoint::read(folder)?));
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(RunError::io("remove", folder))?;
    }
    let mut assembly = assembly.clone();
    if let Origin::Folder(vae) = &assembly.vae
        && is_taesd(&vae.path())
    {
        let converted = folder.join("taesd");
        write_taesd(&vae.path(), &converted)?;
        assembly.vae = Origin::Folder(converted.into());
    }
    let checkpoint = assembly.write(folder)?;
    Ok((folder.to_owned(), checkpoint))
}
