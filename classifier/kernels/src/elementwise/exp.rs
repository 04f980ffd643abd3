//! The exponential function, as straight-line code that a compiler turns into vector instructions.

use pulp::Simd;

const LEAST: f32 = -87.3;
const MOST: f32 = 88.0;
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding and subtracting it rounds to the nearest integer.
const ROUND: f32 = 12_582_912.0;
/// `(e^f - 1 - f) / f²`, highest power first.
const POLYNOMIAL: [f32; 6] = [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// `e^x` within 2 units in the last place; 0 below -87.3 would be subnormal and is the least normal number, above 88 it is the
/// largest power kept finite.
///
/// Reduction to `2^n e^f` with `|f| <= ln 2 / 2` and the polynomial of the Cephes library (Moshier, `expf.c`).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(LEAST, MOST);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let f = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = POLYNOMIAL[0];
    for coefficient in &POLYNOMIAL[1..] {
        p = p * f + coefficient;
    }
    let y = p * f * f + f + 1.0;
    // The last bits of `rounded` are `n` in two's complement. A cast of `n` would saturate, which no vector instruction does.
    f32::from_bits(y.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// [`exp`] of a vector of numbers up to 88, but 0 below -87.3, so that `e^-∞` is 0; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp_or_zero<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let all = |value| simd.splat_f32s(value);
    let rounded = simd.mul_add_e_f32s(x, all(std::f32::consts::LOG2_E), all(ROUND));
    let n = simd.sub_f32s(rounded, all(ROUND));
    let f = simd.mul_add_e_f32s(n, all(-LN2_HIGH), x);
    let f = simd.mul_add_e_f32s(n, all(-LN2_LOW), f);
    let mut p = all(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        p = simd.mul_add_e_f32s(p, f, all(*coefficient));
    }
    let y = simd.add_f32s(simd.mul_add_e_f32s(simd.mul_f32s(f, f), p, f), all(1.0));
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let y = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(y), power));
    simd.select_f32s(simd.less_than_f32s(x, all(LEAST)), all(0.0), y)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_within_two_units_of_the_exact_value(x in -87.0f32..88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            prop_assert!(error <= 2.0 * f64::from(f32::EPSILON), "{error:e}");
        }
    }

    /// One vector through [`exp_or_zero`].
    fn of_vector(x: f32) -> f32 {
        struct Once(f32);
        impl pulp::WithSimd for Once {
            type Output = f32;

            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                let mut y = [0f32; 16];
                S::as_mut_simd_f32s(&mut y).0[0] = exp_or_zero(simd, simd.splat_f32s(self.0));
                y[0]
            }
        }
        crate::isa::run(Once(x))
    }

    proptest! {
        #[test]
        fn of_a_vector_is_the_same(x in -87.0f32..88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(of_vector(x)) - exact).abs() / exact;
            prop_assert!(error <= 2.0 * f64::from(f32::EPSILON), "{error:e}");
        }
    }

    #[test]
    fn of_a_vector_is_zero_for_the_least_and_nan_for_nan() {
        assert_eq!([of_vector(f32::NEG_INFINITY), of_vector(f32::MIN), of_vector(0.0)], [0.0, 0.0, 1.0]);
        assert!(of_vector(f32::NAN).is_nan());
    }

    #[test]
    fn ends_are_finite_and_zero_is_one() {
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::MAX).is_finite() && exp(f32::MIN) > 0.0);
    }
}
