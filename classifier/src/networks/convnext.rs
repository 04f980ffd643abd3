//! ConvNeXt (Liu et al., arXiv 2201.03545) as torchvision 0.29 builds it.
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width, `F` findings.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{Device, Tensor};
use roentgen_kernels::{cast, gelu};
use serde::{Deserialize, Serialize};

use super::average::global_average;
use super::stochastic_depth::{StochasticDepth, branch_factors};
use crate::nn::{Conv2d, Conv2dConfig, Depthwise, DepthwiseConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};

/// Added to the variance in every norm.
const EPSILON: f64 = 1e-6;
/// Side of the depthwise kernels.
const KERNEL: usize = 7;
/// Width of a block's inner layer as a multiple of its channels.
const EXPANSION: usize = 4;

/// Shape of a [`ConvNeXt`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConvNeXtConfig {
    /// Channels of each stage.
    pub channels: Vec<usize>,
    /// Blocks per stage.
    pub layers: Vec<usize>,
    /// 1 or 3 (torchvision).
    pub in_channels: usize,
    /// Number of findings.
    pub num_classes: usize,
}

impl ConvNeXtConfig {
    /// ConvNeXt-Tiny: 27,830,894 parameters with 3 channels and 14 findings.
    #[must_use]
    pub fn tiny(in_channels: usize, num_classes: usize) -> Self {
        Self { channels: vec![96, 192, 384, 768], layers: vec![3, 3, 9, 3], in_channels, num_classes }
    }

    /// Channels of the last feature map.
    #[must_use]
    pub fn num_features(&self) -> usize {
        self.channels.last().copied().unwrap_or_default()
    }

    /// A net of this shape. Convolutions and linear layers are zero until weights are loaded or drawn from a seed
    /// ([`seeded`](super::seeded)).
    ///
    /// # Panics
    /// If any count is zero, or `channels` and `layers` are not of one length.
    #[must_use]
    pub fn init(&self, device: &Device) -> ConvNeXt {
        let counts = self.channels.iter().chain(&self.layers).chain([&self.in_channels, &self.num_classes]);
        assert!(counts.into_iter().all(|count| *count > 0) && !self.channels.is_empty(), "a count of {self:?} is zero");
        assert_eq!(self.layers.len(), self.channels.len(), "{self:?} has a number of blocks for each stage");
        let stages = self.channels.iter().zip(&self.layers).enumerate().map(|(i, (&channels, &blocks))| Stage {
            downsample: i.checked_sub(1).map(|before| Downsample {
                norm: norm(self.channels[before], device),
                conv: patches([self.channels[before], channels], 2, device),
            }),
            blocks: (0..blocks).map(|_| Block::new(channels, device)).collect(),
        });
        ConvNeXt {
            stem: Stem { conv: patches([self.in_channels, self.channels[0]], 4, device), norm: norm(self.channels[0], device) },
            stages: stages.collect(),
            norm: norm(self.num_features(), device),
            classifier: linear(self.num_features(), self.num_classes, device),
        }
    }
}

/// A ConvNeXt classifier; logits come without a sigmoid.
///
/// Should be created using [`ConvNeXtConfig`].
#[derive(Module, Debug)]
pub struct ConvNeXt {
    stem: Stem,
    stages: Vec<Stage>,
    norm: LayerNorm,
    classifier: Linear,
}

/// All results of a forward pass, for callers who need more than logits.
#[derive(Clone, Debug)]
pub struct ConvNeXtOutput {
    /// Outputs of torchvision's `features`: the stem at 0, stages at odd places, the downsampling before them at even ones.
    pub maps: Vec<Tensor<4>>,
    /// Global average of the last stage, `[B, C]`.
    pub pooled: Tensor<2>,
    /// The same after the last norm, `[B, C]`: what the linear classifier sees.
    pub features: Tensor<2>,
    /// One logit per finding, `[B, F]`.
    pub logits: Tensor<2>,
}

