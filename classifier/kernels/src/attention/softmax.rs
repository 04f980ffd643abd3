//! The operations on a tile of scores between the matrix products.
//!
//! A tile is `[keys, queries]`: a vector holds one key's scores for neighbouring queries, so sums and maxima over keys stay in it.

use pulp::{Simd, WithSimd};

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
