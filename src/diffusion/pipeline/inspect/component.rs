//! One component of a pipeline, as `inspect` shows it.

use std::path::Path;

use burn::tensor::Device;

use super::{Component, Weights};
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::samplers::SchedulerConfig;
use crate::diffusion::text::{TextEncoder, TextEncoderConfig, Tokenizer};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::{Facts, Stem, WeightsFolder, check};

/// What there is to say of a component whose configuration could be read.
#[derive(Default)]
struct Described {
    facts: Vec<(&'static str, String)>,
    weights: Option<Result<Facts, DiffusionError>>,
    hint: Option<String>,
}

fn component<C>(name: &str, config: Result<C, DiffusionError>, describe: impl FnOnce(&C) -> Described) -> Component {
    let (described, mut problem) = match config {
        Ok(config) => (describe(&config), None),
        Err(error) => (Described::default(), Some(error.to_string())),
    };
    let weights = match described.weights {
        Some(Ok(facts)) => Some(Weights::from(facts)),
        Some(Err(error)) => {
            problem = Some(error.to_string());
            None
        }
        None => None,
    };
    let (facts, hint) = (described.facts, described.hint);
    Component { name: name.to_owned(), class: String::new(), weights, facts, hint, problem }
}

pub(super) fn tokenizer(tokenizer: Result<Tokenizer, DiffusionError>) -> Component {
    component("tokenizer", tokenizer, |tokenizer| {
        let length = tokenizer.model_max_length().map_or_else(|| "the text encoder's".to_owned(), |length| length.to_string());
        let facts = vec![("tokens", tokenizer.vocabulary_size().to_string()), ("max_length", length)];
        Described { facts, hint: tokenizer.spare_tokens(), weights: None }
    })
}

pub(super) fn text_encoder(config: Result<TextEncoderConfig, DiffusionError>, place: WeightsFolder) -> Component {
    component("text_encoder", config, |config| {
        let model = config.init(&Device::flex());
        let facts = vec![("width", model.width().to_string()), ("layers", model.layers().to_string())];
        Described { facts, weights: Some(config.check(place)), hint: None }
    })
}

pub(super) fn unet(config: Result<UNetConfig, DiffusionError>, (place, stem): (WeightsFolder, Stem)) -> Component {
    component("unet", config, |config| {
        let weights = check(&config.init(&Device::flex()), place, stem, &config.keys());
        let channels = config.levels.iter().map(|level| level.channels).collect::<Vec<_>>();
        let sample_size =
            config.sample_size.map_or_else(|| "not given".to_owned(), |[height, width]| format!("{height} x {width}"));
        let facts = vec![
            ("channels", format!("{channels:?}")),
            ("cross_attention_dim", config.cross_attention_dim.to_string()),
            ("in_channels", config.in_channels.to_string()),
            ("sample_size", sample_size),
        ];
        Described { facts, weights: Some(weights), hint: None }
    })
}

pub(super) fn vae(config: Result<AutoencoderConfig, DiffusionError>, (place, stem): (WeightsFolder, Stem)) -> Component {
    component("vae", config, |config| {
        let model = config.init(&Device::flex());
        let facts = vec![
            ("latent_channels", model.latent_channels().to_string()),
            ("factor", model.factor().to_string()),
            ("scaling_factor", model.scaling_factor().to_string()),
        ];
        let weights = check(&model, place, stem, model.keys());
        Described { facts, weights: Some(weights), hint: None }
    })
}

pub(super) fn scheduler(config: Result<SchedulerConfig, DiffusionError>, path: &Path) -> Component {
    component("scheduler", config, |scheduler| {
        let sampler = match scheduler.foreign() {
            Some(class) => format!("{class} is not computed here: give --sampler, or `sampler` in a run file"),
            None => scheduler.kind().to_string(),
        };
        let facts = vec![
            ("sampler", sampler),
            ("prediction_type", scheduler.prediction().to_string()),
            ("training timesteps", scheduler.noise_schedule().len().to_string()),
        ];
        let hint = format!(
            "no weights tell the prediction_type: if images are noise or gray, set \"prediction_type\" in {} to what the model was \
             trained to predict, epsilon (Stable Diffusion 1) or v_prediction (2.0 and 2.1 at 768 pixels)",
            path.display()
        );
        Described { facts, weights: None, hint: Some(hint) }
    })
}
