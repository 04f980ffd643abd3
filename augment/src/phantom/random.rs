//! Seeded random streams. Each part of a phantom draws from a stream of its own, so that adding a finding leaves the anatomy,
//! the vessels and the pose as they were.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

/// What a stream is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
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

/// The generator of `seed` for `stream`.
pub(super) fn stream(seed: u64, stream: Stream) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
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
