//! Attention of brain floats beside the equation in 64 bits, with what roundings may change.

use burn::tensor::DType;
use proptest::prelude::*;

use super::tests::{inputs, length, mask};
use super::*;
use crate::testing::{BRAIN_ROUNDING, Draws, assert_nearly_rounded, brain, numbers, sum_error, tracked_alike};

/// Numbers, and by how much a kernel's may differ before they are rounded to brain floats.
#[derive(Clone)]
struct Known {
    values: Vec<f64>,
    errors: Vec<f64>,
}

impl Known {
    fn new(count: usize) -> Self {
        Self { values: vec![0.0; count], errors: vec![0.0; count] }
    }

    fn add(&mut self, at: usize, value: f64, error: f64) {
        self.values[at] += value;
        self.errors[at] += error;
    }

    /// What a number may differ by after it is rounded, too.
    fn rounded_error(&self, at: usize) -> f64 {
        self.errors[at] + BRAIN_ROUNDING * (self.values[at].abs() + self.errors[at])
    }
}

/// One attention: `[B, L, heads * size]` each.
struct Whole {
    inputs: [Tensor<3>; 3],
    towards: Tensor<3>,
    heads: usize,
    seen: Option<Vec<bool>>,
    causal: bool,
}

impl Whole {
    fn visible(&self) -> Visible {
        let [batch, keys, _] = self.inputs[1].dims();
        Visible { causal: self.causal, keys: self.seen.as_ref().map(|seen| mask(seen, [batch, keys])) }
    }

    /// The results, and the gradients w.r.t. queries, keys and values.
    fn run(&self) -> [Vec<f64>; 4] {
        let inputs @ [query, key, value] = &self.inputs.each_ref().map(tracked_alike);
        let output = attention(query.clone(), key.clone(), value.clone(), self.heads, &self.visible());
        let mut grads = (output.clone() * self.towards.clone().autodiff()).sum().backward();
        let [query, key, value] = inputs.each_ref().map(|x| numbers(x.grad_remove(&mut grads).unwrap(), DType::BF16));
        [numbers(output, DType::BF16), query, key, value]
    }

