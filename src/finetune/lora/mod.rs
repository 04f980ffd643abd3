//! Low-rank adapters: `W + scale * (alpha / rank) * B A` instead of a weight `W`.
//!
//! Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Reference: peft 0.21.2 within diffusers 0.42.1.
//!
//! An adapter is not a layer here but a map from weights to weights: networks are the same with and without one, the same
//! function trains, merges and generates, and a gradient reaches `A` and `B` through the sum. A step takes as long as training
//! those weights; moments, averages and files are those of the adapters alone.

mod adapters;
mod read;
mod settings;
#[cfg(test)]
mod tests;
mod write;

pub use adapters::Lora;
pub use settings::LoraSettings;

use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use roentgen_classifier::SettingError;

use super::networks::Leaves;
use super::{FinetuneError, Part, Strategy, Tuning};
use crate::diffusion::weights::{Slot, draw_normal};

/// File of diffusers (`save_lora_weights`).
const DIFFUSERS_FILE: &str = "pytorch_lora_weights.safetensors";
/// Key of that file's header for the arguments of peft's `LoraConfig`.
const METADATA: &str = "lora_adapter_metadata";
/// Files of peft (`save_pretrained`).
const PEFT_FILE: &str = "adapter_model.safetensors";
const CONFIG_FILE: &str = "adapter_config.json";
/// Prefix of peft's names.
const PEFT_PREFIX: &str = "base_model.model.";

/// The two factors of an adapter, flat and row-major as files have them: `A` `[rank, inputs]`, `B` `[outputs, rank]`.
#[derive(Clone, Debug)]
pub(crate) struct Factors {
    pub(crate) a: Tensor<1>,
    pub(crate) b: Tensor<1>,
    pub(crate) rank: usize,
    /// `scale * alpha / rank`.
    pub(crate) scale: f64,
}

impl Factors {
    /// What is added to the weight in `slot`, flat, in the layout of memory.
    ///
    /// A convolution's kernel counts as a matrix of `outputs` rows, as in peft.
    pub(crate) fn delta(&self, slot: &Slot) -> Tensor<1> {
        let [outputs, inputs] = matrix(slot);
        let (a, b) = (self.a.clone().reshape([self.rank, inputs]), self.b.clone().reshape([outputs, self.rank]));
        let product = match slot.transposed {
            true => a.transpose().matmul(b.transpose()),
            false => b.matmul(a),
        };
        product.reshape([outputs * inputs]) * self.scale
    }
}

/// Rows and columns of a weight as the matrix that an adapter is added to.
pub(crate) fn matrix(slot: &Slot) -> [usize; 2] {
    let outputs = slot.file_shape[0];
    [outputs, slot.file_shape[1..].iter().product()]
}

/// Adapters of a part as leaves: those of `start`, or new ones, which change nothing yet: `A` is normal with a standard deviation of
/// `1 / rank`, diffusers' `init_lora_weights="gaussian"`, and `B` zero.
pub(super) fn add(
    part: Part,
    slots: &[Slot],
    settings: &LoraSettings,
    seed: u64,
    leaves: &mut Leaves,
) -> Result<(), FinetuneError> {
    let start = settings.start.as_deref().map(|path| Ok::<_, FinetuneError>((path, Lora::read(path)?))).transpose()?;
    let device = leaves.tape().plain_device();
    let mut found = 0;
    for slot in slots {
        let Some(module) = slot.key.strip_suffix(".weight") else { continue };
        if slot.file_shape.len() < 2 || !settings.is_target(module) {
            continue;
        }
        found += 1;
        let [a, b] = names(module);
        let [shape_a, shape_b] = shapes(slot, settings.rank);
        let values = match &start {
            Some((path, lora)) => started(lora, part, slot, settings, path)?,
            None => {
                let drawn = draw_normal(&format!("{part}.{a}"), &shape_a, seed, 1.0 / settings.rank as f32);
                [drawn, TensorData::zeros::<f32, _>(shape_b.clone())]
            }
        };
        for ((key, shape), data) in [(a, shape_a), (b, shape_b)].into_iter().zip(values) {
            let count = data.num_elements();
            let flat = TensorData::from_bytes(data.into_parts().0, [count], DType::F32);
            leaves.push(part, Slot::plain(key, shape), Tensor::from_data(flat, &device));
        }
    }
    if found == 0 {
        return Err(FinetuneError::Setting(SettingError {
            key: "lora.targets",
            value: settings.target_modules().join(", "),
            expected: format!("the end of the name of a module of the {part}, such as `{}`", example(slots)),
        }));
    }
    match start {
        Some((path, lora)) if lora.of(part) != found => Err(FinetuneError::Lora {
            path: path.to_owned(),
            message: format!(
                "it has adapters for {} modules of the {part}, lora.targets names {found}: name the same modules",
                lora.of(part)
            ),
        }),
        _ => Ok(()),
    }
}

/// The factors for a weight in a file that training starts from.
fn started(
    lora: &Lora,
    part: Part,
    slot: &Slot,
    settings: &LoraSettings,
    path: &Path,
) -> Result<[TensorData; 2], FinetuneError> {
    let refuse = |message: String| FinetuneError::Lora { path: path.to_owned(), message };
    let adapter = lora.get(part, &slot.key).ok_or_else(|| {
        refuse(format!("it has no adapter for {part}.{}, which lora.targets names: name the same modules", slot.key))
    })?;
    if adapter.rank() != settings.rank || adapter.alpha.is_some_and(|alpha| alpha != settings.alpha) {
        let alpha = adapter.alpha.map_or_else(|| "not stated".to_owned(), |alpha| alpha.to_string());
        return Err(refuse(format!(
            "its rank is {} and its alpha {alpha}, the settings say {} and {}: set lora.rank and lora.alpha to the file's",
            adapter.rank(),
            settings.rank,
            settings.alpha
        )));
    }
    lora.check_one(part, slot, path)?;
    Ok([adapter.a.clone(), adapter.b.clone()])
}

/// A module to name in a message.
fn example(slots: &[Slot]) -> &str {
    let matrix = slots.iter().filter(|slot| slot.transposed).find_map(|slot| slot.key.strip_suffix(".weight"));
    matrix.unwrap_or_default()
}

/// Names of the factors for a module.
fn names(module: &str) -> [String; 2] {
    ["A", "B"].map(|factor| format!("{module}.lora_{factor}.weight"))
}

/// Shapes of the factors in files; those of a convolution keep its kernel in `A`.
fn shapes(slot: &Slot, rank: usize) -> [Vec<usize>; 2] {
    let (mut a, mut b) = (slot.file_shape.clone(), vec![1; slot.file_shape.len()]);
    a[0] = rank;
    (b[0], b[1]) = (slot.file_shape[0], rank);
    [a, b]
}

/// Where the factors for a weight are among the leaves, if it has an adapter.
pub(super) fn positions(part: Part, key: &str, leaves: &Leaves) -> Option<[usize; 2]> {
    let [a, b] = names(key.strip_suffix(".weight")?);
    Some([leaves.position(part, &a)?, leaves.position(part, &b)?])
}

/// The adapters among the leaves with these values, in the order of the leaves.
pub(super) fn gather(strategy: &Strategy, leaves: &Leaves, values: &[Tensor<1>]) -> Lora {
    let mut lora = Lora::default();
    for (leaf, value) in leaves.list.iter().zip(values) {
        let Tuning::Lora(settings) = strategy.tuning_of(leaf.part.name()) else { continue };
        let data = leaf.slot.to_file(value.clone().into_data());
        lora.insert(leaf.part, &leaf.slot.key, data, settings.alpha);
    }
    lora
}
