//! Single files of weights: safetensors, or state dicts of PyTorch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::FloatDType;
use roentgen_classifier::ClassifierError;
use roentgen_classifier::weights::{StoredTensor, open_tensors};

use super::super::FeatureError;
use crate::diffusion::DiffusionError;
use crate::diffusion::weights::{KeyMap, Loaded, Source, load_source};

/// The tensors of a file, unread.
pub(super) struct TensorFile {
    path: PathBuf,
    expected: &'static str,
    tensors: BTreeMap<String, StoredTensor>,
}

impl TensorFile {
    /// `expected` says in words what file it should be. A state dict may be under `state_dict`, or have the prefix of `DataParallel`.
    pub(super) fn open(path: &Path, expected: &'static str) -> Result<Self, FeatureError> {
        if path.is_dir() {
            return Err(refused(path, expected, "it is a folder: give the file"));
        }
        let tensors = match open_tensors(path) {
            Ok(tensors) => tensors,
            Err(ClassifierError::NotWeights { looks_like, .. }) => {
                return Err(refused(path, expected, &format!("it looks like {looks_like}")));
            }
            Err(error) => return Err(DiffusionError::from(error).into()),
        };
        let tensors = ["state_dict.", "module."].into_iter().fold(tensors, without_prefix);
        Ok(Self { path: path.to_owned(), expected, tensors })
    }

    /// The shape of a tensor, if there is one of this name.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(StoredTensor::shape)
    }

    /// Whether a name begins so.
    pub(super) fn has_any(&self, start: &str) -> bool {
        self.tensors.keys().any(|name| name.starts_with(start))
    }

    /// `model` with the file's weights.
    pub(super) fn load<M: Module>(self, model: M, keys: &dyn KeyMap, dtype: FloatDType) -> Result<Loaded<M>, FeatureError> {
        let Self { path, expected, tensors } = self;
        let mut source = Source::new(path.clone());
        tensors.into_iter().for_each(|(name, tensor)| source.add(&path, name, tensor, keys));
        match load_source(model, &source, keys, dtype) {
            Err(DiffusionError::WeightsDiffer { path, difference }) => {
                Err(refused(&path, expected, &format!("its tensors are others:{difference}")))
            }
            other => Ok(other?),
        }
    }
}

/// The tensors whose name begins so, without that, if all that have a name at all do.
fn without_prefix(tensors: BTreeMap<String, StoredTensor>, prefix: &str) -> BTreeMap<String, StoredTensor> {
    if !tensors.keys().all(|name| name.starts_with(prefix)) {
        return tensors;
    }
    tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_owned(), tensor)).collect()
}

/// The error of a file that is no `expected`.
pub(super) fn refused(path: &Path, expected: &str, found: &str) -> FeatureError {
    FeatureError::Network { path: path.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}
