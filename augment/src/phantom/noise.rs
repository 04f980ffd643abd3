//! Seeded randomness: one generator for each part of a phantom, so that adding a finding leaves the anatomy, the vessels and the
//! pose as they were; and smooth lattice noise for mottle and ragged borders.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Patient,
    Pose,
    ChronicFindings,
    AcuteFindings,
    FindingShape,
    Vessels,
    Noise,
    Visits,
    LabelNoise,
}

/// The random number generator of `seed` for a purpose.
pub(super) fn rng(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// A seed for part `index` of `seed`; BLAKE3, so that neighbouring indexes share nothing.
pub(super) fn derive(seed: u64, index: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&index.to_le_bytes());
    let digest = blake3::hash(&bytes);
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("eight bytes make a u64"))
}

/// A standard normal deviate held to `[-2, 2]`: anatomy varies, but not into monsters.
pub(super) fn deviate(rng: &mut ChaCha8Rng) -> f32 {
    let z: f32 = StandardNormal.sample(rng);
    z.clamp(-2.0, 2.0)
}

/// Value noise of one seed: a function of the place alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texture {
    seed: u32,
}

impl Texture {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed: (seed ^ (seed >> 32)) as u32 }
    }

    /// One octave: smooth, in `[-1, 1]`, with features about one unit wide.
    #[inline]
    pub(super) fn octave(self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
        let (i, j) = (left as i32, top as i32);
        let (a, b) = (self.lattice(i, j), self.lattice(i + 1, j));
        let (c, d) = (self.lattice(i, j + 1), self.lattice(i + 1, j + 1));
        let upper = a + (b - a) * sx;
        upper + (c + (d - c) * sx - upper) * sy
    }

    /// Two octaves, in `[-1, 1]`, with features from `1 / frequency` cm down to half that.
    #[inline]
    pub(super) fn rough(self, x: f32, y: f32, frequency: f32) -> f32 {
        let (x, y) = (x * frequency, y * frequency);
        (self.octave(x, y) + 0.5 * self.octave(2.0 * x + 31.7, 2.0 * y + 11.3)) / 1.5
    }

    fn lattice(self, i: i32, j: i32) -> f32 {
        let mut h = self.seed ^ (i as u32).wrapping_mul(0x9E37_79B1) ^ (j as u32).wrapping_mul(0x85EB_CA77);
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
        (h ^ (h >> 15)) as f32 * (2.0 / u32::MAX as f32) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_bounded_and_continuous(seed: u64, x in -50.0..50.0f32, y in -50.0..50.0f32) {
            let texture = Texture::new(seed);
            let here = texture.rough(x, y, 1.0);
            prop_assert!(here.abs() <= 1.0 + 1e-5);
            prop_assert!((texture.rough(x + 1e-3, y, 1.0) - here).abs() < 0.02);
        }
    }
}
