//! ResNet (He et al., arXiv 1512.03385) as torchvision 0.29 builds it and torchxrayvision 1.5 uses it: a block's stride is that of its
//! 3x3 convolution ("V1.5").
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width, `F` findings.

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use roentgen_kernels::{Activation, add, max_pool, relu};
use serde::{Deserialize, Serialize};

use super::average::{global_average, head};
use crate::nn::{BatchNorm2d, BatchNorm2dConfig, Conv2d, Conv2dConfig};

/// Kind of a residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResidualBlock {
    /// Two 3x3 convolutions: ResNet-18 and -34.
    Basic,
    /// A 1x1, a 3x3 and a 1x1 convolution, the last with four times the channels: ResNet-50 and deeper.
    Bottleneck,
}

impl ResidualBlock {
    /// Channels that a block gives, as a multiple of those inside it.
    pub(crate) fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// Shape of a [`ResNet`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResNetConfig {
    /// Kind of its blocks.
    pub block: ResidualBlock,
    /// Blocks per stage; every stage but the first halves height and width.
    pub layers: Vec<usize>,
    /// Channels inside the blocks of each stage.
    pub planes: Vec<usize>,
    /// Channels after the first convolution.
    pub stem: usize,
    /// 1 (torchxrayvision) or 3 (torchvision).
    pub in_channels: usize,
    /// Number of findings.
    pub num_classes: usize,
}

impl ResNetConfig {
    /// ResNet-50: 23,538,642 parameters with 1 channel and 18 findings.
    #[must_use]
    pub fn resnet50(in_channels: usize, num_classes: usize) -> Self {
        Self {
            block: ResidualBlock::Bottleneck,
            layers: vec![3, 4, 6, 3],
            planes: vec![64, 128, 256, 512],
            stem: 64,
            in_channels,
            num_classes,
        }
    }

    /// Channels of the last feature map.
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.planes.last().map_or(self.stem, |planes| planes * self.block.expansion())
    }

    /// A net of this shape. Convolutions and classifier are zero until weights are loaded or drawn from a seed ([`seeded`](super::seeded)).
    ///
    /// # Panics
    /// If any count is zero, or `layers` and `planes` are not of one length.
    #[must_use]
    pub fn init(&self, device: &Device) -> ResNet {
        let counts = self.layers.iter().chain(&self.planes).chain([&self.stem, &self.in_channels, &self.num_classes]);
        assert!(counts.into_iter().all(|count| *count > 0) && !self.layers.is_empty(), "a count of {self:?} is zero");
        assert_eq!(self.layers.len(), self.planes.len(), "{self:?} has a number of planes for each stage");
        let mut channels = self.stem;
        let stages = self.layers.iter().zip(&self.planes).enumerate().map(|(stage, (&blocks, &planes))| {
            let block = |i: usize| {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                let block = Block::new(self.block, channels, planes, stride, device);
                channels = planes * self.block.expansion();
                block
            };
            (0..blocks).map(block).collect()
        });
        let stages = stages.collect();
        ResNet {
            conv1: convolution([self.in_channels, self.stem], 7, 2, device),
            bn1: BatchNorm2dConfig::new(self.stem).init(device),
            stages,
            fc: LinearConfig::new(self.num_features(), self.num_classes).with_initializer(Initializer::Zeros).init(device),
        }
    }
}

/// A ResNet classifier; logits come without a sigmoid.
///
/// Should be created using [`ResNetConfig`].
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    stages: Vec<Vec<Block>>,
    fc: Linear,
}

/// All results of a forward pass, for callers who need more than logits.
#[derive(Clone, Debug)]
pub struct ResNetOutput {
    /// After the first pooling, `[B, C, H/4, W/4]`.
    pub stem: Tensor<4>,
    /// After each stage.
    pub stages: Vec<Tensor<4>>,
    /// Global average of the last stage, `[B, C]`; torchxrayvision's `features`.
    pub features: Tensor<2>,
    /// One logit per finding, `[B, F]`.
    pub logits: Tensor<2>,
}

