//! CLIP's text tower from the folder of a whole `CLIPModel`: embeddings of texts in the space of [`Clip`](super::Clip)'s features.
//!
//! Reference: transformers 5.23.0, `models/clip/modeling_clip.py`; the embedding is `text_embeds` before it is normalised.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use roentgen_classifier::nn::{Linear, LinearConfig};
use serde_json::{Value, json};

use super::super::FeatureError;
use super::clip::WRITING;
use super::file::refused;
use super::folder::open_config;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::{Options, WIDTH};
use crate::diffusion::text::{ClipTextConfig, ClipTextModel, TextEncoder, TextInput, Tokenizer};
use crate::diffusion::weights::{KeyMap, Stem, load};

/// The text tower with its projection.
#[derive(Module, Debug)]
struct ProjectedText {
    text_model: ClipTextModel,
    text_projection: Linear,
}

/// Names are those of the hub's files. A whole model has an image tower beside it.
struct ClipTextKeys;

impl KeyMap for ClipTextKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let others = ["vision_model.", "visual_projection.", "logit_scale", "text_model.embeddings.position_ids"];
        (!others.iter().any(|other| name.starts_with(other))).then(|| name.to_owned())
    }
}

/// The text tower of a CLIP with its tokenizer.
#[derive(Debug)]
pub struct ClipTexts {
    network: ProjectedText,
    tokenizer: Tokenizer,
    length: usize,
    device: Device,
}

impl ClipTexts {
    /// The text tower of a folder that also has the tokenizer.
    ///
    /// # Errors
    /// [`FeatureError::Network`] for an image tower alone; [`FeatureError::Folder`] says what the folder lacks, or what it is instead.
    pub fn open(folder: &Path, device: &Device) -> Result<Self, FeatureError> {
        let (mut options, kind) = open_config(folder, &["clip", "clip_vision_model"], "a CLIP with both towers")?;
        if kind != "clip" {
            let found = "it has the image tower alone: give the folder of the whole CLIP, or a file of the texts' embeddings";
            return Err(refused(folder, "folder of a whole CLIP", found));
        }
        let projection = options.take_or("projection_dim", 512)?;
        options.in_range("projection_dim", &[projection], WIDTH)?;
        // Where old files have both, the second is meant.
        let tower = options.take::<Value>("text_config")?;
        let tower = options.take::<Value>("text_config_dict")?.or(tower).unwrap_or_else(|| json!({}));
        let mut tower = Options::parse(&tower.to_string(), options.path())?;
        tower.without_influence(&["architectures", "model_type"]);
        tower.without_influence(&WRITING);
        for key in ["add_cross_attention", "is_decoder"] {
            tower.neutral(key, &[json!(false)])?;
        }
        let config = ClipTextConfig::take(tower)?;
        let tokenizer = Tokenizer::open(folder)?;
        let rows = tokenizer.needed_rows()?;
        if rows > config.vocabulary_size() {
            let (largest, ids) = (rows - 1, config.vocabulary_size());
            let message = format!(
                "the largest id of its tokenizer is {largest}, its text tower embeds {ids} ids: they are of different models"
            );
            return Err(DiffusionError::Mismatch { path: folder.to_owned(), message }.into());
        }
        let network = ProjectedText {
            text_model: config.init(device),
            text_projection: LinearConfig::new(config.width(), projection).with_bias(false).init(device),
        };
        let network = load(network, folder, Stem::Transformers, &ClipTextKeys, FloatDType::F32)?.model;
        let positions = network.text_model.max_positions();
        let length = tokenizer.model_max_length().map_or(positions, |length| length.min(positions));
        let tokenizer = tokenizer.beside(config.vocabulary_size());
        Ok(Self { network, tokenizer, length, device: device.clone() })
    }

    /// The embedding of a text, not normalised, and how many of its tokens the tower did not see, as it was too long. Each text is encoded
    /// alone, so that its embedding depends on no other.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn embed(&self, text: &str) -> Result<(Vec<f32>, usize), FeatureError> {
        let encoded = self.tokenizer.encode(&[text], self.length)?;
        let tokens = encoded.input_ids[0].iter().zip(&encoded.attention_mask[0]);
        // No token sees a later one: padding behind the end changes nothing.
        let ids: Vec<i32> = tokens.filter(|(_, is_seen)| **is_seen).map(|(id, _)| id.cast_signed()).collect();
        let shape = [1, ids.len()];
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &self.device);
        let states = self.network.text_model.encode(TextInput::new(ids));
        let pooled = states.pooled.expect("CLIP pools where no layer is skipped");
        let embedding = self.network.text_projection.forward(pooled);
        Ok((embedding.into_data().iter::<f32>().collect(), encoded.dropped()[0]))
    }
}
