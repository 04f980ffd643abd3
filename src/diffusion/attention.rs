//! Scaled dot-product attention over several heads, for every network here.

use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor};

/// What a query may attend to.
#[derive(Clone, Debug, Default)]
pub(super) struct Visible {
    /// No token sees a later one (CLIP's text model).
    pub(super) causal: bool,
    /// `[B, Lk]`, true where the token may be seen; `None` sees all.
    pub(super) keys: Option<Tensor<2, Bool>>,
}

/// `softmax(Q Kᵀ / sqrt(d)) V` for each of `heads` equal parts of the last axis (Vaswani et al. 2017, equation 1).
///
/// The score matrix is never held whole where the device has a tiled kernel (flex above 262,144 scores a head; CUDA).
///
/// # Shapes
/// - query: `[B, Lq, heads * d]`; key, value: `[B, Lk, heads * d]`
/// - output: `[B, Lq, heads * d]`
pub(super) fn multi_head(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize, visible: &Visible) -> Tensor<3> {
    let [batch, queries, width] = query.dims();
    let keys = key.dims()[1];
    let split = |x: Tensor<3>| {
        let length = x.dims()[1];
        x.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
    };
    let hidden = visible.keys.clone().map(|seen| {
        let hidden: Tensor<4, Bool> = seen.bool_not().reshape([batch, 1, 1, keys]);
        hidden.expand([batch, heads, queries, keys])
    });
    let options = AttentionModuleOptions { is_causal: visible.causal, ..Default::default() };
    let x = attention(split(query), split(key), split(value), hidden, None, options);
    x.swap_dims(1, 2).reshape([batch, queries, width])
}
