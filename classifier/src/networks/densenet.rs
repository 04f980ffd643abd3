//! DenseNet (Huang et al., arXiv 1608.06993) as torchvision 0.29 and torchxrayvision 1.5 build it.
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width, `F` findings.

use burn::module::Initializer;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::average::{global_average, head};
use crate::nn::{BatchNorm2d, BatchNorm2dConfig, Conv2d, Conv2dConfig, Pointwise, PointwiseConfig};
use roentgen_kernels::{Activation, DenseFeatures, average_pool, cast, max_pool, relu};

/// Shape of a [`DenseNet`]. Field names are torchvision's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseNetConfig {
    /// Channels that each layer adds.
    pub growth_rate: usize,
    /// Layers per dense block.
    pub block_config: Vec<usize>,
    /// Channels after the first convolution.
    pub num_init_features: usize,
    /// Bottleneck width as a multiple of the growth rate.
    pub bn_size: usize,
    /// 1 (torchxrayvision) or 3 (torchvision).
    pub in_channels: usize,
    /// Number of findings.
    pub num_classes: usize,
}

impl DenseNetConfig {
    /// DenseNet-121: 6,966,034 parameters with 1 channel and 18 findings.
    #[must_use]
    pub fn densenet121(in_channels: usize, num_classes: usize) -> Self {
        Self { growth_rate: 32, block_config: vec![6, 12, 24, 16], num_init_features: 64, bn_size: 4, in_channels, num_classes }
    }

    /// A net of the same family about seventy times smaller, for tests, the demo and small images.
    #[must_use]
    pub fn small(in_channels: usize, num_classes: usize) -> Self {
        Self { growth_rate: 12, block_config: vec![2, 4, 6, 4], num_init_features: 24, bn_size: 4, in_channels, num_classes }
    }

    /// Channels of the last feature map.
    #[must_use]
    pub fn num_features(&self) -> usize {
        let last = self.block_config.len() - 1;
        self.block_config.iter().enumerate().fold(self.num_init_features, |channels, (i, layers)| {
            let grown = channels + layers * self.growth_rate;
            if i == last { grown } else { grown / 2 }
        })
    }

    /// A net of this shape. Convolutions and classifier are zero until weights are loaded or drawn from a seed ([`seeded`](crate::networks::seeded)).
    ///
    /// # Panics
    /// If any count is zero.
    #[must_use]
    pub fn init(&self, device: &Device) -> DenseNet {
        assert!(
            self.growth_rate * self.num_init_features * self.bn_size * self.in_channels * self.num_classes > 0
                && !self.block_config.is_empty()
                && self.block_config.iter().all(|n| *n > 0),
            "a count of {self:?} is zero"
        );
        DenseNet {
            features: Features::new(self, device),
            classifier: LinearConfig::new(self.num_features(), self.num_classes)
                .with_initializer(Initializer::Zeros)
                .init(device),
        }
    }
}

/// A DenseNet classifier; logits come without a sigmoid.
///
/// Should be created using [`DenseNetConfig`].
#[derive(Module, Debug)]
pub struct DenseNet {
    features: Features,
    classifier: Linear,
}

/// All results of a forward pass, for callers who need more than logits.
#[derive(Clone, Debug)]
pub struct DenseNetOutput {
    /// After the first convolution, `[B, num_init_features, H/2, W/2]`.
    pub conv0: Tensor<4>,
    /// After the first dense block.
    pub denseblock1: Tensor<4>,
    /// After the last norm, before its ReLU, `[B, C, H/32, W/32]`.
    pub features: Tensor<4>,
    /// ReLU and global average of `features`, `[B, C]`; torchxrayvision's `features2`.
    pub pooled: Tensor<2>,
    /// One logit per finding, `[B, F]`.
    pub logits: Tensor<2>,
}

impl DenseNet {
    /// # Shapes
    /// - images: `[B, C, H, W]`, in the range of the weights (see [`InputRange`](roentgen_augment::batch::InputRange)); at least 29 pixels per side
    /// - output: logits `[B, F]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_detailed(images).logits
    }

    /// # Shapes
    /// - images: as for [`forward`](Self::forward)
    /// - output: ReLU and global average of the last feature map, `[B, C]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_detailed(images).pooled
    }

    /// # Shapes
    /// - features: `[B, C]`
    /// - output: logits `[B, F]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        head(&self.classifier, features)
    }

    /// The forward pass with its intermediate values.
    ///
    /// # Shapes
    /// As [`DenseNet::forward`].
    pub fn forward_detailed(&self, images: Tensor<4>) -> DenseNetOutput {
        let (conv0, denseblock1, features) = self.features.forward(images);
        let pooled = global_average(relu(features.clone()));
        let logits = self.head(pooled.clone());
        DenseNetOutput { conv0, denseblock1, features, pooled, logits }
    }
}

#[derive(Module, Debug)]
struct Features {
    conv0: Conv2d,
    norm0: BatchNorm2d,
    denseblocks: Vec<DenseBlock>,
    transitions: Vec<Transition>,
    norm5: BatchNorm2d,
}

