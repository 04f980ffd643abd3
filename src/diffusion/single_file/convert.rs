//! A single file as a folder in diffusers' layout.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, FloatDType};
use serde_json::{Value, json};

use super::{Family, SingleFile, UNetWeights};
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::pipeline::{Checkpoint, texts, without_checker};
use crate::diffusion::samplers::Prediction;
use crate::diffusion::weights::{KeyMap, Source, Stem, fitting, load_source, save};
use crate::diffusion::write::write;

/// Where sizes, vocabulary and noise schedule come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelConfigs {
    /// A pipeline's folder, whose weights are not read; for an autoencoder alone, its folder does.
    Folder(PathBuf),
    /// A release's, with the vocabulary of this `tokenizer` folder, which an autoencoder alone does not need.
    Like {
        /// Of releases.
        family: Family,
        /// Folder with `vocab.json` and `merges.txt`.
        tokenizer: Option<PathBuf>,
    },
}

/// How a file is converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// What no file holds.
    pub configs: ModelConfigs,
    /// What the U-Net predicts, which no tensor tells; that of the configurations if `None`.
    pub prediction: Option<Prediction>,
    /// Which of the U-Net's weights.
    pub unet: UNetWeights,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// What a user must know of it, a sentence each.
    pub notes: Vec<String>,
    /// Whether it is a whole pipeline, or an autoencoder alone.
    pub is_pipeline: bool,
}

impl Conversion {
    /// Writes `file` as the folder `out`, weights as safetensors in the type that they have. All tensors are compared with the
    /// configurations before anything is written, and a file without which the folder is none is written last: `model_index.json`, or the
    /// autoencoder's `config.json`. `written` is told the name of each part.
    ///
    /// # Errors
    /// [`DiffusionError::OtherModel`] for the other family's configurations; [`DiffusionError::WeightsDiffer`] for tensors of other shapes;
    /// [`DiffusionError::Setting`] for a prediction that must be given, and an average that the file has not; those of weights and
    /// configurations.
    pub fn write(&self, file: &SingleFile, out: &Path, mut written: impl FnMut(&str)) -> Result<Converted, DiffusionError> {
        if file.is_vae() {
            self.write_vae(file, out)?;
            written("autoencoder");
            return Ok(Converted { notes: Vec::new(), is_pipeline: false });
        }
        let (checkpoint, _scratch) = self.checkpoint(file)?;
        let notes = self.notes(file, &checkpoint)?;
        let device = Device::flex();
        let texts = texts(&checkpoint.index)?;

        let text = (checkpoint.text_encoder.init(&device), checkpoint.text_encoder.keys());
        let unet_keys = checkpoint.unet.keys();
        let unet = (checkpoint.unet.init(&device), &unet_keys as &dyn KeyMap);
        let AutoencoderConfig::Kl(vae_config) = &checkpoint.vae else { return Err(tiny(&checkpoint.folder().join("vae"))) };
        let vae = (checkpoint.vae.init(&device), checkpoint.vae.init(&device).keys());
        let text_source = file.text_encoder(&checkpoint.text_encoder, text.1);
        let unet_source = file.unet(&checkpoint.unet, self.unet, unet.1);
        let vae_source = file.vae(vae_config, vae.1);
        fitting(&text.0, &text_source, text.1)?;
        fitting(&unet.0, &unet_source, unet.1)?;
        fitting(&vae.0, &vae_source, vae.1)?;

        part(text, &text_source, &out.join("text_encoder").join(Stem::Transformers.file_name()))?;
        written("text encoder");
        part(unet, &unet_source, &out.join("unet").join(Stem::Diffusers.file_name()))?;
        written("U-Net");
        part(vae, &vae_source, &out.join("vae").join(Stem::Diffusers.file_name()))?;
        written("autoencoder");
        let is_index = |path: &Path| path == Path::new("model_index.json");
        let (indices, others): (Vec<_>, Vec<_>) = texts.into_iter().partition(|(path, _)| is_index(path));
        for (path, bytes) in others {
            match self.prediction.filter(|_| path.starts_with("scheduler")) {
                Some(prediction) => write(&out.join(&path), &predicting(&bytes, prediction, &path)?)?,
                None => write(&out.join(&path), &bytes)?,
            }
        }
        for (path, bytes) in indices {
            write(&out.join(path), &without_checker(&bytes))?;
        }
        Ok(Converted { notes, is_pipeline: true })
    }

