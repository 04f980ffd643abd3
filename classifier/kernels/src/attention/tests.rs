use burn::tensor::{Device, FloatDType, TensorData, Tolerance};
use proptest::prelude::*;

use super::*;
use crate::testing::Draws;

/// 32-bit softmax and sums of up to 1000 terms of size 1.
const TOLERANCE: f32 = 2e-5;

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec().unwrap()
}

pub(super) fn mask(seen: &[bool], shape: [usize; 2]) -> Tensor<2, Bool> {
    Tensor::from_data(TensorData::new(seen.to_vec(), shape), &Device::flex())
}

fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance, "[{i}] is {got}, expected {want}");
    }
}

/// Queries, keys and values.
pub(super) fn inputs(draws: &mut Draws, batch: usize, [queries, keys]: [usize; 2], width: usize) -> [Tensor<3>; 3] {
    [draws.normal([batch, queries, width]), draws.normal([batch, keys, width]), draws.normal([batch, keys, width])]
}

/// The results of `f`, and the gradients w.r.t. the three inputs of `sum(results * towards)`.
fn with_gradients(
    f: impl Fn(Tensor<3>, Tensor<3>, Tensor<3>, usize, &Visible) -> Tensor<3>,
    inputs: &[Tensor<3>; 3],
    towards: &Tensor<3>,
    heads: usize,
    visible: &Visible,
) -> [TensorData; 4] {
    let device = Device::flex().autodiff();
    let [q, k, v] = inputs.each_ref().map(|x| Tensor::<3>::from_data(x.to_data(), &device).require_grad());
    let keys = visible.keys.as_ref().map(|keys| Tensor::from_data(keys.to_data(), &device));
    let results = f(q.clone(), k.clone(), v.clone(), heads, &Visible { causal: visible.causal, keys });
    let towards = Tensor::<3>::from_data(towards.to_data(), &device);
    let mut grads = (results.clone() * towards).sum().backward();
    let [q, k, v] = [q, k, v].map(|x| x.grad_remove(&mut grads).unwrap().into_data());
    [results.into_data(), q, k, v]
}

/// The equation, one query and one head at a time, in 64 bits.
fn by_definition(qkv: &[Tensor<3>; 3], heads: usize, sees: impl Fn(usize, usize, usize) -> bool) -> Vec<f32> {
    let [batch, queries, width] = qkv[0].dims();
    let keys = qkv[1].dims()[1];
    let size = width / heads;
    let [q, k, v] = qkv.each_ref().map(floats);
    let mut out = vec![0f32; q.len()];
    for (b, i, h) in (0..batch).flat_map(|b| (0..queries).flat_map(move |i| (0..heads).map(move |h| (b, i, h)))) {
        let query = (b * queries + i) * width + h * size;
        let at = |j: usize| (b * keys + j) * width + h * size;
        let score = |j: usize| (0..size).map(|c| f64::from(q[query + c]) * f64::from(k[at(j) + c])).sum::<f64>();
        let weight = |j: usize| if sees(b, i, j) { (score(j) / (size as f64).sqrt()).exp() } else { 0.0 };
        let weights: Vec<f64> = (0..keys).map(weight).collect();
        let total: f64 = weights.iter().sum();
        for c in 0..size {
            out[query + c] = (weights.iter().enumerate().map(|(j, w)| w * f64::from(v[at(j) + c])).sum::<f64>() / total) as f32;
        }
    }
    out
}

/// Lengths within a tile, and over several.
pub(super) fn length() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1usize..40, 1 => 180usize..600]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn is_the_equation(
        batch in 1usize..3, queries in length(), keys in length(), heads in 1usize..4, size in 1usize..12, bits in any::<u16>(),
        seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let inputs = inputs(&mut draws, batch, [queries, keys], heads * size);
        // The first key is always seen.
        let seen: Vec<bool> = (0..batch * keys).map(|i| i % keys == 0 || bits >> (i % 16) & 1 == 1).collect();
        let visible = Visible { causal: false, keys: Some(mask(&seen, [batch, keys])) };
        let [q, k, v] = inputs.clone();
        let got = attention(q, k, v, heads, &visible);
        prop_assert_eq!(got.dims(), [batch, queries, heads * size]);
        assert_close(&floats(&got), &by_definition(&inputs, heads, |b, _, j| seen[b * keys + j]), TOLERANCE);
    }

    #[test]
    fn equals_the_composition_with_its_gradients(
        batch in 1usize..3, queries in length(), keys in length(), heads in 1usize..4, size in 1usize..40,
        bits in any::<u16>(), masked: bool, causal: bool, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let inputs = inputs(&mut draws, batch, [queries, keys], heads * size);
        let towards = draws.normal([batch, queries, heads * size]);
        let seen: Vec<bool> = (0..batch * keys).map(|i| i % keys == 0 || bits >> (i % 16) & 1 == 1).collect();
        // With fewer keys than queries, the first queries see none: see below.
        let visible = Visible { causal: causal && keys >= queries, keys: masked.then(|| mask(&seen, [batch, keys])) };
        let ours = with_gradients(attention, &inputs, &towards, heads, &visible);
        let plain = with_gradients(composition, &inputs, &towards, heads, &visible);
        // Gradients are sums over up to 600 queries.
        for (ours, plain) in ours.iter().zip(&plain) {
            ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-4, 5.0 * TOLERANCE));
        }
    }
}

