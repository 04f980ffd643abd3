//! Folders of Hugging Face's models: which model one is of.

use std::path::Path;

use super::clip::ClipImageConfig;
use super::processor::ImageProcessor;
use super::rad_dino::read_vit_config;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Reads the configurations of a folder, whichever of the networks here it is of.
///
/// # Errors
/// What opening the network would say of them.
pub fn check_image_network(folder: &Path) -> Result<(), DiffusionError> {
    let (_, kind) = open_config(folder, &["dinov2", "clip", "clip_vision_model"], "a DINOv2 or CLIP")?;
    match kind.as_str() {
        "dinov2" => read_vit_config(folder).map(drop)?,
        _ => ClipImageConfig::read(folder).map(drop)?,
    }
    ImageProcessor::read(&folder.join("preprocessor_config.json")).map(drop)
}

/// The options of a folder's `config.json`, which is of one of the model types `kinds`; `expected` says in words what it should be.
///
/// # Errors
/// [`DiffusionError::OtherModel`] says what the folder is instead; [`DiffusionError::MissingFile`], [`DiffusionError::Io`],
/// [`DiffusionError::NotJson`].
pub(super) fn open_config(folder: &Path, kinds: &[&str], expected: &str) -> Result<(Options, String), DiffusionError> {
    let other = |path: &Path, found: String| DiffusionError::OtherModel {
        path: path.to_owned(),
        found,
        expected: format!("expected {expected}: a folder with config.json, preprocessor_config.json and model.safetensors"),
    };
    let path = folder.join("config.json");
    if folder.is_file() {
        return Err(other(folder, "a file".to_owned()));
    }
    if !path.is_file() {
        for (file, found) in
            [("model_index.json", "a Stable Diffusion pipeline"), ("open_clip_config.json", "a model of open_clip")]
        {
            if folder.join(file).is_file() {
                return Err(other(folder, found.to_owned()));
            }
        }
        let hint = format!("give the folder of {expected}, or its name on the hub");
        return Err(DiffusionError::MissingFile { folder: folder.to_owned(), expected: "config.json".to_owned(), hint });
    }
    let mut options = Options::read(&path)?;
    let architectures: Vec<String> = options.take_or("architectures", Vec::new())?;
    let class: Option<String> = options.take("_class_name")?;
    let Some(kind) = options.take::<String>("model_type")? else {
        let found = class.or_else(|| architectures.first().cloned()).unwrap_or_else(|| "no known model".to_owned());
        return Err(other(&path, format!("the configuration of {found}")));
    };
    match kinds.contains(&kind.as_str()) {
        true => Ok((options, kind)),
        false => Err(other(&path, format!("the configuration of a model of type `{kind}`"))),
    }
}
