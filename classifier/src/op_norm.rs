//! torchxrayvision's operating points.

/// Rescales a probability so that the operating threshold `t` maps to 0.5: `p / 2t` below it, `1 - (1 - p) / 2(1 - t)` above
/// (torchxrayvision 1.5.7, `models.op_norm`).
///
/// Monotone, so AUROC by finding does not change; micro averages and F1 do. A `NaN` threshold marks an untrained head and gives
/// 0.5: mask such a finding.
#[must_use]
pub fn op_norm(probability: f32, threshold: f32) -> f32 {
    if threshold.is_nan() {
        0.5
    } else if probability < threshold {
        probability / (2.0 * threshold)
    } else {
        1.0 - (1.0 - probability) / (2.0 * (1.0 - threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_middle() {
        assert_eq!(op_norm(0.2, 0.2), 0.5);
        assert_eq!(op_norm(0.1, 0.2), 0.25);
        assert_eq!(op_norm(1.0, 0.2), 1.0);
        assert_eq!(op_norm(0.9, f32::NAN), 0.5);
    }
}
