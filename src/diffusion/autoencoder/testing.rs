//! Weights and inputs by rule, which `tests/parity/autoencoders.py` follows too, for the tests of this folder's neighbours.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Gradients, Tensor, TensorData};

use crate::diffusion::weights::{KeyMap, init_with};

/// Sums in another order: a hundred times the rounding of a 32-bit float, below the printed digits' reach.
const TOLERANCE: f32 = 5e-6;

/// Uniform in `[0, 1)`: splitmix64 from FNV-1a of the name.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = |h: u64, byte: u8| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let state = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    (1..=count as u64).map(move |i| {
        let z = state.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1u32 << 24)
    })
}

fn data(name: &str, shape: &[usize], low: f64, high: f64) -> TensorData {
    let values = uniform(name, shape.iter().product()).map(|u| (low + (high - low) * u) as f32);
    TensorData::new(values.collect::<Vec<f32>>(), shape.to_vec())
}

/// An input, uniform in `[-limit, limit)`.
pub(in crate::diffusion) fn draw<const D: usize>(name: &str, shape: [usize; D], limit: f64) -> Tensor<D> {
    Tensor::from_data(data(name, &shape, -limit, limit), &Device::flex())
}

/// `model` with weights by rule.
pub(in crate::diffusion) fn fill<M: Module>(model: M, keys: &dyn KeyMap) -> M {
    let value = |key: &str, shape: &[usize]| {
        let (low, high) = match shape {
            [_, inner @ ..] if !inner.is_empty() => {
                let high = (3.0 / inner.iter().product::<usize>() as f64).sqrt();
                (-high, high)
            }
            _ if key.ends_with("weight") => (0.8, 1.2),
            _ => (-0.1, 0.1),
        };
        Ok(data(key, shape, low, high))
    };
    init_with(model, keys, FloatDType::F32, value).unwrap()
}

/// Compares with what `autoencoders.py` prints: mean of the absolute values, then five values spread evenly.
pub(in crate::diffusion) fn assert_shown<const D: usize>(x: Tensor<D>, shape: [usize; D], expected: [f32; 6]) {
    assert_eq!(x.dims(), shape);
    let values = x.into_data().try_to_vec::<f32>().unwrap();
    let mean = values.iter().map(|v| f64::from(v.abs())).sum::<f64>() / values.len() as f64;
    let picks = (0..5).map(|i| values[i * (values.len() - 1) / 4]);
    let got: Vec<f32> = std::iter::once(mean as f32).chain(picks).collect();
    let close = got.iter().zip(&expected).all(|(g, e)| (g - e).abs() <= TOLERANCE * e.abs().max(1.0));
    assert!(close, "got {got:?}, expected {expected:?}");
}

/// Compares the derivative of `loss` at `at` in the direction `direction` with what `autoencoders.py` prints, and returns all
/// gradients. `loss` holds a model on an autodiff device.
pub(in crate::diffusion) fn assert_slope(loss: impl Fn(Tensor<4>) -> Tensor<1>, at: Tensor<4>, expected: f32) -> Gradients {
    let direction = draw("direction", at.dims(), 1.0);
    let input = at.autodiff().require_grad();
    let gradients = loss(input.clone()).backward();
    let gradient = input.grad(&gradients).expect("the input requires a gradient");
    let slope = (gradient * direction).sum().into_scalar::<f32>();
    assert!((slope - expected).abs() <= TOLERANCE * expected.abs().max(1.0), "got {slope}, expected {expected}");
    gradients
}
