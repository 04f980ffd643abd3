//! Digests that identify data, requests and generators.

use std::fmt;

/// Identity of a generator: a digest of its weights and of every setting that changes its pixels.
///
/// Part of the cache key, so a changed generator never serves an old sample.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The BLAKE3 digest of `parts`, each length-prefixed so that no two lists collide.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        /// Bytes up to which the parts are joined first: BLAKE3 hashes chunks of 1 KiB side by side if it is given them at once.
        const FEW: usize = 1 << 14;
        let pieces = || parts.iter().map(|part| ((part.len() as u64).to_le_bytes(), *part));
        let bytes = pieces().map(|(length, part)| length.len() + part.len()).sum();
        if bytes <= FEW {
            let mut joined = Vec::with_capacity(bytes);
            for (length, part) in pieces() {
                joined.extend_from_slice(&length);
                joined.extend_from_slice(part);
            }
            return Self(*blake3::hash(&joined).as_bytes());
        }
        let mut hasher = blake3::Hasher::new();
        for (length, part) in pieces() {
            hasher.update(&length);
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_and_many_are_digested_alike() {
        for length in [0, 1, 1_000, 16_000, 16_361, 16_368, 16_369, 50_000] {
            let part: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let mut hasher = blake3::Hasher::new();
            hasher.update(&(length as u64).to_le_bytes()).update(&part).update(&1u64.to_le_bytes()).update(b"x");
            assert_eq!(Fingerprint::of(&[&part, b"x"]).0, *hasher.finalize().as_bytes(), "{length}");
        }
        assert_ne!(Fingerprint::of(&[b"ab", b"c"]), Fingerprint::of(&[b"a", b"bc"]));
    }

    #[test]
    fn hexadecimal_digits_are_two_for_each_byte() {
        let mut digest = Fingerprint([0; 32]);
        digest.0[..3].copy_from_slice(&[0x0a, 0xff, 0x10]);
        assert!(digest.to_string().starts_with("0aff1000") && digest.to_string().len() == 64);
    }
}
