//! The normal distribution, as far as tests and intervals need it.

/// The 97.5 % quantile of the standard normal, `Φ⁻¹(0.975)`: half the width of a 95 % interval in standard errors.
pub(super) const Z_95: f64 = 1.959_963_984_540_054;

/// Probability that a standard normal is at least `|z|` away from 0.
///
/// Through erfc, which keeps its relative accuracy in the tail, where `2·(1 - Φ(|z|))` is 0 from `z = 8.3` on.
#[must_use]
pub fn two_sided_p(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_relative_accuracy_in_the_tail() {
        // Twice Φ(-1.96) and twice Φ(-10) = 7.619853024160526e-24, as tables of the normal have them; CPython's
        // math.erfc(z / sqrt(2)) agrees to 1e-14. The rounding of z/√2 grows by z² in the tail: 1e-13 covers it.
        for (z, expected) in [(0.0, 1.0), (1.96, 0.049_995_790_296_440_87), (10.0, 1.523_970_604_832_105e-23)] {
            for z in [z, -z] {
                assert!((two_sided_p(z) / expected - 1.0).abs() < 1e-13, "{z}: {}", two_sided_p(z));
            }
        }
        assert!((two_sided_p(Z_95) - 0.05).abs() < 1e-15);
    }
}
