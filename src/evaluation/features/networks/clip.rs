//! CLIP's image tower (Radford et al. 2021) from a folder as the hub has it: a whole `CLIPModel`, or a `CLIPVisionModelWithProjection`.
//!
//! Reference: transformers 5.23.0, `models/clip/modeling_clip.py`; the feature is `image_embeds`, the projected state of the class token,
//! not normalised. It learnt from photographs: its distances between radiographs are rough.

use std::path::Path;

use burn::module::{Initializer, Module, Param};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, FloatDType, Tensor};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;
use roentgen_classifier::nn::{Conv2d, Conv2dConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use serde_json::{Value, json};

use super::super::compute::Compute;
use super::super::{FeatureError, FeatureNetwork, ResizePath};
use super::folder::open_config;
use super::processor::{ImageProcessor, Preparation};
use crate::config::ComputeType;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{LAYERS, Options, SIDE, WIDTH};
use crate::diffusion::text::{Activation, Encoder, LayerSizes};
use crate::diffusion::weights::{KeyMap, Loaded, Stem, load};

/// Options of models that write text, which old files have for every model.
pub(super) const WRITING: [&str; 32] = [
    "bad_words_ids",
    "begin_suppress_tokens",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_scores",
    "prefix",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict_in_generate",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "top_k",
    "top_p",
    "typical_p",
    "use_bfloat16",
];

/// Shape of a [`ClipImageModel`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClipImageConfig {
    layers: usize,
    layer: LayerSizes,
    image: usize,
    patch: usize,
    projection: usize,
}

impl ClipImageConfig {
    /// Reads the `config.json` of a folder.
    ///
    /// # Errors
    /// [`DiffusionError::MissingFile`], [`DiffusionError::Io`], [`DiffusionError::NotJson`]; [`DiffusionError::OtherModel`] says which other
    /// model it is of; [`DiffusionError::Option`] and [`DiffusionError::UnknownOption`] for what is not computed here.
    pub fn read(folder: &Path) -> Result<Self, DiffusionError> {
        let (mut options, kind) = open_config(folder, &["clip", "clip_vision_model"], "a CLIP with an image tower")?;
        if kind == "clip_vision_model" {
            return Self::take(options, None);
        }
        let projection = options.take_or("projection_dim", 512)?;
        // Where old files have both, the second is meant.
        let tower = options.take::<Value>("vision_config")?;
        let tower = options.take::<Value>("vision_config_dict")?.or(tower).unwrap_or_else(|| json!({}));
        Self::take(Options::parse(&tower.to_string(), options.path())?, Some(projection))
    }

    /// Reads the options of the tower.
    fn take(mut options: Options, projection: Option<usize>) -> Result<Self, DiffusionError> {
        let config = Self {
            layers: options.within("num_hidden_layers", 12, LAYERS)?,
            layer: LayerSizes {
                width: options.within("hidden_size", 768, WIDTH)?,
                inner: options.within("intermediate_size", 3072, WIDTH)?,
                heads: options.within("num_attention_heads", 12, WIDTH)?,
                epsilon: options.factor("layer_norm_eps", 1e-5)?,
                activation: Activation::take(&mut options, "quick_gelu")?,
            },
            image: options.within("image_size", 224, SIDE)?,
            patch: options.within("patch_size", 32, SIDE)?,
            projection: options.within("projection_dim", 512, WIDTH)?,
        };
        let config = Self { projection: projection.unwrap_or(config.projection), ..config };
        options.in_range("projection_dim", &[config.projection], WIDTH)?;
        let LayerSizes { width, heads, .. } = config.layer;
        if !width.is_multiple_of(heads) {
            return Err(options.refuse(
                "num_attention_heads",
                &heads.to_string(),
                &format!("a divisor of hidden_size, {width}"),
            ));
        }
        if config.patch > config.image {
            return Err(options.refuse("patch_size", &config.patch.to_string(), "at most image_size"));
        }
        options.neutral("num_channels", &[json!(3)])?;
        for key in ["add_cross_attention", "is_decoder", "is_encoder_decoder"] {
            options.neutral(key, &[json!(false)])?;
        }
        options.neutral("pruned_heads", &[json!({})])?;
        options.without_training();
        options.without_influence(&["architectures", "attention_dropout", "dropout", "initializer_factor", "model_type"]);
        options.without_influence(&WRITING);
        options.finish()?;
        Ok(config)
    }

    /// A network of this shape, without values yet.
    #[must_use]
    pub fn init(&self, device: &Device) -> ClipImageModel {
        let Self { layers, layer, image, patch, projection } = *self;
        let LayerSizes { width, epsilon, .. } = layer;
        let norm = || LayerNormConfig::new(width).with_epsilon(epsilon).init(device);
        let grid = image / patch;
        ClipImageModel {
            vision_model: Tower {
                embeddings: Embeddings {
                    class_embedding: Initializer::Zeros.init([width], device),
                    patch_embedding: Conv2dConfig::new([3, width], [patch; 2])
                        .with_stride([patch; 2])
                        .with_bias(false)
                        .init(device),
                    position_embedding: EmbeddingConfig::new(grid * grid + 1, width).init(device),
                },
                pre_layrnorm: norm(),
                encoder: Encoder::new(layers, layer, device),
                post_layernorm: norm(),
            },
            visual_projection: LinearConfig::new(width, projection).with_bias(false).init(device),
        }
    }

