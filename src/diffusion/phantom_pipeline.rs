//! The pipeline that comes with the program: a small one, trained on films of the chest phantom alone.

use std::io::Write;
use std::path::Path;

use roentgen_augment::atomic::write_atomic;

use super::DiffusionError;

/// A file of the pipeline's folder: its path there, its bytes.
type File = (&'static str, &'static [u8]);

macro_rules! shipped {
    ($path:literal) => {
        ($path, include_bytes!(concat!("../../assets/demo/pipeline/", $path)).as_slice())
    };
}

/// The index comes last, so that a folder with one is whole.
const FILES: [File; 10] = [
    shipped!("scheduler/scheduler_config.json"),
    shipped!("text_encoder/config.json"),
    shipped!("text_encoder/model.safetensors"),
    shipped!("tokenizer/tokenizer_config.json"),
    shipped!("tokenizer/vocab.txt"),
    shipped!("unet/config.json"),
    shipped!("unet/diffusion_pytorch_model.safetensors"),
    shipped!("vae/config.json"),
    shipped!("vae/diffusion_pytorch_model.safetensors"),
    shipped!("model_index.json"),
];

/// Writes the shipped pipeline as a folder in diffusers' layout: a text-conditioned latent diffusion model for gray films of 64 pixels, as
/// half-precision weights.
///
/// It was trained by this program on films of the chest phantom and on template text, by the run files in `assets/demo/train`. It has
/// seen no radiograph of a person, and none of the phantoms that the demo trains or judges a classifier on.
///
/// # Errors
/// [`DiffusionError::Io`].
pub fn write_phantom_pipeline(folder: &Path) -> Result<(), DiffusionError> {
    FILES.iter().try_for_each(|(name, bytes)| {
        let path = folder.join(name);
        write_atomic(&path, |out| out.write_all(bytes)).map_err(|source| DiffusionError::Io { action: "write", path, source })
    })
}

#[cfg(test)]
mod tests;
