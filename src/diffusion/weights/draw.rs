//! Weights of a model that is not trained yet.

use burn::tensor::TensorData;
use rand::SeedableRng;
use rand::distr::{Distribution, Uniform};
use rand_chacha::ChaCha8Rng;
use rand_distr::Normal;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};
use roentgen_augment::digest::Fingerprint;

/// A tensor of 32-bit floats by its name and shape in files and the seed alone, for [`init_with`](super::init_with).
///
/// Matrices and convolutions are uniform with variance `1 / fan_in`, norms 1, biases 0.
#[must_use]
pub fn draw(key: &str, shape: &[usize], seed: u64) -> TensorData {
    let count = shape.iter().product();
    if shape.len() == 1 {
        let value = if key.ends_with(".weight") { 1.0 } else { 0.0 };
        return TensorData::new(vec![value; count], shape.to_vec());
    }
    let fan_in: usize = shape[1..].iter().product();
    draw_uniform(key, shape, seed, (3.0 / fan_in as f32).sqrt())
}

/// A tensor of 32-bit floats, uniform within `bound` of 0, by its name, shape and seed alone.
///
/// # Panics
/// If `bound` is not positive.
#[must_use]
pub fn draw_uniform(key: &str, shape: &[usize], seed: u64, bound: f32) -> TensorData {
    let uniform = Uniform::new(-bound, bound).expect("the bound is positive");
    TensorData::new(values(key, shape.iter().product(), seed, &uniform), shape.to_vec())
}

/// A tensor of 32-bit floats from the normal distribution, by its name, shape and seed alone.
///
/// # Panics
/// If `deviation` is negative or no number.
#[must_use]
pub fn draw_normal(key: &str, shape: &[usize], seed: u64, deviation: f32) -> TensorData {
    let normal = Normal::new(0.0, deviation).expect("the standard deviation is a number of at least 0");
    TensorData::new(values(key, shape.iter().product(), seed, &normal), shape.to_vec())
}

/// Values by their name and the seed.
fn values(key: &str, count: usize, seed: u64, distribution: &(impl Distribution<f32> + Sync)) -> Vec<f32> {
    /// Values a generator draws; each piece has its own, so that they are drawn at the same time.
    const PIECE: usize = 1 << 16;
    let mut values = vec![0f32; count];
    values.par_chunks_mut(PIECE).enumerate().for_each(|(piece, values)| {
        let name = Fingerprint::of(&[key.as_bytes(), &seed.to_le_bytes(), &(piece as u64).to_le_bytes()]);
        let rng = ChaCha8Rng::from_seed(name.0);
        values.iter_mut().zip(distribution.sample_iter(rng)).for_each(|(value, drawn)| *value = drawn);
    });
    values
}
