//! RAD-DINO (Pérez-García et al., arXiv 2401.10815) and any other DINOv2 in a folder as the hub has it: `config.json`,
//! `preprocessor_config.json`, `model.safetensors`.
//!
//! Reference: transformers 5.23.0, `Dinov2Model`; the feature is its `pooler_output`.

use std::path::Path;

use burn::tensor::{Device, FloatDType};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;
use roentgen_classifier::networks::vit::{Vit, VitConfig};
use serde_json::json;

use super::super::compute::Compute;
use super::super::{FeatureError, FeatureNetwork, ResizePath};
use super::folder::open_config;
use super::processor::{ImageProcessor, Preparation};
use crate::config::ComputeType;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{LAYERS, SIDE, WIDTH};
use crate::diffusion::weights::{KeyMap, Loaded, Stem, load};

/// A DINOv2 that makes features.
#[derive(Debug)]
pub struct RadDino {
    network: Vit,
    compute: Compute,
    preparation: Preparation,
    digest: Fingerprint,
    device: Device,
}

/// Reads the `config.json` of a folder.
///
/// # Errors
/// [`DiffusionError::MissingFile`], [`DiffusionError::Io`], [`DiffusionError::NotJson`]; [`DiffusionError::OtherModel`] says which other
/// model it is of; [`DiffusionError::Option`] and [`DiffusionError::UnknownOption`] for what is not computed here.
pub fn read_vit_config(folder: &Path) -> Result<VitConfig, DiffusionError> {
    let (mut options, _) = open_config(folder, &["dinov2"], "a DINOv2, as RAD-DINO is")?;
    let config = VitConfig {
        hidden_size: options.within("hidden_size", 768, WIDTH)?,
        num_hidden_layers: options.within("num_hidden_layers", 12, LAYERS)?,
        num_attention_heads: options.within("num_attention_heads", 12, WIDTH)?,
        mlp_ratio: options.within("mlp_ratio", 4, 1..=64)?,
        image_size: options.within("image_size", 224, SIDE)?,
        patch_size: options.within("patch_size", 14, SIDE)?,
        num_channels: options.within("num_channels", 3, 3..=3)?,
        qkv_bias: options.take_or("qkv_bias", true)?,
        use_swiglu_ffn: options.take_or("use_swiglu_ffn", false)?,
        layer_norm_eps: options.factor("layer_norm_eps", 1e-6)?,
    };
    let (width, heads) = (config.hidden_size, config.num_attention_heads);
    if !width.is_multiple_of(heads) {
        return Err(options.refuse("num_attention_heads", &heads.to_string(), &format!("a divisor of hidden_size, {width}")));
    }
    if config.grid() == 0 {
        return Err(options.refuse("patch_size", &config.patch_size.to_string(), "at most image_size"));
    }
    // A gate has an activation of its own.
    if !config.use_swiglu_ffn {
        options.neutral("hidden_act", &[json!("gelu")])?;
    }
    options.without_training();
    options.without_influence(&[
        "apply_layernorm",
        "attention_probs_dropout_prob",
        "drop_path_rate",
        "hidden_act",
        "hidden_dropout_prob",
        "layerscale_value",
        "out_features",
        "out_indices",
        "reshape_hidden_states",
        "stage_names",
        "use_mask_token",
    ]);
    options.finish()?;
    Ok(config)
}

/// Names are those of the hub's files. The mask token is for training by itself alone; a classifier's file has a prefix and a head.
pub struct VitKeys;

impl KeyMap for VitKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix("dinov2.").unwrap_or(name);
        (name != "embeddings.mask_token" && !name.starts_with("classifier.")).then(|| name.to_owned())
    }
}

/// The network of a folder, with the digest of its weights; its configuration counts, too.
///
/// # Errors
/// Those of [`read_vit_config`] and [`load`].
pub fn load_vit(folder: &Path, device: &Device) -> Result<Loaded<Vit>, DiffusionError> {
    let config = read_vit_config(folder)?;
    let mut loaded = load(config.init(device), folder, Stem::Transformers, &VitKeys, FloatDType::F32)?;
    // Equal weights with other heads or another epsilon are another network.
    loaded.digest = Fingerprint::of(&[format!("{config:?}").as_bytes(), &loaded.digest.0]);
    Ok(loaded)
}

impl RadDino {
    /// The network of a folder. Without a `path`, images are resized as `preprocessor_config.json` says.
    ///
    /// # Errors
    /// [`FeatureError::Folder`] says what the folder lacks, or what it is instead.
    pub fn open(folder: &Path, path: Option<ResizePath>, device: &Device) -> Result<Self, FeatureError> {
        // First, as it says what a folder of something else is.
        let patch = read_vit_config(folder)?.patch_size;
        let processor = ImageProcessor::read(&folder.join("preprocessor_config.json"))?;
        let [height, width] = processor.output();
        if height.min(width) < patch || (path.is_some() && height != width) {
            let message = format!(
                "preprocessor_config.json makes images of {width}x{height}, expected at least one patch of {patch} pixels, and a square for a \
                 named way to it"
            );
            return Err(DiffusionError::Mismatch { path: folder.to_owned(), message }.into());
        }
        let loaded = load_vit(folder, device)?;
        let preparation = Preparation { processor, path };
        let compute = Compute::default();
        Ok(Self { network: loaded.model, compute, preparation, digest: loaded.digest, device: device.clone() })
    }

    /// The same, computed in `dtype`.
    #[must_use]
    pub fn computed_in(self, dtype: ComputeType) -> Self {
        let compute = Compute::new(dtype);
        Self { network: compute.round(self.network), compute, ..self }
    }
}

impl FeatureNetwork for RadDino {
    fn name(&self) -> &str {
        "rad-dino"
    }

    fn preparation(&self) -> String {
        self.compute.describe(self.preparation.to_string())
    }

    fn width(&self) -> usize {
        self.network.width()
    }

    fn fingerprint(&self) -> Fingerprint {
        let preparation = format!("{:?}", self.preparation);
        self.compute.fingerprint(Fingerprint::of(&[b"dinov2", &self.digest.0, preparation.as_bytes()]))
    }

    fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let features = self.network.forward(self.compute.images(self.preparation.batch(images, &self.device)));
        Ok(features.into_data().iter::<f32>().collect())
    }
}
