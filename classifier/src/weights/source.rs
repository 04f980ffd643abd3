//! An open weights file of any format: tensors under the current names of its kind of net, not yet read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::card::{self, Card};
use super::families::{COUNTER, Naming, OP_THRESHS, Shapes, naming};
use super::folder::weights_file;
use super::pytorch::open_pytorch;
use super::safetensors::{MAX_HEADER, SafetensorsFile, open_safetensors};
use super::stored::StoredTensor;
use crate::ClassifierError;
use crate::networks::Family;

/// A file's layout, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    Pytorch,
}

/// Tensors of a file that belong to a net, unread.
pub(super) struct Source {
    /// The kind of net that they are of.
    pub(super) family: Family,
    /// By current name.
    pub(super) tensors: BTreeMap<String, StoredTensor>,
    /// torchxrayvision's operating thresholds.
    pub(super) op_threshs: Option<StoredTensor>,
    /// Names and shapes that do not belong to such a net.
    pub(super) unexpected: Vec<(String, Vec<usize>)>,
    pub(super) card: Option<Card>,
}

/// The tensors of a file by name, unread: of safetensors or PyTorch, whichever its first bytes say.
///
/// # Errors
/// [`ClassifierError::NotWeights`] for another kind of file; those of [`open_safetensors`] and [`open_pytorch`].
pub fn open_tensors(path: &Path) -> Result<BTreeMap<String, StoredTensor>, ClassifierError> {
    match format_of(path)? {
        Format::Safetensors => Ok(open_safetensors(path)?.tensors),
        Format::Pytorch => open_pytorch(path),
    }
}

impl Source {
    /// Of a file, or of a folder of transformers.
    pub(super) fn open(path: &Path) -> Result<Self, ClassifierError> {
        let path = &weights_file(path)?;
        match format_of(path)? {
            Format::Safetensors => {
                let SafetensorsFile { tensors, notes } = open_safetensors(path)?;
                Self::sort(path, tensors, card::of(path, &notes)?)
            }
            Format::Pytorch => Self::sort(path, open_pytorch(path)?, None),
        }
    }

    /// Assigns each tensor to its place.
    fn sort(path: &Path, tensors: BTreeMap<String, StoredTensor>, card: Option<Card>) -> Result<Self, ClassifierError> {
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        let Some((family, prefix)) = net_among(&names) else {
            return Err(ClassifierError::NotWeights { path: path.to_owned(), looks_like: looks_like(&names) });
        };
        let (naming, prefix) = (naming(family), prefix.to_owned());
        // Beside `state_dict` stand an optimiser's tensors and the like; within it every tensor counts.
        let container = prefix.split_inclusive('.').next().filter(|first| CONTAINERS.contains(first)).unwrap_or("");
        let mut source = Self { family, tensors: BTreeMap::new(), op_threshs: None, unexpected: Vec::new(), card };
        for (stored, tensor) in tensors {
            // torchxrayvision's wrapper keeps its thresholds beside the net, which it calls `model`.
            if stored.strip_suffix(OP_THRESHS).is_some_and(|before| is_wrapper(before, &prefix)) {
                source.op_threshs = Some(tensor);
                continue;
            }
            if !stored.starts_with(container) {
                continue;
            }
            match stored.strip_prefix(&prefix).map(naming.current) {
                Some(name) if is_counter(naming, &name) || naming.unused == Some(&name) => {}
                Some(name) if (naming.module_path)(&name).is_some() && !source.tensors.contains_key(&name) => {
                    source.tensors.insert(name, tensor);
                }
                _ => source.unexpected.push((stored, tensor.shape())),
            }
        }
        Ok(source)
    }

    pub(super) fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape())).collect()
    }
}

/// Top-level keys under which checkpoints keep the weights.
const CONTAINERS: [&str; 4] = ["state_dict.", "model_state_dict.", "model.", "net."];

