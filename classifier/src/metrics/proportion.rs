//! How sure a proportion is, such as a sensitivity of 7 in 31.

use super::{Interval, MetricsError};

/// `successes` of `cases`.
///
/// Intervals are two-sided at a confidence such as 0.95, cut to `[0, 1]`, and `None` without cases. Cases are taken as independent; where
/// patients have several images, resample [`Patients`](super::Patients) instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proportion {
    successes: usize,
    cases: usize,
}

impl Proportion {
    /// `successes` of `cases`.
    ///
    /// # Errors
    /// [`MetricsError::Proportion`] for more successes than cases.
    pub fn new(successes: usize, cases: usize) -> Result<Self, MetricsError> {
        if successes > cases {
            return Err(MetricsError::Proportion { successes, cases });
        }
        Ok(Self { successes, cases })
    }

    /// The proportion itself; `None` without cases.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (self.cases > 0).then(|| self.successes as f64 / self.cases as f64)
    }

    /// Wilson's score interval (Wilson 1927, doi 10.1080/01621459.1927.10502953): close to its confidence on average, also for few cases.
    ///
    /// # Errors
    /// [`MetricsError::Confidence`] for a confidence outside `(0, 1)`; so do the other intervals.
    pub fn wilson(&self, confidence: f64) -> Result<Option<Interval>, MetricsError> {
        let z = quantile(confidence)?;
        let Some(share) = self.value() else { return Ok(None) };
        let n = self.cases as f64;
        let scale = 1.0 + z * z / n;
        let centre = (share + z * z / (2.0 * n)) / scale;
        let reach = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / scale;
        // At the ends the formula gives the end itself, but for rounding.
        let lower = if self.successes == 0 { 0.0 } else { (centre - reach).max(0.0) };
        let upper = if self.successes == self.cases { 1.0 } else { (centre + reach).min(1.0) };
        Ok(Some(Interval { lower, upper }))
    }

    /// The exact interval of Clopper & Pearson 1934 (doi 10.1093/biomet/26.4.404): never below its confidence, wider than Wilson's.
    ///
    /// # Errors
    /// As [`Proportion::wilson`].
    pub fn clopper_pearson(&self, confidence: f64) -> Result<Option<Interval>, MetricsError> {
        let tail = 0.5 * (1.0 - checked(confidence)?);
        if self.cases == 0 {
            return Ok(None);
        }
        let (k, n) = (self.successes as f64, self.cases as f64);
        let lower = if self.successes == 0 { 0.0 } else { beta_quantile(tail, k, n - k + 1.0) };
        // From the other end, so that neither is one minus a small number.
        let upper = if self.successes == self.cases { 1.0 } else { 1.0 - beta_quantile(tail, n - k, k + 1.0) };
        Ok(Some(Interval { lower, upper }))
    }

    /// The normal approximation (Wald's interval), for comparison with papers that used it: much too narrow for few cases, and of no width
    /// for none or all.
    ///
    /// # Errors
    /// As [`Proportion::wilson`].
    pub fn normal(&self, confidence: f64) -> Result<Option<Interval>, MetricsError> {
        let z = quantile(confidence)?;
        Ok(self.value().map(|share| {
            let reach = z * (share * (1.0 - share) / self.cases as f64).sqrt();
            Interval { lower: (share - reach).max(0.0), upper: (share + reach).min(1.0) }
        }))
    }
}

fn checked(confidence: f64) -> Result<f64, MetricsError> {
    if confidence > 0.0 && confidence < 1.0 { Ok(confidence) } else { Err(MetricsError::Confidence { found: confidence }) }
}

/// The `z` with a standard normal between `-z` and `z` with probability `confidence`.
fn quantile(confidence: f64) -> Result<f64, MetricsError> {
    let outside = 1.0 - checked(confidence)?;
    // erfc falls to 0 at 27.3; a quantile of 39 is beyond every f64 below 1.
    Ok(root(0.0, 39.0, |z| libm::erfc(z / std::f64::consts::SQRT_2) <= outside))
}

/// The `x` with `I_x(a, b) = probability`, for `a`, `b` of at least 1/2.
fn beta_quantile(probability: f64, a: f64, b: f64) -> f64 {
    root(0.0, 1.0, |x| incomplete_beta(x, a, b) >= probability)
}

/// Where a condition begins to hold between `low` and `high`, to the last bit.
fn root(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return high;
        }
        if holds(middle) { high = middle } else { low = middle }
    }
}

/// Regularised incomplete beta function `I_x(a, b)` by its continued fraction (Abramowitz & Stegun 26.5.8, evaluated with Lentz's method).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast below the mean; above it the mirrored one does.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_below(1.0 - x, b, a);
    }
    incomplete_beta_below(x, a, b)
}