    /// The network with the weights of a folder.
    ///
    /// # Errors
    /// Those of [`load`].
    pub fn load(&self, folder: &Path, device: &Device) -> Result<Loaded<ClipImageModel>, DiffusionError> {
        let mut loaded = load(self.init(device), folder, Stem::Transformers, &ClipImageKeys, FloatDType::F32)?;
        // Equal weights with other heads or another activation are another network.
        loaded.digest = Fingerprint::of(&[format!("{self:?}").as_bytes(), &loaded.digest.0]);
        Ok(loaded)
    }
}

/// A vision transformer whose class token is projected into a space that it shares with texts.
///
/// Should be created using [`ClipImageConfig`].
#[derive(Module, Debug)]
pub struct ClipImageModel {
    vision_model: Tower,
    visual_projection: Linear,
}

#[derive(Module, Debug)]
struct Tower {
    embeddings: Embeddings,
    /// So it is spelt in files.
    pre_layrnorm: LayerNorm,
    encoder: Encoder,
    post_layernorm: LayerNorm,
}

#[derive(Module, Debug)]
struct Embeddings {
    class_embedding: Param<Tensor<1>>,
    patch_embedding: Conv2d,
    position_embedding: Embedding,
}

impl ClipImageModel {
    /// # Shapes
    /// - images: `[B, 3, H, W]` of the configuration's size
    /// - output: `[B, projection]`
    ///
    /// # Panics
    /// If the images are of another size.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let Tower { embeddings, pre_layrnorm, encoder, post_layernorm } = &self.vision_model;
        let states = encoder.forward(pre_layrnorm.forward(embeddings.forward(images)));
        let class = post_layernorm.forward(states.narrow(1, 0, 1)).squeeze_dim::<2>(1);
        self.visual_projection.forward(class)
    }
}

impl Embeddings {
    /// `[B, 3, H, W]` to `[B, 1 + patches, D]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let batch = images.dims()[0];
        let patches = self.patch_embedding.forward(images).flatten::<3>(2, 3).swap_dims(1, 2);
        let positions = self.position_embedding.weight.val();
        let [rows, width] = positions.dims();
        assert_eq!(patches.dims()[1] + 1, rows, "patches of an image, and places for them");
        let class = self.class_embedding.val().reshape([1, 1, width]).expand([batch, 1, width]);
        Tensor::cat(vec![class, patches], 1) + positions.unsqueeze()
    }
}

/// Names are those of the hub's files. A whole model has a text tower beside it.
pub struct ClipImageKeys;

impl KeyMap for ClipImageKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let others = ["text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids"];
        (!others.iter().any(|other| name.starts_with(other))).then(|| name.to_owned())
    }
}

/// [`ClipImageModel`] that makes features.
#[derive(Debug)]
pub struct Clip {
    network: ClipImageModel,
    compute: Compute,
    preparation: Preparation,
    width: usize,
    digest: Fingerprint,
    device: Device,
}

impl Clip {
    /// The network of a folder. Without a `path`, images are resized as `preprocessor_config.json` says.
    ///
    /// # Errors
    /// [`FeatureError::Folder`] says what the folder lacks, or what it is instead.
    pub fn open(folder: &Path, path: Option<ResizePath>, device: &Device) -> Result<Self, FeatureError> {
        let config = ClipImageConfig::read(folder)?;
        let processor = ImageProcessor::read(&folder.join("preprocessor_config.json"))?;
        if processor.output() != [config.image; 2] {
            let [height, width] = processor.output();
            let message =
                format!("preprocessor_config.json makes images of {width}x{height}, and image_size is {}", config.image);
            return Err(DiffusionError::Mismatch { path: folder.to_owned(), message }.into());
        }
        let loaded = config.load(folder, device)?;
        let preparation = Preparation { processor, path };
        let width = config.projection;
        let compute = Compute::default();
        Ok(Self { network: loaded.model, compute, preparation, width, digest: loaded.digest, device: device.clone() })
    }

    /// The same, computed in `dtype`.
    #[must_use]
    pub fn computed_in(self, dtype: ComputeType) -> Self {
        let compute = Compute::new(dtype);
        Self { network: compute.round(self.network), compute, ..self }
    }
}

impl FeatureNetwork for Clip {
    fn name(&self) -> &str {
        "clip"
    }

    fn preparation(&self) -> String {
        self.compute.describe(self.preparation.to_string())
    }

    fn width(&self) -> usize {
        self.width
    }

    fn fingerprint(&self) -> Fingerprint {
        let preparation = format!("{:?}", self.preparation);
        self.compute.fingerprint(Fingerprint::of(&[b"clip", &self.digest.0, preparation.as_bytes()]))
    }

    fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let features = self.network.forward(self.compute.images(self.preparation.batch(images, &self.device)));
        Ok(features.into_data().iter::<f32>().collect())
    }
}