    /// The same by the equation (Vaswani et al. 2017, equation 1) and its derivative, in 64 bits.
    fn by_definition(&self) -> [Known; 4] {
        let [q, k, v] = self.inputs.each_ref().map(|x| numbers(x.clone(), DType::BF16));
        let towards = numbers(self.towards.clone(), DType::BF16);
        let ([batch, queries, width], keys) = (self.inputs[0].dims(), self.inputs[1].dims()[1]);
        let size = width / self.heads;
        let scale = 1.0 / (size as f64).sqrt();
        let mut results = Known::new(q.len());
        let [mut by_q, mut by_k, mut by_v] = [q.len(), k.len(), v.len()].map(Known::new);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let size_of = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
        for (b, i, h) in (0..batch).flat_map(|b| (0..queries).flat_map(move |i| (0..self.heads).map(move |h| (b, i, h)))) {
            let at = (b * queries + i) * width + h * size;
            let key = |j: usize| (b * keys + j) * width + h * size;
            let sees = |j: usize| {
                let hidden = self.causal && j + queries > i + keys;
                !hidden && self.seen.as_ref().is_none_or(|seen| seen[b * keys + j])
            };
            let seen: Vec<usize> = (0..keys).filter(|j| sees(*j)).collect();
            let (query, pull) = (&q[at..][..size], &towards[at..][..size]);
            let scores: Vec<f64> = seen.iter().map(|j| scale * dot(query, &k[key(*j)..][..size])).collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            // A score is a sum in 32 bits, scaled; its difference from the largest or from the norm is rounded, and the exponential
            // is known to 2^-18 of it. Weights are quotients of exponentials and their sum.
            let term = seen.iter().map(|j| scale * size_of(query, &k[key(*j)..][..size])).fold(0.0, f64::max);
            let of_exponent = 2.0 * sum_error(size + 2) * term + sum_error(1) * (4.0 * term + 8.0 + total.ln().abs());
            let of_weight = 4.0 * of_exponent.exp_m1() + 2.0 * (sum_error(keys + 16) + 1.0 / f64::from(1 << 18));
            for (j, weight) in seen.iter().zip(&weights) {
                for c in 0..size {
                    let (weight, value) = (weight / total, v[key(*j) + c]);
                    results.add(at + c, weight * value, 1.01 * (BRAIN_ROUNDING + of_weight) * (weight * value).abs());
                    let pull = pull[c];
                    let error = BRAIN_ROUNDING + of_weight + sum_error(queries);
                    by_v.add(key(*j) + c, weight * pull, 1.01 * error * (weight * pull).abs());
                }
            }
            // The mean of the gradients w.r.t. the weights is computed from the rounded results.
            let result = &results.values[at..][..size];
            let mean = dot(result, pull);
            let of_mean: f64 = (0..size).map(|c| results.rounded_error(at + c) * pull[c].abs()).sum();
            for (j, weight) in seen.iter().zip(&weights) {
                let (weight, value) = (scale * weight / total, &v[key(*j)..][..size]);
                let difference = dot(pull, value) - mean;
                let of_sums = sum_error(size + 3) * (size_of(pull, value) + 1.01 * size_of(result, pull));
                let error = weight * (1.01 * (of_sums + of_mean) + of_weight * difference.abs());
                let slope = weight * difference;
                // Slopes are rounded to brain floats.
                let error = error + BRAIN_ROUNDING * (slope.abs() + error) + sum_error(keys.max(queries)) * 1.01 * slope.abs();
                for c in 0..size {
                    let (query, other) = (query[c], k[key(*j) + c]);
                    by_q.add(at + c, slope * other, 1.01 * error * other.abs());
                    by_k.add(key(*j) + c, slope * query, 1.01 * error * query.abs());
                }
            }
        }
        [results, by_q, by_k, by_v]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn brain_floats_are_the_equation_with_its_gradients(
        batch in 1usize..3, queries in length(), keys in length(), heads in 1usize..4, size in 1usize..40,
        bits in any::<u16>(), masked: bool, causal: bool, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let inputs = inputs(&mut draws, batch, [queries, keys], heads * size).map(|x| brain(&x));
        let towards = brain(&draws.normal([batch, queries, heads * size]));
        let seen = masked.then(|| (0..batch * keys).map(|i| i % keys == 0 || bits >> (i % 16) & 1 == 1).collect());
        let whole = Whole { inputs, towards, heads, seen, causal: causal && keys >= queries };
        let names = ["results", "by queries", "by keys", "by values"];
        for (name, (got, known)) in names.iter().zip(whole.run().iter().zip(&whole.by_definition())) {
            assert_nearly_rounded(name, got, &known.values, &known.errors);
        }
    }
}

#[test]
fn a_row_of_brain_floats_that_sees_none_attends_to_zeros() {
    let mut draws = Draws::new(1);
    let inputs = inputs(&mut draws, 2, [3, 2], 4).map(|x| brain(&x));
    let towards = brain(&draws.normal([2, 3, 4]));
    let seen = Some(vec![false, false, true, false]);
    let whole = Whole { inputs, towards, heads: 2, seen, causal: false };
    let [results, q, k, v] = whole.run();
    assert_eq!([&results[..12], &q[..12], &k[..8], &v[..8]], [&[0.0; 12][..], &[0.0; 12], &[0.0; 8], &[0.0; 8]]);
    // One key seen: its value.
    assert_eq!(results[12..16], numbers(whole.inputs[2].clone(), DType::BF16)[8..12]);
}

#[test]
fn rows_that_see_none_attend_to_zeros_at_any_size() {
    for size in 1..=40 {
        let inputs = inputs(&mut Draws::new(1), 1, [5, 600], size);
        for inputs in [inputs.each_ref().map(brain), inputs] {
            let dtype = inputs[0].dtype();
            let [query, key, value] = inputs;
            let visible = Visible { causal: false, keys: Some(mask(&[false; 600], [1, 600])) };
            assert_eq!(numbers(attention(query, key, value, 1, &visible), dtype), vec![0.0; 5 * size], "{dtype:?}, {size}");
        }
    }
}

#[test]
fn any_number_of_threads_agrees_on_brain_floats() {
    let mut draws = Draws::new(1);
    let inputs = inputs(&mut draws, 1, [300, 1000], 24).map(|x| brain(&x));
    let towards = brain(&draws.normal([1, 300, 24]));
    let whole = Whole { inputs, towards, heads: 1, seen: None, causal: false };
    let with = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| whole.run());
    let (one, again, many) = (with(1), with(1), with(64));
    assert_eq!(one, again);
    for (i, (one, many)) in one.iter().zip(&many).enumerate() {
        // Gradients w.r.t. queries are sums of parts, which are as many as threads keep busy; all else is the same.
        let errors: Vec<f64> = one.iter().map(|one| if i == 1 { 1e-5 + BRAIN_ROUNDING * one.abs() } else { 0.0 }).collect();
        assert_nearly_rounded("result", many, one, &errors);
    }
}
