//! Features of chest X-ray classifiers: the pooled maps that their last layer sees.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType, Tensor};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::batch::InputRange;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{Pixels, Preprocess, RgbImage, Signed};
use roentgen_augment::record::XRV_18;
use roentgen_classifier::networks::{Family, Network};
use roentgen_classifier::weights::{LoadedWeights, find_card};

use super::compute::Compute;
use super::{FeatureError, FeatureNetwork, ResizePath};
use crate::config::ComputeType;
use crate::run_folder::file_digest;

/// Side of the images of torchxrayvision's DenseNets.
const DENSENET_SIDE: usize = 224;
/// Side of the images of torchxrayvision's ResNet-50.
const RESNET_SIDE: usize = 512;

/// A classifier without its last layer.
#[derive(Debug)]
pub struct ClassifierFeatures {
    net: Network,
    compute: Compute,
    device: Device,
    name: &'static str,
    weights: Fingerprint,
    width: usize,
    input: InputRange,
    way: Way,
    outputs: Vec<String>,
    op_threshs: Option<Vec<f32>>,
}

/// How images become its pictures.
#[derive(Clone, Debug)]
enum Way {
    /// In colour to a size, then gray.
    Path(ResizePath, usize),
    /// As those it was trained on.
    Own(Preprocess),
}

impl ClassifierFeatures {
    /// torchxrayvision's DenseNet-121 or ResNet-50 from a file of its weights, whichever it holds: 1,024 numbers of images at 224 pixels
    /// (torchxrayvision 1.5.7, `models.DenseNet.features2`) or 2,048 at 512 (`models.ResNet.features`), in `[-1024, 1024]`.
    ///
    /// # Errors
    /// [`FeatureError::Weights`]; [`FeatureError::Network`] for weights of another network.
    pub fn xrv(path: &Path, resize: ResizePath, device: &Device) -> Result<Self, FeatureError> {
        if find_card(path)?.is_some() {
            let found = "it is a classifier that was trained here: give it as classifier:FILE, and its own preparation is used";
            return Err(no(path, "file of torchxrayvision's weights", found));
        }
        let loaded = Network::load(path, device)?;
        let net = &loaded.net;
        let channels = net.shape().in_channels();
        if channels != 1 {
            let found = format!("its first layer takes {channels} channels, torchxrayvision's take 1");
            return Err(no(path, "file of torchxrayvision's weights", &found));
        }
        let (name, side) = match net.family() {
            Family::DenseNet => ("xrv-densenet", DENSENET_SIDE),
            Family::ResNet => ("xrv-resnet", RESNET_SIDE),
            other => {
                return Err(no(
                    path,
                    "file of torchxrayvision's weights",
                    &format!("it holds a {other}, which torchxrayvision has none of"),
                ));
            }
        };
        // Weights say how many outputs they have, not which: torchxrayvision's have 18 in one order.
        let outputs = XRV_18.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let outputs = if net.shape().num_classes() == outputs.len() { outputs } else { Vec::new() };
        Self::new(name, loaded, outputs, (path, device), (InputRange::Xrv, Way::Path(resize, side)))
    }

    /// A classifier that was trained here, with images prepared as those it was trained on.
    ///
    /// # Errors
    /// As [`xrv`](Self::xrv); [`FeatureError::Network`] for weights that don't say how images were prepared.
    pub fn trained(path: &Path, device: &Device) -> Result<Self, FeatureError> {
        let expected = "classifier that was trained here";
        let other = "it says nothing of itself: give weights of torchxrayvision as xrv:FILE";
        let card = find_card(path)?.ok_or_else(|| no(path, expected, other))?;
        let preprocess: Preprocess = serde_json::from_value(card.preprocess)
            .map_err(|error| no(path, expected, &format!("it doesn't say how its images were prepared ({error})")))?;
        preprocess.validate().map_err(|error| no(path, expected, &error.to_string()))?;
        let loaded = Network::load(path, device)?;
        // The images come with 8 bits per sample, from black to white.
        let preprocess = Preprocess { bit_depth: None, dicom: None, jpeg_scale: false, ..preprocess };
        Self::new("classifier", loaded, card.findings, (path, device), (card.input_range, Way::Own(preprocess)))
    }

    fn new(
        name: &'static str,
        LoadedWeights { net, op_threshs }: LoadedWeights,
        outputs: Vec<String>,
        (path, device): (&Path, &Device),
        (input, way): (InputRange, Way),
    ) -> Result<Self, FeatureError> {
        let weights = file_digest(path).map_err(|error| no(path, "file that can be read", &error.to_string()))?;
        let width = net.shape().num_features();
        let compute = Compute::default();
        Ok(Self { net, compute, device: device.clone(), name, weights, width, input, way, outputs, op_threshs })
    }

