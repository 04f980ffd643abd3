//! Attention where there is no kernel, some queries at a time, beside the kernel of 32-bit floats.

use burn::tensor::{Bool, Device, FloatDType, Tensor, TensorData, Tolerance};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_kernels::{Visible, attention};

/// The results, and the gradients w.r.t. query, key and value of the results' sum weighted by `towards`, in 32 bits.
fn with_gradients(dtype: FloatDType, inputs: &[TensorData; 4], heads: usize, visible: &Visible) -> [TensorData; 4] {
    let device = Device::flex().autodiff();
    let [q, k, v, towards] = inputs.each_ref().map(|x| Tensor::<3>::from_data(x.clone(), &device).cast(dtype));
    let [q, k, v] = [q, k, v].map(Tensor::require_grad);
    let keys = visible.keys.as_ref().map(|keys| Tensor::from_data(keys.to_data(), &device));
    let results = attention(q.clone(), k.clone(), v.clone(), heads, &Visible { causal: visible.causal, keys });
    let mut grads = (results.clone() * towards).sum().backward();
    let [q, k, v] = [q, k, v].map(|x| x.grad_remove(&mut grads).expect("every input has a gradient"));
    assert!([&results, &q, &k, &v].iter().all(|x| x.dtype() == dtype.into()), "results have their inputs' type");
    [results.inner(), q, k, v].map(|x| x.cast(FloatDType::F32).into_data())
}

fn normal(random: &mut ChaCha8Rng, shape: [usize; 3]) -> TensorData {
    let values = (0..shape.iter().product()).map(|_| random.sample::<f32, _>(rand_distr::StandardNormal)).collect::<Vec<_>>();
    TensorData::new(values, shape)
}

proptest! {
    // Each of some 1.3 million scores or more: fewer are not computed in chunks.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn chunks_equal_the_kernel(
        batch in 1usize..3, queries in 900usize..1300, keys in 900usize..1300, size in 1usize..24, bits in any::<u16>(), masked: bool,
        causal: bool, none: bool, seed: u64,
    ) {
        let (heads, mut random) = (2, ChaCha8Rng::seed_from_u64(seed));
        let inputs = [queries, keys, keys, queries].map(|length| normal(&mut random, [batch, length, heads * size]));
        // With `none`, the first item of the batch sees no key.
        let seen: Vec<bool> = (0..batch * keys).map(|i| (i >= keys || !none) && (i % keys == 0 || bits >> (i % 16) & 1 == 1)).collect();
        let seen: Tensor<2, Bool> = Tensor::from_data(TensorData::new(seen, [batch, keys]), &Device::flex());
        let visible = Visible { causal, keys: masked.then_some(seen) };
        let kernel = with_gradients(FloatDType::F32, &inputs, heads, &visible);
        let chunks = with_gradients(FloatDType::F64, &inputs, heads, &visible);
        // The 32-bit kernel's error: sums of up to 1300 terms.
        for (chunks, kernel) in chunks.iter().zip(&kernel) {
            chunks.assert_approx_eq::<f32>(kernel, Tolerance::rel_abs(2e-4, 2e-4));
        }
    }
}

#[test]
fn half_precision_sums_in_32_bits() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (heads, size, length) = (2, 8, 1000);
    // Halves: both compute from the same numbers.
    let inputs = [(); 4].map(|()| {
        let x: Tensor<3> = Tensor::from_data(normal(&mut random, [1, length, heads * size]), &Device::flex());
        x.cast(FloatDType::F16).cast(FloatDType::F32).into_data()
    });
    let kernel = with_gradients(FloatDType::F32, &inputs, heads, &Visible::default());
    let chunks = with_gradients(FloatDType::F16, &inputs, heads, &Visible::default());
    // Results of about 0.1 and gradients of about 1, rounded to 11 bits; results are read rounded by the backward pass.
    for (chunks, kernel) in chunks.iter().zip(&kernel) {
        chunks.assert_approx_eq::<f32>(kernel, Tolerance::rel_abs(2f32.powi(-10), 2f32.powi(-10)));
    }
}