    /// The configurations as a folder without weights, which is a temporary one for a release's.
    fn checkpoint(&self, file: &SingleFile) -> Result<(Checkpoint, Option<tempfile::TempDir>), DiffusionError> {
        match &self.configs {
            ModelConfigs::Folder(folder) => Ok((Checkpoint::read(folder)?, None)),
            ModelConfigs::Like { family, tokenizer } => {
                if let Some(found) = file.family().filter(|found| found != family) {
                    return Err(DiffusionError::OtherModel {
                        path: file.path().to_owned(),
                        found: format!(
                            "a checkpoint with the text encoder of Stable Diffusion {}",
                            found.name().trim_start_matches("sd")
                        ),
                        expected: format!("convert it with --like {}", found.name()),
                    });
                }
                let prediction = self.prediction_of(*family)?;
                let tokenizer = tokenizer.as_deref().ok_or_else(|| DiffusionError::Setting {
                    key: "tokenizer",
                    value: "not given".to_owned(),
                    expected: "the `tokenizer` folder of any Stable Diffusion 1 or 2 pipeline (or of openai/clip-vit-large-patch14): a \
                               single file holds no vocabulary"
                        .to_owned(),
                })?;
                let scratch = tempfile::tempdir().map_err(|source| DiffusionError::Io {
                    action: "create",
                    path: std::env::temp_dir(),
                    source,
                })?;
                family.write(prediction, tokenizer, scratch.path())?;
                Ok((Checkpoint::read(scratch.path())?, Some(scratch)))
            }
        }
    }

    fn prediction_of(&self, family: Family) -> Result<Prediction, DiffusionError> {
        match (self.prediction, family) {
            (Some(prediction), _) => Ok(prediction),
            (None, Family::Sd1) => Ok(Prediction::Epsilon),
            (None, Family::Sd2) => Err(DiffusionError::Setting {
                key: "prediction",
                value: "not given".to_owned(),
                expected: "v_prediction (Stable Diffusion 2.0 and 2.1, 768 pixels) or epsilon (their bases, 512 pixels): no tensor tells which, \
                           and the wrong one paints noise"
                    .to_owned(),
            }),
        }
    }

    /// What a user must know.
    fn notes(&self, file: &SingleFile, checkpoint: &Checkpoint) -> Result<Vec<String>, DiffusionError> {
        let mut notes = Vec::new();
        let prediction = self.prediction.unwrap_or(checkpoint.scheduler.prediction());
        if self.prediction.is_none() {
            let from = match &self.configs {
                ModelConfigs::Folder(folder) => format!("as {} says", folder.join("scheduler").display()),
                ModelConfigs::Like { .. } => "as in Stable Diffusion 1".to_owned(),
            };
            notes.push(format!(
                "the U-Net is assumed to predict {prediction}, {from}: no tensor tells; --prediction says otherwise"
            ));
        }
        match (file.has_average(), self.unet) {
            (true, UNetWeights::Plain) => {
                notes.push(
                    "the U-Net's weights as trained were taken (`model.`); the file has their moving average too, for --ema"
                        .to_owned(),
                );
            }
            (true, UNetWeights::Average) => {
                notes.push("the moving average of the U-Net's weights was taken (`model_ema.`)".to_owned());
            }
            (false, UNetWeights::Plain) => {}
            (false, UNetWeights::Average) => {
                return Err(DiffusionError::Setting {
                    key: "ema",
                    value: "given".to_owned(),
                    expected: format!("nothing: {} has no moving average (`model_ema.`)", file.path().display()),
                });
            }
        }
        Ok(notes)
    }

    fn write_vae(&self, file: &SingleFile, out: &Path) -> Result<(), DiffusionError> {
        let (config, text) = match &self.configs {
            ModelConfigs::Folder(folder) => {
                let within = folder.join("vae/config.json");
                let path = if within.is_file() { within } else { folder.join("config.json") };
                let text = std::fs::read_to_string(&path).map_err(|source| DiffusionError::Io {
                    action: "read",
                    path: path.clone(),
                    source,
                })?;
                (AutoencoderConfig::read(&path)?, text)
            }
            ModelConfigs::Like { family, .. } => {
                let text = format!("{:#}\n", family.configs(Prediction::Epsilon).vae);
                (AutoencoderConfig::parse(&text, Path::new("config.json"))?, text)
            }
        };
        let AutoencoderConfig::Kl(kl) = &config else { return Err(tiny(file.path())) };
        let model = config.init(&Device::flex());
        let keys = model.keys();
        part((model, keys), &file.vae(kl, keys), &out.join(Stem::Diffusers.file_name()))?;
        write(&out.join("config.json"), text.as_bytes())
    }
}

/// The scheduler's file with another prediction.
fn predicting(text: &[u8], prediction: Prediction, path: &Path) -> Result<Vec<u8>, DiffusionError> {
    let mut value: Value =
        serde_json::from_slice(text).map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })?;
    value["prediction_type"] = json!(prediction.to_string());
    Ok(format!("{value:#}\n").into_bytes())
}

fn part<M: Module>((model, keys): (M, &dyn KeyMap), source: &Source, to: &Path) -> Result<(), DiffusionError> {
    let loaded = load_source(model, source, keys, FloatDType::F32)?;
    save(&loaded.model, to, keys, loaded.stored)
}

fn tiny(path: &Path) -> DiffusionError {
    DiffusionError::OtherModel {
        path: path.to_owned(),
        found: "an AutoencoderTiny".to_owned(),
        expected: "a single file holds the large autoencoder: give configurations with AutoencoderKL".to_owned(),
    }
}
