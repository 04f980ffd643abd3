//! p-values: of the normal distribution, and corrected for testing many findings at once.

/// The 97.5 % quantile of the standard normal, `Φ⁻¹(0.975)`: half the width of a 95 % interval in standard errors.
pub(super) const Z_95: f64 = 1.959_963_984_540_054;

/// Probability that a standard normal is at least `|z|` away from 0.
///
/// Through erfc, which keeps its relative accuracy in the tail, where `2·(1 - Φ(|z|))` is 0 from `z = 8.3` on.
#[must_use]
pub fn two_sided_p(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// Holm's step-down adjustment of p-values (Holm 1979): the i-th smallest of `m` becomes the largest of
/// `min(1, (m - j + 1) · p_j)` over `j ≤ i`. Rejecting where the result is at most α keeps the chance of any false rejection
/// at or below α, whatever the dependence between the tests.
///
/// `None` (an undefined test) stays `None` and does not count into `m`.
#[must_use]
pub fn holm(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut ordered: Vec<(usize, f64)> = p_values.iter().enumerate().filter_map(|(index, p)| p.map(|p| (index, p))).collect();
    ordered.sort_by(|a, b| a.1.total_cmp(&b.1));
    let tests = ordered.len();
    let mut adjusted = vec![None; p_values.len()];
    let mut largest = 0.0_f64;
    for (place, (index, p)) in ordered.into_iter().enumerate() {
        largest = largest.max(((tests - place) as f64 * p).min(1.0));
        adjusted[index] = Some(largest);
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;
    use crate::metrics::testing::close;

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

    #[test]
    fn steps_down_by_hand() {
        // By hand: 4 · 0.005, 3 · 0.01, 2 · 0.03, then 1 · 0.04, which the step before raises to 0.06; m is 4, not 5.
        let adjusted = holm(&[Some(0.01), Some(0.04), None, Some(0.03), Some(0.005)]);
        for (found, expected) in adjusted.iter().zip([Some(0.03), Some(0.06), None, Some(0.06), Some(0.02)]) {
            assert_eq!(found.is_some(), expected.is_some());
            assert!(found.zip(expected).is_none_or(|(found, expected)| close(found, expected)), "{adjusted:?}");
        }
        assert!(holm(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn keeps_the_order_and_never_shrinks(p_values in prop::collection::vec(0.0_f64..=1.0, 1..20)) {
            let adjusted = holm(&p_values.iter().copied().map(Some).collect::<Vec<_>>());
            for (p, a) in p_values.iter().zip(&adjusted) {
                prop_assert!((*p..=1.0).contains(&a.unwrap()));
                for (q, b) in p_values.iter().zip(&adjusted) {
                    prop_assert!(p > q || a <= b);
                }
            }
        }
    }
}