fn incomplete_beta_below(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let front = a * x.ln() + b * (-x).ln_1p() - (libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)) - a.ln();
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut numerator, mut denominator) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = denominator;
    // About √max(a, b) terms are needed.
    let most = 200 + 10 * a.max(b).sqrt() as usize;
    for step in 1..most {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = fraction;
        for term in [even, odd] {
            denominator = 1.0 / away(1.0 + term * denominator);
            numerator = away(1.0 + term / numerator);
            fraction *= denominator * numerator;
        }
        if (fraction - before).abs() <= f64::EPSILON * fraction.abs() {
            break;
        }
    }
    front.exp() * fraction
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::metrics::significance::Z_95;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-10
    }

    #[test]
    fn quantiles_of_the_normal() {
        assert!(near(quantile(0.95).unwrap(), Z_95));
        // Φ⁻¹(0.995), as tables print it.
        assert!(near(quantile(0.99).unwrap(), 2.575_829_303_548_901));
        for confidence in [0.0, 1.0, -0.5, 95.0, f64::NAN] {
            let refused = Proportion::new(1, 2).unwrap().wilson(confidence);
            assert!(matches!(refused, Err(MetricsError::Confidence { .. })), "{refused:?}");
        }
    }

    #[test]
    fn none_and_all_by_hand() {
        // Of 0 in n the exact upper end is 1 - (α/2)^(1/n), and of n in n the lower end (α/2)^(1/n).
        let none = Proportion::new(0, 12).unwrap().clopper_pearson(0.95).unwrap().unwrap();
        assert!(none.lower == 0.0 && near(none.upper, 1.0 - 0.025_f64.powf(1.0 / 12.0)));
        let all = Proportion::new(40, 40).unwrap().clopper_pearson(0.95).unwrap().unwrap();
        assert!(all.upper == 1.0 && near(all.lower, 0.025_f64.powf(1.0 / 40.0)));
        // Wilson's of 0 in n is z²/(n + z²).
        let wilson = Proportion::new(0, 12).unwrap().wilson(0.95).unwrap().unwrap();
        assert!(wilson.lower == 0.0 && near(wilson.upper, Z_95 * Z_95 / (12.0 + Z_95 * Z_95)));
        let normal = Proportion::new(12, 12).unwrap().normal(0.95).unwrap().unwrap();
        assert_eq!(normal, Interval { lower: 1.0, upper: 1.0 });
    }

    #[test]
    fn no_cases_and_too_many_successes() {
        let nothing = Proportion::new(0, 0).unwrap();
        assert_eq!(
            (nothing.value(), nothing.wilson(0.95), nothing.clopper_pearson(0.95), nothing.normal(0.95)),
            (None, Ok(None), Ok(None), Ok(None))
        );
        assert_eq!(Proportion::new(3, 2), Err(MetricsError::Proportion { successes: 3, cases: 2 }));
    }

    #[test]
    fn the_exact_interval_holds_its_tails_for_many_cases() {
        // The definition: at the upper end 2.5 % of samples have so few successes, at the lower end so many. Sums over the binomial.
        let (k, n) = (300_usize, 2000_usize);
        let interval = Proportion::new(k, n).unwrap().clopper_pearson(0.95).unwrap().unwrap();
        let log_choose = |n: usize, k: usize| {
            libm::lgamma(n as f64 + 1.0) - libm::lgamma(k as f64 + 1.0) - libm::lgamma((n - k) as f64 + 1.0)
        };
        let chance = |i: usize, p: f64| (log_choose(n, i) + i as f64 * p.ln() + (n - i) as f64 * (-p).ln_1p()).exp();
        let few: f64 = (0..=k).map(|i| chance(i, interval.upper)).sum();
        let many: f64 = (k..=n).map(|i| chance(i, interval.lower)).sum();
        // Logarithms of factorials of 2000 lose four digits.
        assert!((few - 0.025).abs() < 1e-11 && (many - 0.025).abs() < 1e-11, "{few} {many}");
    }

    proptest! {
        #[test]
        fn intervals_hold_the_share_and_mirror(cases in 1_usize..3000, share in 0.0_f64..=1.0, confidence in 0.01_f64..0.999) {
            let successes = (share * cases as f64) as usize;
            let (here, there) = (Proportion::new(successes, cases).unwrap(), Proportion::new(cases - successes, cases).unwrap());
            let value = here.value().unwrap();
            for of in [Proportion::wilson, Proportion::clopper_pearson, Proportion::normal] {
                let (one, other) = (of(&here, confidence).unwrap().unwrap(), of(&there, confidence).unwrap().unwrap());
                prop_assert!(0.0 <= one.lower && one.lower <= value + 1e-12 && value <= one.upper + 1e-12 && one.upper <= 1.0);
                prop_assert!(near(one.lower, 1.0 - other.upper) && near(one.upper, 1.0 - other.lower));
            }
        }
    }
}
