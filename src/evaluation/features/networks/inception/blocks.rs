//! Blocks of Inception-v3 (Szegedy et al., arXiv 1512.00567): branches side by side, whose maps are concatenated.
//!
//! Reference: torchvision 0.29.2, `models/inception.py`, whose names the fields have; and pytorch-fid 0.3.0, `inception.py`, for the poolings
//! of the network that published FIDs are of.

use burn::module::{Initializer, Module};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};
use roentgen_classifier::nn::{BatchNorm2d, BatchNorm2dConfig, Conv2d, Conv2dConfig};
use roentgen_kernels::Activation;

/// Convolution, norm, ReLU.
#[derive(Module, Debug)]
pub(super) struct Unit {
    conv: Conv2d,
    bn: BatchNorm2d,
}

impl Unit {
    /// Stride 1, and as many zeros around the image as keep its size.
    pub(super) fn same(channels: [usize; 2], kernel: [usize; 2], device: &Device) -> Self {
        let padding = kernel.map(|side| (side / 2, side / 2));
        Self::with(Conv2dConfig::new(channels, kernel).with_padding(padding), device)
    }

    /// 3x3 without zeros around the image.
    pub(super) fn valid(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        Self::with(Conv2dConfig::new(channels, [3, 3]).with_stride([stride; 2]), device)
    }

    fn with(conv: Conv2dConfig, device: &Device) -> Self {
        const EPSILON: f64 = 1e-3;
        let bn = BatchNorm2dConfig::new(conv.channels[1]).with_eps(EPSILON).init(device);
        Self { conv: conv.with_bias(false).with_initializer(Initializer::Zeros).init(device), bn }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.bn.forward_then(Activation::Relu, self.conv.forward(x))
    }
}

/// One unit after the other.
fn chain<'a>(units: impl IntoIterator<Item = &'a Unit>, x: &Tensor<4>) -> Tensor<4> {
    units.into_iter().fold(x.clone(), |x, unit| unit.forward(x))
}

/// The largest of every 3x3 window; windows are 2 apart and inside the image.
pub(super) fn shrink(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]))
}

/// The mean of every 3x3 window over what it has of the image: TensorFlow's, where torchvision counts the zeros around it.
fn mean_around(x: Tensor<4>) -> Tensor<4> {
    let options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]).with_count_include_pad(false);
    avg_pool2d(x, options)
}

/// The largest of every 3x3 window.
fn largest_around(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]))
}

#[derive(Module, Debug)]
pub(super) struct InceptionA {
    branch1x1: Unit,
    branch5x5_1: Unit,
    branch5x5_2: Unit,
    branch3x3dbl_1: Unit,
    branch3x3dbl_2: Unit,
    branch3x3dbl_3: Unit,
    branch_pool: Unit,
}

