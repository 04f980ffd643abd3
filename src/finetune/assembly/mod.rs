//! Assembling a pipeline's folder from components of several origins, as the start of a training run.

mod scratch;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, FloatDType};
use roentgen_classifier::SettingError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::scratch::Recipe;
use super::FinetuneError;
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::pipeline::{Checkpoint, Folders, ModelIndex, draw_text_projection};
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::text::{TEXT_PROJECTION, TOKENIZER_FILES, TextEncoderConfig, TextProjectionConfig, tokenizer_folder};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::{KeyMap, Loaded, Stem, WeightsFolder, load, save};
use crate::diffusion::write::{write, write_json};
use crate::hub::{Asked, Place, Want, Wanted};

/// Where a component comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The base pipeline.
    #[default]
    Base,
    /// A folder with `config.json` and weights, of another pipeline or a separate model; or its name on the hub.
    Folder(Place),
    /// This `config.json`, with weights drawn from the seed as PyTorch or transformers draw them.
    Scratch(PathBuf),
}

/// Which encoder a pipeline has, which parts are pretrained and which start from scratch.
///
/// RoentGen's starts: a whole base; a base with another text encoder (RadBERT, SapBERT); a base with a U-Net from scratch. Without a
/// base, every component is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assembly {
    /// Folder of a whole pipeline, or its name on the hub.
    pub base: Option<Place>,
    /// Variant of weights that is read where a folder has it, such as `fp16` or `non_ema`; the plain files if `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The denoiser.
    pub unet: Origin,
    /// CLIP, BERT or RoBERTa; `config.json` says which.
    pub text_encoder: Origin,
    /// Folder of the tokenizer's files, or its name on the hub; `None`: where the text encoder comes from, or the base's for one from
    /// scratch.
    pub tokenizer: Option<Place>,
    /// Tokens of a padded text, instead of the tokenizer's `model_max_length`: 512 for most BERTs, of which prompts fill a tenth.
    pub text_length: Option<usize>,
    /// The autoencoder, of either class.
    pub vae: Origin,
    /// A `scheduler_config.json` or its folder, or a name on the hub; `None`: the base's, or Stable Diffusion 1.4's.
    pub scheduler: Option<Place>,
    /// Put a layer between a text encoder and a U-Net of different widths. It has to be trained.
    pub text_projection: bool,
    /// Seed of new weights.
    pub seed: u64,
}

impl Assembly {
    /// A whole pipeline as it is.
    #[must_use]
    pub fn of_base(folder: &Path) -> Self {
        Self { base: Some(folder.into()), ..Self::default() }
    }

    /// Every path in it: those that are paths alone, and those that may be names on the hub.
    pub(crate) fn paths_mut(&mut self) -> (Vec<&mut PathBuf>, Vec<&mut Place>) {
        let Self { base, unet, text_encoder, tokenizer, vae, scheduler, .. } = self;
        let mut configs = Vec::new();
        let mut places: Vec<&mut Place> = [base, tokenizer, scheduler].into_iter().flatten().collect();
        for origin in [unet, text_encoder, vae] {
            match origin {
                Origin::Base => {}
                Origin::Folder(place) => places.push(place),
                Origin::Scratch(config) => configs.push(config),
            }
        }
        (configs, places)
    }

