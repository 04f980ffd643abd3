//! The index of a checkpoint folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// The `model_index.json` of a folder that `StableDiffusionPipeline.save_pretrained` wrote.
#[derive(Clone, Debug)]
pub struct ModelIndex {
    /// The folder.
    pub folder: PathBuf,
    /// `StableDiffusionPipeline` or a relative of the same networks.
    pub class: String,
    /// Version of diffusers that wrote it, if stated.
    pub version: Option<String>,
    /// Component to library and class, those that are null left out.
    pub components: BTreeMap<String, [String; 2]>,
}

/// Pipelines with the networks of Stable Diffusion 1 and 2.
const CLASSES: [&str; 3] = ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionPipelineSafe"];

/// Components that a pipeline needs.
const COMPONENTS: [&str; 5] = ["tokenizer", "text_encoder", "unet", "vae", "scheduler"];

/// Components that are not read: they judge or prepare images, and do not make them.
const LEFT: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

impl ModelIndex {
    /// Reads and checks the index.
    ///
    /// # Errors
    /// [`DiffusionError::OtherModel`] says what the folder is instead: a Stable Diffusion XL checkpoint, a single component, a
    /// file.
    pub fn read(folder: &Path) -> Result<Self, DiffusionError> {
        let path = folder.join("model_index.json");
        if !path.is_file() {
            return Err(no_index(folder));
        }
        let mut options = Options::read(&path)?;
        let class: String = options.require("_class_name")?;
        if !CLASSES.contains(&class.as_str()) {
            let found = if class.contains("XL") {
                format!("a Stable Diffusion XL checkpoint ({class}), which has two text encoders and another U-Net")
            } else {
                format!("a checkpoint of {class}")
            };
            return Err(DiffusionError::OtherModel {
                path: folder.to_owned(),
                found,
                expected: "this program runs Stable Diffusion 1 and 2 (StableDiffusionPipeline), RoentGen among them"
                    .to_owned(),
            });
        }
        let version = options.take("_diffusers_version")?;
        options.without_influence(&["requires_safety_checker", "_name_or_path"]);
        let mut components = BTreeMap::new();
        for name in COMPONENTS {
            let Some([Some(library), Some(class)]) = options.take::<[Option<String>; 2]>(name)? else {
                return Err(options.refuse(name, "null", "a library and a class: a pipeline needs this component"));
            };
            components.insert(name.to_owned(), [library, class]);
        }
        for name in LEFT {
            if let Some([Some(library), Some(class)]) = options.take::<[Option<String>; 2]>(name)? {
                components.insert(name.to_owned(), [library, class]);
            }
        }
        options.finish()?;
        Ok(Self { folder: folder.to_owned(), class, version, components })
    }

    /// What [`read`](Self::read) reads, for diffusers too.
    pub(crate) fn to_json(&self) -> Value {
        let mut index = Map::from_iter([("_class_name".to_owned(), json!(self.class))]);
        index.extend(self.version.iter().map(|version| ("_diffusers_version".to_owned(), json!(version))));
        index.insert("requires_safety_checker".to_owned(), json!(false));
        index.extend(["feature_extractor", "safety_checker"].map(|name| (name.to_owned(), json!([null, null]))));
        index.extend(self.components.iter().map(|(name, class)| (name.clone(), json!(class))));
        Value::Object(index)
    }

    /// The folder of a component.
    #[must_use]
    pub fn component(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A folder or file without an index, described by its apparent kind.
fn no_index(path: &Path) -> DiffusionError {
    let expected = "give the pipeline's folder, the one with model_index.json in it".to_owned();
    let other = |found: String, expected| DiffusionError::OtherModel { path: path.to_owned(), found, expected };
    if !path.exists() {
        return other(
            "not there".to_owned(),
            format!("{expected}, or its name on the Hugging Face hub, of the form owner/name"),
        );
    }
    if path.is_file() {
        let expected = "give a folder in diffusers' layout; `StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)` in \
                        Python makes one of a single-file checkpoint";
        return other("a file".to_owned(), expected.to_owned());
    }
    match class_of(path) {
        Some(class) => other(format!("a single component ({class})"), expected),
        None => {
            DiffusionError::MissingFile { folder: path.to_owned(), expected: "model_index.json".to_owned(), hint: expected }
        }
    }
}

/// The class that a component's folder names, if it is one.
pub(super) fn class_of(folder: &Path) -> Option<String> {
    let options = ["config.json", "scheduler_config.json", "tokenizer_config.json"]
        .iter()
        .find_map(|file| Options::read(&folder.join(file)).ok())?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let class = options.peek("_class_name").or_else(|| options.peek("tokenizer_class")).and_then(text);
    class.or_else(|| options.peek("architectures")?.get(0).and_then(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = r#"{
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0",
        "feature_extractor": [null, null], "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "requires_safety_checker": true
    }"#;

    fn read(index: &str) -> Result<ModelIndex, DiffusionError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model_index.json"), index).unwrap();
        ModelIndex::read(folder.path())
    }

    #[test]
    fn components_are_read_and_nulls_left_out() {
        let index = read(INDEX).unwrap();
        assert_eq!(index.components["unet"], ["diffusers", "UNet2DConditionModel"]);
        assert!(index.components.contains_key("safety_checker") && !index.components.contains_key("feature_extractor"));
    }

    #[test]
    fn an_index_is_written_as_it_is_read() {
        let index = read(INDEX).unwrap();
        let again = read(&index.to_json().to_string()).unwrap();
        assert_eq!((&again.class, &again.version, &again.components), (&index.class, &index.version, &index.components));
        assert!(index.to_json()["feature_extractor"] == json!([null, null]), "diffusers asks for every component");
    }

    #[test]
    fn other_folders_are_named() {
        let message = |index: &str| read(index).unwrap_err().to_string();
        assert!(
            message(&INDEX.replace("StableDiffusionPipeline", "StableDiffusionXLPipeline")).contains("Stable Diffusion XL")
        );
        assert!(message(&INDEX.replace("StableDiffusionPipeline", "FluxPipeline")).contains("FluxPipeline"));
        assert!(message(&INDEX.replace("\"unet\"", "\"transformer\"")).contains("`unet`"));
        assert!(
            message(&INDEX.replace("\"vae\":", "\"movq\": null, \"new_part\": [\"a\", \"b\"], \"vae\":"))
                .contains("`new_part`")
        );

        let folder = tempfile::tempdir().unwrap();
        assert!(ModelIndex::read(folder.path()).unwrap_err().to_string().contains("has no model_index.json"));
        std::fs::write(folder.path().join("config.json"), r#"{"_class_name": "UNet2DConditionModel"}"#).unwrap();
        assert!(ModelIndex::read(folder.path()).unwrap_err().to_string().contains("a single component (UNet2DConditionModel)"));
        let file = folder.path().join("config.json");
        assert!(ModelIndex::read(&file).unwrap_err().to_string().contains("from_single_file"));
    }
}
