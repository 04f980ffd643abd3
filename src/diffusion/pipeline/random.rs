//! Checkpoint folders with random weights: full size for measurements, tiny for tests.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, FloatDType};
use serde_json::{Value, json};

use super::model_index::ModelIndex;
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::text::{TEXT_PROJECTION, TextEncoderConfig, TextProjectionConfig, TextProjectionKeys};
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::weights::{KeyMap, Stem, draw, init_with, save};
use crate::diffusion::write::{write, write_json};

/// The shapes of a random pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RandomSize {
    /// A few hundred thousand weights, 64 pixels: runs in a second.
    Tiny,
    /// Stable Diffusion 1.4: 1.07 billion weights, 512 pixels, 4.3 GB as F32.
    Sd14,
}

/// Writes a pipeline of that size with weights drawn from `seed`, as `StableDiffusionPipeline.save_pretrained` would.
///
/// Weights are [`drawn`](draw): activations keep their scale, and images are noise. The tokenizer knows single bytes only, with Stable Diffusion's start and end tokens.
///
/// # Errors
/// [`DiffusionError::Io`].
pub fn write_random_pipeline(
    folder: &Path,
    size: RandomSize,
    seed: u64,
    dtype: FloatDType,
    mut written: impl FnMut(&str),
) -> Result<(), DiffusionError> {
    let configs = Configs::of(size);
    let json = |path: &str, value: &Value| {
        let path = folder.join(path);
        write_json(&path, value).map(|()| path)
    };
    tokenizer_files(configs.vocabulary)
        .iter()
        .try_for_each(|(name, text)| write(&folder.join("tokenizer").join(name), text.as_bytes()))?;
    json("scheduler/scheduler_config.json", &configs.scheduler)?;
    let device = Device::flex();

    let path = json("text_encoder/config.json", &configs.text_encoder)?;
    let config = TextEncoderConfig::read(&path)?;
    let file = folder.join("text_encoder").join(Stem::Transformers.file_name());
    fill(config.init(&device), config.keys(), seed, &file, dtype)?;
    written("text encoder");

    let path = json("unet/config.json", &configs.unet)?;
    let config = UNetConfig::read(&path)?;
    let file = folder.join("unet").join(Stem::Diffusers.file_name());
    fill(config.init(&device), &config.keys(), seed, &file, dtype)?;
    written("U-Net");

    let path = json("vae/config.json", &configs.vae)?;
    let config = AutoencoderConfig::read(&path)?;
    let file = folder.join("vae").join(Stem::Diffusers.file_name());
    let model = config.init(&device);
    let keys = model.keys();
    fill(model, keys, seed, &file, dtype)?;
    written("autoencoder");

    json("model_index.json", &index())?;
    Ok(())
}

fn fill<M: Module>(model: M, keys: &dyn KeyMap, seed: u64, file: &Path, dtype: FloatDType) -> Result<(), DiffusionError> {
    let model = init_with(model, keys, FloatDType::F32, |key, shape| Ok(draw(key, shape, seed)))?;
    save(&model, file, keys, dtype)
}

pub(in crate::diffusion) fn index() -> Value {
    json!({
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.6.0",
        "feature_extractor": [null, null],
        "requires_safety_checker": false,
        "safety_checker": [null, null],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    })
}

/// The configurations of one size.
pub(in crate::diffusion) struct Configs {
    vocabulary: usize,
    pub(in crate::diffusion) text_encoder: Value,
    pub(in crate::diffusion) unet: Value,
    pub(in crate::diffusion) vae: Value,
    pub(in crate::diffusion) scheduler: Value,
}

