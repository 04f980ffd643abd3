//! Low-rank adapters: `W + scale * (alpha / rank) * B A` instead of a weight `W`.
//!
//! Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Read are the files of
//!
//! | tool | names | the factor of the product |
//! |---|---|---|
//! | kohya's sd-scripts and LyCORIS's LoCon | `lora_unet_down_blocks_0_….lora_down.weight`, `lora_te_…`, `lora_te1_…` | `….alpha` of the module over its rank; 1 without |
//! | diffusers since 2023 | `unet.….to_q.lora.down.weight`, `….lora_A.weight` | what `lora_adapter_metadata` in the header says, or `….alpha`; 1 without |
//! | diffusers of early 2023 | `….attn1.processor.to_q_lora.down.weight`, with and without `unet.` | 1 |
//! | peft | `base_model.model.….lora_A.weight` beside `adapter_config.json` | `lora_alpha` and `alpha_pattern` over the rank, or over its root (`use_rslora`) |
//!
//! References: sd-scripts `networks/lora.py`; diffusers 0.42.1 `loaders/lora_conversion_utils.py`, `utils/state_dict_utils.py`; peft
//! 0.21.2 `tuners/lora/layer.py`, `utils/other.py`.

mod definition;
mod merge;
mod names;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use merge::Lora;
pub(super) use names::is_of_lora;

use burn::tensor::Tensor;
use roentgen_classifier::SettingError;

use crate::diffusion::weights::Slot;

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
    /// A convolution's kernel counts as a matrix of `outputs` rows, as in peft: a 3x3 convolution to the rank followed by a 1x1
    /// convolution is one 3x3 convolution with the product as its kernel.
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

/// Shapes of the factors in files; those of a convolution keep its kernel in `A`.
pub(crate) fn shapes(slot: &Slot, rank: usize) -> [Vec<usize>; 2] {
    let (mut a, mut b) = (slot.file_shape.clone(), vec![1; slot.file_shape.len()]);
    a[0] = rank;
    (b[0], b[1]) = (slot.file_shape[0], rank);
    [a, b]
}

/// Refuses an invalid alpha.
pub(crate) fn check_alpha(alpha: f64) -> Result<(), SettingError> {
    SettingError::unless(alpha.is_finite() && alpha > 0.0, "lora.alpha", alpha, "a number above 0; the rank is usual")
}
