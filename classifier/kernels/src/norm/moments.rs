//! Sums and moments of many numbers, accurate and in one pass over memory.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

use crate::isa::vectorized;
use crate::memory::float::Float;
use crate::memory::values::PIECE;

/// Partial sums side by side: independent, so that they fill vector registers, and each short, so that it stays accurate.
const LANES: usize = 16;

/// Values that are read twice from the first-level cache.
const BLOCK: usize = 4096;

/// `K` sums over the elements of `N` slices of one length, in lanes of 32 bits that are added up in 64.
///
/// Lanes grow by one term every 16 elements: call it for at most some ten thousand at a time.
#[inline(always)]
pub(crate) fn sums<E: Float, const N: usize, const K: usize>(
    inputs: [&[E]; N],
    terms: impl Fn([f32; N]) -> [f32; K],
) -> [f64; K] {
    sums_beside::<E, f32, N, 0, K>(inputs, [], |inputs, []| terms(inputs))
}

/// The same over slices of two types, all of one length.
#[inline(always)]
pub(crate) fn sums_beside<E: Float, F: Float, const N: usize, const M: usize, const K: usize>(
    inputs: [&[E]; N],
    others: [&[F]; M],
    terms: impl Fn([f32; N], [f32; M]) -> [f32; K],
) -> [f64; K] {
    let whole = inputs[0].len() / LANES * LANES;
    let mut lanes = [[0f32; LANES]; K];
    let mut at = 0;
    while at < whole {
        let rows: [&[E; LANES]; N] = inputs.map(|x| x[at..].first_chunk().expect("the row ends before the slices do"));
        let beside: [&[F; LANES]; M] = others.map(|x| x[at..].first_chunk().expect("all slices are of one length"));
        for lane in 0..LANES {
            let terms = terms(rows.map(|row| row[lane].wide()), beside.map(|row| row[lane].wide()));
            for k in 0..K {
                lanes[k][lane] += terms[k];
            }
        }
        at += LANES;
    }
    let mut totals = lanes.map(|lanes| lanes.into_iter().map(f64::from).sum::<f64>());
    for i in whole..inputs[0].len() {
        let terms = terms(inputs.map(|x| x[i].wide()), others.map(|x| x[i].wide()));
        for k in 0..K {
            totals[k] += f64::from(terms[k]);
        }
    }
    totals
}

/// Number, mean and squared deviations of values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    /// Sum of squared differences from the mean.
    squares: f64,
}

impl Moments {
    /// Of one thread's share. Deviations are taken from each block's own mean, so no digits are lost to a common offset.
    #[inline(always)]
    pub(crate) fn of<E: Float>(values: &[E]) -> Self {
        values.chunks(BLOCK).fold(Self::default(), |so_far, block| so_far.and(Self::of_block(block)))
    }

    /// The same on all threads, where there are enough values. Pieces and their order depend on nothing but the length.
    pub(crate) fn of_many<E: Float>(values: &[E]) -> Self {
        let of = |piece: &[E]| vectorized!(Self::of(piece));
        if values.len() <= PIECE {
            return of(values);
        }
        let pieces: Vec<Self> = values.par_chunks(PIECE).with_max_len(1).map(of).collect();
        pieces.into_iter().fold(Self::default(), Self::and)
    }

    #[inline(always)]
    fn of_block<E: Float>(block: &[E]) -> Self {
        let count = block.len() as f64;
        let [sum] = sums([block], |[x]| [x]);
        let centre = (sum / count) as f32;
        let [off, squares] = sums([block], |[x]| {
            let difference = x - centre;
            [difference, difference * difference]
        });
        // `centre` is a rounded mean; `off` makes up for that.
        Self { count, mean: f64::from(centre) + off / count, squares: squares - off * off / count }
    }

    /// Of both together (Chan, Golub and LeVeque 1979, equation 2.1).
    #[inline(always)]
    pub(crate) fn and(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        let count = self.count + other.count;
        let difference = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + difference * (other.count / count),
            squares: self.squares + other.squares + difference * difference * (self.count * other.count / count),
        }
    }

    pub(crate) fn mean(self) -> f64 {
        self.mean
    }

    /// The biased variance.
    pub(crate) fn variance(self) -> f64 {
        (self.squares / self.count).max(0.0)
    }

    /// One over the standard deviation.
    pub(crate) fn rstd(self, epsilon: f64) -> f64 {
        1.0 / (self.variance() + epsilon).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn moments_are_those_in_64_bits(length in 1usize..40_000, offset in -1e3f32..1e3, seed in any::<u32>()) {
            let value = |i: usize| {
                let bits = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
                offset + (bits >> 8) as f32 / (1 << 24) as f32
            };
            let values: Vec<f32> = (0..length).map(value).collect();
            let count = length as f64;
            let mean = values.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
            let variance = values.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
            for moments in [Moments::of(&values), Moments::of_many(&values)] {
                // 32-bit sums of up to 256 terms a lane, of differences of at most 1.
                prop_assert!((moments.mean() - mean).abs() < 1e-6, "{} {mean}", moments.mean());
                prop_assert!((moments.variance() - variance).abs() < 2e-6 * variance.max(1e-3), "{} {variance}", moments.variance());
            }
        }
    }

    #[test]
    fn sums_take_every_element_of_every_slice() {
        for length in [0, 1, LANES - 1, LANES, LANES + 1, 3 * LANES + 5] {
            let x: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let y = vec![2f32; length];
            let [plain, product] = sums([&x[..], &y], |[x, y]| [x, x * y]);
            assert_eq!(sums_beside([&x[..]], [&y[..]], |[x], [y]| [x, x * y]), [plain, product]);
            let expected = (length * length.saturating_sub(1) / 2) as f64;
            assert_eq!([plain, product], [expected, 2.0 * expected], "{length}");
        }
    }
}
