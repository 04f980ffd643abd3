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

/// `2^x` of a vector of numbers up to 126, with an error of at most 2^-18 of it: for what is then rounded to brain floats, of 8 bits. It is 0
/// below -126; NaN stays NaN.
///
/// `2^n 2^f` with `|f| <= 1/2` and the polynomial of degree 4 and constant term 1 whose largest relative error is least.
#[inline(always)]
pub(crate) fn exp2_or_zero<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// Highest power first.
    const POLYNOMIAL: [f32; 5] = [9.582_853e-3, 5.590_642_6e-2, 0.240_240_99, 0.693_124_2, 1.0];
    let all = |value| simd.splat_f32s(value);
    let rounded = simd.add_f32s(x, all(ROUND));
    let f = simd.sub_f32s(x, simd.sub_f32s(rounded, all(ROUND)));
    let mut y = all(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        y = simd.mul_add_e_f32s(y, f, all(*coefficient));
    }
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(rounded), simd.splat_u32s(23));
    let y = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(y), power));
    simd.select_f32s(simd.less_than_f32s(x, all(-126.0)), all(0.0), y)
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

    /// One vector through [`exp_or_zero`], or through [`exp2_or_zero`].
    struct Once {
        x: f32,
        base_2: bool,
    }

    impl pulp::WithSimd for Once {
        type Output = f32;

        fn with_simd<S: Simd>(self, simd: S) -> f32 {
            let (mut y, x) = ([0f32; 16], simd.splat_f32s(self.x));
            S::as_mut_simd_f32s(&mut y).0[0] = if self.base_2 { exp2_or_zero(simd, x) } else { exp_or_zero(simd, x) };
            y[0]
        }
    }

    fn of_vector(x: f32) -> f32 {
        crate::isa::run(Once { x, base_2: false })
    }

    fn power_of_2(x: f32) -> f32 {
        crate::isa::run(Once { x, base_2: true })
    }

    proptest! {
        #[test]
        fn of_a_vector_is_the_same(x in -87.0f32..88.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(of_vector(x)) - exact).abs() / exact;
            prop_assert!(error <= 2.0 * f64::from(f32::EPSILON), "{error:e}");
        }
    }

    proptest! {
        #[test]
        fn powers_of_2_are_within_their_error(x in -126.0f32..126.0) {
            let exact = f64::from(x).exp2();
            let error = (f64::from(power_of_2(x)) - exact).abs() / exact;
            prop_assert!(error <= 1.0 / f64::from(1 << 18), "{error:e}");
        }
    }

    #[test]
    fn powers_of_2_are_exact_for_whole_numbers_zero_for_the_least_and_nan_for_nan() {
        assert_eq!([-126.0, -3.0, 0.0, 1.0, 126.0].map(power_of_2), [-126.0, -3.0, 0.0, 1.0, 126.0].map(f32::exp2));
        assert_eq!([f32::NEG_INFINITY, f32::MIN, -126.5].map(power_of_2), [0.0; 3]);
        assert!(power_of_2(f32::NAN).is_nan());
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
