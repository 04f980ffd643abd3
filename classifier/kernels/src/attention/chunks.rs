//! Attention by the operations of any backend, some queries at a time.
//!
//! A chunk's scores are as many as the tokens' numbers, so that memory grows with the number of tokens. The backward pass computes them
//! again from the logarithms of their sums, as the kernels do (Dao et al. 2022).

use std::ops::Range;

use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, TensorMetadata, get_or_init_device_settings};
use burn::tensor::{DType, FloatDType, Shape, Slice};

use super::backend::{Seen, Sizes};

/// The least queries of a chunk: fewer make matrix products slow.
const LEAST_QUERIES: usize = 16;

/// The type of scores, sums and their logarithms for inputs of a type: at least 32 bits.
pub(super) fn wide(inputs: DType) -> FloatDType {
    if inputs == DType::F64 { FloatDType::F64 } else { FloatDType::F32 }
}

/// From query, key and value: the results, and the logarithm of the sum of the exponentials of each query's scores
/// `[B, heads, Lq]`.
pub(super) fn forward<B: Backend>(
    [query, key, value]: [FloatTensor<B>; 3],
    seen: Seen<B>,
    sizes: &Sizes,
) -> [FloatTensor<B>; 2] {
    let dtype = query.dtype();
    let pass = Pass::<B>::new([query, key, value], seen, *sizes);
    let (mut results, mut norms) = (Vec::new(), Vec::new());
    for rows in chunks(sizes) {
        let scores = pass.scores(rows.clone());
        // Clamped, rows that see no key have weights of 0 instead of NaN.
        let finfo = scores.dtype().finfo().expect("scores are floats");
        let most = B::float_clamp_min(B::float_max_dim(scores.clone(), 3), finfo.min.into());
        let weights = B::float_exp(B::float_sub(scores, most.clone()));
        let sum = B::float_clamp_min(B::float_sum_dim(weights.clone(), 3), finfo.min_positive.into());
        let result = B::float_div(B::float_matmul(weights, pass.value.clone()), sum.clone());
        results.push(cast::<B>(result, dtype.into()));
        norms.push(B::float_add(most, B::float_log(sum)));
    }
    let norms = B::float_reshape(join::<B>(norms), Shape::new([sizes.batch, sizes.heads, sizes.queries]));
    [merge::<B>(join::<B>(results), sizes), norms]
}

/// The gradients w.r.t. query, key and value, from those and what [`forward`] made of them.
pub(super) fn backward<B: Backend>(
    [query, key, value]: [FloatTensor<B>; 3],
    seen: Seen<B>,
    [results, norms]: [FloatTensor<B>; 2],
    gradient: FloatTensor<B>,
    sizes: &Sizes,
) -> [FloatTensor<B>; 3] {
    let dtype = query.dtype();
    let pass = Pass::<B>::new([query, key, value], seen, *sizes);
    let norms = B::float_reshape(norms, Shape::new([sizes.batch, sizes.heads, sizes.queries, 1]));
    let (results, gradient) = (split::<B>(results, sizes), split::<B>(gradient, sizes));
    let values = B::float_transpose(pass.value.clone());
    let mut towards_query = Vec::new();
    let mut towards: Option<[FloatTensor<B>; 2]> = None;
    for rows in chunks(sizes) {
        let norm = slice::<B>(norms.clone(), &rows);
        let weights = B::float_exp(B::float_sub(pass.scores(rows.clone()), norm));
        let [result, gradient] = [&results, &gradient].map(|x| cast::<B>(slice::<B>(x.clone(), &rows), wide(dtype)));
        let by_weights = B::float_matmul(gradient.clone(), values.clone());
        // A row of weights sums to 1 whatever the scores: what all of a row's gradients have in common is lost.
        let common = B::float_sum_dim(B::float_mul(gradient.clone(), result), 3);
        let by_scores = B::float_mul(weights.clone(), B::float_sub(by_weights, common));
        let by_query = B::float_matmul(by_scores.clone(), B::float_transpose(pass.key.clone()));
        towards_query.push(cast::<B>(B::float_mul_scalar(by_query, sizes.scale().into()), dtype.into()));
        let by_key = B::float_matmul(B::float_transpose(by_scores), pass.query(rows));
        let by_value = B::float_matmul(B::float_transpose(weights), gradient);
        towards = Some(match towards {
            None => [by_key, by_value],
            Some([key, value]) => [B::float_add(key, by_key), B::float_add(value, by_value)],
        });
    }
    let [key, value] = towards.expect("there is a query").map(|x| merge::<B>(cast::<B>(x, dtype.into()), sizes));
    [merge::<B>(join::<B>(towards_query), sizes), key, value]
}

