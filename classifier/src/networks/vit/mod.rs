//! DINOv2's vision transformer (Oquab et al., arXiv 2304.07193), which RAD-DINO is.
//!
//! Reference: transformers 5.23.0, `models/dinov2/modeling_dinov2.py`, `Dinov2Model`. Fields have the names of files on the hub.
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width, `L` tokens, `D` width of a token.

mod classifier;
mod config;
mod embeddings;
mod layer;

use burn::module::Module;
use burn::tensor::Tensor;

use self::embeddings::Embeddings;
use self::layer::Layer;
use crate::nn::LayerNorm;

pub(crate) use classifier::HEAD;
pub use classifier::{VitClassifier, VitClassifierConfig};
pub use config::VitConfig;
pub use layer::LayerStates;

/// A vision transformer without a head; [`VitClassifier`] has one.
///
/// Should be created using [`VitConfig`].
#[derive(Module, Debug)]
pub struct Vit {
    embeddings: Embeddings,
    encoder: Encoder,
    layernorm: LayerNorm,
}

#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
}

/// All results of a forward pass, for callers who need more than the feature.
#[derive(Clone, Debug)]
pub struct VitOutput {
    /// Tokens with their places, `[B, L, D]`.
    pub embeddings: Tensor<3>,
    /// Those of the layers, in order.
    pub layers: Vec<LayerStates>,
    /// After the last norm, `[B, L, D]`: the class token, then the patches row by row.
    pub last_hidden_state: Tensor<3>,
}

impl Vit {
    /// The state of the class token after the last norm, which is the feature of an image (`pooler_output`).
    ///
    /// # Shapes
    /// - images: `[B, C, H, W]`, of any size from one patch on; a remainder at the bottom and right is ignored
    /// - output: `[B, D]`
    ///
    /// # Panics
    /// If an image is smaller than a patch, or has other channels.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let class = self.tokens(images, None).narrow(1, 0, 1);
        self.layernorm.forward(class).squeeze_dim::<2>(1)
    }

    /// What a linear classifier sees in DINOv2's own evaluation: the class token after the last norm, then the mean of the patches after it
    /// (`cat([cls, patches.mean(1)])` of `Dinov2ForImageClassification`).
    ///
    /// # Shapes
    /// - images: as for [`Vit::forward`]
    /// - factors: what the branches of each layer, attention's before the feed-forward block's, are multiplied with for each image,
    ///   `[2 * layers, B]`; see [`branch_factors`](super::branch_factors)
    /// - output: `[B, 2 * D]`
    ///
    /// # Panics
    /// As [`Vit::forward`], and if `factors` has other rows.
    pub fn pooled(&self, images: Tensor<4>, factors: Option<Tensor<2>>) -> Tensor<2> {
        let states = self.layernorm.forward(self.tokens(images, factors));
        let patches = states.dims()[1] - 1;
        let class = states.clone().narrow(1, 0, 1);
        Tensor::cat(vec![class, states.narrow(1, 1, patches).mean_dim(1)], 2).squeeze_dim::<2>(1)
    }

    /// Residual branches of all layers: two in each.
    #[must_use]
    pub fn num_branches(&self) -> usize {
        2 * self.encoder.layer.len()
    }

    /// The tokens before the last norm, `[B, L, D]`.
    fn tokens(&self, images: Tensor<4>, factors: Option<Tensor<2>>) -> Tensor<3> {
        let batch = images.dims()[0];
        if let Some(factors) = &factors {
            assert_eq!(factors.dims(), [self.num_branches(), batch], "a factor for each branch and image");
        }
        let factor = |row: usize| factors.as_ref().map(|all| all.clone().narrow(0, row, 1).reshape([batch, 1, 1]));
        self.encoder.layer.iter().enumerate().fold(self.embeddings.forward(images), |x, (i, layer)| {
            let factors = factor(2 * i).zip(factor(2 * i + 1)).map(<[_; 2]>::from);
            layer.forward(x, factors).output
        })
    }

    /// The forward pass with its intermediate values, which are all held at once.
    ///
    /// # Shapes
    /// As [`Vit::forward`].
    ///
    /// # Panics
    /// As [`Vit::forward`].
    pub fn forward_detailed(&self, images: Tensor<4>) -> VitOutput {
        let embeddings = self.embeddings.forward(images);
        let mut layers: Vec<LayerStates> = Vec::with_capacity(self.encoder.layer.len());
        for layer in &self.encoder.layer {
            let x = layers.last().map_or_else(|| embeddings.clone(), |before| before.output.clone());
            layers.push(layer.forward(x, None));
        }
        let last = layers.last().map_or_else(|| embeddings.clone(), |last| last.output.clone());
        VitOutput { embeddings, layers, last_hidden_state: self.layernorm.forward(last) }
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Distribution, Tensor, Tolerance};

    use super::*;

    fn images(size: [usize; 2], device: &Device) -> Tensor<4> {
        Tensor::random([2, 3, size[0], size[1]], Distribution::Default, device)
    }

    #[test]
    fn base_has_the_published_number_of_parameters() {
        // microsoft/rad-dino's safetensors: 86,580,480 with the mask token's 768, which no forward pass uses.
        assert_eq!(VitConfig::base14().init(&Device::flex()).num_params(), 86_580_480 - 768);
    }

    #[test]
    fn features_are_of_the_last_states() {
        let device = Device::flex();
        let net = VitConfig::small().init(&device);
        for size in [[56, 56], [28, 70], [60, 45]] {
            let images = images(size, &device);
            let states = net.forward_detailed(images.clone()).last_hidden_state;
            assert_eq!(states.dims(), [2, 1 + (size[0] / 14) * (size[1] / 14), 32]);
            let patches = states.dims()[1] - 1;
            let class = states.clone().narrow(1, 0, 1).squeeze_dim::<2>(1);
            let mean = states.narrow(1, 1, patches).mean_dim(1).squeeze_dim::<2>(1);
            let close = Tolerance::absolute(1e-6);
            class.clone().into_data().assert_approx_eq::<f32>(&net.forward(images.clone()).into_data(), close);
            let pooled = Tensor::cat(vec![class, mean], 1);
            pooled.into_data().assert_approx_eq::<f32>(&net.pooled(images, None).into_data(), close);
        }
    }

    #[test]
    fn every_parameter_has_a_gradient_also_where_places_are_resampled() {
        let device = Device::flex();
        for use_swiglu_ffn in [false, true] {
            let config = VitConfig { use_swiglu_ffn, ..VitConfig::small() };
            let net = config.init(&device).train();
            for size in [[56, 56], [42, 56]] {
                let loss = net.forward(images(size, &device.clone().autodiff())).square().sum();
                let gradients = GradientsParams::from_grads(loss.backward(), &net);
                let mut count = Count { gradients: &gradients, zero: 0, found: 0 };
                net.visit(&mut count);
                // A key's bias moves all scores of a query alike, which no softmax sees: up to rounding its gradient is zero.
                assert!(count.zero <= config.num_hidden_layers && count.found > 30, "{size:?}: {} are zero", count.zero);
            }
        }
    }

    struct Count<'a> {
        gradients: &'a GradientsParams,
        zero: usize,
        found: usize,
    }

    impl burn::module::ModuleVisitor for Count<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            match self.gradients.get::<D>(param.id) {
                Some(gradient) if gradient.clone().abs().max().into_scalar::<f32>() > 0.0 => self.found += 1,
                Some(_) => self.zero += 1,
                None => panic!("a parameter of the shape {:?} has no gradient", param.lazy_shape()),
            }
        }
    }
}
