//! The tensors of a component's files, whatever their format, under current names, unread.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use roentgen_classifier::weights::{StoredTensor, open_pytorch, open_safetensors};
use serde::Deserialize;

use super::KeyMap;
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

impl Stem {
    /// The file that a folder with these files is read from, or the index of shards: the one that [`find`] finds.
    pub(crate) fn choose<'a>(self, files: &[&'a str]) -> Option<&'a str> {
        let has = |name: String| files.iter().find(|file| **file == name).copied();
        self.names().into_iter().find_map(|(name, extension)| {
            let variant = || {
                let middle = |file: &str| Some(file.strip_prefix(name)?.strip_suffix(extension)?.len() > 2);
                files.iter().filter(|file| file.split('.').count() == 3 && middle(file) == Some(true)).min().copied()
            };
            has(format!("{name}.{extension}")).or_else(|| has(format!("{name}.{extension}.index.json"))).or_else(variant)
        })
    }
}

/// Files that together hold a model's weights.
#[derive(Debug)]
struct WeightFiles {
    /// The file, or the index of the shards; for messages.
    path: PathBuf,
    shards: Vec<PathBuf>,
    /// Tensor name to shard, where there is an index.
    index: Option<BTreeMap<String, PathBuf>>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The weights of a component's folder: safetensors before PyTorch files, whole files before shards, the plain name before
/// variants (`….fp16.safetensors`).
fn find(folder: &Path, stem: Stem) -> Result<WeightFiles, DiffusionError> {
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
        true => "its weights are missing: download the complete folder (with git, `git lfs pull` fetches large files)",
        false => "the folder does not exist: give the folder that save_pretrained wrote",
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
        let message = format!("its weight_map names `{file}`, which is not a file of this folder");
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

/// All tensors of a component.
pub(super) struct Source {
    /// The file or index, for messages.
    pub(super) path: PathBuf,
    /// By current name: the file, the name there, the tensor.
    pub(super) tensors: BTreeMap<String, (PathBuf, String, StoredTensor)>,
    /// Tensors that occur twice under one current name.
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

fn read(path: &Path) -> Result<BTreeMap<String, StoredTensor>, DiffusionError> {
    match path.extension().is_some_and(|extension| extension == "safetensors") {
        true => Ok(open_safetensors(path)?.tensors),
        false => Ok(open_pytorch(path)?),
    }
}

/// An index and its shards agree: a shard of another model, or of another save, is found here.
fn check_shard(files: &WeightFiles, shard: &Path, found: &BTreeMap<String, StoredTensor>) -> Result<(), DiffusionError> {
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