/// The kind of net whose names these are, and what stands before them: nothing, `module.` (`DataParallel`), `state_dict.module.`, …
fn net_among<'a>(names: &[&'a str]) -> Option<(Family, &'a str)> {
    let before = |family| {
        let before = |mark: &'static str, name: &'a str| {
            name.strip_suffix(mark).filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        };
        let marks = naming(family).marks.iter();
        marks.flat_map(move |mark| names.iter().filter_map(move |name| Some((family, before(mark, name)?))))
    };
    Family::ALL.into_iter().flat_map(before).min_by_key(|(_, prefix)| prefix.len())
}

/// Whether `before` is `prefix` or leads to it.
fn is_wrapper(before: &str, prefix: &str) -> bool {
    prefix.starts_with(before) && (before.is_empty() || before.ends_with('.'))
}

fn is_counter(naming: &Naming, name: &str) -> bool {
    let norm = name.strip_suffix(COUNTER);
    norm.is_some_and(|norm| (naming.module_path)(&format!("{norm}running_var")).is_some())
}

/// The format that a file's first bytes indicate.
pub(super) fn format_of(path: &Path) -> Result<Format, ClassifierError> {
    let io = |source| ClassifierError::Io { action: "read", path: path.to_owned(), source };
    let mut start = Vec::new();
    File::open(path).map_err(io)?.take(512).read_to_end(&mut start).map_err(io)?;
    if let Some(length) = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
        && length <= MAX_HEADER
        && start.get(8) == Some(&b'{')
    {
        return Ok(Format::Safetensors);
    }
    let zip = start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06");
    let tar = start.get(257..262) == Some(b"ustar");
    if zip || tar || start.starts_with(&[0x80]) {
        return Ok(Format::Pytorch);
    }
    let looks_like = match start.as_slice() {
        [] => "an empty file",
        text if text.starts_with(b"version https://git-lfs") => "a Git LFS pointer: fetch the file itself with `git lfs pull`",
        text if text.starts_with(b"<") => "a web page: the download did not give the file",
        text if text.starts_with(b"{") || text.starts_with(b"[") => "a JSON text",
        text if text.starts_with(b"\x89PNG") || text.starts_with(b"\xff\xd8\xff") => "an image",
        text if text.starts_with(b"\x89HDF") => "an HDF5 (Keras) file",
        text if text.starts_with(b"\x1f\x8b") => "a gzip archive: unpack it first",
        text if std::str::from_utf8(text).is_ok_and(|t| !t.contains('\0')) => "a text file",
        _ => "a binary file of another program",
    };
    Err(ClassifierError::NotWeights { path: path.to_owned(), looks_like: looks_like.to_owned() })
}

/// The kind of net that has tensors of these names, if it is known.
fn looks_like(names: &[&str]) -> String {
    /// A part of a name that only this kind of net has.
    const KINDS: [(&str, &str); 10] = [
        ("down_blocks.0.", "a diffusion model (U-Net or autoencoder)"),
        ("model.diffusion_model.", "a Stable Diffusion checkpoint"),
        ("text_model.", "a CLIP text encoder"),
        ("stages.0.blocks.0.conv_dw.", "a ConvNeXt with timm's names, torchvision's are read"),
        ("convnext.encoder.stages.", "a ConvNeXt with transformers' names, torchvision's are read"),
        ("attention.self.query.", "a BERT"),
        ("encoder_layer_0.", "a vision transformer"),
        ("blocks.0.ls1.gamma", "a DINOv2 with the names of its authors or timm, transformers' are read"),
        ("blocks.0.attn.", "a vision transformer"),
        ("features.0.", "a VGG, EfficientNet or MobileNet"),
    ];
    match KINDS.iter().find(|(part, _)| names.iter().any(|name| name.contains(part))) {
        Some((_, kind)) => kind.to_string(),
        None if names.is_empty() => "a file without any tensor".to_owned(),
        None => format!("another net: it has {} tensors, the first is `{}`", names.len(), names[0]),
    }
}