impl Configs {
    pub(in crate::diffusion) fn of(size: RandomSize) -> Self {
        let full = size == RandomSize::Sd14;
        // (Stable Diffusion 1.4, tiny)
        let pick = |sd14: usize, tiny: usize| if full { sd14 } else { tiny };
        let vocabulary = pick(49408, 514);
        let width = pick(768, 32);
        let down = ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"];
        let up = ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"];
        Self {
            vocabulary,
            text_encoder: json!({
                "architectures": ["CLIPTextModel"],
                "model_type": "clip_text_model",
                "vocab_size": vocabulary,
                "hidden_size": width,
                "intermediate_size": 4 * width,
                "num_hidden_layers": pick(12, 2),
                "num_attention_heads": pick(12, 4),
                "max_position_embeddings": 77,
                "hidden_act": "quick_gelu",
                "layer_norm_eps": 1e-5,
                "projection_dim": width,
                "bos_token_id": 0,
                "eos_token_id": 2,
                "pad_token_id": 1,
            }),
            unet: json!({
                "_class_name": "UNet2DConditionModel",
                "act_fn": "silu",
                "attention_head_dim": pick(8, 4),
                "block_out_channels": if full { [320, 640, 1280, 1280] } else { [16, 32, 32, 32] },
                "center_input_sample": false,
                "cross_attention_dim": width,
                "down_block_types": down,
                "downsample_padding": 1,
                "flip_sin_to_cos": true,
                "freq_shift": 0,
                "in_channels": 4,
                "layers_per_block": pick(2, 1),
                "mid_block_scale_factor": 1,
                "norm_eps": 1e-5,
                "norm_num_groups": pick(32, 8),
                "out_channels": 4,
                "sample_size": pick(64, 8),
                "up_block_types": up,
            }),
            vae: json!({
                "_class_name": "AutoencoderKL",
                "act_fn": "silu",
                "block_out_channels": if full { [128, 256, 512, 512] } else { [8, 16, 16, 16] },
                "down_block_types": (["DownEncoderBlock2D"; 4]),
                "in_channels": 3,
                "latent_channels": 4,
                "layers_per_block": pick(2, 1),
                "norm_num_groups": pick(32, 4),
                "out_channels": 3,
                "sample_size": pick(512, 64),
                "scaling_factor": 0.18215,
                "up_block_types": (["UpDecoderBlock2D"; 4]),
            }),
            scheduler: json!({
                "_class_name": "PNDMScheduler",
                "beta_end": 0.012,
                "beta_schedule": "scaled_linear",
                "beta_start": 0.00085,
                "clip_sample": false,
                "num_train_timesteps": 1000,
                "set_alpha_to_one": false,
                "skip_prk_steps": true,
                "steps_offset": 1,
                "trained_betas": null,
            }),
        }
    }
}

/// A CLIP tokenizer of single bytes whose start and end tokens are the last two ids.
fn tokenizer_files(vocabulary: usize) -> [(&'static str, String); 4] {
    let mut ids = serde_json::Map::new();
    let bytes: Vec<char> = byte_characters();
    for (id, byte) in bytes.iter().enumerate() {
        ids.insert(byte.to_string(), id.into());
        ids.insert(format!("{byte}</w>"), (id + bytes.len()).into());
    }
    ids.insert(START.to_owned(), (vocabulary - 2).into());
    ids.insert(END.to_owned(), (vocabulary - 1).into());
    let [special, config] = token_files(END);
    [("vocab.json", Value::Object(ids).to_string()), ("merges.txt", "#version: 0.2\n".to_owned()), special, config]
}

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// The files beside a CLIP tokenizer's vocabulary, which name its special tokens. Texts are padded with `pad`: the end token in Stable
/// Diffusion 1, `!` in 2.
pub(in crate::diffusion) fn token_files(pad: &str) -> [(&'static str, String); 2] {
    let token = |content: &str| json!({ "content": content, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false });
    let special = json!({ "bos_token": token(START), "eos_token": token(END), "pad_token": pad, "unk_token": token(END) });
    let config = json!({
        "add_prefix_space": false,
        "bos_token": token(START),
        "do_lower_case": true,
        "eos_token": token(END),
        "errors": "replace",
        "model_max_length": 77,
        "pad_token": pad,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": token(END),
    });
    [("special_tokens_map.json", special.to_string()), ("tokenizer_config.json", config.to_string())]
}

/// The printable character that stands for each byte in byte-level vocabularies (Radford et al. 2019, `bytes_to_unicode` of GPT-2):
/// printable Latin-1 as itself, the others from U+0100 on.
fn byte_characters() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = (0x100u32..).map(|code| char::from_u32(code).expect("Latin Extended-A is assigned"));
    let next = |byte| if printable(byte) { char::from_u32(byte) } else { others.next() };
    (0..256).map(next).map(|character| character.expect("every byte has a character")).collect()
}

/// Writes an untrained [`text projection`](crate::diffusion::text::TextProjection) into the pipeline's folder, from its text encoder's width to its
/// U-Net's.
///
/// # Errors
/// [`DiffusionError::Setting`] where the widths agree and none is needed; errors of the configurations; [`DiffusionError::Io`].
pub fn write_text_projection(folder: &Path, seed: u64) -> Result<TextProjectionConfig, DiffusionError> {
    let index = ModelIndex::read(&folder.into())?;
    let text = TextEncoderConfig::read(&index.component("text_encoder").join("config.json"))?;
    let unet = UNetConfig::read(&index.component("unet").join("config.json"))?;
    let config = TextProjectionConfig::between(&text, &unet)?;
    draw_text_projection(&config, folder, seed)?;
    write(&folder.join(TEXT_PROJECTION).join("config.json"), config.to_json().as_bytes())?;
    Ok(config)
}

/// Writes its weights alone, untrained, into the pipeline's folder.
pub(crate) fn draw_text_projection(config: &TextProjectionConfig, folder: &Path, seed: u64) -> Result<(), DiffusionError> {
    let file = folder.join(TEXT_PROJECTION).join(Stem::Diffusers.file_name());
    fill(config.init(&Device::flex()), &TextProjectionKeys, seed, &file, FloatDType::F32)
}
