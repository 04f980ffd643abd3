//! The convolutions of AlexNet (Krizhevsky, arXiv 1404.5997) as torchvision 0.29.2 has them.

use burn::module::{Initializer, Module};
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{Conv2d, Conv2dConfig};
use roentgen_kernels::relu;

use crate::diffusion::weights::KeyMap;

/// Smallest side of an image of which every layer sees something.
pub(super) const SMALLEST: usize = 31;

/// Channels after each of the five ReLUs.
pub(super) const CHANNELS: [usize; 5] = [64, 192, 384, 256, 256];

/// Position of each convolution among torchvision's layers.
const LAYERS: [usize; 5] = [0, 3, 6, 8, 10];

/// AlexNet without its classifier.
#[derive(Module, Debug)]
pub struct AlexNet {
    features: Vec<Conv2d>,
}

impl AlexNet {
    /// A network whose convolutions are zero until weights are loaded.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        let kernels = [(11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)];
        let inputs = [3].into_iter().chain(CHANNELS);
        let conv = |((input, output), (kernel, stride, padding))| {
            Conv2dConfig::new([input, output], [kernel; 2])
                .with_stride([stride; 2])
                .with_padding_around(padding)
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        Self { features: inputs.zip(CHANNELS).zip(kernels).map(conv).collect() }
    }

    /// # Shapes
    /// - images: `[B, 3, H, W]`, at least 31 pixels per side
    /// - output: `[B, C, ..]` after each of the five ReLUs
    pub fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut maps: Vec<Tensor<4>> = Vec::with_capacity(LAYERS.len());
        for (i, conv) in self.features.iter().enumerate() {
            let x = maps.last().cloned().unwrap_or_else(|| images.clone());
            // The first two layers end with a pooling.
            let x = if (1..=2).contains(&i) { max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2])) } else { x };
            maps.push(relu(conv.forward(x)));
        }
        maps
    }
}

/// torchvision's names; the classifier is not used.
pub struct AlexNetKeys;

impl KeyMap for AlexNetKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        (!name.starts_with("classifier.")).then(|| name.to_owned())
    }

    fn key(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["features", index, field] => {
                let layer = index.parse().ok().and_then(|index: usize| LAYERS.get(index));
                layer.map_or_else(|| path.to_owned(), |layer| format!("features.{layer}.{field}"))
            }
            _ => path.to_owned(),
        }
    }
}
