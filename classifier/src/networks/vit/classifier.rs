//! A DINOv2 with a linear head, as transformers' `Dinov2ForImageClassification` has it (5.23.0).
//!
//! Letters: as in [the folder](super), and `F` findings.

use burn::module::{Initializer, Module};
use burn::tensor::{Device, FloatDType, Tensor};
use roentgen_kernels::cast;
use serde::{Deserialize, Serialize};

use super::super::stochastic_depth::{StochasticDepth, branch_factors};
use super::{Vit, VitConfig};
use crate::nn::{Linear, LinearConfig};

/// Channels of a head of attention in every published DINOv2. No tensor has the number of heads, so classifiers have no other.
pub(crate) const HEAD: usize = 64;

/// Shape of a [`VitClassifier`]. What it doesn't say is as in DINOv2: heads of 64 channels, biases of queries, keys and values, two matrices
/// with GELU between them, an epsilon of 1e-6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitClassifierConfig {
    /// Width of a token, a multiple of 64.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Width inside a feed-forward block as a multiple of the tokens'.
    pub mlp_ratio: usize,
    /// Patches along a side of the square that the stored position embeddings are of; those of other images are resampled from them.
    pub grid: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Channels of the images: 1, or 3 as in DINOv2.
    pub in_channels: usize,
    /// Number of findings.
    pub num_classes: usize,
}

impl VitClassifierConfig {
    /// ViT-B/14 with the position embeddings of 518 pixels, which RAD-DINO is: 86,601,230 parameters with 3 channels and 14 findings.
    #[must_use]
    pub fn base14(in_channels: usize, num_classes: usize) -> Self {
        let VitConfig { hidden_size, num_hidden_layers, mlp_ratio, patch_size, .. } = VitConfig::base14();
        let grid = VitConfig::base14().grid();
        Self { hidden_size, num_hidden_layers, mlp_ratio, grid, patch_size, in_channels, num_classes }
    }

    /// Width of the features that the linear head sees: a class token and a mean of patches.
    #[must_use]
    pub fn num_features(&self) -> usize {
        2 * self.hidden_size
    }

    /// The shape of what is before the head.
    #[must_use]
    pub fn body(&self) -> VitConfig {
        VitConfig {
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.hidden_size / HEAD,
            mlp_ratio: self.mlp_ratio,
            image_size: self.grid * self.patch_size,
            patch_size: self.patch_size,
            num_channels: self.in_channels,
            ..VitConfig::base14()
        }
    }

    /// A net of this shape, to be given weights: from a file, or from a seed ([`seeded`](crate::networks::seeded)).
    ///
    /// # Panics
    /// If any count is zero, or the width is no multiple of 64.
    #[must_use]
    pub fn init(&self, device: &Device) -> VitClassifier {
        assert!(self.hidden_size.is_multiple_of(HEAD), "the width of {self:?} is not a multiple of {HEAD}");
        assert!(self.num_classes > 0, "{self:?} classifies nothing");
        let head = LinearConfig::new(self.num_features(), self.num_classes).with_initializer(Initializer::Zeros);
        VitClassifier { dinov2: self.body().init(device), classifier: head.init(device) }
    }
}

/// A vision transformer that classifies; logits come without a sigmoid. Fields have the names of files on the hub.
///
/// The mask token of such files is no parameter: only training by itself uses it, and no gradient of a classifier would reach it.
///
/// Should be created using [`VitClassifierConfig`].
#[derive(Module, Debug)]
pub struct VitClassifier {
    dinov2: Vit,
    classifier: Linear,
}

