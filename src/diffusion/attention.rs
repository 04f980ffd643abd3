//! Scaled dot-product attention over several heads, for every network here.

use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor};

/// What a query may attend to.
#[derive(Clone, Debug, Default)]
pub(super) struct Visible {
    /// No token sees a later one (CLIP's text model).
    pub(super) causal: bool,
    /// `[B, Lk]`, true where the token may be seen; `None` sees all. A row that sees none attends to zeros.
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, FloatDType, TensorData};
    use proptest::prelude::*;

    use super::*;

    /// 32-bit softmax and sums of up to 1000 terms of size 1.
    const TOLERANCE: f32 = 2e-5;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn mask(seen: &[bool], shape: [usize; 2]) -> Tensor<2, Bool> {
        Tensor::from_data(TensorData::new(seen.to_vec(), shape), &Device::flex())
    }

    fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.to_data().try_to_vec().unwrap()
    }

    fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
        assert_eq!(got.len(), want.len());
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            assert!((got - want).abs() <= tolerance, "[{i}] is {got}, expected {want}");
        }
    }

    /// The equation, one query and one head at a time, in 64 bits.
    fn by_definition(qkv: [&Tensor<3>; 3], heads: usize, sees: impl Fn(usize, usize, usize) -> bool) -> Vec<f32> {
        let [batch, queries, width] = qkv[0].dims();
        let keys = qkv[1].dims()[1];
        let size = width / heads;
        let [q, k, v] = qkv.map(floats);
        let mut out = vec![0f32; q.len()];
        for (b, i, h) in (0..batch).flat_map(|b| (0..queries).flat_map(move |i| (0..heads).map(move |h| (b, i, h)))) {
            let query = (b * queries + i) * width + h * size;
            let at = |j: usize| (b * keys + j) * width + h * size;
            let score = |j: usize| (0..size).map(|c| f64::from(q[query + c]) * f64::from(k[at(j) + c])).sum::<f64>();
            let weight = |j: usize| if sees(b, i, j) { (score(j) / (size as f64).sqrt()).exp() } else { 0.0 };
            let weights: Vec<f64> = (0..keys).map(weight).collect();
            let total: f64 = weights.iter().sum();
            for c in 0..size {
                out[query + c] =
                    (weights.iter().enumerate().map(|(j, w)| w * f64::from(v[at(j) + c])).sum::<f64>() / total) as f32;
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn is_the_equation(
            batch in 1usize..3, queries in 1usize..7, keys in 1usize..9, heads in 1usize..4, size in 1usize..5,
            bits in any::<u16>(),
        ) {
            let width = heads * size;
            let (q, k, v) = (random([batch, queries, width]), random([batch, keys, width]), random([batch, keys, width]));
            // The first key is always seen.
            let seen: Vec<bool> = (0..batch * keys).map(|i| i % keys == 0 || bits >> (i % 16) & 1 == 1).collect();
            let visible = Visible { causal: false, keys: Some(mask(&seen, [batch, keys])) };
            let got = multi_head(q.clone(), k.clone(), v.clone(), heads, &visible);
            prop_assert_eq!(got.dims(), [batch, queries, width]);
            assert_close(&floats(&got), &by_definition([&q, &k, &v], heads, |b, _, j| seen[b * keys + j]), TOLERANCE);

            let (k, v) = (random([batch, queries, width]), random([batch, queries, width]));
            let visible = Visible { causal: true, keys: None };
            let got = multi_head(q.clone(), k.clone(), v.clone(), heads, &visible);
            assert_close(&floats(&got), &by_definition([&q, &k, &v], heads, |_, i, j| j <= i), TOLERANCE);
        }
    }

    #[test]
    fn tiles_give_the_same() {
        // More than 262,144 scores a head.
        let (q, k, v) = (random([1, 520, 6]), random([1, 510, 6]), random([1, 510, 6]));
        let got = multi_head(q.clone(), k.clone(), v.clone(), 2, &Visible::default());
        assert_close(&floats(&got), &by_definition([&q, &k, &v], 2, |_, _, _| true), TOLERANCE);
    }

    #[test]
    fn a_row_that_sees_none_attends_to_zeros() {
        let (q, k, v) = (random([2, 3, 4]), random([2, 2, 4]), random([2, 2, 4]));
        let visible = Visible { causal: false, keys: Some(mask(&[false, false, true, false], [2, 2])) };
        for device in [Device::flex(), Device::flex().autodiff()] {
            let [q, k, v] = [&q, &k, &v].map(|x| Tensor::<3>::from_data(x.to_data(), &device));
            let keys = visible.keys.as_ref().map(|keys| Tensor::from_data(keys.to_data(), &device));
            let got = floats(&multi_head(q, k, v.clone(), 2, &Visible { causal: false, keys }));
            assert_eq!(got[..12], [0.0; 12]);
            // One key seen: its value.
            assert_close(&got[12..16], &floats(&v)[8..12], TOLERANCE);
        }
    }

    #[test]
    fn half_precision_sums_in_32_bits() {
        let (q, k, v) = (random([1, 5, 8]), random([1, 300, 8]), random([1, 300, 8]));
        let [q, k, v] = [q, k, v].map(|x| x.cast(FloatDType::F16));
        let got = multi_head(q.clone(), k.clone(), v.clone(), 1, &Visible::default()).cast(FloatDType::F32);
        let [q, k, v] = [q, k, v].map(|x| x.cast(FloatDType::F32));
        // Rounding of a result of size 1 to 11 bits.
        assert_close(&floats(&got), &by_definition([&q, &k, &v], 1, |_, _, _| true), 5e-4);
    }
}
