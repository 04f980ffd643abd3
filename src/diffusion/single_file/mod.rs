//! Checkpoints in one file, in the names of Stable Diffusion's own training code: `.safetensors`, and `.ckpt` read without running
//! anything.
//!
//! | file | what it holds |
//! |---|---|
//! | `kind` | what a file is by its tensors' names; other models are refused by theirs |
//! | `unet`, `vae`, `text` | the names of tensors there and in diffusers' layout |
//! | `like`, `convert` | the configurations, which are in no such file, and a folder of both |
//!
//! Reference: diffusers 0.42.1, `loaders/single_file_utils.py`; CompVis/stable-diffusion and Stability-AI/stablediffusion.

mod convert;
mod kind;
mod like;
mod text;
mod unet;
mod vae;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use roentgen_classifier::weights::{StoredTensor, open_tensors};

use self::kind::{Kind, TextKind};
use super::DiffusionError;
use super::autoencoder::AutoencoderKlConfig;
use super::text::{TextEncoder, TextEncoderConfig};
use super::unet::UNetConfig;
use super::weights::{KeyMap, Source};

pub use convert::{Conversion, Converted, ModelConfigs};
pub use like::Family;

/// Under which the U-Net stands in a file.
const UNET: &str = "model.diffusion_model.";
/// Under which its moving average stands.
const AVERAGE: &str = "model_ema.";
/// Under which the autoencoder stands, except in a file of its own.
const VAE: &str = "first_stage_model.";

/// Which weights of the U-Net are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UNetWeights {
    /// As trained: what diffusers reads unless it is told otherwise, and all that most files have.
    #[default]
    Plain,
    /// Their moving average (`model_ema.`), which files for further training have too.
    Average,
}

/// A part of a file, by its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// `unet`, …
    pub name: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: usize,
    /// Their types.
    pub stored: String,
}

/// A file whose tensors' names and shapes are read.
#[derive(Debug)]
pub struct SingleFile {
    path: PathBuf,
    kind: Kind,
    tensors: BTreeMap<String, StoredTensor>,
}