impl ResNet {
    /// # Shapes
    /// - images: `[B, C, H, W]`, in the range of the weights (see [`InputRange`](roentgen_augment::batch::InputRange))
    /// - output: logits `[B, F]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head(self.features(images))
    }

    /// # Shapes
    /// - images: as for [`forward`](Self::forward)
    /// - output: global average of the last feature map, `[B, C]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        global_average(self.stages.iter().fold(self.stem(images), |x, stage| run_stage(x, stage)))
    }

    /// # Shapes
    /// - features: `[B, C]`
    /// - output: logits `[B, F]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        head(&self.fc, features)
    }

    /// The forward pass with its intermediate values.
    ///
    /// # Shapes
    /// As [`ResNet::forward`].
    pub fn forward_detailed(&self, images: Tensor<4>) -> ResNetOutput {
        let stem = self.stem(images);
        let mut stages = Vec::with_capacity(self.stages.len());
        let last = self.stages.iter().fold(stem.clone(), |x, stage| {
            let x = run_stage(x, stage);
            stages.push(x.clone());
            x
        });
        let features = global_average(last);
        ResNetOutput { stem, stages, logits: self.head(features.clone()), features }
    }

    fn stem(&self, images: Tensor<4>) -> Tensor<4> {
        max_pool(self.bn1.forward_then(Activation::Relu, self.conv1.forward(images)))
    }
}

fn run_stage(x: Tensor<4>, blocks: &[Block]) -> Tensor<4> {
    blocks.iter().fold(x, |x, block| block.forward(x))
}

/// Two or three convolutions, the input added to what they give, and a ReLU. Fields have torchvision's names.
#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm2d>,
    downsample: Option<Downsample>,
}

impl Block {
    fn new(kind: ResidualBlock, channels: usize, planes: usize, stride: usize, device: &Device) -> Self {
        let norm = |channels| BatchNorm2dConfig::new(channels).init(device);
        let outputs = planes * kind.expansion();
        let downsample = (stride > 1 || channels != outputs)
            .then(|| Downsample { conv: convolution([channels, outputs], 1, stride, device), norm: norm(outputs) });
        let (first, second) = match kind {
            ResidualBlock::Basic => ((3, stride), 1),
            ResidualBlock::Bottleneck => ((1, 1), stride),
        };
        let bottleneck = kind == ResidualBlock::Bottleneck;
        Self {
            conv1: convolution([channels, planes], first.0, first.1, device),
            bn1: norm(planes),
            conv2: convolution([planes, planes], 3, second, device),
            bn2: norm(planes),
            conv3: bottleneck.then(|| convolution([planes, outputs], 1, 1, device)),
            bn3: bottleneck.then(|| norm(outputs)),
            downsample,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let first = self.bn1.forward_then(Activation::Relu, self.conv1.forward(x.clone()));
        let second = self.conv2.forward(first);
        let branch = match (&self.conv3, &self.bn3) {
            (Some(conv3), Some(bn3)) => bn3.forward(conv3.forward(self.bn2.forward_then(Activation::Relu, second))),
            _ => self.bn2.forward(second),
        };
        let identity = match &self.downsample {
            Some(downsample) => downsample.norm.forward(downsample.conv.forward(x)),
            None => x,
        };
        relu(add(branch, identity))
    }
}

/// What brings a block's input to the shape of its output.
#[derive(Module, Debug)]
struct Downsample {
    conv: Conv2d,
    norm: BatchNorm2d,
}

fn convolution(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
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
    fn published_nets_have_their_number_of_parameters() {
        let device = Device::flex();
        assert_eq!(num_trainable(&ResNetConfig::resnet50(3, 1000).init(&device)), 25_557_032, "torchvision 0.29.2, resnet50");
        let resnet18 =
            ResNetConfig { block: ResidualBlock::Basic, layers: vec![2, 2, 2, 2], ..ResNetConfig::resnet50(3, 1000) };
        assert_eq!(num_trainable(&resnet18.init(&device)), 11_689_512, "torchvision 0.29.2, resnet18");
    }

    #[test]
    fn features_and_head_are_the_forward_pass() {
        let device = Device::flex();
        let config = ResNetConfig { layers: vec![1, 2], planes: vec![2, 3], stem: 4, ..ResNetConfig::resnet50(1, 5) };
        let net = config.init(&device);
        let images = Tensor::ones([2, 1, 33, 40], &device);
        let detailed = net.forward_detailed(images.clone());
        assert_eq!(detailed.features.dims(), [2, config.num_features()]);
        assert_eq!(detailed.stages.last().unwrap().dims(), [2, 12, 5, 5]);
        net.forward(images).into_data().assert_eq(&detailed.logits.into_data(), true);
    }
}
