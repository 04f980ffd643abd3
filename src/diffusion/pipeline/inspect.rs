//! Describing a checkpoint folder without loading it.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, FloatDType};
use serde::Serialize;

use super::checkpoint::check_fit;
use super::model_index::{ModelIndex, class_of};
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::text::{TextEncoder, TextEncoderConfig, TextProjectionConfig, Tokenizer};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::{Facts, KeyMap, Stem, check};

/// A folder's components and whether they make a pipeline.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The folder.
    pub folder: PathBuf,
    /// Of the pipeline, or of the one component that the folder is.
    pub class: String,
    /// Version of diffusers that wrote it.
    pub diffusers_version: Option<String>,
    /// In the order of the computation.
    pub components: Vec<Component>,
    /// Why the parts don't work together, if they don't.
    pub mismatch: Option<String>,
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
    /// The options that decide how it is used.
    pub facts: Vec<(&'static str, String)>,
    /// Its weights, if it has any.
    pub weights: Option<Weights>,
    /// Why it can't be used, if it can't.
    pub problem: Option<String>,
}

/// A component's weights, from their headers.
#[derive(Clone, Debug, Serialize)]
pub struct Weights {
    /// The file, or the index of shards.
    pub file: PathBuf,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: usize,
    /// `F32`, `F16` or `BF16`.
    pub stored: String,
}

/// Reads the configurations and the headers of the weights of a pipeline's folder.
///
/// Errors of a component are in its [`problem`](Component::problem): one call finds all of them.
///
/// # Errors
/// [`DiffusionError::OtherModel`] or [`DiffusionError::MissingFile`] if the folder is not a pipeline.
pub fn inspect(folder: &Path) -> Result<Inspection, DiffusionError> {
    let index = ModelIndex::read(folder)?;
    let config = |component: &str| index.component(component).join("config.json");
    let tokenizer = Tokenizer::open(&index.component("tokenizer"));
    let text = TextEncoderConfig::read(&config("text_encoder"));
    let unet = UNetConfig::read(&config("unet"));
    let vae = AutoencoderConfig::read(&config("vae"));
    let scheduler = SchedulerConfig::read(&index.component("scheduler").join("scheduler_config.json"));

    let device = Device::flex();
    let mismatch = match (&text, &unet, &vae, &tokenizer) {
        (Ok(text), Ok(unet), Ok(vae), Ok(tokenizer)) => {
            let projection = TextProjectionConfig::find(folder)?;
            check_fit(folder, tokenizer, &text.init(&device), projection, unet, &vae.init(&device)).err()
        }
        _ => None,
    };
    let components = vec![
        component(&index, "tokenizer", tokenizer, |tokenizer| {
            let length =
                tokenizer.model_max_length().map_or_else(|| "the text encoder's".to_owned(), |length| length.to_string());
            (vec![("tokens", tokenizer.vocabulary_size().to_string()), ("max_length", length)], None)
        }),
        component(&index, "text_encoder", text, |text| {
            let text_model = text.init(&device);
            let weights = text.check(&index.component("text_encoder"));
            let text = text_model;
            (vec![("width", text.width().to_string()), ("layers", text.layers().to_string())], Some(weights))
        }),
        component(&index, "unet", unet, |unet| {
            let weights = weights(&index, "unet", Stem::Diffusers, &unet.init(&device), &unet.keys());
            let facts = vec![
                ("channels", format!("{:?}", unet.levels.iter().map(|level| level.channels).collect::<Vec<_>>())),
                ("cross_attention_dim", unet.cross_attention_dim.to_string()),
                ("in_channels", unet.in_channels.to_string()),
                (
                    "sample_size",
                    unet.sample_size.map_or_else(|| "not given".to_owned(), |[height, width]| format!("{height} x {width}")),
                ),
            ];
            (facts, Some(weights))
        }),
        component(&index, "vae", vae, |vae| {
            let vae = vae.init(&device);
            let weights = weights(&index, "vae", Stem::Diffusers, &vae, vae.keys());
            let facts = vec![
                ("latent_channels", vae.latent_channels().to_string()),
                ("factor", vae.factor().to_string()),
                ("scaling_factor", vae.scaling_factor().to_string()),
            ];
            (facts, Some(weights))
        }),
        component(&index, "scheduler", scheduler, |scheduler| {
            let sampler = match scheduler.foreign() {
                Some(class) => format!("{class} is not computed here: give --sampler, or `sampler` in a run file"),
                None => scheduler.kind().to_string(),
            };
            let facts = vec![
                ("sampler", sampler),
                ("prediction", scheduler.prediction().to_string()),
                ("training timesteps", scheduler.noise_schedule().len().to_string()),
            ];
            (facts, None)
        }),
    ];
    let runs = mismatch.is_none() && components.iter().all(|component| component.problem.is_none());
    Ok(Inspection {
        folder: folder.to_owned(),
        class: index.class,
        diffusers_version: index.version,
        components,
        mismatch: mismatch.map(|error| error.to_string()),
        runs,
    })
}

type Described = (Vec<(&'static str, String)>, Option<Result<Facts, DiffusionError>>);

fn component<C>(
    index: &ModelIndex,
    name: &str,
    config: Result<C, DiffusionError>,
    describe: impl FnOnce(&C) -> Described,
) -> Component {
    let class = class_of(&index.component(name)).or_else(|| index.components.get(name).map(|[_, class]| class.clone()));
    let mut component =
        Component { name: name.to_owned(), class: class.unwrap_or_default(), facts: Vec::new(), weights: None, problem: None };
    match config {
        Ok(config) => {
            let (facts, weights) = describe(&config);
            component.facts = facts;
            match weights {
                Some(Ok(facts)) => component.weights = Some(Weights::from(facts)),
                Some(Err(error)) => component.problem = Some(error.to_string()),
                None => {}
            }
        }
        Err(error) => component.problem = Some(error.to_string()),
    }
    component
}

fn weights<M: Module>(
    index: &ModelIndex,
    name: &str,
    stem: Stem,
    model: &M,
    keys: &dyn KeyMap,
) -> Result<Facts, DiffusionError> {
    check(model, &index.component(name), stem, keys)
}

impl From<Facts> for Weights {
    fn from(facts: Facts) -> Self {
        let stored = match facts.stored {
            FloatDType::F16 => "F16",
            FloatDType::BF16 => "BF16",
            _ => "F32",
        };
        Self { file: facts.path, tensors: facts.tensors, parameters: facts.parameters, stored: stored.to_owned() }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.diffusers_version.as_ref().map(|version| format!(", diffusers {version}")).unwrap_or_default();
        writeln!(f, "{}: {}{version}", self.folder.display(), self.class)?;
        for component in &self.components {
            write!(f, "\n{:<13} {}", component.name, component.class)?;
            if let Some(weights) = &component.weights {
                let millions = weights.parameters as f64 / 1e6;
                write!(f, "  {millions:.2} M weights in {} tensors, {}", weights.tensors, weights.stored)?;
            }
            for (name, value) in &component.facts {
                write!(f, "\n{:<13} {name} {value}", "")?;
            }
            if let Some(problem) = &component.problem {
                write!(f, "\n{:<13} PROBLEM: {problem}", "")?;
            }
            writeln!(f)?;
        }
        if let Some(mismatch) = &self.mismatch {
            writeln!(f, "\nPROBLEM: {mismatch}")?;
        }
        write!(f, "\n{}", if self.runs { "roentgen can generate with it" } else { "roentgen can't generate with it" })
    }
}
