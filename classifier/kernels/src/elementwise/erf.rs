//! The error function, as straight-line code that a compiler turns into vector instructions.

/// `erf(x)` within 4 units in the last place, exactly between -1 and 1.
///
/// `x P(x²) / Q(x²)`, both of degree 5, fitted to the relative error on `|x| <= 3.92`, where it is 1.9e-8; beyond, 32 bits cannot
/// tell the function from 1.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    const END: f32 = 3.92;
    const P: [f32; 6] =
        [std::f32::consts::FRAC_2_SQRT_PI, 0.190_405_26, 0.052_748_542, 0.003_765_560_2, 0.000_284_880_6, 2.050_085_4e-6];
    const Q: [f32; 6] = [1.0, 0.502_075, 0.114_108_6, 0.014_969_103, 0.001_162_520_3, 3.809_158_4e-5];
    let t = x * x;
    let p = P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * (P[4] + t * P[5]))));
    let q = Q[0] + t * (Q[1] + t * (Q[2] + t * (Q[3] + t * (Q[4] + t * Q[5]))));
    if x.abs() >= END { 1f32.copysign(x) } else { (x * p / q).clamp(-1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_within_four_units_of_the_exact_value(x in -5f32..5.0) {
            let exact = libm::erf(f64::from(x));
            let error = (f64::from(erf(x)) - exact).abs() / exact.abs();
            prop_assert!(error <= 4.0 * f64::from(f32::EPSILON), "{x}: {error:e}");
        }
    }

    #[test]
    fn ends_are_one_and_the_middle_is_zero() {
        assert_eq!([erf(0.0), erf(10.0), erf(f32::MIN)], [0.0, 1.0, -1.0]);
        assert!(erf(f32::NAN).is_nan());
    }
}
