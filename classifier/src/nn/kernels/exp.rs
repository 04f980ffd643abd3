//! The exponential function, as straight-line code that a compiler turns into vector instructions.

/// `e^x` within 2 units in the last place; 0 below -87.3 would be subnormal and is the least normal number, above 88 it is the
/// largest power kept finite.
///
/// Reduction to `2^n e^f` with `|f| <= ln 2 / 2` and the polynomial of the Cephes library (Moshier, `expf.c`).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    /// Adding and subtracting it rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let f = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_2e-4;
    let p = p * f + 1.398_199_9e-3;
    let p = p * f + 8.333_452e-3;
    let p = p * f + 4.166_579_6e-2;
    let p = p * f + 1.666_666_5e-1;
    let p = p * f + 0.5;
    let y = p * f * f + f + 1.0;
    // The last bits of `rounded` are `n`; shifted, they are added to the exponent.
    f32::from_bits(y.to_bits().wrapping_add(rounded.to_bits() << 23))
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

    #[test]
    fn ends_are_finite_and_zero_is_one() {
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::MAX).is_finite() && exp(f32::MIN) > 0.0);
    }
}
