//! Inception-v3 with the weights of 2015 that published FIDs are of, as pytorch-fid has them (`pt_inception-2015-12-05-6726825d.pth`).
//!
//! Reference: pytorch-fid 0.3.0, `inception.py`, `InceptionV3` up to its third pooling: 2,048 numbers.

mod blocks;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rayon::prelude::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;

use self::blocks::{InceptionA, InceptionB, InceptionC, InceptionD, InceptionE, Unit, shrink};
use super::super::compute::Compute;
use super::super::{FeatureError, FeatureNetwork, ResizePath};
use super::file::{TensorFile, refused};
use crate::config::ComputeType;
use crate::diffusion::weights::KeyMap;

/// Side of the images that it takes.
const SIDE: usize = 299;

/// Features of an image.
const WIDTH: usize = 2048;

/// Outputs of the classifier behind the features: ImageNet's classes and 8 more, which tells the weights of 2015 from torchvision's.
const CLASSES: usize = 1008;

/// Inception-v3 without its classifier.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    conv2d_1a_3x3: Unit,
    conv2d_2a_3x3: Unit,
    conv2d_2b_3x3: Unit,
    conv2d_3b_1x1: Unit,
    conv2d_4a_3x3: Unit,
    mixed_5b: InceptionA,
    mixed_5c: InceptionA,
    mixed_5d: InceptionA,
    mixed_6a: InceptionB,
    mixed_6b: InceptionC,
    mixed_6c: InceptionC,
    mixed_6d: InceptionC,
    mixed_6e: InceptionC,
    mixed_7a: InceptionD,
    mixed_7b: InceptionE,
    mixed_7c: InceptionE,
}

impl InceptionV3 {
    /// A network whose convolutions are zero until weights are loaded.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            conv2d_1a_3x3: Unit::valid([3, 32], 2, device),
            conv2d_2a_3x3: Unit::valid([32, 32], 1, device),
            conv2d_2b_3x3: Unit::same([32, 64], [3, 3], device),
            conv2d_3b_1x1: Unit::same([64, 80], [1, 1], device),
            conv2d_4a_3x3: Unit::valid([80, 192], 1, device),
            mixed_5b: InceptionA::new(192, 32, device),
            mixed_5c: InceptionA::new(256, 64, device),
            mixed_5d: InceptionA::new(288, 64, device),
            mixed_6a: InceptionB::new(288, device),
            mixed_6b: InceptionC::new(128, device),
            mixed_6c: InceptionC::new(160, device),
            mixed_6d: InceptionC::new(160, device),
            mixed_6e: InceptionC::new(192, device),
            mixed_7a: InceptionD::new(device),
            mixed_7b: InceptionE::new(1280, false, device),
            mixed_7c: InceptionE::new(2048, true, device),
        }
    }

    /// # Shapes
    /// - images: `[B, 3, H, W]` in `[-1, 1]`, of at least 75 pixels per side; 299 are usual
    /// - output: `[B, 2048]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.conv2d_2a_3x3.forward(self.conv2d_1a_3x3.forward(images));
        let x = shrink(self.conv2d_2b_3x3.forward(x));
        let x = shrink(self.conv2d_4a_3x3.forward(self.conv2d_3b_1x1.forward(x)));
        let x = self.mixed_5d.forward(self.mixed_5c.forward(self.mixed_5b.forward(x)));
        let x = self.mixed_6a.forward(x);
        let x =
            [&self.mixed_6b, &self.mixed_6c, &self.mixed_6d, &self.mixed_6e].into_iter().fold(x, |x, block| block.forward(x));
        let x = self.mixed_7c.forward(self.mixed_7b.forward(self.mixed_7a.forward(x)));
        let [batch, channels, height, width] = x.dims();
        x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
    }
}

/// torchvision's names begin with a capital letter. The classifier is not used, and norms need no count of batches.
pub struct InceptionKeys;

impl KeyMap for InceptionKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        (!name.starts_with("fc.") && !name.ends_with(".num_batches_tracked")).then(|| name.to_owned())
    }

    fn key(&self, path: &str) -> String {
        let mut letters = path.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
    }
}

