//! What a classifier says of images, kept as features are: one probability per output.

use std::path::Path;

use burn::tensor::Device;
use burn::tensor::activation::sigmoid;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;

use super::{ClassifierFeatures, FeatureError, FeatureNetwork, NetworkChoice, NetworkKind, ResizePath};
use crate::config::ComputeType;

/// A classifier whose probabilities are its features.
#[derive(Debug)]
pub struct ClassifierScores {
    classifier: ClassifierFeatures,
}

impl ClassifierScores {
    /// Opens a classifier: torchxrayvision's or one trained here.
    ///
    /// # Errors
    /// As [`NetworkChoice::open`]; [`FeatureError::Network`] for a network that is no classifier.
    pub fn open(choice: &NetworkChoice, resize: ResizePath, device: &Device) -> Result<Self, FeatureError> {
        let path: &Path = &choice.place.path();
        let classifier = match choice.kind {
            NetworkKind::Xrv => ClassifierFeatures::xrv(path, resize, device)?,
            NetworkKind::Classifier => ClassifierFeatures::trained(path, device)?,
            NetworkKind::RadDino | NetworkKind::Inception | NetworkKind::Clip => {
                return Err(FeatureError::Network {
                    path: path.to_owned(),
                    expected: "classifier of findings".to_owned(),
                    found: format!(
                        "{} makes features and names no finding; give xrv:FILE or classifier:FILE",
                        choice.kind.name()
                    ),
                });
            }
        };
        if classifier.outputs().is_empty() {
            let (expected, found) =
                ("classifier of torchxrayvision's 18 findings".to_owned(), "it has other outputs".to_owned());
            return Err(FeatureError::Network { path: path.to_owned(), expected, found });
        }
        Ok(Self { classifier })
    }

    /// The same, computed in `dtype`.
    #[must_use]
    pub fn computed_in(self, dtype: ComputeType) -> Self {
        Self { classifier: self.classifier.computed_in(dtype) }
    }

    /// Names of the outputs.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        self.classifier.outputs()
    }

    /// The operating point of each output, NaN for one that was never trained; `None` if the weights have none.
    #[must_use]
    pub fn op_threshs(&self) -> Option<&[f32]> {
        self.classifier.op_threshs()
    }
}

impl FeatureNetwork for ClassifierScores {
    fn name(&self) -> &str {
        "scores"
    }

    fn preparation(&self) -> String {
        self.classifier.preparation()
    }

    fn width(&self) -> usize {
        self.outputs().len()
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"classifier scores 1", &self.classifier.fingerprint().0])
    }

    fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let logits = self.classifier.logits(images);
        Ok(sigmoid(logits).into_data().iter::<f32>().collect())
    }
}