impl Features {
    fn new(config: &DenseNetConfig, device: &Device) -> Self {
        let mut channels = config.num_init_features;
        let (mut denseblocks, mut transitions) = (Vec::new(), Vec::new());
        for (i, &layers) in config.block_config.iter().enumerate() {
            denseblocks.push(DenseBlock::new(config, channels, layers, device));
            channels += layers * config.growth_rate;
            if i + 1 < config.block_config.len() {
                transitions.push(Transition::new(channels, device));
                channels /= 2;
            }
        }
        Self {
            conv0: conv([config.in_channels, config.num_init_features], 7, 2, device),
            norm0: BatchNorm2dConfig::new(config.num_init_features).init(device),
            denseblocks,
            transitions,
            norm5: BatchNorm2dConfig::new(channels).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> (Tensor<4>, Tensor<4>, Tensor<4>) {
        let conv0 = self.conv0.forward(images); // [B, C0, H/2, W/2]
        let mut x = max_pool(self.norm0.forward_then(Activation::Relu, conv0.clone())); // [B, C0, H/4, W/4]
        let mut denseblock1 = None;
        for (i, block) in self.denseblocks.iter().enumerate() {
            x = block.forward(x);
            denseblock1.get_or_insert_with(|| x.clone());
            if let Some(transition) = self.transitions.get(i) {
                x = transition.forward(x);
            }
        }
        let denseblock1 = denseblock1.expect("a net has at least one block");
        (conv0, denseblock1, self.norm5.forward(x))
    }
}

#[derive(Module, Debug)]
struct DenseBlock {
    layers: Vec<DenseLayer>,
    /// After the last layer.
    channels: usize,
}

impl DenseBlock {
    fn new(config: &DenseNetConfig, channels: usize, layers: usize, device: &Device) -> Self {
        let before = |i| channels + i * config.growth_rate;
        let layer = |i| DenseLayer::new(config, before(i), device);
        Self { layers: (0..layers).map(layer).collect(), channels: before(layers) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if !DenseFeatures::take(&x) {
            return self.layers.iter().fold(x, |x, layer| Tensor::cat(vec![x.clone(), layer.forward(x)], 1));
        }
        let next = |maps: DenseFeatures, layer: &DenseLayer| {
            let new = layer.forward_maps(&maps);
            maps.with(new)
        };
        self.layers.iter().fold(DenseFeatures::start(x, self.channels), next).finish()
    }
}

/// norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution: the part that is concatenated to its input.
#[derive(Module, Debug)]
struct DenseLayer {
    norm1: BatchNorm2d,
    conv1: Pointwise,
    norm2: BatchNorm2d,
    conv2: Conv2d,
}

impl DenseLayer {
    fn new(config: &DenseNetConfig, channels: usize, device: &Device) -> Self {
        let bottleneck = config.bn_size * config.growth_rate;
        Self {
            norm1: BatchNorm2dConfig::new(channels).init(device),
            conv1: PointwiseConfig::new([channels, bottleneck]).init(device),
            norm2: BatchNorm2dConfig::new(bottleneck).init(device),
            conv2: conv([bottleneck, config.growth_rate], 3, 1, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.second_half(self.conv1.forward(self.norm1.forward_then(Activation::Relu, x)))
    }

    /// The same from the maps so far, which are not concatenated.
    fn forward_maps(&self, maps: &DenseFeatures) -> Tensor<4> {
        self.second_half(self.norm1.forward_convolved(maps, cast(self.conv1.weight.val(), maps.dtype())))
    }

    fn second_half(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv2.forward(self.norm2.forward_then(Activation::Relu, x))
    }
}

/// Halves channels, height and width.
#[derive(Module, Debug)]
struct Transition {
    norm: BatchNorm2d,
    conv: Pointwise,
}

impl Transition {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: BatchNorm2dConfig::new(channels).init(device),
            conv: PointwiseConfig::new([channels, channels / 2]).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // The convolution of pixels and the mean over blocks commute; in this order the convolution has a quarter of the
        // pixels.
        self.conv.forward(average_pool(self.norm.forward_then(Activation::Relu, x)))
    }
}

fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding_around(kernel / 2)
        .with_bias(false)
        .with_initializer(Initializer::Zeros)
        .init(device)
}

#[cfg(test)]
mod tests {
    use super::super::trainable::num_trainable;
    use super::*;

    #[test]
    fn densenet121_has_the_published_number_of_parameters() {
        let net = DenseNetConfig::densenet121(1, 18).init(&Device::flex());
        assert_eq!(num_trainable(&net), 6_966_034, "torchxrayvision 1.5.7");
    }

    #[test]
    fn odd_sizes_round_down() {
        let net = DenseNetConfig::small(1, 3).init(&Device::flex());
        let output = net.forward_detailed(Tensor::zeros([2, 1, 75, 45], &Device::flex()));
        assert_eq!(output.logits.dims(), [2, 3]);
        assert_eq!(output.features.dims(), [2, DenseNetConfig::small(1, 3).num_features(), 2, 1]);
    }
}
