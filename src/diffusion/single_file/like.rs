//! The configurations of Stable Diffusion's releases, which are in none of their single files.

use std::path::Path;

use serde_json::{Value, json};

use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::{Configs, RandomSize, index, token_files};
use crate::diffusion::samplers::Prediction;
use crate::diffusion::write::{write, write_json};

/// A family of releases with the same networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.1 to 1.5, and RoentGen.
    Sd1,
    /// Stable Diffusion 2.0 and 2.1, and their bases.
    Sd2,
}

impl Family {
    /// As `--like` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "sd1",
            Self::Sd2 => "sd2",
        }
    }

    /// What texts are padded with.
    fn padding(self) -> &'static str {
        match self {
            Self::Sd1 => "<|endoftext|>",
            Self::Sd2 => "!",
        }
    }

    /// The configurations of stable-diffusion-v1-5, stable-diffusion-2-1 (v-prediction, 768 pixels) and stable-diffusion-2-1-base
    /// (epsilon, 512 pixels).
    pub(super) fn configs(self, prediction: Prediction) -> Configs {
        let mut configs = Configs::of(RandomSize::Sd14);
        configs.scheduler["prediction_type"] = json!(prediction.to_string());
        if self == Self::Sd1 {
            return configs;
        }
        let velocity = prediction == Prediction::Velocity;
        set(
            &mut configs.text_encoder,
            [
                ("hidden_act", json!("gelu")),
                ("hidden_size", json!(1024)),
                ("intermediate_size", json!(4096)),
                ("num_attention_heads", json!(16)),
                ("num_hidden_layers", json!(23)),
                ("projection_dim", json!(512)),
            ],
        );
        set(
            &mut configs.unet,
            [
                ("attention_head_dim", json!([5, 10, 20, 20])),
                ("cross_attention_dim", json!(1024)),
                ("sample_size", json!(if velocity { 96 } else { 64 })),
                ("upcast_attention", json!(velocity)),
                ("use_linear_projection", json!(true)),
            ],
        );
        configs.vae["sample_size"] = json!(if velocity { 768 } else { 512 });
        configs
    }

    /// Writes everything but weights, with the vocabulary of `tokenizer`: that of every CLIP is the same, and special tokens are the
    /// family's.
    ///
    /// # Errors
    /// [`DiffusionError::MissingFile`] for a folder without a vocabulary; [`DiffusionError::Io`].
    pub(super) fn write(self, prediction: Prediction, tokenizer: &Path, to: &Path) -> Result<(), DiffusionError> {
        let configs = self.configs(prediction);
        for name in ["vocab.json", "merges.txt"] {
            let from = tokenizer.join(name);
            if !from.is_file() {
                return Err(DiffusionError::MissingFile {
                    folder: tokenizer.to_owned(),
                    expected: name.to_owned(),
                    hint: "give the `tokenizer` folder of any Stable Diffusion 1 or 2 pipeline, or of openai/clip-vit-large-patch14"
                        .to_owned(),
                });
            }
            let read = std::fs::read(&from).map_err(|source| DiffusionError::Io { action: "read", path: from, source });
            write(&to.join("tokenizer").join(name), &read?)?;
        }
        for (name, text) in token_files(self.padding()) {
            write(&to.join("tokenizer").join(name), text.as_bytes())?;
        }
        for (component, config) in [("text_encoder", configs.text_encoder), ("unet", configs.unet), ("vae", configs.vae)] {
            write_json(&to.join(component).join("config.json"), &config)?;
        }
        write_json(&to.join("scheduler/scheduler_config.json"), &configs.scheduler)?;
        write_json(&to.join("model_index.json"), &index())
    }
}

fn set<const N: usize>(config: &mut Value, options: [(&str, Value); N]) {
    options.into_iter().for_each(|(key, value)| config[key] = value);
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::diffusion::text::TextEncoderConfig;
    use crate::diffusion::unet::UNetConfig;
    use crate::diffusion::weights::summarize;

    /// Weights of the published networks: 123.1, 859.5, 340.4 and 865.9 millions (text encoder and U-Net of 1.5, then of 2.1).
    #[test]
    fn networks_have_the_published_sizes() {
        for (family, text, unet) in [(Family::Sd1, 123_060_480, 859_520_964), (Family::Sd2, 340_387_840, 865_910_724)] {
            let configs = family.configs(Prediction::Epsilon);
            let parse = TextEncoderConfig::parse(&configs.text_encoder.to_string(), Path::new("config.json")).unwrap();
            assert_eq!(summarize(&parse.init(&Device::flex()), parse.keys()).parameters, text);
            let parse = UNetConfig::parse(&configs.unet.to_string(), Path::new("config.json")).unwrap();
            assert_eq!(summarize(&parse.init(&Device::flex()), &parse.keys()).parameters, unet);
        }
    }

    #[test]
    fn what_is_predicted_decides_the_size_of_family_2() {
        for (prediction, size) in [(Prediction::Velocity, 96), (Prediction::Epsilon, 64)] {
            let configs = Family::Sd2.configs(prediction);
            assert_eq!(configs.unet["sample_size"], json!(size));
            assert_eq!(configs.scheduler["prediction_type"], json!(prediction.to_string()));
        }
    }
}
