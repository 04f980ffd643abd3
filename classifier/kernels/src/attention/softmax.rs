//! The operations on a tile of scores between the matrix products.
//!
//! A tile is `[keys, queries]`: a vector holds one key's scores for neighbouring queries, so sums and maxima over keys stay in it.

use pulp::{Simd, WithSimd};

use crate::brain::Panels;
use crate::elementwise::exp::{exp_or_zero, exp2_or_zero};

/// The softmax over keys, one tile of keys after another (Milakov and Gimelshein 2018).
///
/// Scores become `e^(scale (score - maximum))`.
pub(super) struct Step<'a> {
    pub(super) scores: &'a mut [f32],
    pub(super) scale: f32,
    /// Of all tiles so far; the least number before the first.
    pub(super) maximum: &'a mut [f32],
    /// Of all tiles so far.
    pub(super) sum: &'a mut [f32],
    /// Factor of the results of earlier tiles.
    pub(super) rescale: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (scores, _) = S::as_mut_simd_f32s(self.scores);
        let (maximum, _) = S::as_mut_simd_f32s(self.maximum);
        let (sum, _) = S::as_mut_simd_f32s(self.sum);
        let (rescale, _) = S::as_mut_simd_f32s(self.rescale);
        let row = maximum.len();
        let (scale, less) = (simd.splat_f32s(self.scale), simd.splat_f32s(-self.scale));
        for column in 0..row {
            let before = maximum[column];
            let mut most = before;
            for scores in scores.chunks_exact(row) {
                most = simd.max_f32s(most, scores[column]);
            }
            let shift = simd.mul_f32s(less, most);
            // Where no key has been seen both are the least number, whose product with the scale is not that of the shift.
            let factor = exp_or_zero(simd, simd.mul_f32s(scale, simd.sub_f32s(before, most)));
            let mut total = simd.mul_f32s(sum[column], factor);
            for scores in scores.chunks_exact_mut(row) {
                scores[column] = exp_or_zero(simd, simd.mul_add_e_f32s(scale, scores[column], shift));
                total = simd.add_f32s(total, scores[column]);
            }
            (maximum[column], sum[column], rescale[column]) = (most, total, factor);
        }
    }
}

/// The same, but the exponentials go to `weights`, rounded to brain floats: a matrix `[keys, queries]`. Their error before is at most 2^-18 of
/// them.
pub(super) struct Weigh<'a> {
    pub(super) scores: &'a [f32],
    pub(super) weights: &'a mut Panels,
    pub(super) scale: f32,
    pub(super) maximum: &'a mut [f32],
    pub(super) sum: &'a mut [f32],
    pub(super) rescale: &'a mut [f32],
}

