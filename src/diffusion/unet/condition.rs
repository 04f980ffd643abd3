//! What every block of the U-Net is conditioned on.

use burn::tensor::{Bool, Tensor};
use roentgen_kernels::Visible;

/// Time and text, computed once for all blocks.
pub(super) struct Condition {
    /// `[B, T]`: the time embedding after its SiLU.
    pub(super) time: Tensor<2>,
    /// `[B, L, D]`: the text states.
    pub(super) text: Tensor<3>,
    /// Which of the text states may be seen.
    pub(super) visible: Visible,
}

impl Condition {
    /// `mask`: `[B, L]`, true where a text state may be seen.
    pub(super) fn new(time: Tensor<2>, text: Tensor<3>, mask: Option<Tensor<2, Bool>>) -> Self {
        let [batch, length, _] = text.dims();
        let keys = mask.map(|mask| {
            assert_eq!(mask.dims(), [batch, length], "mask {:?} of texts {:?}", mask.dims(), text.dims());
            // The reference adds -10000 to the scores of hidden states: where all are hidden, that hides none.
            let none_seen = mask.clone().any_dim(1).bool_not().expand([batch, length]);
            mask.bool_or(none_seen)
        });
        Self { time, text, visible: Visible { causal: false, keys } }
    }
}
