//! The tensors of an adapter's file, whatever its container, and where the file is in a folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use roentgen_classifier::weights::{SafetensorsFile, StoredTensor, open_pytorch, open_safetensors};

use super::AdapterError;
use crate::diffusion::DiffusionError;

/// Files of diffusers (`save_lora_weights`), the preferred first.
pub(super) const DIFFUSERS_FILES: [&str; 2] = ["pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin"];
/// Files of peft (`save_pretrained`), the preferred first.
pub(super) const PEFT_FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];
/// Both, the preferred first.
pub(crate) const LORA_FILES: [&str; 4] = [PEFT_FILES[0], PEFT_FILES[1], DIFFUSERS_FILES[0], DIFFUSERS_FILES[1]];
/// What peft writes beside them.
pub(crate) const LORA_CONFIG: &str = "adapter_config.json";
/// Textual inversions of diffusers' script, the preferred first.
pub(crate) const EMBEDDING_FILES: [&str; 2] = ["learned_embeds.safetensors", "learned_embeds.bin"];

/// Tensors, unread, and the notes of a safetensors header.
pub(super) struct AdapterFile {
    /// The file.
    pub(super) path: PathBuf,
    pub(super) tensors: BTreeMap<String, StoredTensor>,
    pub(super) notes: BTreeMap<String, String>,
    /// Whether it is a PyTorch file.
    pub(super) is_pickle: bool,
}

impl AdapterFile {
    /// Opens a file, or that of diffusers or peft in a folder, a LoRA's before a textual inversion's. A PyTorch file is read as data and never executed.
    pub(super) fn open(path: &Path) -> Result<Self, AdapterError> {
        let path = if path.is_dir() { in_folder(path)? } else { path.to_owned() };
        if is_pickle(&path)? {
            let tensors = open_pytorch(&path).map_err(DiffusionError::from)?;
            return Ok(Self { path, tensors, notes: BTreeMap::new(), is_pickle: true });
        }
        let SafetensorsFile { tensors, notes } = open_safetensors(&path).map_err(DiffusionError::from)?;
        Ok(Self { path, tensors, notes, is_pickle: false })
    }

    pub(super) fn unusable(&self, message: impl Into<String>) -> AdapterError {
        AdapterError::unusable(&self.path, message)
    }

    /// A tensor as finite 32-bit floats.
    pub(super) fn floats(&self, name: &str) -> Result<TensorData, AdapterError> {
        let stored = self.tensors.get(name).ok_or_else(|| self.unusable(format!("it has no `{name}`")))?;
        Ok(stored.finite_floats(&self.path, name).map_err(DiffusionError::from)?)
    }

    /// Refuses 8-bit floats by their name.
    pub(super) fn refuse_eight_bits(&self) -> Result<(), AdapterError> {
        let eight = self.tensors.iter().find_map(|(name, stored)| match stored {
            StoredTensor::Other { kind, .. } if kind.starts_with("F8") || kind.contains("Float8") => Some((name, kind)),
            _ => None,
        });
        match eight {
            Some((name, kind)) => Err(self.unusable(format!(
                "`{name}` is of 8-bit floats (fp8, {kind}), which this program does not compute: write every tensor of the file again \
                 in half precision, `tensor.to(torch.float16)` in Python"
            ))),
            None => Ok(()),
        }
    }
}

/// Files by which a folder is known to hold an adapter or an embedding.
pub(super) fn known_files() -> impl Iterator<Item = &'static str> {
    LORA_FILES.into_iter().chain(EMBEDDING_FILES)
}

/// The file of diffusers or peft.
fn in_folder(folder: &Path) -> Result<PathBuf, AdapterError> {
    known_files().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let names: Vec<&str> = known_files().collect();
        AdapterError::unusable(folder, format!("this folder has none of {}; name the file itself", names.join(", ")))
    })
}

/// Whether a file is PyTorch's, by its name, or by its content where its name says nothing.
fn is_pickle(path: &Path) -> Result<bool, AdapterError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Ok(false),
        Some("bin" | "pt" | "pth" | "ckpt") => Ok(true),
        _ => {
            let mut start = Vec::new();
            let read = File::open(path).and_then(|file| file.take(9).read_to_end(&mut start));
            read.map_err(|source| DiffusionError::Io { action: "read", path: path.to_owned(), source })?;
            // A safetensors file begins with the length of its JSON header.
            Ok(start.get(8) != Some(&b'{'))
        }
    }
}
