//! Weights by the README's rule: a function of salt, tensor name and position.

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// FNV-1a 64 of `salt/name`.
fn start(salt: &str, name: &str) -> u64 {
    let bytes = salt.bytes().chain(*b"/").chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

fn u(start: u64, i: u64) -> f64 {
    let z = start.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let z = z ^ (z >> 31);
    (z >> 40) as f64 / f64::from(1u32 << 24)
}

/// The first values of `u` for a tensor.
pub fn uniform(salt: &str, name: &str, count: u64) -> Vec<f64> {
    let start = start(salt, name);
    (0..count).map(|i| u(start, i)).collect()
}

/// A tensor; `is_norm` tells a norm's one-dimensional weight from others.
pub fn tensor(salt: &str, name: &str, shape: &[usize], is_norm: bool) -> Vec<f32> {
    let (lo, hi) = match shape.len() {
        1 if name.ends_with("running_var") => (0.5, 1.5),
        1 if name.ends_with(".weight") && is_norm => (0.8, 1.2),
        0 | 1 => (-0.1, 0.1),
        dims => {
            let gain = if dims == 4 { 1.4 } else { 1.0 };
            let hi = gain * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
            (-hi, hi)
        }
    };
    let start = start(salt, name);
    let count = shape.iter().product::<usize>();
    (0..count).into_par_iter().with_min_len(1 << 14).map(|i| (lo + (hi - lo) * u(start, i as u64)) as f32).collect()
}
