//! Which files of a folder hold a model's weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::diffusion::DiffusionError;

/// The library whose file names a component's weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// `diffusion_pytorch_model.safetensors` or `.bin`: U-Nets and autoencoders.
    Diffusers,
    /// `model.safetensors` or `pytorch_model.bin`: text encoders.
    Transformers,
}

impl Stem {
    /// The name under which weights are written.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Diffusers => "diffusion_pytorch_model.safetensors",
            Self::Transformers => "model.safetensors",
        }
    }

    /// Stem and extension, the preferred first.
    fn names(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::Diffusers => [("diffusion_pytorch_model", "safetensors"), ("diffusion_pytorch_model", "bin")],
            Self::Transformers => [("model", "safetensors"), ("pytorch_model", "bin")],
        }
    }
}

/// Files that together hold a model's weights.
#[derive(Debug)]
pub(super) struct WeightFiles {
    /// The file, or the index of the shards; for messages.
    pub(super) path: PathBuf,
    pub(super) shards: Vec<PathBuf>,
    /// Tensor name to shard, where there is an index.
    pub(super) index: Option<BTreeMap<String, PathBuf>>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The weights of a component's folder: safetensors before PyTorch files, whole files before shards, the plain name before
/// variants (`….fp16.safetensors`).
pub(super) fn find(folder: &Path, stem: Stem) -> Result<WeightFiles, DiffusionError> {
    for (name, extension) in stem.names() {
        let whole = folder.join(format!("{name}.{extension}"));
        if whole.is_file() {
            return Ok(WeightFiles { shards: vec![whole.clone()], path: whole, index: None });
        }
        let index = folder.join(format!("{name}.{extension}.index.json"));
        if index.is_file() {
            return read_index(folder, index);
        }
        if let Some(variant) = variants(folder, name, extension)?.into_iter().next() {
            return Ok(WeightFiles { shards: vec![variant.clone()], path: variant, index: None });
        }
    }
    let expected = stem.names().map(|(name, extension)| format!("{name}.{extension}")).join(" or ");
    let hint = match folder.is_dir() {
        true => "its weights are not there: download the folder whole (with git, `git lfs pull` fetches large files)",
        false => "the folder is not there: give the folder that save_pretrained wrote",
    };
    Err(DiffusionError::MissingFile { folder: folder.to_owned(), expected, hint: hint.to_owned() })
}

/// `name.VARIANT.extension` by name; shards of a variant (`name-00001-of-…`) have another form.
fn variants(folder: &Path, name: &str, extension: &str) -> Result<Vec<PathBuf>, DiffusionError> {
    let io = |source| DiffusionError::Io { action: "read", path: folder.to_owned(), source };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let middle = file.strip_prefix(name).and_then(|rest| rest.strip_suffix(extension));
        if middle.is_some_and(|middle| middle.len() > 2 && middle.starts_with('.') && middle.ends_with('.')) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_index(folder: &Path, path: PathBuf) -> Result<WeightFiles, DiffusionError> {
    let text =
        std::fs::read_to_string(&path).map_err(|source| DiffusionError::Io { action: "read", path: path.clone(), source })?;
    let index: Index = serde_json::from_str(&text).map_err(|source| DiffusionError::NotJson { path: path.clone(), source })?;
    let outside = |file: &String| Path::new(file).components().count() != 1 || file == "..";
    if let Some(file) = index.weight_map.values().find(|file| outside(file)) {
        let message = format!("its weight_map names `{file}`, which is no file of this folder");
        return Err(DiffusionError::DamagedWeights { path, message });
    }
    let index: BTreeMap<_, _> = index.weight_map.into_iter().map(|(name, file)| (name, folder.join(file))).collect();
    let shards: BTreeSet<_> = index.values().cloned().collect();
    if let Some(missing) = shards.iter().find(|shard| !shard.is_file()) {
        return Err(DiffusionError::MissingFile {
            folder: folder.to_owned(),
            expected: missing.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            hint: format!("{} lists it: download that shard too", path.display()),
        });
    }
    Ok(WeightFiles { path, shards: shards.into_iter().collect(), index: Some(index) })
}
