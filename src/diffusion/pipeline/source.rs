//! A pipeline as a user names it: a folder, a variant of its weights, and maybe another folder's U-Net.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::diffusion::DiffusionError;
use crate::diffusion::weights::{Choice, Stem, WeightsFolder, Why};

/// Where a pipeline is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineSource {
    /// Folder in diffusers' layout.
    pub folder: PathBuf,
    /// The variant of weights that is read where a component has it, such as `fp16`; the plain ones if `None`.
    pub variant: Option<String>,
    /// A folder whose U-Net takes the place of the pipeline's: a `unet` or `unet_ema` folder, or a `checkpoint-N` of a training script
    /// that holds one of them.
    pub unet: Option<PathBuf>,
}

impl From<&PathBuf> for PipelineSource {
    fn from(folder: &PathBuf) -> Self {
        Self::from(folder.as_path())
    }
}

impl From<&Path> for PipelineSource {
    fn from(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }
}

/// The folder of a U-Net outside its pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OtherUNet {
    /// With the weights.
    folder: PathBuf,
    /// Of the weights' files: accelerate saves every network under transformers' names.
    stem: Stem,
    /// Whether its configuration lies beside them; if not, it has that of the pipeline's U-Net.
    configured: bool,
}

impl OtherUNet {
    /// Finds the U-Net in `folder`.
    ///
    /// # Errors
    /// [`DiffusionError::MissingFile`] for a folder without one; [`DiffusionError::Mismatch`] for one with both the trained weights and
    /// their average: which of them is meant decides the images.
    fn find(folder: &Path) -> Result<Self, DiffusionError> {
        let of = |folder: PathBuf| Self { configured: folder.join("config.json").is_file(), folder, stem: Stem::Diffusers };
        if folder.join("config.json").is_file() {
            return Ok(of(folder.to_owned()));
        }
        let [plain, average] = ["unet", "unet_ema"].map(|name| folder.join(name));
        match (plain.is_dir(), average.is_dir()) {
            (true, true) => Err(DiffusionError::Mismatch {
                path: folder.to_owned(),
                message: format!(
                    "it holds two U-Nets: `--unet {}` takes the weights' moving average, `--unet {}` the weights as trained",
                    average.display(),
                    plain.display()
                ),
            }),
            (true, false) => Ok(of(plain)),
            (false, true) => Ok(of(average)),
            (false, false) if ["model.safetensors", "pytorch_model.bin"].iter().any(|name| folder.join(name).is_file()) => {
                Ok(Self { folder: folder.to_owned(), stem: Stem::Transformers, configured: false })
            }
            (false, false) => Err(DiffusionError::MissingFile {
                folder: folder.to_owned(),
                expected: "config.json, folder unet or unet_ema, or model.safetensors".to_owned(),
                hint: "give the folder of a U-Net, or a checkpoint-N folder of a training script".to_owned(),
            }),
        }
    }
}

/// Folders of a pipeline's components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// Of the pipeline.
    root: PathBuf,
    variant: Option<String>,
    unet: Option<OtherUNet>,
}

impl Folders {
    /// Of a pipeline; that of another U-Net is looked for.
    ///
    /// # Errors
    /// Where the folder of the U-Net holds none, or two.
    pub(super) fn of(source: &PipelineSource) -> Result<Self, DiffusionError> {
        let unet = source.unet.as_deref().map(OtherUNet::find).transpose()?;
        Ok(Self { root: source.folder.clone(), variant: source.variant.clone(), unet })
    }

    /// The pipeline's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder with a component's configuration.
    #[must_use]
    pub fn component(&self, name: &str) -> PathBuf {
        match &self.unet {
            Some(other) if name == "unet" && other.configured => other.folder.clone(),
            _ => self.root.join(name),
        }
    }

    /// The folder with a component's weights, and the names of their files.
    #[must_use]
    pub fn weights(&self, name: &str) -> (WeightsFolder, Stem) {
        let (folder, stem) = match &self.unet {
            Some(other) if name == "unet" => (other.folder.clone(), other.stem),
            _ if name == "text_encoder" => (self.root.join(name), Stem::Transformers),
            _ => (self.root.join(name), Stem::Diffusers),
        };
        (WeightsFolder { folder, variant: self.variant.clone() }, stem)
    }

    /// Refuses a variant that no component has, as diffusers does.
    pub(super) fn check_variant(&self) -> Result<(), DiffusionError> {
        let Some(asked) = &self.variant else { return Ok(()) };
        let mut found = BTreeSet::new();
        for (folder, stem) in WEIGHTED.map(|name| self.weights(name)) {
            found.extend(stem.variants(&folder.folder)?);
        }
        if found.contains(asked) {
            return Ok(());
        }
        let expected = match found.is_empty() {
            true => "nothing: no component of this pipeline has weights of a variant".to_owned(),
            false => format!("a variant that a component has: {}", found.into_iter().collect::<Vec<_>>().join(", ")),
        };
        Err(DiffusionError::Setting { key: "variant", value: asked.clone(), expected })
    }

    /// The components whose weights are others than their plain ones, a sentence for each reason.
    pub(super) fn notes(&self) -> Result<Vec<String>, DiffusionError> {
        let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in WEIGHTED {
            let (folder, stem) = self.weights(name);
            let Choice { why, .. } = Choice::of(&folder, stem)?;
            if matches!(why, Why::Only(_) | Why::Lacks(_)) {
                reasons.entry(why.to_string()).or_default().push(name);
            }
        }
        Ok(reasons.into_iter().map(|(why, names)| format!("weights of {}: {why}", names.join(", "))).collect())
    }
}

/// Components with weights that every pipeline has.
const WEIGHTED: [&str; 3] = ["text_encoder", "unet", "vae"];

impl From<&Path> for Folders {
    fn from(root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
    }
}
