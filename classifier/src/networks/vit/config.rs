//! Sizes of a [`Vit`].

use burn::module::{Initializer, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::embeddings::{Embeddings, PatchEmbeddings};
use super::layer::Layer;
use super::{Encoder, Vit};
use crate::nn::{Conv2dConfig, LayerNormConfig};

/// Shape of a [`Vit`]. Field names are those of DINOv2's `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads of attention; a divisor of the width.
    pub num_attention_heads: usize,
    /// Width inside a feed-forward block as a multiple of the tokens'.
    pub mlp_ratio: usize,
    /// Side of the images whose patches the stored position embeddings are of.
    pub image_size: usize,
    /// Side of a patch.
    pub patch_size: usize,
    /// Channels of an image.
    pub num_channels: usize,
    /// Whether query, key and value have a bias.
    pub qkv_bias: bool,
    /// Whether the feed-forward block is a gate times a value (DINOv2's giant) instead of two matrices with GELU between them.
    pub use_swiglu_ffn: bool,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
}

impl VitConfig {
    /// ViT-B/14 at 518 pixels, which RAD-DINO is: 86.6 million parameters.
    #[must_use]
    pub fn base14() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            mlp_ratio: 4,
            image_size: 518,
            patch_size: 14,
            num_channels: 3,
            qkv_bias: true,
            use_swiglu_ffn: false,
            layer_norm_eps: 1e-6,
        }
    }

    /// A network of the same family about two thousand times smaller, for tests and small images.
    #[must_use]
    pub fn small() -> Self {
        Self { hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, image_size: 56, ..Self::base14() }
    }

    /// Patches along a side of an image of [`image_size`](Self::image_size).
    #[must_use]
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Width between the matrices of a feed-forward block.
    ///
    /// Where it is gated, two thirds of that, rounded up to a multiple of 8: as many parameters as without a gate.
    #[must_use]
    pub fn inner(&self) -> usize {
        let inner = self.hidden_size * self.mlp_ratio;
        if self.use_swiglu_ffn { (inner * 2 / 3).next_multiple_of(8) } else { inner }
    }

    /// A network of this shape; its weights are drawn as a new DINOv2's, and should be loaded.
    ///
    /// # Panics
    /// If any size is zero, the heads don't divide the width, or the image is smaller than a patch.
    #[must_use]
    pub fn init(&self, device: &Device) -> Vit {
        let Self { hidden_size: width, num_attention_heads: heads, patch_size: patch, .. } = *self;
        let sizes = [width, self.num_hidden_layers, heads, self.mlp_ratio, patch, self.num_channels, self.grid()];
        assert!(sizes.iter().all(|&size| size > 0), "a size of {self:?} is zero");
        assert!(width.is_multiple_of(heads), "{heads} heads do not divide a width of {width}");
        let token = |rows: usize| -> Param<Tensor<3>> {
            Initializer::Normal { mean: 0.0, std: DEVIATION }.init([1, rows, width], device)
        };
        let projection = Conv2dConfig::new([self.num_channels, width], [patch; 2]).with_stride([patch; 2]).init(device);
        Vit {
            embeddings: Embeddings {
                cls_token: token(1),
                position_embeddings: token(self.grid() * self.grid() + 1),
                patch_embeddings: PatchEmbeddings { projection },
                patch,
            },
            encoder: Encoder { layer: (0..self.num_hidden_layers).map(|_| Layer::new(self, device)).collect() },
            layernorm: LayerNormConfig::new(width).with_epsilon(self.layer_norm_eps).init(device),
        }
    }
}

/// Of tokens in a new network (transformers' `initializer_range`).
const DEVIATION: f64 = 0.02;

impl Vit {
    /// Width of a token, and of the feature.
    #[must_use]
    pub fn width(&self) -> usize {
        self.embeddings.cls_token.lazy_shape()[2]
    }
}