    /// The checkpoints that it names.
    pub fn checkpoints(&mut self) -> Vec<Asked<'_>> {
        let Self { base, variant, unet, text_encoder, tokenizer, vae, scheduler, .. } = self;
        let wanted = |want: Want| Wanted { variant: variant.clone(), ..want.into() };
        let parts = [(&*text_encoder, "text_encoder"), (&*unet, "unet"), (&*vae, "vae")];
        let replaced = parts.into_iter().filter(|(origin, _)| **origin != Origin::Base).map(|(_, name)| name);
        let base = base.as_mut().map(|place| {
            let wanted = Wanted { replaced: replaced.collect(), ..wanted(Want::Pipeline) };
            Asked { key: "model.base".to_owned(), place, wanted }
        });
        let tokenizer = tokenizer.as_mut().map(|place| Asked::new("model.tokenizer", place, Want::Tokenizer));
        let scheduler = scheduler.as_mut().map(|place| Asked::new("model.scheduler", place, Want::Scheduler));
        let parts = [
            ("model.unet.folder", unet, Want::UNet),
            ("model.text_encoder.folder", text_encoder, Want::TextEncoder),
            ("model.vae.folder", vae, Want::Vae),
        ];
        let parts = parts.into_iter().filter_map(|(key, origin, want)| match origin {
            Origin::Folder(place) => Some(Asked { key: key.to_owned(), place, wanted: wanted(want) }),
            Origin::Base | Origin::Scratch(_) => None,
        });
        [base, tokenizer, scheduler].into_iter().flatten().chain(parts).collect()
    }

    /// Whether the base is used unchanged, so that nothing has to be written.
    #[must_use]
    pub fn is_base(&self) -> bool {
        let base = |origin: &Origin| *origin == Origin::Base;
        let parts = base(&self.unet) && base(&self.text_encoder) && base(&self.vae);
        parts && self.tokenizer.is_none() && self.text_length.is_none() && self.scheduler.is_none() && !self.text_projection
    }

    /// Writes the pipeline's folder: configurations first, so that parts that don't fit are refused before gigabytes are written,
    /// `model_index.json` last.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] for a component without an origin; [`FinetuneError::Diffusion`] for files that can't be read or
    /// written, weights that don't fit their configuration, and components that don't fit each other.
    pub fn write(&self, folder: &Path) -> Result<Checkpoint, FinetuneError> {
        let [text_encoder, unet, vae] =
            [(&self.text_encoder, "text_encoder"), (&self.unet, "unet"), (&self.vae, "vae")].map(|(origin, name)| {
                let source = self.source(origin, name)?;
                let target = folder.join(name).join("config.json");
                match name {
                    "text_encoder" => copy_encoder_config(&source.config(), &target)?,
                    _ => copy(&source.config(), &target)?,
                }
                Ok::<_, FinetuneError>(source)
            });
        let (text_encoder, unet, vae) = (text_encoder?, unet?, vae?);
        self.write_tokenizer(folder)?;
        self.write_scheduler(folder)?;
        if self.text_projection {
            let text = TextEncoderConfig::read(&text_encoder.config())?;
            let projection = TextProjectionConfig::between(&text, &UNetConfig::read(&unet.config())?)?;
            write(&folder.join(TEXT_PROJECTION).join("config.json"), projection.to_json().as_bytes())?;
        }
        let checkpoint = Checkpoint::of(self.index(folder, [&text_encoder, &vae])?)?;

        self.write_text_encoder(&text_encoder, &folder.join("text_encoder"), &checkpoint.text_encoder)?;
        let device = Device::flex();
        self.write_model(&unet, &folder.join("unet"), checkpoint.unet.init(&device), &checkpoint.unet.keys())?;
        let model = checkpoint.vae.init(&device);
        let keys = model.keys();
        self.write_model(&vae, &folder.join("vae"), model, keys)?;
        if let Some(projection) = &checkpoint.projection {
            draw_text_projection(projection, folder, self.seed)?;
        }
        write_json(&folder.join("model_index.json"), &checkpoint.index.to_json())?;
        Ok(checkpoint)
    }

    fn index(&self, folder: &Path, [text_encoder, vae]: [&Source; 2]) -> Result<ModelIndex, FinetuneError> {
        let scheduler = SchedulerConfig::read(&folder.join("scheduler"))?;
        let scheduler = scheduler.class_name();
        let text_encoder = TextEncoderConfig::read(&text_encoder.config())?.class_name();
        let vae = AutoencoderConfig::read(&vae.config())?.class_name();
        let components = [
            ("scheduler", ["diffusers", scheduler]),
            ("text_encoder", ["transformers", text_encoder]),
            ("tokenizer", ["transformers", &self.tokenizer_class(folder, text_encoder)?]),
            ("unet", ["diffusers", "UNet2DConditionModel"]),
            ("vae", ["diffusers", vae]),
        ];
        Ok(ModelIndex {
            folders: Folders::from(folder),
            class: "StableDiffusionPipeline".to_owned(),
            version: None,
            components: components.map(|(name, class)| (name.to_owned(), class.map(str::to_owned))).into(),
        })
    }

    fn write_text_encoder(&self, source: &Source, target: &Path, config: &TextEncoderConfig) -> Result<(), FinetuneError> {
        let (device, keys, file) = (Device::flex(), config.keys(), target.join(Stem::Transformers.file_name()));
        match source {
            Source::Folder(folder) => rewrite(config.load(self.weights(folder), FloatDType::F32, &device)?, keys, &file)?,
            Source::Config(_) => {
                let model = scratch::draw(config.init(&device), keys, Recipe::of(config), self.seed);
                save(&model, &file, keys, FloatDType::F32)?;
            }
        }
        Ok(())
    }

    fn write_model<M: Module>(&self, source: &Source, target: &Path, model: M, keys: &dyn KeyMap) -> Result<(), FinetuneError> {
        let file = target.join(Stem::Diffusers.file_name());
        match source {
            Source::Folder(folder) => {
                rewrite(load(model, self.weights(folder), Stem::Diffusers, keys, FloatDType::F32)?, keys, &file)?;
            }
            Source::Config(_) => save(&scratch::draw(model, keys, Recipe::Pytorch, self.seed), &file, keys, FloatDType::F32)?,
        }
        Ok(())
    }

    fn write_tokenizer(&self, folder: &Path) -> Result<(), FinetuneError> {
        let source = match (&self.tokenizer, &self.text_encoder) {
            (Some(folder), _) => folder.path(),
            (None, Origin::Folder(encoder)) => tokenizer_folder(&encoder.path()),
            (None, _) => self.base("tokenizer")?.join("tokenizer"),
        };
        let target = folder.join("tokenizer");
        for name in TOKENIZER_FILES {
            let file = source.join(name);
            if file.is_file() {
                copy(&file, &target.join(name))?;
            }
        }
        self.name_tokenizer(&target.join("tokenizer_config.json"))?;
        if let Some(length) = self.text_length {
            let path = target.join("tokenizer_config.json");
            let mut config = if path.is_file() { read_object(&path)? } else { Map::new() };
            config.insert("model_max_length".to_owned(), length.into());
            write_json(&path, &Value::Object(config))?;
        }
        Ok(())
    }

    /// A class that is in no library becomes the one that it is made of.
    fn name_tokenizer(&self, path: &Path) -> Result<(), FinetuneError> {
        let mut config = if path.is_file() { read_object(path)? } else { return Ok(()) };
        if config.get("tokenizer_class").and_then(Value::as_str).is_some_and(|class| class.starts_with("CXRBert")) {
            config.insert("tokenizer_class".to_owned(), "BertTokenizer".into());
            config.remove("auto_map");
            write_json(path, &Value::Object(config))?;
        }
        Ok(())
    }

    /// As its own file says, or as usual with that text encoder.
    fn tokenizer_class(&self, folder: &Path, text_encoder: &str) -> Result<String, FinetuneError> {
        let path = folder.join("tokenizer/tokenizer_config.json");
        let named = if path.is_file() { read_object(&path)?.remove("tokenizer_class") } else { None };
        let usual = match text_encoder {
            "BertModel" => "BertTokenizer",
            "RobertaModel" => "RobertaTokenizer",
            _ => "CLIPTokenizer",
        };
        Ok(named.as_ref().and_then(Value::as_str).unwrap_or(usual).to_owned())
    }

    fn write_scheduler(&self, folder: &Path) -> Result<(), FinetuneError> {
        let config = match (&self.scheduler, &self.base) {
            (Some(path), _) => SchedulerConfig::read(&path.path())?,
            (None, Some(base)) => SchedulerConfig::read(&base.path().join("scheduler"))?,
            (None, None) => SchedulerConfig::roentgen(),
        };
        Ok(write(&folder.join("scheduler/scheduler_config.json"), config.text().as_bytes())?)
    }

    fn source(&self, origin: &Origin, component: &'static str) -> Result<Source, FinetuneError> {
        Ok(match origin {
            Origin::Base => Source::Folder(self.base(component)?.join(component)),
            Origin::Folder(folder) => Source::Folder(folder.path()),
            Origin::Scratch(config) => Source::Config(config.clone()),
        })
    }

    fn weights(&self, folder: &Path) -> WeightsFolder {
        WeightsFolder { folder: folder.to_owned(), variant: self.variant.clone() }
    }

    fn base(&self, component: &'static str) -> Result<PathBuf, FinetuneError> {
        self.base.as_ref().map(Place::path).ok_or_else(|| {
            FinetuneError::Setting(SettingError {
                key: component,
                value: "not given".to_owned(),
                expected: "its folder, its config.json to start from scratch, or a base pipeline that has it".to_owned(),
            })
        })
    }
}