pub(super) fn damaged(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> ClassifierError {
    ClassifierError::DamagedWeights { path: path.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::super::save::{serialize, state_dict};
    use super::super::testing::{card_of, fixture, floats, folder, net, trained};
    use super::super::{infer_config, save_state_dict, save_weights};
    use super::*;
    use crate::networks::Network;

    fn open(content: &[u8]) -> Result<Source, ClassifierError> {
        let folder = folder();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, content).unwrap();
        Source::open(&path)
    }

    #[test]
    fn other_files_are_named() {
        for (content, kind) in [
            (&b""[..], "an empty file"),
            (b"epoch,loss\n1,0.5\n", "a text file"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"{\"growth_rate\": 32}", "a JSON text"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image"),
            (b"\x7fELF\0\0\0\0\0\0\0\0\0", "a binary file"),
        ] {
            let Err(error @ ClassifierError::NotWeights { .. }) = open(content) else { panic!("{kind} was taken") };
            assert!(error.to_string().contains(&format!("it looks like {kind}")), "{error}");
        }
    }

    #[test]
    fn other_nets_are_named() {
        for (name, kind) in [
            ("stages.0.blocks.0.conv_dw.weight", "a ConvNeXt with timm's names"),
            ("down_blocks.0.resnets.0.conv1.weight", "a diffusion model"),
            ("blocks.0.ls1.gamma", "a DINOv2 with the names of its authors or timm"),
            ("head.weight", "another net: it has 1 tensors, the first is `head.weight`"),
        ] {
            let Err(error) = open(&serialize(&[floats(name, &[1], &[0.0])], None)) else { panic!("{name} was taken") };
            assert!(error.to_string().contains(kind), "{error}");
        }
    }

    #[test]
    fn truncated_files_are_refused() {
        let folder = folder();
        let (ours, torch) = (folder.path().join("a"), folder.path().join("b"));
        let net = trained();
        save_weights(&net, &ours, &card_of(&net)).unwrap();
        save_state_dict(&net, &torch).unwrap();
        let legacy = std::fs::read(fixture("torchvision/model_legacy.pth")).unwrap();
        for whole in [std::fs::read(ours).unwrap(), std::fs::read(torch).unwrap(), legacy] {
            for length in [9, 64, 600, whole.len() / 2, whole.len() - 1] {
                let path = folder.path().join("cut");
                std::fs::write(&path, &whole[..length]).unwrap();
                let result = Network::load(&path, &burn::tensor::Device::flex());
                assert!(matches!(result, Err(ClassifierError::DamagedWeights { .. })), "{length} bytes: {result:?}");
            }
        }
    }

    #[test]
    fn wrappers_are_looked_through_and_only_they() {
        for (prefix, beside, unexpected) in [
            ("", "optimizer.step", 1),
            ("module.", "optimizer.step", 1),
            ("module.", "module.extra", 1),
            ("state_dict.module.", "optimizer.state.0.exp_avg", 0),
            ("state_dict.module.", "state_dict.loss.weight", 1),
            ("model.", "epoch", 0),
        ] {
            let mut entries = state_dict(&net());
            entries.iter_mut().for_each(|entry| entry.name.insert_str(0, prefix));
            entries.push(floats(beside, &[1], &[0.0]));
            let source = open(&serialize(&entries, None)).unwrap();
            assert_eq!(source.unexpected.len(), unexpected, "{prefix} {beside}");
            assert_eq!(source.tensors.len(), state_dict(&net()).iter().filter(|e| !e.name.ends_with(COUNTER)).count());
        }
    }

    #[test]
    fn shapes_of_no_densenet_are_refused() {
        for (name, shape) in [
            ("features.conv0.weight", &[5, 1, 7][..]),
            ("features.denseblock1.denselayer1.conv2.weight", &[4, 6, 3, 3]),
            ("classifier.weight", &[0, 8]),
        ] {
            let mut entries = state_dict(&net());
            let entry = entries.iter_mut().find(|entry| entry.name == name).unwrap();
            *entry = floats(name, shape, &vec![0.0; shape.iter().product()]);
            let folder = folder();
            let path = folder.path().join("weights");
            std::fs::write(&path, serialize(&entries, None)).unwrap();
            assert!(matches!(infer_config(&path), Err(ClassifierError::NotWeights { .. })), "{name}");
        }
    }
}
