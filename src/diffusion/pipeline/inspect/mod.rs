//! Describing a checkpoint without loading it: a pipeline's folder, a single file, one component, or a training script's
//! `checkpoint-N`.

mod component;

use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, FloatDType};
use serde::Serialize;

use self::component::{scheduler, text_encoder, tokenizer, unet, vae};
use super::checkpoint::check_fit;
use super::model_index::{ModelIndex, class_of};
use super::source::PipelineSource;
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::single_file::{FilePart, SingleFile};
use crate::diffusion::text::{TextEncoderConfig, TextProjectionConfig, Tokenizer};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::{Facts, Stem, WeightsFolder};

/// A folder's components and whether they make a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The folder, or the single file.
    pub folder: PathBuf,
    /// Of the pipeline, or of the one component that the folder is.
    pub class: String,
    /// Version of diffusers that wrote it.
    pub diffusers_version: Option<String>,
    /// In the order of the computation.
    pub components: Vec<Component>,
    /// Why the parts don't work together, if they don't.
    pub mismatch: Option<String>,
    /// What a folder is for that is no pipeline.
    pub use_it: Option<String>,
    /// Whether this program can generate with it.
    pub runs: bool,
}

/// One folder of a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Component {
    /// `unet`, …
    pub name: String,
    /// `UNet2DConditionModel`, …
    pub class: String,
    /// Its weights, if it has any.
    pub weights: Option<Weights>,
    /// The options that decide how it is used.
    pub facts: Vec<(&'static str, String)>,
    /// How to change what is no tensor's business.
    pub hint: Option<String>,
    /// Why it can't be used, if it can't.
    pub problem: Option<String>,
}

/// A component's weights, from their headers.
#[derive(Clone, Debug, Serialize)]
pub struct Weights {
    /// The file, or the index of shards.
    pub file: PathBuf,
    /// Every file that is read: that one, or the shards.
    pub files: Vec<PathBuf>,
    /// Why these.
    pub why: String,
    /// Weights beside them that are not read.
    pub not_read: Vec<PathBuf>,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: usize,
    /// `F32`, `F16` or `BF16`.
    pub stored: String,
}

/// Reads the configurations and the headers of the weights of a pipeline's folder, of a single file, of a single component, or of the
/// U-Nets in a training script's `checkpoint-N`.
///
/// Errors of a component are in its [`problem`](Component::problem): one call finds all of them.
///
/// # Errors
/// [`DiffusionError::OtherModel`] or [`DiffusionError::MissingFile`] if the folder is none of these.
pub fn inspect(source: &PipelineSource) -> Result<Inspection, DiffusionError> {
    let folder = source.folder.as_path();
    if folder.is_file() {
        return SingleFile::open(folder).map(|file| single_file(&file));
    }
    let of_parts = if folder.join("model_index.json").is_file() { None } else { parts(source) };
    of_parts.map_or_else(|| pipeline(source), Ok)
}

fn pipeline(source: &PipelineSource) -> Result<Inspection, DiffusionError> {
    let folder = source.folder.as_path();
    let index = ModelIndex::read(source)?;
    index.folders.check_variant()?;
    let component = |name: &str| index.component(name);
    let config = |name: &str| component(name).join("config.json");
    let text = TextEncoderConfig::read(&config("text_encoder"));
    let tokens = Tokenizer::open(&component("tokenizer"));
    let denoiser = UNetConfig::read(&config("unet"));
    let autoencoder = AutoencoderConfig::read(&config("vae"));
    let schedule = component("scheduler").join("scheduler_config.json");

    let device = Device::flex();
    let mismatch = match (&text, &denoiser, &autoencoder, &tokens) {
        (Ok(text), Ok(unet), Ok(vae), Ok(tokens)) => {
            let projection = TextProjectionConfig::find(folder)?;
            check_fit(folder, tokens, &text.init(&device), projection, unet, &vae.init(&device)).err()
        }
        _ => None,
    };
    let tokens = tokens.map(|tokens| match &text {
        Ok(text) => tokens.beside(text.vocabulary_size()),
        Err(_) => tokens,
    });
    let weights = |name: &str| index.folders.weights(name);
    let mut components = vec![
        tokenizer(tokens),
        text_encoder(text, weights("text_encoder").0),
        unet(denoiser, weights("unet")),
        vae(autoencoder, weights("vae")),
        scheduler(SchedulerConfig::read(&schedule), &schedule),
    ];
    for part in &mut components {
        let stated = || index.components.get(&part.name).map(|[_, class]| class.clone());
        part.class = class_of(&component(&part.name)).or_else(stated).unwrap_or_default();
    }
    let runs = mismatch.is_none() && components.iter().all(|component| component.problem.is_none());
    Ok(Inspection {
        folder: folder.to_owned(),
        class: index.class,
        diffusers_version: index.version,
        components,
        mismatch: mismatch.map(|error| error.to_string()),
        use_it: None,
        runs,
    })
}

