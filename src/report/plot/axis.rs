//! A linear axis with round ticks.

use crate::report::format;

/// Maps values to an interval of the picture.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    from: f64,
    width: f64,
}

impl Axis {
    /// An axis from `from` to `from + width` in the picture that holds 0 and all finite `values`, with about `ticks` ticks at
    /// multiples of 1, 2 or 5 times a power of ten.
    pub(super) fn around_zero(values: impl Iterator<Item = f64>, from: f64, width: f64, ticks: usize) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        // Only zeros: an axis of one hundredth to each side shows this.
        let (low, high) = if high > low { (low, high) } else { (-0.01, 0.01) };
        let step = round_step((high - low) / ticks.max(1) as f64);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step, from, width }
    }

    /// The position of a value in the picture.
    pub(super) fn place(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * self.width
    }

    /// Ticks with their labels, from left to right.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        let (first, last) = ((self.low / self.step).round() as i64, (self.high / self.step).round() as i64);
        let label = |value: f64| format::typographic(&format::signed(value, decimals));
        (first..=last)
            .map(|tick| tick as f64 * self.step)
            .map(|value| (self.place(value), if value == 0.0 { "0".to_owned() } else { label(value) }))
            .collect()
    }
}

/// The smallest of 1, 2, 5, 10, … times a power of ten that is no smaller than `step`.
fn round_step(step: f64) -> f64 {
    let magnitude = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|candidate| *candidate >= step * 0.999)
        .unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64]) -> Vec<String> {
        let axis = Axis::around_zero(values.iter().copied(), 0.0, 100.0, 5);
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    // By hand: a range of 0.06 in about 5 steps is 0.012, rounded up to 0.02.
    #[test]
    fn ticks_are_round_and_hold_zero() {
        assert_eq!(labels(&[-0.021, 0.039]), ["−0.04", "−0.02", "0", "+0.02", "+0.04"]);
        assert_eq!(labels(&[0.1, 0.4]), ["0", "+0.1", "+0.2", "+0.3", "+0.4"]);
        assert_eq!(labels(&[f64::NAN]), ["−0.010", "−0.005", "0", "+0.005", "+0.010"]);
    }

    #[test]
    fn ends_of_the_axis_are_ends_of_the_stretch() {
        let axis = Axis::around_zero([-0.1, 0.1].into_iter(), 50.0, 200.0, 4);
        assert!((axis.place(0.0) - 150.0).abs() < 1e-9);
        assert!((axis.place(0.1) - 250.0).abs() < 1e-9);
    }
}