impl InceptionA {
    /// Gives `224 + pooled` channels.
    pub(super) fn new(channels: usize, pooled: usize, device: &Device) -> Self {
        let unit = |channels, side| Unit::same(channels, [side; 2], device);
        Self {
            branch1x1: unit([channels, 64], 1),
            branch5x5_1: unit([channels, 48], 1),
            branch5x5_2: unit([48, 64], 5),
            branch3x3dbl_1: unit([channels, 64], 1),
            branch3x3dbl_2: unit([64, 96], 3),
            branch3x3dbl_3: unit([96, 96], 3),
            branch_pool: unit([channels, pooled], 1),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branches = vec![
            self.branch1x1.forward(x.clone()),
            chain([&self.branch5x5_1, &self.branch5x5_2], &x),
            chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], &x),
            self.branch_pool.forward(mean_around(x)),
        ];
        Tensor::cat(branches, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct InceptionB {
    branch3x3: Unit,
    branch3x3dbl_1: Unit,
    branch3x3dbl_2: Unit,
    branch3x3dbl_3: Unit,
}

impl InceptionB {
    /// Gives `480 + channels` channels at half the size.
    pub(super) fn new(channels: usize, device: &Device) -> Self {
        Self {
            branch3x3: Unit::valid([channels, 384], 2, device),
            branch3x3dbl_1: Unit::same([channels, 64], [1, 1], device),
            branch3x3dbl_2: Unit::same([64, 96], [3, 3], device),
            branch3x3dbl_3: Unit::valid([96, 96], 2, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let branches = vec![
            self.branch3x3.forward(x.clone()),
            chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], &x),
            shrink(x),
        ];
        Tensor::cat(branches, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct InceptionC {
    branch1x1: Unit,
    branch7x7_1: Unit,
    branch7x7_2: Unit,
    branch7x7_3: Unit,
    branch7x7dbl_1: Unit,
    branch7x7dbl_2: Unit,
    branch7x7dbl_3: Unit,
    branch7x7dbl_4: Unit,
    branch7x7dbl_5: Unit,
    branch_pool: Unit,
}

impl InceptionC {
    /// 768 channels in and out, `inner` between.
    pub(super) fn new(inner: usize, device: &Device) -> Self {
        let unit = |channels, kernel| Unit::same(channels, kernel, device);
        Self {
            branch1x1: unit([768, 192], [1, 1]),
            branch7x7_1: unit([768, inner], [1, 1]),
            branch7x7_2: unit([inner, inner], [1, 7]),
            branch7x7_3: unit([inner, 192], [7, 1]),
            branch7x7dbl_1: unit([768, inner], [1, 1]),
            branch7x7dbl_2: unit([inner, inner], [7, 1]),
            branch7x7dbl_3: unit([inner, inner], [1, 7]),
            branch7x7dbl_4: unit([inner, inner], [7, 1]),
            branch7x7dbl_5: unit([inner, 192], [1, 7]),
            branch_pool: unit([768, 192], [1, 1]),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let twice =
            [&self.branch7x7dbl_1, &self.branch7x7dbl_2, &self.branch7x7dbl_3, &self.branch7x7dbl_4, &self.branch7x7dbl_5];
        let branches = vec![
            self.branch1x1.forward(x.clone()),
            chain([&self.branch7x7_1, &self.branch7x7_2, &self.branch7x7_3], &x),
            chain(twice, &x),
            self.branch_pool.forward(mean_around(x)),
        ];
        Tensor::cat(branches, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct InceptionD {
    branch3x3_1: Unit,
    branch3x3_2: Unit,
    branch7x7x3_1: Unit,
    branch7x7x3_2: Unit,
    branch7x7x3_3: Unit,
    branch7x7x3_4: Unit,
}

impl InceptionD {
    /// From 768 channels to 1,280 at half the size.
    pub(super) fn new(device: &Device) -> Self {
        let unit = |channels, kernel| Unit::same(channels, kernel, device);
        Self {
            branch3x3_1: unit([768, 192], [1, 1]),
            branch3x3_2: Unit::valid([192, 320], 2, device),
            branch7x7x3_1: unit([768, 192], [1, 1]),
            branch7x7x3_2: unit([192, 192], [1, 7]),
            branch7x7x3_3: unit([192, 192], [7, 1]),
            branch7x7x3_4: Unit::valid([192, 192], 2, device),
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let deep = [&self.branch7x7x3_1, &self.branch7x7x3_2, &self.branch7x7x3_3, &self.branch7x7x3_4];
        let branches = vec![chain([&self.branch3x3_1, &self.branch3x3_2], &x), chain(deep, &x), shrink(x)];
        Tensor::cat(branches, 1)
    }
}

#[derive(Module, Debug)]
pub(super) struct InceptionE {
    branch1x1: Unit,
    branch3x3_1: Unit,
    branch3x3_2a: Unit,
    branch3x3_2b: Unit,
    branch3x3dbl_1: Unit,
    branch3x3dbl_2: Unit,
    branch3x3dbl_3a: Unit,
    branch3x3dbl_3b: Unit,
    branch_pool: Unit,
    takes_largest: bool,
}

impl InceptionE {
    /// Gives 2,048 channels. The last block of the network takes the largest of the windows, the one before it their mean.
    pub(super) fn new(channels: usize, takes_largest: bool, device: &Device) -> Self {
        let unit = |channels, kernel| Unit::same(channels, kernel, device);
        Self {
            branch1x1: unit([channels, 320], [1, 1]),
            branch3x3_1: unit([channels, 384], [1, 1]),
            branch3x3_2a: unit([384, 384], [1, 3]),
            branch3x3_2b: unit([384, 384], [3, 1]),
            branch3x3dbl_1: unit([channels, 448], [1, 1]),
            branch3x3dbl_2: unit([448, 384], [3, 3]),
            branch3x3dbl_3a: unit([384, 384], [1, 3]),
            branch3x3dbl_3b: unit([384, 384], [3, 1]),
            branch_pool: unit([channels, 192], [1, 1]),
            takes_largest,
        }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let once = self.branch3x3_1.forward(x.clone());
        let twice = chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2], &x);
        let branches = vec![
            self.branch1x1.forward(x.clone()),
            self.branch3x3_2a.forward(once.clone()),
            self.branch3x3_2b.forward(once),
            self.branch3x3dbl_3a.forward(twice.clone()),
            self.branch3x3dbl_3b.forward(twice),
            self.branch_pool.forward(if self.takes_largest { largest_around(x) } else { mean_around(x) }),
        ];
        Tensor::cat(branches, 1)
    }
}