/// [`InceptionV3`] that makes features.
#[derive(Debug)]
pub struct Inception {
    network: InceptionV3,
    compute: Compute,
    digest: Fingerprint,
    path: Option<ResizePath>,
    device: Device,
}

impl Inception {
    /// The network of pytorch-fid's file of weights. Without a `path`, images are resized as pytorch-fid does: bilinear, without
    /// antialiasing.
    ///
    /// # Errors
    /// [`FeatureError::Network`] says what the file is instead, or how its tensors differ; [`FeatureError::Folder`] for a damaged one.
    pub fn open(file: &Path, path: Option<ResizePath>, device: &Device) -> Result<Self, FeatureError> {
        const EXPECTED: &str = "file of pytorch-fid's Inception-v3 (pt_inception-2015-12-05)";
        let tensors = TensorFile::open(file, EXPECTED)?;
        let classes = tensors.shape("fc.bias").and_then(|shape| shape.first().copied());
        if tensors.has_any("AuxLogits.") || classes.is_some_and(|classes| classes != CLASSES) {
            let found = "it is torchvision's Inception-v3 for ImageNet, whose features are others: a distance between them is no published FID";
            return Err(refused(file, EXPECTED, found));
        }
        let loaded = tensors.load(InceptionV3::new(device), &InceptionKeys, FloatDType::F32)?;
        let compute = Compute::default();
        Ok(Self { network: loaded.model, compute, digest: loaded.digest, path, device: device.clone() })
    }

    /// The same, computed in `dtype`.
    #[must_use]
    pub fn computed_in(self, dtype: ComputeType) -> Self {
        let compute = Compute::new(dtype);
        Self { network: compute.round(self.network), compute, ..self }
    }

    /// `3 * 299 * 299` numbers in `[-1, 1]`.
    fn picture(&self, image: &RgbImage) -> Vec<f32> {
        let levels = match self.path {
            Some(path) => path.apply(image, SIDE).values,
            None => bilinear(image),
        };
        levels.into_iter().map(|level| 2.0 * (level / 255.0) - 1.0).collect()
    }
}

impl FeatureNetwork for Inception {
    fn name(&self) -> &str {
        "inception-v3"
    }

    fn preparation(&self) -> String {
        let way = self
            .path
            .map_or_else(|| "bilinear without antialiasing to 299x299 (pytorch-fid)".to_owned(), |path| path.describe(SIDE));
        self.compute.describe(format!("{way}, 2x/255 - 1"))
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"inception-v3", &self.digest.0, self.preparation().as_bytes()])
    }

    fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let pictures: Vec<Vec<f32>> = images.par_iter().map(|image| self.picture(image)).collect();
        let batch = Tensor::from_data(TensorData::new(pictures.concat(), [images.len(), 3, SIDE, SIDE]), &self.device);
        Ok(self.network.forward(self.compute.images(batch)).into_data().iter::<f32>().collect())
    }
}

/// torch's `interpolate(size=(299, 299), mode="bilinear", align_corners=False)` of levels, channel by channel: each value is between the
/// four pixels around its place, however much the image shrinks.
fn bilinear(image: &RgbImage) -> Vec<f32> {
    let (columns, rows) = (places(image.width), places(image.height));
    let mut out = Vec::with_capacity(3 * SIDE * SIDE);
    for channel in 0..3 {
        let level = |x: usize, y: usize| f32::from(image.samples[3 * (y * image.width + x) + channel]);
        for &([above, below], down) in &rows {
            out.extend(columns.iter().map(|&([left, right], across)| {
                let row = |y| level(left, y) * (1.0 - across) + level(right, y) * across;
                row(above) * (1.0 - down) + row(below) * down
            }));
        }
    }
    out
}

/// The two samples around each place, and how far it is from the first.
fn places(from: usize) -> Vec<([usize; 2], f32)> {
    let scale = from as f32 / SIDE as f32;
    let place = |index: usize| {
        let center = (scale * (index as f32 + 0.5) - 0.5).max(0.0);
        let first = (center as usize).min(from - 1);
        ([first, (first + 1).min(from - 1)], center - first as f32)
    };
    (0..SIDE).map(place).collect()
}