impl ConvNeXt {
    /// # Shapes
    /// - images: `[B, C, H, W]`, in the range of the weights (see [`InputRange`](roentgen_augment::batch::InputRange)); at least 32 pixels
    ///   per side in a net of four stages
    /// - output: logits `[B, F]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_detailed(images, None).logits
    }

    /// The forward pass of a training step: residual branches are left out as `depth` draws.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    pub fn forward_in_training(&self, images: Tensor<4>, depth: &StochasticDepth) -> Tensor<2> {
        let count = images.dims()[0];
        let keep = depth.keep(self.num_blocks(), count);
        let factors = branch_factors(&keep, count, depth.rate, &images.device());
        self.forward_detailed(images, Some(factors)).logits
    }

    /// # Shapes
    /// - images: as for [`forward`](Self::forward)
    /// - output: global average of the last feature map after the last norm, `[B, C]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.forward_detailed(images, None).features
    }

    /// # Shapes
    /// - features: `[B, C]`
    /// - output: logits `[B, F]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(features)
    }

    /// Residual blocks of all stages.
    #[must_use]
    pub fn num_blocks(&self) -> usize {
        self.stages.iter().map(|stage| stage.blocks.len()).sum()
    }

    /// The forward pass with its intermediate values.
    ///
    /// # Shapes
    /// - images: as for [`forward`](Self::forward)
    /// - factors: what each block's branch is multiplied with for each image, `[blocks, B]`; see [`branch_factors`]
    pub fn forward_detailed(&self, images: Tensor<4>, factors: Option<Tensor<2>>) -> ConvNeXtOutput {
        let mut x = over_channels(&self.stem.norm, self.stem.conv.forward(images));
        let (mut maps, mut block) = (vec![x.clone()], 0);
        for stage in &self.stages {
            if let Some(downsample) = &stage.downsample {
                x = downsample.conv.forward(over_channels(&downsample.norm, x));
                maps.push(x.clone());
            }
            for residual in &stage.blocks {
                let factor = factors.as_ref().map(|factors| {
                    let [_, batch] = factors.dims();
                    factors.clone().slice([block..block + 1, 0..batch]).reshape([batch, 1, 1, 1])
                });
                x = residual.forward(x, factor);
                block += 1;
            }
            maps.push(x.clone());
        }
        let pooled = global_average(x);
        let features = self.norm.forward(pooled.clone());
        ConvNeXtOutput { maps, pooled, logits: self.head(features.clone()), features }
    }
}

#[derive(Module, Debug)]
struct Stem {
    conv: Conv2d,
    norm: LayerNorm,
}

#[derive(Module, Debug)]
struct Stage {
    /// Absent in the first stage.
    downsample: Option<Downsample>,
    blocks: Vec<Block>,
}

/// Halves height and width.
#[derive(Module, Debug)]
struct Downsample {
    norm: LayerNorm,
    conv: Conv2d,
}

#[derive(Module, Debug)]
struct Block {
    /// `[C, 1, 1]`
    layer_scale: Param<Tensor<3>>,
    depthwise: Depthwise,
    norm: LayerNorm,
    expand: Linear,
    project: Linear,
}

impl Block {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            layer_scale: Initializer::Zeros.init([channels, 1, 1], device),
            depthwise: DepthwiseConfig::new(channels, KERNEL).init(device),
            norm: norm(channels, device),
            expand: linear(channels, EXPANSION * channels, device),
            project: linear(EXPANSION * channels, channels, device),
        }
    }

    /// `factor`: `[B, 1, 1, 1]`
    fn forward(&self, x: Tensor<4>, factor: Option<Tensor<4>>) -> Tensor<4> {
        let [channels, _, _] = self.layer_scale.dims();
        let dtype = x.dtype().into();
        let inner = self.norm.forward(self.depthwise.forward(x.clone()).permute([0, 2, 3, 1])); // [B, H, W, C]
        let branch = self.project.forward(gelu(self.expand.forward(inner)));
        let scale = cast(self.layer_scale.val(), dtype);
        let branch = (branch * scale.reshape([1, 1, 1, channels])).permute([0, 3, 1, 2]);
        match factor {
            Some(factor) => x + branch * cast(factor, dtype),
            None => x + branch,
        }
    }
}

fn norm(channels: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(channels).with_epsilon(EPSILON).init(device)
}

fn linear(input: usize, output: usize, device: &Device) -> Linear {
    LinearConfig::new(input, output).with_initializer(Initializer::Zeros).init(device)
}

/// A convolution of patches that lie side by side; what is left at the right and the bottom is dropped.
fn patches(channels: [usize; 2], side: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new(channels, [side, side]).with_stride([side, side]).with_initializer(Initializer::Zeros).init(device)
}

/// Normalises the channels of each pixel of `[B, C, H, W]`.
fn over_channels(norm: &LayerNorm, x: Tensor<4>) -> Tensor<4> {
    norm.forward(x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::super::trainable::num_trainable;
    use super::*;

    #[test]
    fn tiny_has_the_published_number_of_parameters() {
        let net = ConvNeXtConfig::tiny(3, 1000).init(&Device::flex());
        assert_eq!(num_trainable(&net), 28_589_128, "torchvision 0.29.2, convnext_tiny");
        assert_eq!(net.num_blocks(), 18);
    }

    #[test]
    fn a_branch_that_is_left_out_changes_nothing() {
        let device = Device::flex();
        let config = ConvNeXtConfig { channels: vec![4], layers: vec![1], ..ConvNeXtConfig::tiny(1, 2) };
        let block = &mut config.init(&device).stages[0].blocks[0];
        block.layer_scale = Initializer::Ones.init([4, 1, 1], &device);
        block.project = LinearConfig::new(16, 4).with_initializer(Initializer::Ones).init(&device);
        let x = Tensor::<4>::ones([2, 4, 5, 6], &device);
        let factor = Tensor::<1>::from_floats([0.0, 1.0], &device).reshape([2, 1, 1, 1]);
        let out = block.forward(x, Some(factor)).into_data().iter::<f32>().collect::<Vec<_>>();
        let (dropped, kept) = out.split_at(out.len() / 2);
        assert!(dropped.iter().all(|value| *value == 1.0));
        assert!(kept.iter().all(|value| *value == 2.0), "{kept:?}");
    }
}
