//! The index of a checkpoint folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::source::{Folders, PipelineSource};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;
use crate::diffusion::single_file::SingleFile;

/// The `model_index.json` of a folder that `StableDiffusionPipeline.save_pretrained` wrote.
#[derive(Clone, Debug)]
pub struct ModelIndex {
    /// Its folder, and those of its components.
    pub folders: Folders,
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
    pub fn read(source: &PipelineSource) -> Result<Self, DiffusionError> {
        let folder = source.folder.as_path();
        let path = folder.join("model_index.json");
        if !path.is_file() {
            return Err(no_index(folder));
        }
        let mut options = Options::read(&path)?;
        let class: String = options.require("_class_name")?;
        if !CLASSES.contains(&class.as_str()) {
            let found = match class.as_str() {
                class if class.contains("XL") => {
                    format!("a Stable Diffusion XL checkpoint ({class}), which has two text encoders and another U-Net")
                }
                class if class.contains("Inpaint") => format!("an inpainting checkpoint ({class}), which takes a mask"),
                class => format!("a checkpoint of {class}"),
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
        Ok(Self { folders: Folders::of(source)?, class, version, components })
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
        self.folders.component(name)
    }
}

/// A folder or file without an index, described by its apparent kind.
fn no_index(path: &Path) -> DiffusionError {
    let other = |found: String, expected: String| DiffusionError::OtherModel { path: path.to_owned(), found, expected };
    let has = |name: &str| path.join(name).exists();
    let of_base = format!("give the pipeline that it was trained from as --pipeline, and --unet {}", path.display());
    if !path.exists() {
        let expected = "give the pipeline's folder, the one with model_index.json in it, or its name on the Hugging Face hub, of the form \
                        owner/name";
        return other("not there".to_owned(), expected.to_owned());
    }
    if path.is_file() {
        return match SingleFile::open(path) {
            Ok(file) => {
                let command = format!(
                    "make a folder of it: `{}`, where TOKENIZER is the tokenizer's folder of any Stable Diffusion (no single file holds a \
                     vocabulary)",
                    file.convert_command()
                );
                other(file.title().to_owned(), command)
            }
            Err(error) => error,
        };
    }
    if has("adapter_config.json") || has("pytorch_lora_weights.safetensors") || has("pytorch_lora_weights.bin") {
        let expected = "give the pipeline that it was trained for as --pipeline, and this as --lora".to_owned();
        return other("a LoRA adapter".to_owned(), expected);
    }
    match class_of(path) {
        Some(class) if class == "UNet2DConditionModel" => other(format!("a single component ({class})"), of_base),
        Some(class) => other(
            format!("a single component ({class})"),
            "give the pipeline's folder, the one with model_index.json in it".to_owned(),
        ),
        None if has("unet/config.json") || has("unet_ema/config.json") => {
            other("the state of a training run, without the other components".to_owned(), of_base)
        }
        None => DiffusionError::MissingFile {
            folder: path.to_owned(),
            expected: "model_index.json".to_owned(),
            hint: "give the pipeline's folder, the one with model_index.json in it".to_owned(),
        },
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
        ModelIndex::read(&folder.path().into())
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
        assert!(ModelIndex::read(&folder.path().into()).unwrap_err().to_string().contains("has no model_index.json"));
        std::fs::write(folder.path().join("config.json"), r#"{"_class_name": "UNet2DConditionModel"}"#).unwrap();
        assert!(
            ModelIndex::read(&folder.path().into())
                .unwrap_err()
                .to_string()
                .contains("a single component (UNet2DConditionModel)")
        );
        let file = folder.path().join("config.json");
        assert!(ModelIndex::read(&file.as_path().into()).unwrap_err().to_string().contains("a JSON text"));
        std::fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
        assert!(ModelIndex::read(&folder.path().into()).unwrap_err().to_string().contains("this as --lora"));
    }
}
