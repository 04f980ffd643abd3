//! The tensors of a component's files, whatever their format, under current names, unread.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use burn::store::{bridge, burn_pack};
use burn::tensor::DType;
use roentgen_classifier::weights::pytorch_tensors;

use super::files::{Stem, WeightFiles, find};
use super::{KeyMap, safetensors};
use crate::diffusion::DiffusionError;

/// A tensor of a file.
pub(super) enum Stored {
    Floats(burn_pack::Tensor),
    /// Integers and the like: no weights, but maybe a buffer that may be left.
    Other {
        shape: Vec<usize>,
        kind: String,
    },
}

/// All tensors of a component.
pub(super) struct Source {
    /// The file or index, for messages.
    pub(super) path: PathBuf,
    /// By current name: the file, the name there, the tensor.
    pub(super) tensors: BTreeMap<String, (PathBuf, String, Stored)>,
    /// Tensors that come twice under one current name.
    pub(super) twice: Vec<String>,
}

impl Source {
    pub(super) fn open(folder: &Path, stem: Stem, keys: &dyn KeyMap) -> Result<Self, DiffusionError> {
        let files = find(folder, stem)?;
        let mut source = Self { path: files.path.clone(), tensors: BTreeMap::new(), twice: Vec::new() };
        for shard in &files.shards {
            let found = read(shard)?;
            check_shard(&files, shard, &found)?;
            for (name, stored) in found {
                let Some(current) = keys.canonical(&name) else { continue };
                if source.tensors.insert(current, (shard.clone(), name.clone(), stored)).is_some() {
                    source.twice.push(name);
                }
            }
        }
        Ok(source)
    }
}

impl Stored {
    pub(super) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Floats(tensor) => tensor.shape.to_vec(),
            Self::Other { shape, .. } => shape.clone(),
        }
    }
}

fn read(path: &Path) -> Result<HashMap<String, Stored>, DiffusionError> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return safetensors::open(path);
    }
    let tensors = pytorch_tensors(path)?.into_iter().map(bridge::from_pytorch);
    Ok(tensors
        .map(|tensor| {
            let stored = match tensor.dtype {
                DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Stored::Floats(tensor.clone()),
                other => Stored::Other { shape: tensor.shape.to_vec(), kind: format!("{other:?}") },
            };
            (tensor.name, stored)
        })
        .collect())
}

/// An index and its shards agree: a shard of another model, or of another save, is found here.
fn check_shard(files: &WeightFiles, shard: &Path, found: &HashMap<String, Stored>) -> Result<(), DiffusionError> {
    let Some(index) = &files.index else { return Ok(()) };
    let wrong = |message| Err(DiffusionError::DamagedWeights { path: shard.to_owned(), message });
    for (name, _) in index.iter().filter(|(_, file)| *file == shard) {
        if !found.contains_key(name) {
            return wrong(format!("it has no `{name}`, which {} looks for here: it is another shard", files.path.display()));
        }
    }
    match found.keys().find(|name| index.get(*name).is_none_or(|file| file != shard)) {
        Some(name) => {
            wrong(format!("it has `{name}`, which {} does not expect here: it is another shard", files.path.display()))
        }
        None => Ok(()),
    }
}
