//! A pipeline into a folder that diffusers loads.

use std::io::Write;
use std::path::Path;

use roentgen_augment::atomic::write_atomic;
use serde_json::{Value, json};

use super::StableDiffusion;
use crate::diffusion::DiffusionError;
use crate::diffusion::text_projection::{TEXT_PROJECTION, TextProjectionKeys};
use crate::diffusion::weights::{Stem, save};

impl StableDiffusion {
    /// Writes the whole folder in diffusers' layout: configurations and vocabularies byte for byte, weights as safetensors in the
    /// type that their files had (exact, unless the pipeline computes in a narrower one). `model_index.json` comes last, so that
    /// a folder with one is whole. The safety checker, which is not read, is entered as absent.
    ///
    /// # Errors
    /// [`DiffusionError::Io`].
    pub fn save(&self, folder: &Path) -> Result<(), DiffusionError> {
        let write = |path: &Path, bytes: &[u8]| {
            let path = folder.join(path);
            write_atomic(&path, |out| out.write_all(bytes)).map_err(|source| DiffusionError::Io {
                action: "write",
                path: path.clone(),
                source,
            })
        };
        let (indices, others): (Vec<_>, Vec<_>) =
            self.texts.iter().partition(|(path, _)| path.as_path() == Path::new("model_index.json"));
        for (path, bytes) in others {
            write(path, bytes)?;
        }
        let file = |component: &str, stem: Stem| folder.join(component).join(stem.file_name());
        let text = &self.text_encoder;
        save(&text.model, &file("text_encoder", Stem::Transformers), self.checkpoint.text_encoder.keys(), text.stored)?;
        if let (Some(projection), Some(config)) = (&self.projection, self.checkpoint.projection) {
            write(&Path::new(TEXT_PROJECTION).join("config.json"), config.to_json().as_bytes())?;
            save(&projection.model, &file(TEXT_PROJECTION, Stem::Diffusers), &TextProjectionKeys, projection.stored)?;
        }
        let unet = &self.unet;
        save(&unet.model, &file("unet", Stem::Diffusers), &self.checkpoint.unet.keys(), unet.stored)?;
        let vae = &self.vae;
        save(&vae.model, &file("vae", Stem::Diffusers), vae.model.keys(), vae.stored)?;
        for (path, bytes) in indices {
            write(path, &without_checker(bytes))?;
        }
        Ok(())
    }
}

/// The index with components that are not in the folder entered as absent; unchanged where there are none.
fn without_checker(index: &[u8]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(index).expect("the index was read when the folder was opened");
    let mut changed = false;
    for component in ["safety_checker", "feature_extractor", "image_encoder"] {
        if let Some(entry) = value.get_mut(component).filter(|entry| entry.get(0).is_some_and(|library| !library.is_null())) {
            *entry = json!([null, null]);
            changed = true;
        }
    }
    if !changed {
        return index.to_vec();
    }
    value["requires_safety_checker"] = json!(false);
    let mut text = serde_json::to_vec_pretty(&value).expect("JSON values can be written");
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checker_that_is_left_out_is_entered_as_absent() {
        let plain = br#"{"unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null]}"#;
        assert_eq!(without_checker(plain), plain);
        let with = br#"{"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "unet": ["a", "b"]}"#;
        let value: Value = serde_json::from_slice(&without_checker(with)).unwrap();
        assert_eq!(value["safety_checker"], json!([null, null]));
        assert_eq!(value["requires_safety_checker"], json!(false));
    }
}
