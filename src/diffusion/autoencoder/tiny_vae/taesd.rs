//! TAESD's own files, `*_encoder*.safetensors` and `*_decoder*.safetensors`, as a folder of diffusers.
//!
//! Reference: <https://github.com/madebyollin/taesd> at 5cccb12. Keys are positions in two `Sequential`s; the decoder's begins with a
//! clamp, which is no layer in diffusers and takes no number there.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, DType};
use roentgen_augment::atomic::write_atomic;
use roentgen_classifier::weights::{StoredTensor, open_safetensors};
use safetensors::tensor::{Dtype, View};
use serde_json::json;

use super::config::AutoencoderTinyConfig;
use crate::diffusion::DiffusionError;
use crate::diffusion::weights::Stem;

/// Whether a folder holds TAESD's own files and no configuration.
#[must_use]
pub fn is_taesd(folder: &Path) -> bool {
    !folder.join("config.json").is_file() && find(folder, "_encoder").is_some() && find(folder, "_decoder").is_some()
}

/// The weights file whose name has that part.
fn find(folder: &Path, part: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.contains(part) && name.ends_with(".safetensors")
    });
    found.sort();
    found.into_iter().next()
}

/// Writes the folder of diffusers' `AutoencoderTiny` for TAESD's files in `from`: `config.json` and weights, values as they are.
///
/// # Errors
/// [`DiffusionError::MissingFile`]; [`DiffusionError::DamagedWeights`] for files that are no safetensors or of another network;
/// [`DiffusionError::Io`].
pub fn write_taesd(from: &Path, to: &Path) -> Result<(), DiffusionError> {
    let [encoder_path, decoder_path] = ["_encoder", "_decoder"].map(|part| find(from, part));
    let missing = || DiffusionError::MissingFile {
        folder: from.to_owned(),
        expected: "*_encoder*.safetensors and *_decoder*.safetensors".to_owned(),
        hint: "give a folder with both files of TAESD, or one that diffusers wrote".to_owned(),
    };
    let (encoder_path, decoder_path) = (encoder_path.ok_or_else(missing)?, decoder_path.ok_or_else(missing)?);
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DiffusionError::Io { action, path, source }
    };
    let damaged = |path: &Path, message: String| DiffusionError::DamagedWeights { path: path.to_owned(), message };
    let (encoder, decoder) = (open_safetensors(&encoder_path)?.tensors, open_safetensors(&decoder_path)?.tensors);

    let named = |part: &str, first: usize, name: &str, path: &Path| {
        let (position, rest) = name.split_once('.').unwrap_or((name, ""));
        let position = position.parse::<usize>().ok().and_then(|position| position.checked_sub(first));
        let position = position.ok_or_else(|| damaged(path, format!("`{name}` is no layer of TAESD's")))?;
        Ok::<_, DiffusionError>(format!("{part}.layers.{position}.{rest}"))
    };
    let mut tensors = Vec::new();
    for (part, first, file, path) in [("encoder", 0, &encoder, &encoder_path), ("decoder", 1, &decoder, &decoder_path)] {
        for (name, stored) in file {
            tensors.push((named(part, first, name, path)?, Raw::read(path, name, stored)?));
        }
    }
    // The encoder's last layer makes the latents, the decoder's first takes them.
    let conv_out = encoder.iter().filter_map(|(name, stored)| Some((layer(name)?, stored.shape().first().copied()?)));
    let latent_channels = conv_out.max_by_key(|(layer, _)| *layer).map(|(_, channels)| channels);
    let latent_channels = latent_channels.ok_or_else(|| damaged(&encoder_path, "it holds no layer".to_owned()))?;
    let has_pools = tensors.iter().map(|(name, _)| name).any(|name| name.contains(".pool."));
    let config = json!({
        "_class_name": AutoencoderTinyConfig::CLASS,
        "act_fn": "relu",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": latent_channels,
        "scaling_factor": 1.0,
        "use_midblock_gn": has_pools,
    });
    let weights = safetensors::serialize(tensors.iter().map(|(name, raw)| (name, raw)), None)
        .map_err(|error| damaged(&encoder_path, error.to_string()))?;
    let write = |path: PathBuf, bytes: &[u8]| write_atomic(&path, |out| out.write_all(bytes)).map_err(io("write", &path));
    write(to.join(Stem::Diffusers.file_name()), &weights)?;
    write(to.join("config.json"), format!("{config:#}\n").as_bytes())
}

/// A tensor's values as they are.
struct Raw {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Raw {
    fn read(path: &Path, name: &str, stored: &StoredTensor) -> Result<Self, DiffusionError> {
        let wrong_type = |found| DiffusionError::WeightType { path: path.to_owned(), tensor: name.to_owned(), found };
        let tensor = match stored {
            StoredTensor::Floats(tensor) => tensor,
            StoredTensor::Other { kind, .. } => return Err(wrong_type(kind.clone())),
        };
        let dtype = match tensor.dtype {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => return Err(wrong_type(format!("{other:?}"))),
        };
        let bytes = tensor
            .to_bytes()
            .map_err(|error| DiffusionError::DamagedWeights { path: path.to_owned(), message: format!("`{name}`: {error}") })?;
        Ok(Self { dtype, shape: stored.shape(), bytes })
    }
}

impl View for &Raw {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn layer(name: &str) -> Option<usize> {
    name.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use safetensors::SafeTensors;
    use safetensors::tensor::TensorView;

    use super::*;

    #[test]
    fn positions_become_names() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(&from).unwrap();
        assert!(!is_taesd(&from) && write_taesd(&from, &to).is_err());
        let bytes = [0u8; 2 * 32];
        let write = |name: &str, keys: &[&str]| {
            let view = || TensorView::new(Dtype::F16, vec![32, 1], &bytes).unwrap();
            let tensors: Vec<_> = keys.iter().map(|key| (*key, view())).collect();
            safetensors::serialize_to_file(tensors, None, &from.join(name)).unwrap();
        };
        write("taef2_encoder_fp16.safetensors", &["0.weight", "14.weight", "2.bias"]);
        write("taef2_decoder_fp16.safetensors", &["1.weight", "3.pool.0.weight"]);
        assert!(is_taesd(&from));
        write_taesd(&from, &to).unwrap();
        let written = std::fs::read(to.join(Stem::Diffusers.file_name())).unwrap();
        let names: BTreeSet<String> =
            SafeTensors::deserialize(&written).unwrap().names().into_iter().map(str::to_owned).collect();
        let expected = ["decoder.layers.0.weight", "decoder.layers.2.pool.0.weight", "encoder.layers.0.weight"];
        assert!(expected.iter().all(|name| names.contains(*name)), "{names:?}");
        let config = AutoencoderTinyConfig::read(&to.join("config.json")).unwrap();
        assert_eq!((config.latent_channels, config.use_midblock_gn), (32, true));
    }
}
