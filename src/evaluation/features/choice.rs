//! Networks by their names on the command line and in run files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::networks::{Clip, Inception, RadDino};
use super::{ClassifierFeatures, FeatureError, FeatureNetwork, ResizePath};
use crate::config::ComputeType;
use crate::hub::{Asked, Place, Want};

/// A kind of network and where its weights are: `xrv:weights.pt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetworkChoice {
    /// Which network.
    pub kind: NetworkKind,
    /// Its file or folder; RAD-DINO and CLIP may also be named as on the hub.
    pub place: Place,
}

/// A kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    /// torchxrayvision's DenseNet-121 or ResNet-50.
    Xrv,
    /// A classifier that was trained here.
    Classifier,
    /// RAD-DINO, or another DINOv2.
    RadDino,
    /// pytorch-fid's Inception-v3.
    Inception,
    /// CLIP's image tower.
    Clip,
}

/// Text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no network, expected KIND:PATH with one of\n{}", kinds())]
pub struct NotANetwork {
    found: String,
}

impl NetworkKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Xrv, Self::RadDino, Self::Inception, Self::Clip, Self::Classifier];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Xrv => "xrv",
            Self::Classifier => "classifier",
            Self::RadDino => "rad-dino",
            Self::Inception => "inception",
            Self::Clip => "clip",
        }
    }

    /// What to give, a line.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Xrv => "xrv:FILE         torchxrayvision's DenseNet-121 or ResNet-50: the `.pt` file or converted weights",
            Self::RadDino => "rad-dino:FOLDER  RAD-DINO as the hub has it, or its name there: rad-dino:microsoft/rad-dino",
            Self::Inception => "inception:FILE   pytorch-fid's Inception-v3: pt_inception-2015-12-05-6726825d.pth",
            Self::Clip => "clip:FOLDER      CLIP with its image tower as the hub has it, or its name there",
            Self::Classifier => "classifier:FILE  a classifier trained here (`model.safetensors` of `train` or `compare`)",
        }
    }
}

/// What to give, a line per kind.
#[must_use]
pub fn kinds() -> String {
    NetworkKind::ALL.map(|kind| format!("  {}", kind.help())).join("\n")
}

impl NetworkChoice {
    /// Decides between path and name; `resolve` gives the path that a written one means. Networks of one file have no names.
    #[must_use]
    pub fn resolved(self, resolve: impl FnOnce(&Path) -> PathBuf) -> Self {
        let place = match self.kind {
            NetworkKind::RadDino | NetworkKind::Clip => self.place.resolved(resolve),
            NetworkKind::Xrv | NetworkKind::Inception | NetworkKind::Classifier => Place::Path(resolve(&self.place.path())),
        };
        Self { place, ..self }
    }

    /// Its place, to be found if it is a name on the hub; `key` is the key or flag that names it.
    pub fn asked(&mut self, key: &str) -> Asked<'_> {
        Asked::new(key, &mut self.place, Want::ImageNetwork)
    }

    /// Opens the network, which computes in `dtype`; `resize` is its images' way to its size, unless it is a classifier, which knows its own.
    ///
    /// # Errors
    /// [`FeatureError`] for weights that are missing, damaged or another network's.
    pub fn open(
        &self,
        resize: ResizePath,
        dtype: ComputeType,
        device: &Device,
    ) -> Result<Box<dyn FeatureNetwork>, FeatureError> {
        let path = &self.place.path();
        Ok(match self.kind {
            NetworkKind::Xrv => Box::new(ClassifierFeatures::xrv(path, resize, device)?.computed_in(dtype)),
            NetworkKind::Classifier => Box::new(ClassifierFeatures::trained(path, device)?.computed_in(dtype)),
            NetworkKind::RadDino => Box::new(RadDino::open(path, Some(resize), device)?.computed_in(dtype)),
            NetworkKind::Inception => Box::new(Inception::open(path, Some(resize), device)?.computed_in(dtype)),
            NetworkKind::Clip => Box::new(Clip::open(path, Some(resize), device)?.computed_in(dtype)),
        })
    }
}

impl FromStr for NetworkChoice {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let named = |(kind, path): (&str, &str)| {
            let kind = NetworkKind::ALL.into_iter().find(|known| known.name() == kind)?;
            (!path.is_empty()).then(|| Self { kind, place: path.into() })
        };
        text.split_once(':').and_then(named).ok_or_else(|| NotANetwork { found: text.to_owned() })
    }
}

impl TryFrom<String> for NetworkChoice {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<NetworkChoice> for String {
    fn from(choice: NetworkChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for NetworkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), PathBuf::from(self.place.clone()).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_be_names_on_the_hub_and_files_may_not() {
        let resolved = |text: &str| text.parse::<NetworkChoice>().unwrap().resolved(|path| Path::new("/runs").join(path));
        let (named, file) = (resolved("rad-dino:microsoft/rad-dino"), resolved("xrv:microsoft/rad-dino"));
        assert!(matches!(named.place, Place::Hub { .. }), "{named:?}");
        assert_eq!(named.to_string(), "rad-dino:microsoft/rad-dino");
        assert_eq!(file.place.path(), PathBuf::from("/runs/microsoft/rad-dino"));
    }

    #[test]
    fn networks_are_named_with_their_weights() {
        let choice: NetworkChoice = "xrv:weights/a:b.pt".parse().unwrap();
        assert_eq!((choice.kind, choice.place.path()), (NetworkKind::Xrv, PathBuf::from("weights/a:b.pt")));
        assert_eq!(choice.to_string(), "xrv:weights/a:b.pt");
        for wrong in ["", "xrv", "xrv:", "resnet:x.pt", "model.safetensors"] {
            let error = wrong.parse::<NetworkChoice>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{wrong}`")) && error.contains("classifier:FILE"), "{error}");
        }
    }
}
