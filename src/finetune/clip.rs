//! What gradients are multiplied by to keep the norm of all together in bounds.
//!
//! Reference: PyTorch 2.15, `torch.nn.utils.clip_grad_norm_` with the 2-norm.

/// The factor that shortens gradients of norm `norm` to `max_norm`, at most 1.
pub(super) fn coefficient(norm: f64, max_norm: Option<f64>) -> f64 {
    /// Keeps the quotient finite.
    const EPSILON: f64 = 1e-6;
    max_norm.map_or(1.0, |max_norm| (max_norm / (norm + EPSILON)).min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clipped_norms_are_within_bounds(norm in 0f64..1e6, max in 1e-3f64..1e3) {
            let clipped = norm * coefficient(norm, Some(max));
            prop_assert!(clipped <= max && clipped <= norm);
            // The epsilon takes off at most 1e-6 of the quotient.
            prop_assert!(norm < max || clipped > max * (1.0 - 1e-2), "{clipped}");
            prop_assert_eq!(coefficient(norm, None), 1.0);
        }
    }
}