impl VitClassifier {
    /// # Shapes
    /// - images: `[B, C, H, W]`, in the range of the weights (see [`InputRange`](roentgen_augment::batch::InputRange)); at least a patch per
    ///   side, and a remainder at the bottom and right is ignored
    /// - output: logits `[B, F]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head(self.features(images))
    }

    /// The forward pass of a training step: residual branches, two in each layer, are left out as `depth` draws.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    pub fn forward_in_training(&self, images: Tensor<4>, depth: &StochasticDepth) -> Tensor<2> {
        let count = images.dims()[0];
        let keep = depth.keep(self.dinov2.num_branches(), count);
        let factors = branch_factors(&keep, count, depth.rate, &images.device());
        self.head(cast(self.dinov2.pooled(images, Some(factors)), FloatDType::F32))
    }

    /// The class token and the mean of the patches, in 32 bits, as is the head behind them; see [`Vit::pooled`].
    ///
    /// # Shapes
    /// - images: as for [`forward`](Self::forward)
    /// - output: `[B, 2 * D]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        cast(self.dinov2.pooled(images, None), FloatDType::F32)
    }

    /// # Shapes
    /// - features: `[B, 2 * D]`
    /// - output: logits `[B, F]`
    pub fn head(&self, features: Tensor<2>) -> Tensor<2> {
        self.classifier.forward(features)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::optim::GradientsParams;
    use burn::tensor::{Distribution, Tolerance};

    use super::super::super::{Network, seeded};
    use super::*;

    fn small() -> VitClassifierConfig {
        VitClassifierConfig { hidden_size: 64, num_hidden_layers: 2, grid: 4, ..VitClassifierConfig::base14(1, 3) }
    }

    fn images(size: [usize; 2], device: &Device) -> Tensor<4> {
        Tensor::random([2, 1, size[0], size[1]], Distribution::Uniform(-1.0, 1.0), device)
    }

    #[test]
    fn base_has_the_published_number_of_parameters() {
        // microsoft/rad-dino's safetensors: 86,580,480 with the mask token's 768; then a head of 2 * 768 * 14 + 14.
        let net = Network::from(VitClassifierConfig::base14(3, 14).init(&Device::flex()));
        assert_eq!(net.num_trainable(), 86_580_480 - 768 + 21_518);
    }

    #[test]
    fn logits_are_the_heads_of_the_features_at_any_size() {
        let device = Device::flex();
        let net = seeded(small().init(&device), 1);
        for size in [[56, 56], [28, 70], [14, 14]] {
            let images = images(size, &device);
            let features = net.features(images.clone());
            assert_eq!(features.dims(), [2, small().num_features()]);
            let logits = net.head(features);
            assert_eq!(logits.dims(), [2, 3]);
            assert_eq!(logits.into_data(), net.forward(images).into_data());
        }
    }

    #[test]
    fn every_parameter_has_a_gradient() {
        struct Gradients<'a> {
            gradients: &'a GradientsParams,
            zero: usize,
            found: usize,
        }
        impl ModuleVisitor for Gradients<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                match self.gradients.get::<D>(param.id) {
                    Some(gradient) if gradient.clone().abs().max().into_scalar::<f32>() > 0.0 => self.found += 1,
                    Some(_) => self.zero += 1,
                    None => panic!("a parameter of the shape {:?} has no gradient", param.lazy_shape()),
                }
            }
        }
        let device = Device::flex().autodiff();
        let net = seeded(small().init(&Device::flex()), 1).train();
        for (size, rate) in [([56, 56], 0.0), ([42, 28], 0.0), ([56, 56], 0.1)] {
            let depth = StochasticDepth { rate, seed: 1, pass: 1 };
            let loss = net.forward_in_training(images(size, &device), &depth).square().sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            let mut seen = Gradients { gradients: &gradients, zero: 0, found: 0 };
            net.visit(&mut seen);
            // A key's bias moves all scores of a query alike, which no softmax sees: up to rounding its gradient is zero.
            assert!(seen.zero <= 2, "{size:?}: {} gradients are zero", seen.zero);
            // Embeddings 4, a layer 18, the norm 2, the head 2.
            assert_eq!(seen.zero + seen.found, 4 + 2 * 18 + 2 + 2);
        }
    }

    #[test]
    fn branches_that_are_left_out_change_nothing() {
        let device = Device::flex();
        let net = small().init(&device);
        let images = images([56, 56], &device);
        let embeddings = net.dinov2.forward_detailed(images.clone()).embeddings;
        let without = net.dinov2.layernorm.forward(embeddings);
        let none = Tensor::zeros([net.dinov2.num_branches(), 2], &device);
        let pooled = net.dinov2.pooled(images.clone(), Some(none));
        let class = without.narrow(1, 0, 1).squeeze_dim::<2>(1).into_data();
        let close = Tolerance::absolute(1e-6);
        pooled.narrow(1, 0, 64).into_data().assert_approx_eq::<f32>(&class, close);
        let all = Tensor::ones([net.dinov2.num_branches(), 2], &device);
        assert_eq!(net.dinov2.pooled(images.clone(), Some(all)).into_data(), net.features(images).into_data());
    }
}