enum Source {
    Folder(PathBuf),
    Config(PathBuf),
}

impl Source {
    fn config(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join("config.json"),
            Self::Config(config) => config.clone(),
        }
    }
}

/// In the type of the files.
fn rewrite<M: Module>(loaded: Loaded<M>, keys: &dyn KeyMap, file: &Path) -> Result<(), DiffusionError> {
    save(&loaded.model, file, keys, loaded.stored)
}

fn copy(from: &Path, to: &Path) -> Result<(), DiffusionError> {
    let bytes = std::fs::read(from).map_err(|source| DiffusionError::Io { action: "read", path: from.to_owned(), source })?;
    write(to, &bytes)
}

/// A model of a type that is in no library becomes the one whose layers it has: others could not load the pipeline.
fn copy_encoder_config(from: &Path, to: &Path) -> Result<(), DiffusionError> {
    let config = TextEncoderConfig::read(from)?;
    let mut written = read_object(from)?;
    if written.get("model_type").and_then(Value::as_str) != Some("cxr-bert") {
        return copy(from, to);
    }
    ["auto_map", "projection_size"].iter().for_each(|key| drop(written.remove(*key)));
    written.insert("model_type".to_owned(), "bert".into());
    written.insert("architectures".to_owned(), json!([config.class_name()]));
    write_json(to, &Value::Object(written))
}

fn read_object(path: &Path) -> Result<Map<String, Value>, DiffusionError> {
    let bytes = std::fs::read(path).map_err(|source| DiffusionError::Io { action: "read", path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