    /// The same, computed in `dtype`.
    #[must_use]
    pub fn computed_in(self, dtype: ComputeType) -> Self {
        let compute = Compute::new(dtype);
        Self { net: compute.round(self.net), compute, ..self }
    }

    /// Names of the outputs; none if nothing says them.
    #[must_use]
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// The operating point of each output as torchxrayvision's weights have them, NaN for one that was never trained.
    #[must_use]
    pub fn op_threshs(&self) -> Option<&[f32]> {
        self.op_threshs.as_deref()
    }

    /// What its last layer says of images, in 32 bits: `[B, outputs]`.
    ///
    /// # Panics
    /// If there is no image.
    #[must_use]
    pub fn logits(&self, images: &[RgbImage]) -> Tensor<2> {
        self.net.forward(self.batch(images)).cast(FloatDType::F32)
    }

    fn batch(&self, images: &[RgbImage]) -> Tensor<4> {
        let pictures: Vec<Pixels<Signed>> = images.par_iter().map(|image| self.picture(image)).collect();
        self.compute.images(self.input.stack(&pictures, &self.device))
    }

    fn picture(&self, image: &RgbImage) -> Pixels<Signed> {
        match &self.way {
            Way::Path(path, side) => {
                let gray = path.apply(image, *side).gray();
                Pixels::new(*side, *side, gray.into_iter().map(|level| 2.0 * level / 255.0 - 1.0).collect::<Vec<_>>())
            }
            Way::Own(preprocess) => preprocess.apply(&image.to_gray()),
        }
    }
}

impl FeatureNetwork for ClassifierFeatures {
    fn name(&self) -> &str {
        self.name
    }

    fn preparation(&self) -> String {
        let range = match self.input {
            InputRange::Xrv => "(2x/255 - 1) * 1024",
            InputRange::Signed => "2x/255 - 1",
            InputRange::Imagenet => "ImageNet's mean and deviation in three channels",
        };
        self.compute.describe(match &self.way {
            Way::Path(path, side) => format!("{}, gray, {range}", path.describe(*side)),
            Way::Own(Preprocess { size, geometry, filter, .. }) => {
                format!("gray, {geometry:?} and {filter:?} to {size}x{size}, {range}, as in its training").to_lowercase()
            }
        })
    }

    fn width(&self) -> usize {
        self.width
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"classifier features 1", &self.weights.0, self.name.as_bytes(), self.preparation().as_bytes()])
    }

    fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let pooled = self.net.features(self.batch(images));
        Ok(pooled.into_data().iter::<f32>().collect())
    }
}

fn no(path: &Path, expected: &str, found: &str) -> FeatureError {
    FeatureError::Network { path: PathBuf::from(path), expected: expected.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::networks::seeded;
    use roentgen_classifier::networks::vit::VitClassifierConfig;
    use roentgen_classifier::training::Precision;
    use roentgen_classifier::weights::{Card, save_state_dict, save_weights};

    use super::*;

    /// A vision transformer that was trained here: its head sees two numbers per channel of a token.
    #[test]
    fn features_are_what_the_head_sees() {
        let device = Device::flex();
        let base = VitClassifierConfig::base14(1, 2);
        let config = VitClassifierConfig { hidden_size: 64, num_hidden_layers: 1, grid: 3, ..base };
        let net = seeded(config.init(&device), 5);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let card = Card {
            config: net.shape(),
            findings: ["Mass", "Edema"].map(str::to_owned).to_vec(),
            input_range: InputRange::Signed,
            image_size: 42,
            precision: Precision::Fp32,
            preprocess: serde_json::to_value(Preprocess::new(42)).unwrap(),
        };
        save_weights(&net, &path, &card).unwrap();
        let features = ClassifierFeatures::trained(&path, &device).unwrap();
        let samples = (0..50 * 50 * 3).map(|i| (i * 31 % 251) as u8).collect();
        let images = [RgbImage { width: 50, height: 50, samples }];
        let row = features.features(&images).unwrap();
        assert_eq!((features.width(), row.len()), (128, 128));
        let head = net.head(Tensor::<1>::from_floats(row.as_slice(), &device).unsqueeze());
        assert_eq!(head.into_data(), features.logits(&images).into_data());
        let said = ClassifierFeatures::xrv(&path, ResizePath::CleanFid, &device).unwrap_err().to_string();
        assert!(said.contains("trained here"), "{said}");
        // Without a card it might be anybody's, and torchxrayvision has no vision transformer.
        let bare = folder.path().join("bare.pt");
        save_state_dict(&net, &bare).unwrap();
        let said = ClassifierFeatures::xrv(&bare, ResizePath::CleanFid, &device).unwrap_err().to_string();
        assert!(said.contains("it holds a DINOv2, which torchxrayvision has none of"), "{said}");
    }
}
