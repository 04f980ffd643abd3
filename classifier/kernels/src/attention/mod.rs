//! Scaled dot-product attention over several heads, forward and backward, without ever holding a matrix of scores.
//!
//! | file | |
//! |---|---|
//! | `backend` | the extension: who computes what, and the gradient |
//! | `flex`, `problem`, `tile`, `softmax`, `forward`, `backward` | the CPU's kernels |
//! | `chunks` | by any backend's operations, some queries at a time |

mod backend;
mod backward;
mod chunks;
#[cfg(feature = "gpu")]
mod cube;
mod flex;
mod forward;
mod panels;
mod problem;
mod softmax;
mod tile;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::module::attention as composed;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor};

use self::backend::{AttentionBackend, Seen, Sizes};
use crate::applies;

/// What a query may attend to.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    /// No token sees a later one (CLIP's text model). Where keys and queries differ in number, the last query sees the last key.
    pub causal: bool,
    /// `[B, Lk]`, true where the token may be seen; `None` sees all. A row that sees none attends to zeros.
    pub keys: Option<Tensor<2, Bool>>,
}

/// `softmax(Q Kᵀ / sqrt(d)) V` for each of `heads` equal parts of the last axis (Vaswani et al. 2017, equation 1).
///
/// On the CPU it is computed tile by tile (Dao et al. 2022), elsewhere some queries at a time, and the backward pass computes the scores
/// again: memory grows with the number of tokens, not with its square. Where all scores take little memory, it is burn's own there.
///
/// # Shapes
/// - query: `[B, Lq, heads * d]`; key, value: `[B, Lk, heads * d]`
/// - output: `[B, Lq, heads * d]`
///
/// # Panics
/// If `heads` does not divide the width, or batch, width or number of keys differ, also in what is visible.
pub fn attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize, visible: &Visible) -> Tensor<3> {
    let [batch, queries, width] = query.dims();
    let keys = key.dims()[1];
    assert!(heads > 0 && width.is_multiple_of(heads), "{heads} heads do not divide a width of {width}");
    assert_eq!(
        [key.dims(), value.dims()],
        [[batch, keys, width]; 2],
        "keys and values for queries of [{batch}, {queries}, {width}]"
    );
    if let Some(seen) = &visible.keys {
        assert_eq!(seen.dims(), [batch, keys], "which of [batch, keys] are seen");
    }
    let sizes = Sizes { batch, queries, keys, heads, size: width / heads, causal: visible.causal };
    let alike = [&key, &value].into_iter().all(|x| x.dtype() == query.dtype());
    let empty = batch * queries * keys * width == 0;
    if !alike || empty || !(applies(&query) || is_routed(&query) && !sizes.has_few_scores()) {
        return composition(query, key, value, heads, visible);
    }
    let seen = visible.keys.clone().map_or(Seen::All, |seen| Seen::Keys(seen.into_dispatch()));
    let [query, key, value] = [query, key, value].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::tiled_attention(query, key, value, seen, sizes))
}

/// Whether the extension has an implementation for a tensor's device.
fn is_routed(tensor: &Tensor<3>) -> bool {
    match tensor.device().inner().as_dispatch() {
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => true,
        #[allow(unreachable_patterns, reason = "other backends exist where burn is built with them")]
        _ => false,
    }
}

/// The same by burn's operations.
fn composition(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize, visible: &Visible) -> Tensor<3> {
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
    let x = composed(split(query), split(key), split(value), hidden, None, options);
    x.swap_dims(1, 2).reshape([batch, queries, width])
}

#[cfg(test)]
mod brain_tests;
#[cfg(test)]
mod tests;
