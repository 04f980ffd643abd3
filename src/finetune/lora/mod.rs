//! Low-rank adapters: `W + scale * (alpha / rank) * B A` in place of a weight `W`.
//!
//! Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Reference: peft 0.21.2 within diffusers 0.42.1.
//!
//! An adapter is no layer here but a map from weights to weights: networks are the same with and without one, the same function
//! trains, merges and generates, and a gradient reaches `A` and `B` through the sum. A step costs what training those weights
//! costs in time; moments, averages and files are the adapters' alone.

mod settings;

pub use settings::LoraSettings;

use burn::tensor::{DType, Tensor, TensorData};

use super::leaves::Leaves;
use super::{FinetuneError, Part};
use crate::diffusion::weights::{Slot, draw_normal};

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

/// Adapters of a part as leaves, each `A` drawn and each `B` zero, so that they change nothing yet.
///
/// `A` is normal with a standard deviation of `1 / rank`: diffusers' `init_lora_weights="gaussian"`.
pub(super) fn add(
    part: Part,
    slots: &[Slot],
    settings: &LoraSettings,
    seed: u64,
    leaves: &mut Leaves,
) -> Result<(), FinetuneError> {
    let device = leaves.tape().plain_device();
    let mut found = false;
    for slot in slots {
        let Some(module) = slot.key.strip_suffix(".weight") else { continue };
        if slot.file_shape.len() < 2 || !settings.is_target(module) {
            continue;
        }
        found = true;
        let [a, b] = names(module);
        let [shape_a, shape_b] = shapes(slot, settings.rank);
        let flat = |data: TensorData| {
            let count = data.num_elements();
            Tensor::<1>::from_data(TensorData::from_bytes(data.into_parts().0, [count], DType::F32), &device)
        };
        let drawn = draw_normal(&format!("{part}.{a}"), &shape_a, seed, 1.0 / settings.rank as f32);
        leaves.push(part, &a, shape_a, flat(drawn));
        let zeros = TensorData::zeros::<f32, _>(shape_b.clone());
        leaves.push(part, &b, shape_b, flat(zeros));
    }
    if found {
        return Ok(());
    }
    Err(FinetuneError::Setting {
        key: "lora.targets",
        value: settings.target_modules().join(", "),
        expected: format!("the end of the name of a module of the {part}, such as `{}`", example(slots)),
    })
}

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
