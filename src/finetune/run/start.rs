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
        // Parts that are put together are written without a variant.
        let (folder, checkpoint, variant) = match &assembly.base {
            Some(base) if assembly.is_base() => {
                let source = PipelineSource { folder: base.path(), variant: assembly.variant.clone(), unet: None };
                (base.path(), Checkpoint::read(source)?, assembly.variant.as_deref())
            }
            _ => {
                let (folder, checkpoint) = assembled(assembly, &run.join("start"))?;
                (folder, checkpoint, None)
            }
        };
        // Variants lie in the same folders, and a cache that runs share must not mix what they make.
        let digest = |parts: &[&str]| {
            let files = pipeline_digest(&folder, parts)?;
            Ok::<_, RunError>(variant.map_or(files, |variant| Fingerprint::of(&[&files.0, variant.as_bytes()])))
        };
        Ok(Self {
            digest: digest(&["", "scheduler", "text_encoder", "text_projection", "tokenizer", "unet", "vae"])?,
            vae: digest(&["vae"])?,
            text: digest(&["text_encoder", "tokenizer"])?,
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

#[cfg(test)]
mod tests {
    use burn::tensor::FloatDType;

    use super::*;
    use crate::diffusion::pipeline::{RandomSize, write_random_pipeline};

    #[test]
    fn variants_of_one_folder_have_digests_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = folder.path().join("tiny");
        write_random_pipeline(&pipeline, RandomSize::Tiny, 3, FloatDType::F32, |_| ()).unwrap();
        let weights = pipeline.join("vae/diffusion_pytorch_model");
        std::fs::copy(weights.with_extension("safetensors"), weights.with_extension("fp16.safetensors")).unwrap();
        let open = |variant: Option<&str>| {
            let assembly = Assembly { variant: variant.map(str::to_owned), ..Assembly::of_base(&pipeline) };
            StartingPoint::open(&assembly, folder.path()).unwrap()
        };
        let [plain, again, variant] = [None, None, Some("fp16")].map(open);
        assert_eq!((plain.digest, plain.vae, plain.text), (again.digest, again.vae, again.text));
        assert!(plain.digest != variant.digest && plain.vae != variant.vae && plain.text != variant.text);
    }
}