#[test]
fn gradients_are_differences() {
    let mut draws = Draws::new(1);
    /// Half the distance of the points of which the difference is taken.
    const STEP: f32 = 1.0 / 64.0;
    /// Sums of 60 results of size 1 rounded to 32 bits, over the step; and the third derivative times its square.
    const CLOSE: f32 = 2e-3;
    let inputs = inputs(&mut draws, 1, [5, 7], 6);
    let towards = draws.normal([1, 5, 6]);
    let visible = Visible { causal: true, keys: Some(mask(&[true, true, false, true, true, true, true], [1, 7])) };
    let [_, gradients @ ..] = with_gradients(attention, &inputs, &towards, 2, &visible);
    for (which, gradient) in gradients.into_iter().enumerate() {
        let gradient: Vec<f32> = gradient.try_to_vec().unwrap();
        for (i, gradient) in gradient.into_iter().enumerate() {
            let loss = |by: f32| {
                let [q, k, v] = std::array::from_fn(|input| {
                    let mut values = floats(&inputs[input]);
                    if input == which {
                        values[i] += by;
                    }
                    Tensor::<3>::from_data(TensorData::new(values, inputs[input].dims()), &Device::flex())
                });
                (attention(q, k, v, 2, &visible) * towards.clone()).sum().into_scalar::<f32>()
            };
            let difference = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            assert!((difference - gradient).abs() < CLOSE, "input {which} [{i}]: {gradient}, by difference {difference}");
        }
    }
}

#[test]
fn a_row_that_sees_none_attends_to_zeros() {
    let mut draws = Draws::new(1);
    let inputs = inputs(&mut draws, 2, [3, 2], 4);
    let towards = draws.normal([2, 3, 4]);
    let visible = Visible { causal: false, keys: Some(mask(&[false, false, true, false], [2, 2])) };
    for f in [attention, composition] {
        let [results, q, k, v] = with_gradients(f, &inputs, &towards, 2, &visible).map(|x| x.try_to_vec::<f32>().unwrap());
        assert_eq!(results[..12], [0.0; 12]);
        // One key seen: its value.
        assert_close(&results[12..16], &floats(&inputs[2])[8..12], TOLERANCE);
        assert_eq!([&q[..12], &k[..8], &v[..8]], [&[0.0; 12][..], &[0.0; 8], &[0.0; 8]]);
    }
    // Keys end before the first queries.
    let [q, k, v] = self::inputs(&mut draws, 1, [5, 2], 4);
    let got = attention(q, k, v.clone(), 2, &Visible { causal: true, keys: None });
    assert_eq!(floats(&got)[..12], [0.0; 12]);
    assert_close(&floats(&got)[12..16], &floats(&v)[..4], TOLERANCE);
}

#[test]
fn views_are_taken() {
    let mut draws = Draws::new(1);
    let wide = draws.normal([2, 50, 36]);
    let part = |i: usize| wide.clone().slice([0..2, 0..50, 12 * i..12 * (i + 1)]);
    let copy = |x: Tensor<3>| Tensor::<3>::from_data(x.to_data(), &Device::flex());
    let got = attention(part(0), part(1), part(2).flip([1]), 3, &Visible::default());
    let [q, k, v] = [part(0), part(1), part(2).flip([1])].map(copy);
    got.into_data().assert_eq(&attention(q, k, v, 3, &Visible::default()).into_data(), true);
}

#[test]
fn gives_the_same_bits_again() {
    let mut draws = Draws::new(1);
    // One pair over several tiles of keys: parts whose gradients w.r.t. the queries are added.
    let inputs = inputs(&mut draws, 1, [300, 1000], 24);
    let towards = draws.normal([1, 300, 24]);
    let once = with_gradients(attention, &inputs, &towards, 1, &Visible::default());
    for _ in 0..3 {
        let again = with_gradients(attention, &inputs, &towards, 1, &Visible::default());
        once.iter().zip(&again).for_each(|(once, again)| once.assert_eq(again, true));
    }
}

#[test]
fn any_number_of_threads_agrees() {
    let mut draws = Draws::new(1);
    let inputs = inputs(&mut draws, 1, [300, 1000], 24);
    let towards = draws.normal([1, 300, 24]);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| with_gradients(attention, &inputs, &towards, 1, &Visible::default()))
    };
    let (one, five) = (with(1), with(5));
    for (one, five) in one.iter().zip(&five) {
        one.assert_approx_eq::<f32>(five, Tolerance::rel_abs(1e-4, TOLERANCE));
    }
}

#[test]
fn not_a_number_stays() {
    let mut draws = Draws::new(1);
    let [q, k, v] = inputs(&mut draws, 1, [3, 40], 4);
    let k = k.slice_fill([0..1, 20..21, 0..1], f32::NAN);
    assert!(floats(&attention(q, k, v, 1, &Visible::default())).iter().all(|x| x.is_nan()));
}

#[test]
fn half_precision_sums_in_32_bits() {
    let mut draws = Draws::new(1);
    let halves = inputs(&mut draws, 1, [5, 300], 8).map(|x| x.cast(FloatDType::F16));
    let [q, k, v] = halves.clone();
    let got = attention(q, k, v, 1, &Visible::default()).cast(FloatDType::F32);
    let rounded = halves.map(|x| x.cast(FloatDType::F32));
    // Rounding of a result of size 1 to 11 bits.
    assert_close(&floats(&got), &by_definition(&rounded, 1, |_, _, _| true), 5e-4);
}
