//! The tensors of a component's files, whatever their format, under current names, unread.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use roentgen_classifier::weights::{StoredTensor, open_pytorch, open_safetensors};

use super::KeyMap;
use super::choice::{Choice, Stem, WeightsFolder};
use crate::diffusion::DiffusionError;

/// All tensors of a component.
pub(crate) struct Source {
    /// The file or index, for messages.
    pub(super) path: PathBuf,
    /// By current name: the file, the name there, the tensor.
    pub(super) tensors: BTreeMap<String, (PathBuf, String, StoredTensor)>,
    /// Tensors that occur twice under one current name.
    pub(super) twice: Vec<String>,
}

impl Source {
    pub(super) fn open(folder: &WeightsFolder, stem: Stem, keys: &dyn KeyMap) -> Result<Self, DiffusionError> {
        let choice = Choice::of(folder, stem)?;
        let mut source = Self::new(choice.path.clone());
        for shard in &choice.shards {
            let found = read(shard)?;
            check_shard(&choice, shard, &found)?;
            found.into_iter().for_each(|(name, stored)| source.add(shard, name, stored, keys));
        }
        Ok(source)
    }

    /// Without a tensor yet; `path` is for messages.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, tensors: BTreeMap::new(), twice: Vec::new() }
    }

    /// Adds the tensor that `file` has under `name`.
    pub(crate) fn add(&mut self, file: &Path, name: String, stored: StoredTensor, keys: &dyn KeyMap) {
        let Some(current) = keys.canonical(&name) else { return };
        if self.tensors.insert(current, (file.to_owned(), name.clone(), stored)).is_some() {
            self.twice.push(name);
        }
    }
}

/// The tensors of a file by name, unread; a file of safetensors is known by its extension.
fn read(path: &Path) -> Result<BTreeMap<String, StoredTensor>, DiffusionError> {
    match path.extension().is_some_and(|extension| extension == "safetensors") {
        true => Ok(open_safetensors(path)?.tensors),
        false => Ok(open_pytorch(path)?),
    }
}

/// An index and its shards agree: a shard of another model, or of another save, is found here.
fn check_shard(choice: &Choice, shard: &Path, found: &BTreeMap<String, StoredTensor>) -> Result<(), DiffusionError> {
    let Some(index) = &choice.index else { return Ok(()) };
    let wrong = |message| Err(DiffusionError::DamagedWeights { path: shard.to_owned(), message });
    for (name, _) in index.iter().filter(|(_, file)| *file == shard) {
        if !found.contains_key(name) {
            return wrong(format!("it has no `{name}`, which {} looks for here: it is another shard", choice.path.display()));
        }
    }
    match found.keys().find(|name| index.get(*name).is_none_or(|file| file != shard)) {
        Some(name) => {
            wrong(format!("it has `{name}`, which {} does not expect here: it is another shard", choice.path.display()))
        }
        None => Ok(()),
    }
}
