//! First weights of a network that begins from nothing, drawn as its reference draws them.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{FloatDType, TensorData};

use crate::diffusion::TextEncoderConfig;
use crate::diffusion::weights::{KeyMap, draw_normal, draw_uniform, each, init_with};

/// Whose defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Recipe {
    /// PyTorch 2.15: uniform within `1 / sqrt(fan_in)`, biases too. Diffusers' U-Nets and autoencoders have nothing else.
    Pytorch,
    /// transformers 5.23.0, `CLIPTextModel`: normal, each matrix with a standard deviation of its own, biases 0.
    Clip { width: usize, layers: usize },
    /// transformers 5.23.0, `BertModel` and `RobertaModel`: normal with a standard deviation of 0.02, biases 0.
    Bert,
}

impl Recipe {
    /// That of a text encoder.
    pub(super) fn of(config: &TextEncoderConfig) -> Self {
        match config {
            TextEncoderConfig::Clip(config) => Self::Clip { width: config.width(), layers: config.layers() },
            TextEncoderConfig::Bert(_) => Self::Bert,
        }
    }

    /// The weight `key` of this shape in files, which belongs to a module with inputs `fan_in`; `None` for a norm's.
    fn value(self, key: &str, shape: &[usize], fan_in: Option<usize>, seed: u64) -> TensorData {
        let Some(fan_in) = fan_in else {
            let value = if key.ends_with(".weight") { 1.0 } else { 0.0 };
            return TensorData::new(vec![value; shape.iter().product::<usize>()], shape.to_vec());
        };
        let is_bias = key.ends_with(".bias");
        match self {
            Self::Pytorch => draw_uniform(key, shape, seed, (fan_in as f32).sqrt().recip()),
            Self::Clip { .. } | Self::Bert if is_bias => TensorData::zeros::<f32, _>(shape.to_vec()),
            Self::Bert => draw_normal(key, shape, seed, 0.02),
            Self::Clip { width, layers } => {
                let (width, depth) = (width as f32, (2 * layers) as f32);
                let module = key.strip_suffix(".weight").unwrap_or(key);
                let last = module.rsplit('.').next().unwrap_or(module);
                let deviation = match last {
                    "q_proj" | "k_proj" | "v_proj" | "fc2" => (width * depth).sqrt().recip(),
                    "out_proj" => width.sqrt().recip(),
                    "fc1" => (2.0 * width).sqrt().recip(),
                    _ => 0.02,
                };
                draw_normal(key, shape, seed, deviation)
            }
        }
    }
}

/// `model` with weights by `recipe`: by name and seed alone.
pub(super) fn draw<M: Module>(model: M, keys: &dyn KeyMap, recipe: Recipe, seed: u64) -> M {
    let mut fans = HashMap::new();
    each(&model, keys, |slot, _| {
        if let (Some(module), true) = (slot.key.strip_suffix(".weight"), slot.file_shape.len() > 1) {
            fans.insert(module.to_owned(), slot.file_shape[1..].iter().product::<usize>());
        }
    });
    let drawn = init_with(model, keys, FloatDType::F32, |key, shape| {
        let module = key.strip_suffix(".weight").or_else(|| key.strip_suffix(".bias"));
        let fan_in = module.and_then(|module| fans.get(module).copied());
        Ok(recipe.value(key, shape, fan_in, seed))
    });
    drawn.expect("weights are drawn, not read")
}
