//! LPIPS (Zhang et al., arXiv 1801.03924): how different two images look to AlexNet, weighed by people's judgement.
//!
//! Reference: lpips 0.1.4, `LPIPS(net="alex", version="0.1")`. It learnt from photographs: on radiographs it compares sets, it judges none.

mod alexnet;

use std::path::Path;

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;

use self::alexnet::{CHANNELS, SMALLEST};
use super::super::FeatureError;
use super::file::{TensorFile, refused};
use crate::diffusion::weights::KeyMap;

pub use alexnet::{AlexNet, AlexNetKeys};

/// Mean and deviation of each channel in `[-1, 1]`, as lpips rounds ImageNet's.
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// The weight of each channel in each layer, `[1, C, 1, 1]`.
#[derive(Module, Debug)]
pub struct ChannelWeights {
    lins: Vec<Param<Tensor<4>>>,
}

impl ChannelWeights {
    /// Ones until they are loaded.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self { lins: CHANNELS.map(|channels| Initializer::Ones.init([1, channels, 1, 1], device)).to_vec() }
    }
}

/// lpips's names, `lin0.model.1.weight`; a whole model's file has them a second time, and the network's beside them.
pub struct ChannelWeightKeys;

impl KeyMap for ChannelWeightKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let others = ["lins.", "net.", "scaling_layer.", "features.", "classifier."];
        (!others.iter().any(|start| name.starts_with(start))).then(|| name.to_owned())
    }

    fn key(&self, path: &str) -> String {
        path.strip_prefix("lins.").map_or_else(|| path.to_owned(), |index| format!("lin{index}.model.1.weight"))
    }
}

/// Distances of images by their looks.
#[derive(Debug)]
pub struct Lpips {
    network: AlexNet,
    weights: ChannelWeights,
    fingerprint: Fingerprint,
    device: Device,
}

/// The maps of images, of length 1 along the channels: what distances are computed from.
#[derive(Clone, Debug)]
pub struct Looks(Vec<Tensor<4>>);

/// Distances of `B` pairs of images.
#[derive(Clone, Debug)]
pub struct LpipsDistance {
    /// Of each layer, `[B, layers]`.
    pub layers: Tensor<2>,
    /// Their sums, `[B]`; 0 for equal images.
    pub distance: Tensor<1>,
}

impl Lpips {
    /// From torchvision's file of AlexNet (`alexnet-owt-7be5be79.pth`) and lpips's of the channels' weights (`weights/v0.1/alex.pth`).
    ///
    /// # Errors
    /// [`FeatureError::Network`] says what a file is instead, or how its tensors differ; [`FeatureError::Folder`] for a damaged one.
    pub fn open(alexnet: &Path, channels: &Path, device: &Device) -> Result<Self, FeatureError> {
        let network = TensorFile::open(alexnet, "file of torchvision's AlexNet")?;
        let network = network.load(AlexNet::new(device), &AlexNetKeys, FloatDType::F32)?;
        let expected = "file of lpips's weights of AlexNet's channels (lpips/weights/v0.1/alex.pth)";
        let weights = TensorFile::open(channels, expected)?;
        let weights = weights.load(ChannelWeights::new(device), &ChannelWeightKeys, FloatDType::F32)?;
        for lin in &weights.model.lins {
            if lin.val().min().into_scalar::<f32>() < 0.0 {
                return Err(refused(channels, expected, "a weight is negative, and distances would be, too"));
            }
        }
        let fingerprint = Fingerprint::of(&[b"lpips alex", &network.digest.0, &weights.digest.0]);
        Ok(Self { network: network.model, weights: weights.model, fingerprint, device: device.clone() })
    }

    /// Of given networks.
    #[must_use]
    pub fn new(network: AlexNet, weights: ChannelWeights, fingerprint: Fingerprint, device: &Device) -> Self {
        Self { network, weights, fingerprint, device: device.clone() }
    }

    /// A digest of all weights.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Smallest side of an image that has a distance.
    #[must_use]
    pub fn smallest_side() -> usize {
        SMALLEST
    }

