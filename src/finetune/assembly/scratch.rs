//! Initial weights of a network from scratch, drawn as in its reference.

use std::collections::HashMap;

use burn::module::Module;
use burn::tensor::{FloatDType, TensorData};

use crate::diffusion::text::TextEncoderConfig;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::diffusion::unet::UNetConfig;

    fn values<M: Module>(model: &M, keys: &dyn KeyMap) -> BTreeMap<String, Vec<f32>> {
        let mut values = BTreeMap::new();
        each(model, keys, |slot, value| {
            values.insert(slot.key, value().into_data().iter::<f32>().collect());
        });
        values
    }

    fn deviation(values: &[f32]) -> f32 {
        (values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32).sqrt()
    }

    #[test]
    fn a_u_net_is_drawn_as_pytorch_draws_it() {
        let text = r#"{"block_out_channels": [32, 32], "norm_num_groups": 8, "cross_attention_dim": 64, "attention_head_dim": 4,
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]}"#;
        let config = UNetConfig::parse(text, Path::new("config.json")).unwrap();
        let (device, keys) = (Device::flex(), config.keys());
        let draw = |seed| values(&draw(config.init(&device), &keys, Recipe::Pytorch, seed), &keys);
        let drawn = draw(1);
        // kaiming_uniform_(a = sqrt(5)): within 1 / sqrt(fan_in), a standard deviation of that over sqrt(3).
        for (key, fan_in) in [
            ("down_blocks.0.resnets.0.conv1", 32.0 * 9.0),
            ("mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 64.0_f32),
        ] {
            let (bound, weight) = (fan_in.sqrt().recip(), &drawn[&format!("{key}.weight")]);
            assert!(weight.iter().all(|value| value.abs() <= bound), "{key}");
            // 2048 values or more.
            assert!((deviation(weight) / (bound / 3f32.sqrt()) - 1.0).abs() < 0.05, "{key}");
        }
        let bias = &drawn["down_blocks.0.resnets.0.conv1.bias"];
        assert!(bias.iter().all(|value| value.abs() <= (32f32 * 9.0).sqrt().recip()) && deviation(bias) > 0.0);
        assert!(drawn["conv_norm_out.weight"].iter().all(|value| *value == 1.0));
        assert!(drawn["conv_norm_out.bias"].iter().all(|value| *value == 0.0));
        assert!(draw(1) == drawn && draw(2) != drawn);
    }

    #[test]
    fn text_encoders_are_drawn_as_transformers_draws_them() {
        let parse = |text: &str| TextEncoderConfig::parse(text, Path::new("config.json")).unwrap();
        let drawn = |config: &TextEncoderConfig| {
            values(&draw(config.init(&Device::flex()), config.keys(), Recipe::of(config), 1), config.keys())
        };
        let clip = drawn(&parse(
            r#"{"model_type": "clip_text_model", "vocab_size": 90, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                "num_attention_heads": 4}"#,
        ));
        let layer = "text_model.encoder.layers.1";
        for (key, expected) in [
            ("text_model.embeddings.token_embedding.weight".to_owned(), 0.02),
            (format!("{layer}.self_attn.q_proj.weight"), (64f32 * 4.0).sqrt().recip()),
            (format!("{layer}.self_attn.out_proj.weight"), 64f32.sqrt().recip()),
            (format!("{layer}.mlp.fc1.weight"), 128f32.sqrt().recip()),
            (format!("{layer}.mlp.fc2.weight"), (64f32 * 4.0).sqrt().recip()),
        ] {
            assert!((deviation(&clip[&key]) / expected - 1.0).abs() < 0.05, "{key}");
        }
        assert!(clip[&format!("{layer}.mlp.fc1.bias")].iter().all(|value| *value == 0.0));
        let bert = drawn(&parse(
            r#"{"model_type": "bert", "vocab_size": 90, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
                "num_attention_heads": 4}"#,
        ));
        assert!((deviation(&bert["encoder.layer.0.intermediate.dense.weight"]) / 0.02 - 1.0).abs() < 0.05);
        assert!(bert["embeddings.LayerNorm.weight"].iter().all(|value| *value == 1.0));
    }
}
