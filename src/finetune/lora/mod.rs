//! Low-rank adapters under training; their files and their mathematics are [`adapters::lora`](crate::adapters::lora)'s.
//!
//! An adapter is not a layer here but a map from weights to weights: networks are the same with and without one, the same
//! function trains, merges and generates, and a gradient reaches `A` and `B` through the sum. A step takes as long as training
//! those weights; moments, averages and files are those of the adapters alone. Reference: peft 0.21.2 within diffusers 0.42.1.

mod settings;
#[cfg(test)]
mod tests;

pub use settings::LoraSettings;

use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use roentgen_classifier::SettingError;

use super::networks::Leaves;
use super::{FinetuneError, Strategy, Tuning};
use crate::adapters::lora::{Lora, shapes};
use crate::diffusion::Part;
use crate::diffusion::weights::{Slot, draw_normal};

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
    let (factors, rank, alpha) = lora.factors(part, &slot.key).ok_or_else(|| {
        refuse(format!("it has no adapter for {part}.{}, which lora.targets names: name the same modules", slot.key))
    })?;
    if rank != settings.rank || alpha.is_some_and(|alpha| alpha != settings.alpha) {
        let alpha = alpha.map_or_else(|| "not stated".to_owned(), |alpha| alpha.to_string());
        return Err(refuse(format!(
            "its rank is {rank} and its alpha {alpha}, the settings say {} and {}: set lora.rank and lora.alpha to the file's",
            settings.rank, settings.alpha
        )));
    }
    lora.check_one(part, slot, path)?;
    Ok(factors)
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