fn single_file(file: &SingleFile) -> Inspection {
    let part = |part: FilePart| Component {
        name: part.name.to_owned(),
        class: String::new(),
        weights: None,
        facts: vec![
            ("tensors", part.tensors.to_string()),
            ("weights", format!("{:.2} M", part.parameters as f64 / 1e6)),
            ("stored as", part.stored),
        ],
        hint: None,
        problem: None,
    };
    Inspection {
        folder: file.path().to_owned(),
        class: file.title().to_owned(),
        diffusers_version: None,
        components: file.parts().into_iter().map(part).collect(),
        mismatch: None,
        use_it: Some(format!("`generate` runs folders: `{}`", file.convert_command())),
        runs: false,
    }
}

/// A folder that is a U-Net or an autoencoder, or holds U-Nets; `None` for another.
fn parts(source: &PipelineSource) -> Option<Inspection> {
    let folder = source.folder.as_path();
    let place = |folder: PathBuf| WeightsFolder { folder, variant: source.variant.clone() };
    let config = |folder: &Path| folder.join("config.json");
    let part = |name: &str, folder: PathBuf| {
        let class = class_of(&folder)?;
        let mut described = match class.as_str() {
            "UNet2DConditionModel" => unet(UNetConfig::read(&config(&folder)), (place(folder), Stem::Diffusers)),
            "AutoencoderKL" | "AutoencoderTiny" => {
                vae(AutoencoderConfig::read(&config(&folder)), (place(folder), Stem::Diffusers))
            }
            _ => return None,
        };
        (described.name, described.class) = (name.to_owned(), class);
        Some(described)
    };
    let base = "BASE is the folder of the pipeline that it was trained from";
    let (class, components, use_it) = if let Some(component) = part(&name_of(folder), folder.to_owned()) {
        let use_it = match component.class.as_str() {
            "UNet2DConditionModel" => {
                format!(
                    "one component of a pipeline: `roentgen generate --pipeline BASE --unet {}`, where {base}",
                    folder.display()
                )
            }
            _ => "one component of a pipeline: replace the folder `vae` of a pipeline by it".to_owned(),
        };
        (component.class.clone(), vec![component], use_it)
    } else {
        let nets: Vec<Component> = ["unet", "unet_ema"].iter().filter_map(|name| part(name, folder.join(name))).collect();
        let first = nets.last()?;
        let use_it = format!(
            "the state of a training run, without the other components: `roentgen generate --pipeline BASE --unet {}`, where {base}",
            folder.join(&first.name).display()
        );
        ("checkpoint of a training script".to_owned(), nets, use_it)
    };
    Some(Inspection {
        folder: folder.to_owned(),
        class,
        diffusers_version: None,
        components,
        mismatch: None,
        use_it: Some(use_it),
        runs: false,
    })
}

fn name_of(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

impl From<Facts> for Weights {
    fn from(facts: Facts) -> Self {
        let stored = match facts.stored {
            FloatDType::F16 => "F16",
            FloatDType::BF16 => "BF16",
            _ => "F32",
        };
        Self {
            file: facts.path,
            files: facts.files,
            why: facts.why.to_string(),
            not_read: facts.others,
            tensors: facts.tensors,
            parameters: facts.parameters,
            stored: stored.to_owned(),
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.diffusers_version.as_ref().map(|version| format!(", diffusers {version}")).unwrap_or_default();
        writeln!(f, "{}: {}{version}", self.folder.display(), self.class)?;
        for component in &self.components {
            write!(f, "\n{component}")?;
        }
        if let Some(mismatch) = &self.mismatch {
            writeln!(f, "\nPROBLEM: {mismatch}")?;
        }
        match &self.use_it {
            Some(use_it) => write!(f, "\n{use_it}"),
            None => {
                write!(f, "\n{}", if self.runs { "roentgen can generate with it" } else { "roentgen can't generate with it" })
            }
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, text: String| write!(f, "\n{:<13} {text}", "");
        write!(f, "{:<13} {}", self.name, self.class)?;
        if let Some(weights) = &self.weights {
            let millions = weights.parameters as f64 / 1e6;
            write!(f, "  {millions:.2} M weights in {} tensors, {}", weights.tensors, weights.stored)?;
            let names = |files: &[PathBuf]| files.iter().map(|file| name_of(file)).collect::<Vec<_>>().join(", ");
            row(f, format!("reads {}: {}", weights.file.display(), weights.why))?;
            if weights.files.first() != Some(&weights.file) {
                row(f, format!("and with it {}", names(&weights.files)))?;
            }
            if !weights.not_read.is_empty() {
                row(f, format!("not read: {}", names(&weights.not_read)))?;
            }
        }
        for (name, value) in &self.facts {
            row(f, format!("{name} {value}"))?;
        }
        if let Some(hint) = &self.hint {
            row(f, hint.clone())?;
        }
        if let Some(problem) = &self.problem {
            row(f, format!("PROBLEM: {problem}"))?;
        }
        writeln!(f)
    }
}