/// What all chunks of a pass read.
struct Pass<B: Backend> {
    sizes: Sizes,
    /// `[B, heads, Lq, size]`, in its own type.
    query: FloatTensor<B>,
    /// `[B, heads, size, Lk]`
    key: FloatTensor<B>,
    /// `[B, heads, Lk, size]`
    value: FloatTensor<B>,
    /// `[B, heads, 1, Lk]`, true where a key is not seen.
    unseen: Option<BoolTensor<B>>,
}

impl<B: Backend> Pass<B> {
    fn new([query, key, value]: [FloatTensor<B>; 3], seen: Seen<B>, sizes: Sizes) -> Self {
        let wide = wide(query.dtype());
        let unseen = match seen {
            Seen::All => None,
            Seen::Keys(seen) => Some(B::bool_reshape(B::bool_not(seen), Shape::new([sizes.batch, 1, 1, sizes.keys]))),
        };
        let query = split::<B>(query, &sizes);
        let key = B::float_transpose(cast::<B>(split::<B>(key, &sizes), wide));
        let value = cast::<B>(split::<B>(value, &sizes), wide);
        Self { sizes, query, key, value, unseen }
    }

    /// Some queries over the square root of their size: `[B, heads, rows, size]`.
    fn query(&self, rows: Range<usize>) -> FloatTensor<B> {
        let query = slice::<B>(self.query.clone(), &rows);
        let wide = wide(query.dtype());
        B::float_mul_scalar(cast::<B>(query, wide), self.sizes.scale().into())
    }

    /// The scores of some queries, `[B, heads, rows, Lk]`: -∞ where a key is not seen.
    fn scores(&self, rows: Range<usize>) -> FloatTensor<B> {
        let scores = B::float_matmul(self.query(rows.clone()), self.key.clone());
        let shape = scores.shape();
        let hide = |scores, hidden| B::float_mask_fill(scores, B::bool_expand(hidden, shape.clone()), f32::NEG_INFINITY.into());
        let scores = match &self.unseen {
            Some(unseen) => hide(scores, unseen.clone()),
            None => scores,
        };
        if self.sizes.causal { hide(scores, self.later(rows)) } else { scores }
    }

    /// Whether a key comes after a query: `[1, 1, rows, Lk]`. The last query sees the last key.
    fn later(&self, rows: Range<usize>) -> BoolTensor<B> {
        let Sizes { queries, keys, .. } = self.sizes;
        let device = self.query.device();
        let settings = get_or_init_device_settings::<B>(&device);
        let last = |row: usize| row as i64 + keys as i64 - queries as i64;
        let last_seen = B::int_arange(last(rows.start)..last(rows.end), &device, settings.int_dtype);
        let last_seen = B::int_reshape(last_seen, Shape::new([1, 1, rows.len(), 1]));
        let key = B::int_reshape(B::int_arange(0..keys as i64, &device, settings.int_dtype), Shape::new([1, 1, 1, keys]));
        B::int_lower(last_seen, key, settings.bool_dtype)
    }
}

/// The chunks of queries.
fn chunks(sizes: &Sizes) -> impl Iterator<Item = Range<usize>> {
    let Sizes { queries, keys, size, .. } = *sizes;
    let most = (queries.max(keys) * size / keys).max(LEAST_QUERIES);
    (0..queries).step_by(most).map(move |start| start..(start + most).min(queries))
}

/// `[B, L, heads * size]` as `[B, heads, L, size]`
fn split<B: Backend>(x: FloatTensor<B>, sizes: &Sizes) -> FloatTensor<B> {
    let length = x.shape()[1];
    B::float_swap_dims(B::float_reshape(x, Shape::new([sizes.batch, length, sizes.heads, sizes.size])), 1, 2)
}

/// The reverse of [`split`].
fn merge<B: Backend>(x: FloatTensor<B>, sizes: &Sizes) -> FloatTensor<B> {
    let length = x.shape()[2];
    B::float_reshape(B::float_swap_dims(x, 1, 2), Shape::new([sizes.batch, length, sizes.width()]))
}

/// Some rows of `[B, heads, L, _]`.
fn slice<B: Backend>(x: FloatTensor<B>, rows: &Range<usize>) -> FloatTensor<B> {
    B::float_slice(x, &[Slice::full(), Slice::full(), Slice::from(rows.clone()), Slice::full()])
}

fn join<B: Backend>(mut chunks: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    if chunks.len() == 1 { chunks.remove(0) } else { B::float_cat(chunks, 2) }
}

fn cast<B: Backend>(x: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if x.dtype() == dtype.into() { x } else { B::float_cast(x, dtype) }
}