impl WithSimd for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { scores, weights, scale, maximum, sum, rescale } = self;
        let (row, keys) = (maximum.len(), scores.len() / maximum.len());
        let (scores, _) = S::as_simd_f32s(scores);
        let (maximum, _) = S::as_mut_simd_f32s(maximum);
        let (sum, _) = S::as_mut_simd_f32s(sum);
        let (rescale, _) = S::as_mut_simd_f32s(rescale);
        let in_row = maximum.len();
        let lanes = row / in_row;
        // Powers of 2 are less work than those of e.
        let scale = scale * std::f32::consts::LOG2_E;
        let (up, down) = (simd.splat_f32s(scale), simd.splat_f32s(-scale));
        let (half, high, bits) = (simd.splat_u32s(0x8000), simd.splat_u32s(0xffff_0000), simd.splat_u32s(16));
        for (panel, pairs) in weights.pairs([keys, row]).enumerate() {
            // A panel has 16 queries, which are one vector or several.
            for part in 0..16 / lanes {
                let column = panel * 16 / lanes + part;
                let before = maximum[column];
                // Several maxima, sums and so on at a time: each would wait for the one before.
                let mut most = [before; 4];
                let mut fours = scores.chunks_exact(4 * in_row);
                for scores in &mut fours {
                    for i in 0..4 {
                        most[i] = simd.max_f32s(most[i], scores[i * in_row + column]);
                    }
                }
                for scores in fours.remainder().chunks_exact(in_row) {
                    most[0] = simd.max_f32s(most[0], scores[column]);
                }
                let most = simd.max_f32s(simd.max_f32s(most[0], most[1]), simd.max_f32s(most[2], most[3]));
                let shift = simd.mul_f32s(down, most);
                let factor = exp2_or_zero(simd, simd.mul_f32s(up, simd.sub_f32s(before, most)));
                let mut totals = [simd.mul_f32s(sum[column], factor), simd.splat_f32s(0.0)];
                // No closures here: what the compiler does not inline is not compiled for this instruction set.
                let mut twos = scores.chunks_exact(2 * in_row);
                for (scores, to) in (&mut twos).zip(&mut *pairs) {
                    let mut halves = [simd.splat_u32s(0); 2];
                    for i in 0..2 {
                        let weight = exp2_or_zero(simd, simd.mul_add_e_f32s(up, scores[i * in_row + column], shift));
                        totals[i] = simd.add_f32s(totals[i], weight);
                        // To nearest. NaN stays NaN: its lower half is that of a brain float, zeros.
                        halves[i] = simd.add_u32s(simd.transmute_u32s_f32s(weight), half);
                    }
                    let [low, odd] = halves;
                    let both = simd.or_u32s(simd.wrapping_dyn_shr_u32s(low, bits), simd.and_u32s(odd, high));
                    S::as_mut_simd_u32s(to).0[part] = both;
                }
                let count = keys / 2;
                if let [last, ..] = &mut pairs[count..] {
                    let mut low = simd.splat_u32s(0);
                    if keys % 2 == 1 {
                        let score = twos.remainder()[column];
                        let weight = exp2_or_zero(simd, simd.mul_add_e_f32s(up, score, shift));
                        totals[0] = simd.add_f32s(totals[0], weight);
                        low = simd.wrapping_dyn_shr_u32s(simd.add_u32s(simd.transmute_u32s_f32s(weight), half), bits);
                    }
                    S::as_mut_simd_u32s(last).0[part] = low;
                    for rest in &mut pairs[count + 1..] {
                        S::as_mut_simd_u32s(rest).0[part] = simd.splat_u32s(0);
                    }
                }
                (maximum[column], sum[column], rescale[column]) = (most, simd.add_f32s(totals[0], totals[1]), factor);
            }
        }
    }
}

/// Multiplies every row of a tile by the same factors.
pub(super) struct Rescale<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) factors: &'a [f32],
}

impl WithSimd for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.rows.chunks_exact_mut(self.factors.len()) {
            row.iter_mut().zip(self.factors).for_each(|(x, factor)| *x *= factor);
        }
    }
}

/// The gradient of the softmax: scores become weights `p`, and gradients w.r.t. weights become those w.r.t. scores, `p (g -
/// mean of g)`, times the scale.
pub(super) struct Slope<'a> {
    pub(super) scores: &'a mut [f32],
    pub(super) gradients: &'a mut [f32],
    pub(super) scale: f32,
    /// Logarithm of the sum of exponentials of a query's scores; infinite for one that sees no key.
    pub(super) norms: &'a [f32],
    /// Mean of a query's gradients w.r.t. its weights.
    pub(super) means: &'a [f32],
}

impl WithSimd for Slope<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (scores, _) = S::as_mut_simd_f32s(self.scores);
        let (gradients, _) = S::as_mut_simd_f32s(self.gradients);
        let (norms, _) = S::as_simd_f32s(self.norms);
        let (means, _) = S::as_simd_f32s(self.means);
        let (row, scale) = (norms.len(), simd.splat_f32s(self.scale));
        for (scores, gradients) in scores.chunks_exact_mut(row).zip(gradients.chunks_exact_mut(row)) {
            for (((score, gradient), norm), mean) in scores.iter_mut().zip(gradients).zip(norms).zip(means) {
                *score = exp_or_zero(simd, simd.sub_f32s(simd.mul_f32s(*score, scale), *norm));
                *gradient = simd.mul_f32s(simd.mul_f32s(*score, scale), simd.sub_f32s(*gradient, *mean));
            }
        }
    }
}

/// The inner product.
pub(super) struct Dot<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
}

impl WithSimd for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let ((a, rest_of_a), (b, rest_of_b)) = (S::as_simd_f32s(self.a), S::as_simd_f32s(self.b));
        let sums = a.iter().zip(b).fold(simd.splat_f32s(0.0), |sums, (a, b)| simd.mul_add_e_f32s(*a, *b, sums));
        rest_of_a.iter().zip(rest_of_b).fold(simd.reduce_sum_f32s(sums), |sum, (a, b)| sum + a * b)
    }
}