impl SingleFile {
    /// Opens a file of either format, by its content.
    ///
    /// # Errors
    /// [`DiffusionError::OtherModel`] names what the file is instead: an adapter, an embedding, Stable Diffusion XL, 3 or Flux, an
    /// inpainting model, …; [`DiffusionError::WeightType`] for 8-bit floats; [`DiffusionError::DamagedWeights`] for one that is cut short;
    /// [`DiffusionError::Pytorch`] names what a pickle would run.
    pub fn open(path: &Path) -> Result<Self, DiffusionError> {
        /// Beside it stand the optimiser's tensors and the like.
        const STATE: &str = "state_dict.";
        let mut tensors = open_tensors(path)?;
        if tensors.keys().any(|name| name.starts_with(STATE)) {
            let within = |(name, tensor): (String, StoredTensor)| Some((name.strip_prefix(STATE)?.to_owned(), tensor));
            tensors = tensors.into_iter().filter_map(within).collect();
        }
        let kind = Kind::of(path, &tensors)?;
        Ok(Self { path: path.to_owned(), kind, tensors })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it holds the autoencoder alone.
    #[must_use]
    pub fn is_vae(&self) -> bool {
        self.kind == Kind::Vae
    }

    /// The family by its text encoder; `None` for an autoencoder alone, which they share.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match self.kind {
            Kind::Vae => None,
            Kind::Pipeline(TextKind::Clip) => Some(Family::Sd1),
            Kind::Pipeline(TextKind::OpenClip) => Some(Family::Sd2),
        }
    }

    /// Whether it holds the moving average of the U-Net's weights.
    #[must_use]
    pub fn has_average(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with("model_ema.diffusion_model"))
    }

    /// What it holds, in the order of the computation.
    #[must_use]
    pub fn parts(&self) -> Vec<FilePart> {
        let prefixes = match self.kind {
            Kind::Vae => vec![("vae", "")],
            Kind::Pipeline(text) => {
                vec![("text_encoder", text.prefix()), ("unet", UNET), ("unet (moving average)", AVERAGE), ("vae", VAE)]
            }
        };
        let part = |(name, prefix): (&'static str, &str)| {
            let within: Vec<_> = self.tensors.iter().filter(|(name, _)| name.starts_with(prefix)).collect();
            let parameters = within.iter().map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum();
            let types: BTreeSet<String> = within.iter().map(|(_, tensor)| tensor.type_name()).collect();
            FilePart { name, tensors: within.len(), parameters, stored: types.into_iter().collect::<Vec<_>>().join(", ") }
        };
        prefixes.into_iter().map(part).filter(|part| part.tensors > 0).collect()
    }

    /// What it is, for people.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self.family() {
            None => "an autoencoder in one file",
            Some(Family::Sd1) => "a Stable Diffusion 1 checkpoint in one file",
            Some(Family::Sd2) => "a Stable Diffusion 2 checkpoint in one file",
        }
    }

    /// The command that makes a folder of it.
    #[must_use]
    pub fn convert_command(&self) -> String {
        let path = self.path.display();
        match self.family() {
            None => format!("roentgen convert {path} --like sd1 --out FOLDER"),
            Some(Family::Sd1) => format!("roentgen convert {path} --like sd1 --tokenizer TOKENIZER --out FOLDER"),
            Some(Family::Sd2) => {
                format!(
                    "roentgen convert {path} --like sd2 --prediction v_prediction|epsilon --tokenizer TOKENIZER --out FOLDER"
                )
            }
        }
    }

    /// The tensors of the U-Net, under diffusers' names.
    pub(in crate::diffusion) fn unet(&self, config: &UNetConfig, which: UNetWeights, keys: &dyn KeyMap) -> Source {
        let blocks = unet::Blocks::of(config);
        self.source(UNET, keys, |name| {
            let tensor = match which {
                UNetWeights::Plain => self.tensors.get(&format!("{UNET}{name}")),
                // Dots can't be in the name of a buffer, which an average is there.
                UNetWeights::Average => self.tensors.get(&format!("{AVERAGE}diffusion_model{}", name.replace('.', ""))),
            };
            tensor.map(|tensor| vec![(blocks.current(name), tensor.clone())]).unwrap_or_default()
        })
    }

    /// The tensors of the autoencoder, under diffusers' names.
    pub(in crate::diffusion) fn vae(&self, config: &AutoencoderKlConfig, keys: &dyn KeyMap) -> Source {
        let levels = config.block_out_channels.len();
        let prefix = if self.is_vae() { "" } else { VAE };
        self.source(prefix, keys, |name| {
            // A file of its own has the loss of its training too.
            let of_loss = self.is_vae() && (name.starts_with("loss.") || name.starts_with(AVERAGE));
            let tensor = self.tensors.get(&format!("{prefix}{name}")).filter(|_| !of_loss);
            tensor.map(|tensor| vec![vae::current(name, tensor, levels)]).unwrap_or_default()
        })
    }

    /// The tensors of the text encoder, under transformers' names.
    pub(in crate::diffusion) fn text_encoder(&self, config: &TextEncoderConfig, keys: &dyn KeyMap) -> Source {
        let clip = self.kind == Kind::Pipeline(TextKind::Clip);
        let prefix = if clip { TextKind::Clip.prefix() } else { TextKind::OpenClip.prefix() };
        let layers = config.init(&Device::flex()).layers();
        self.source(prefix, keys, |name| match self.tensors.get(&format!("{prefix}{name}")) {
            Some(tensor) if clip => vec![(name.to_owned(), tensor.clone())],
            Some(tensor) => text::current(name, tensor, layers),
            None => Vec::new(),
        })
    }

    /// What `current` makes of each tensor under `prefix`.
    fn source(&self, prefix: &str, keys: &dyn KeyMap, current: impl Fn(&str) -> Vec<(String, StoredTensor)>) -> Source {
        let mut source = Source::new(self.path.clone());
        for name in self.tensors.keys().filter_map(|name| name.strip_prefix(prefix)) {
            current(name).into_iter().for_each(|(name, tensor)| source.add(&self.path, name, tensor, keys));
        }
        source
    }
}