    /// What it sees in images of one size, each side at least [`smallest_side`](Self::smallest_side) pixels.
    ///
    /// # Shapes
    /// - images: `[B, 3, H, W]` in `[-1, 1]`
    ///
    /// # Panics
    /// If an image is smaller.
    pub fn look(&self, images: Tensor<4>) -> Looks {
        let [_, _, height, width] = images.dims();
        assert!(
            height.min(width) >= SMALLEST,
            "an image of {width}x{height} for AlexNet, which sees {SMALLEST}x{SMALLEST} or more"
        );
        let vector = |values: [f32; 3]| Tensor::<1>::from_floats(values, &images.device()).reshape([1, 3, 1, 1]);
        let images = (images.clone() - vector(SHIFT)) / vector(SCALE);
        Looks::of(self.network.forward(images))
    }

    /// Distances of pairs of images, in order.
    ///
    /// # Panics
    /// If the numbers of images or their sizes differ.
    pub fn distance(&self, a: &Looks, b: &Looks) -> LpipsDistance {
        let weights: Vec<Tensor<4>> = self.weights.lins.iter().map(Param::val).collect();
        a.distance(b, &weights)
    }

    /// The pixels of images of one size in `[-1, 1]`, `[B, 3, H, W]`.
    ///
    /// # Panics
    /// If the sizes differ.
    pub fn batch(&self, images: &[RgbImage]) -> Tensor<4> {
        let (width, height) = images.first().map_or((0, 0), |image| (image.width, image.height));
        let mut values = Vec::with_capacity(images.len() * 3 * width * height);
        for image in images {
            assert!((image.width, image.height) == (width, height), "images of {width}x{height}, and one of another size");
            for channel in 0..3 {
                let levels = image.samples.iter().skip(channel).step_by(3);
                values.extend(levels.map(|&level| 2.0 * (f32::from(level) / 255.0) - 1.0));
            }
        }
        Tensor::from_data(TensorData::new(values, [images.len(), 3, height, width]), &self.device)
    }
}

impl Looks {
    /// Of maps `[B, C, ..]`, one per layer.
    #[must_use]
    pub fn of(maps: Vec<Tensor<4>>) -> Self {
        /// lpips's, so that a place where nothing is seen has the length 0.
        const EPSILON: f64 = 1e-10;
        let unit = |x: Tensor<4>| {
            let length = x.clone().square().sum_dim(1).sqrt() + EPSILON;
            x / length
        };
        Self(maps.into_iter().map(unit).collect())
    }

    /// Those of one image of the batch.
    #[must_use]
    pub fn image(&self, index: usize) -> Self {
        Self(self.0.iter().map(|maps| maps.clone().narrow(0, index, 1)).collect())
    }

    /// The distances by `weights` of the channels, `[1, C, 1, 1]` per layer: the squared differences weighed and added over channels, and
    /// their means over places.
    ///
    /// # Panics
    /// If shapes or numbers of layers differ.
    #[must_use]
    pub fn distance(&self, other: &Self, weights: &[Tensor<4>]) -> LpipsDistance {
        assert!(self.0.len() == other.0.len() && weights.len() == self.0.len(), "as many layers here as there, and weights");
        let layer = |((a, b), weight): ((&Tensor<4>, &Tensor<4>), &Tensor<4>)| -> Tensor<2> {
            assert_eq!(a.dims(), b.dims(), "maps of pairs of images");
            let [batch, _, height, width] = a.dims();
            let places = ((a.clone() - b.clone()).square() * weight.clone()).sum_dim(1);
            places.reshape([batch, height * width]).mean_dim(1)
        };
        let layers: Vec<Tensor<2>> = self.0.iter().zip(&other.0).zip(weights).map(layer).collect();
        let layers = Tensor::cat(layers, 1);
        LpipsDistance { distance: layers.clone().sum_dim(1).squeeze_dim::<1>(1), layers }
    }
}
