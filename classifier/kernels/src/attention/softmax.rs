//! The operations on a tile of scores between the matrix products.
//!
//! A tile is `[keys, queries]`: a vector holds one key's scores for neighbouring queries, so sums and maxima over keys stay in it.

use pulp::{Simd, WithSimd};

use crate::brain::Panels;
use crate::elementwise::exp::exp_or_zero;

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
            let factor = exp_or_zero(simd, simd.mul_add_e_f32s(scale, before, shift));
            let mut total = simd.mul_f32s(sum[column], factor);
            for scores in scores.chunks_exact_mut(row) {
                scores[column] = exp_or_zero(simd, simd.mul_add_e_f32s(scale, scores[column], shift));
                total = simd.add_f32s(total, scores[column]);
            }
            (maximum[column], sum[column], rescale[column]) = (most, total, factor);
        }
    }
}

/// The same, but the exponentials go to `weights`, rounded to brain floats: a matrix `[keys, queries]`.
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
        let (up, down) = (simd.splat_f32s(scale), simd.splat_f32s(-scale));
        let (half, high, bits) = (simd.splat_u32s(0x8000), simd.splat_u32s(0xffff_0000), simd.splat_u32s(16));
        for (panel, pairs) in weights.pairs([keys, row]).enumerate() {
            // A panel has 16 queries, which are one vector or several.
            for part in 0..16 / lanes {
                let column = panel * 16 / lanes + part;
                let before = maximum[column];
                let mut most = before;
                for scores in scores.chunks_exact(in_row) {
                    most = simd.max_f32s(most, scores[column]);
                }
                let shift = simd.mul_f32s(down, most);
                let factor = exp_or_zero(simd, simd.mul_add_e_f32s(up, before, shift));
                let mut total = simd.mul_f32s(sum[column], factor);
                // No closures here: what the compiler does not inline is not compiled for this instruction set.
                for (pair, to) in pairs.iter_mut().enumerate() {
                    let mut halves = [simd.splat_u32s(0); 2];
                    for (i, bits) in halves.iter_mut().enumerate() {
                        if 2 * pair + i < keys {
                            let score = scores[(2 * pair + i) * in_row + column];
                            let weight = exp_or_zero(simd, simd.mul_add_e_f32s(up, score, shift));
                            total = simd.add_f32s(total, weight);
                            // To nearest. NaN stays NaN: its lower half is that of a brain float, zeros.
                            *bits = simd.add_u32s(simd.transmute_u32s_f32s(weight), half);
                        }
                    }
                    let [low, odd] = halves;
                    let both = simd.or_u32s(simd.wrapping_dyn_shr_u32s(low, bits), simd.and_u32s(odd, high));
                    S::as_mut_simd_u32s(to).0[part] = both;
                }
                (maximum[column], sum[column], rescale[column]) = (most, total, factor);
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
