//! Weights of a model that is not trained yet.

use burn::tensor::TensorData;
use rand::SeedableRng;
use rand::distr::{Distribution, Uniform};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};
use roentgen_augment::Fingerprint;

/// A tensor of 32-bit floats by its name and shape in files and the seed alone, for [`init_with`](super::init_with).
///
/// Matrices and convolutions are uniform with variance `1 / fan_in`, norms 1, biases 0.
#[must_use]
pub fn draw(key: &str, shape: &[usize], seed: u64) -> TensorData {
    /// Values a generator draws; each piece has its own, so that they are drawn at the same time.
    const PIECE: usize = 1 << 16;
    let count = shape.iter().product();
    if shape.len() == 1 {
        let value = if key.ends_with(".weight") { 1.0 } else { 0.0 };
        return TensorData::new(vec![value; count], shape.to_vec());
    }
    let fan_in: usize = shape[1..].iter().product();
    let bound = (3.0 / fan_in as f32).sqrt();
    let uniform = Uniform::new(-bound, bound).expect("the bound is positive");
    let mut values = vec![0f32; count];
    values.par_chunks_mut(PIECE).enumerate().for_each(|(piece, values)| {
        let name = Fingerprint::of(&[key.as_bytes(), &seed.to_le_bytes(), &(piece as u64).to_le_bytes()]);
        let rng = ChaCha8Rng::from_seed(name.0);
        values.iter_mut().zip(uniform.sample_iter(rng)).for_each(|(value, drawn)| *value = drawn);
    });
    TensorData::new(values, shape.to_vec())
}
