//! Tabulated curves: a quantity as a function of height, evaluated for every pixel of a film.

/// A curve through control points, tabulated so that a look-up is one interpolation.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    values: Vec<f32>,
}

const START: f32 = -12.0;
const STEP: f32 = 0.2;
const COUNT: usize = 280;

impl Profile {
    /// Tabulates `curve` over heights from -12 cm to 44 cm; beyond, the end values hold.
    pub(super) fn new(curve: impl Fn(f32) -> f32) -> Self {
        Self { values: (0..COUNT).map(|i| curve(START + STEP * i as f32)).collect() }
    }

    /// A smooth curve through `(height, value)` points in order of height (monotone between points).
    pub(super) fn through(points: &[(f32, f32)]) -> Self {
        Self::new(|y| {
            let after = points.partition_point(|p| p.0 <= y);
            match (after.checked_sub(1).map(|i| points[i]), points.get(after)) {
                (Some((y0, v0)), Some(&(y1, v1))) => v0 + (v1 - v0) * smooth((y - y0) / (y1 - y0)),
                (Some((_, v)), None) | (None, Some(&(_, v))) => v,
                (None, None) => 0.0,
            }
        })
    }

    /// The value at height `y`.
    #[inline]
    pub(super) fn at(&self, y: f32) -> f32 {
        let position = ((y - START) * (1.0 / STEP)).clamp(0.0, (COUNT - 2) as f32);
        let index = position as usize;
        let (low, high) = (self.values[index], self.values[index + 1]);
        low + (high - low) * (position - index as f32).min(1.0)
    }
}

/// Hermite step from 0 at `t <= 0` to 1 at `t >= 1`.
#[inline]
pub(super) fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_through_its_points_and_holds_beyond() {
        let profile = Profile::through(&[(0.0, 1.0), (2.0, 5.0), (10.0, 3.0)]);
        for (y, expected) in [(-50.0, 1.0), (0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (10.0, 3.0), (90.0, 3.0)] {
            assert!((profile.at(y) - expected).abs() < 0.05, "{y}: {}", profile.at(y));
        }
    }
}
