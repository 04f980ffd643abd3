//! The `[network]` table.

use std::path::{Path, PathBuf};

use roentgen_augment::batch::InputRange;
use roentgen_classifier::networks::vit::VitClassifierConfig;
use roentgen_classifier::networks::{ConvNeXtConfig, DenseNetConfig, NetworkShape, ResNetConfig};
use roentgen_classifier::training::TrainedPart;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ConfigError;
use super::limits::{LEAST_SIDE, MOST_PIXELS};

/// Means and deviations of pixels from 0 to 1 are written with three or four digits.
const SAME_PIXELS: f32 = 1e-3;

/// The `[network]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Architecture.
    pub architecture: Architecture,
    /// Pixel range and channels.
    pub input: InputRange,
    /// Weights to start from (safetensors or PyTorch, or a folder of transformers); from scratch if absent. The head is replaced if it has other
    /// findings.
    pub weights: Option<PathBuf>,
    /// What training changes: `whole`, or `head`, the linear classifier alone on the features of `weights`.
    #[serde(skip_serializing_if = "TrainedPart::is_whole")]
    pub train: TrainedPart,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { architecture: Architecture::Densenet121, input: InputRange::Signed, weights: None, train: TrainedPart::Whole }
    }
}

/// Architecture of the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// DenseNet-121, 7 million parameters.
    Densenet121,
    /// A DenseNet of 0.1 million parameters for small images and small machines.
    Small,
    /// ResNet-50, 24 million parameters.
    Resnet50,
    /// ConvNeXt-Tiny, 28 million parameters.
    ConvnextTiny,
    /// DINOv2's ViT-B/14, which RAD-DINO is, 87 million parameters.
    VitB14,
}

impl NetworkConfig {
    /// Shape of the net for this many findings.
    #[must_use]
    pub fn shape(&self, findings: usize) -> NetworkShape {
        let channels = self.input.channels();
        match self.architecture {
            Architecture::Densenet121 => DenseNetConfig::densenet121(channels, findings).into(),
            Architecture::Small => DenseNetConfig::small(channels, findings).into(),
            Architecture::Resnet50 => ResNetConfig::resnet50(channels, findings).into(),
            Architecture::ConvnextTiny => ConvNeXtConfig::tiny(channels, findings).into(),
            Architecture::VitB14 => VitClassifierConfig::base14(channels, findings).into(),
        }
    }

    /// Name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let name = match self.architecture {
            Architecture::Densenet121 => "DenseNet-121",
            Architecture::Small => "small DenseNet (growth 12, blocks 2-4-6-4)",
            Architecture::Resnet50 => "ResNet-50",
            Architecture::ConvnextTiny => "ConvNeXt-Tiny",
            Architecture::VitB14 => "DINOv2 ViT-B/14",
        };
        match self.train {
            TrainedPart::Whole => name.to_owned(),
            TrainedPart::Head => format!("{name}, of which the linear head is trained"),
        }
    }

    /// Refuses what can't be trained, with pictures of this many pixels per side.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first one.
    pub fn validate(&self, side: usize) -> Result<(), ConfigError> {
        if self.train == TrainedPart::Head && self.weights.is_none() {
            let expected =
                "`whole`, or `network.weights` beside it: without weights the features that the head learns from are random";
            return Err(ConfigError::value("network.train", "head", expected));
        }
        let patch = self.shape(1).patch();
        if side.is_multiple_of(patch) {
            return Ok(());
        }
        let nearest = [side / patch * patch, side.next_multiple_of(patch)];
        let nearest = nearest.into_iter().filter(|near| (LEAST_SIDE..=MOST_PIXELS).contains(near)).map(|near| near.to_string());
        let nearest = nearest.collect::<Vec<_>>().join(" or ");
        let expected =
            format!("a multiple of {patch}, the side of a patch of network.architecture = \"vit-b14\", such as {nearest}");
        Err(ConfigError::value("preprocess.size", side, expected))
    }

    /// What is doubtful about the weights, a sentence each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let folder = self.weights.as_deref().and_then(|path| if path.is_dir() { Some(path) } else { path.parent() });
        folder.and_then(|folder| self.other_pixels(folder)).into_iter().collect()
    }

    /// What a `preprocessor_config.json` of transformers says of pixels, if `input` makes others. A file that is absent or says nothing is
    /// no reason for doubt.
    fn other_pixels(&self, folder: &Path) -> Option<String> {
        let path = folder.join("preprocessor_config.json");
        let says: Value = serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok()?;
        let three = |key: &str| -> Option<[f32; 3]> { serde_json::from_value(says.get(key)?.clone()).ok() };
        let (theirs, ours) = ([three("image_mean")?, three("image_std")?], self.input.mean_and_deviation());
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < SAME_PIXELS;
        if theirs.as_flattened().iter().zip(ours.as_flattened()).all(near) {
            return None;
        }
        Some(format!(
            "network.weights were trained on pixels with mean {:?} and deviation {:?} taken out ({}), and network.input = {} takes {:?} and {:?}: \
             their features are not quite what they were",
            theirs[0],
            theirs[1],
            path.display(),
            serde_json::to_string(&self.input).expect("a range has a name"),
            ours[0],
            ours[1]
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vit(input: InputRange) -> NetworkConfig {
        NetworkConfig { architecture: Architecture::VitB14, input, ..NetworkConfig::default() }
    }

    #[test]
    fn pictures_of_a_transformer_are_whole_patches() {
        let network = vit(InputRange::Signed);
        for side in [42, 224, 518] {
            network.validate(side).unwrap();
        }
        for (side, nearest) in [(32, "such as 42"), (223, "such as 210 or 224"), (512, "such as 504 or 518")] {
            let said = network.validate(side).unwrap_err().to_string();
            let start = format!("preprocess.size is {side}, expected a multiple of 14");
            assert!(said.starts_with(&start) && said.ends_with(nearest), "{said}");
            NetworkConfig::default().validate(side).unwrap();
        }
    }

    #[test]
    fn weights_of_other_pixels_are_noted() {
        let folder = tempfile::tempdir().unwrap();
        let with = |input| NetworkConfig { weights: Some(folder.path().join("model.safetensors")), ..vit(input) };
        let folder_with = |input| NetworkConfig { weights: Some(folder.path().to_owned()), ..vit(input) };
        assert_eq!(with(InputRange::Imagenet).notes(), [""; 0]);
        let write = |text: &str| std::fs::write(folder.path().join("preprocessor_config.json"), text).unwrap();
        // microsoft/rad-dino's and facebook/dinov2-base's.
        write(r#"{"image_mean": [0.5307, 0.5307, 0.5307], "image_std": [0.2583, 0.2583, 0.2583]}"#);
        let notes = with(InputRange::Imagenet).notes();
        assert!(notes.len() == 1 && notes[0].contains("0.5307") && notes[0].contains("\"imagenet\""), "{notes:?}");
        assert_eq!(folder_with(InputRange::Signed).notes().len(), 1);
        write(r#"{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}"#);
        assert_eq!(with(InputRange::Imagenet).notes(), [""; 0]);
        assert_eq!(with(InputRange::Signed).notes().len(), 1);
        assert_eq!(vit(InputRange::Signed).notes(), [""; 0]);
    }
}
