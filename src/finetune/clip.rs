//! The norm of all gradients together, and what they are multiplied by to keep it in bounds.
//!
//! Reference: PyTorch 2.15, `torch.nn.utils.clip_grad_norm_` with the 2-norm.

use burn::tensor::{Device, Tensor};
use rayon::prelude::{ParallelIterator, ParallelSlice};

/// Euclidean norm of each tensor, in their order; all of one device.
pub(super) fn norms<'a>(tensors: impl Iterator<Item = &'a Tensor<1>>, device: &Device) -> Vec<f64> {
    if *device == Device::flex() {
        return tensors.map(|tensor| norm(tensor.clone())).collect();
    }
    // One copy to the host for all.
    let sums: Vec<Tensor<1>> = tensors.map(|tensor| tensor.clone().square().sum()).collect();
    if sums.is_empty() {
        return Vec::new();
    }
    Tensor::cat(sums, 0).into_data().iter::<f64>().map(f64::sqrt).collect()
}

/// On the CPU, in f64. Pieces are of a fixed size and summed in order: the result does not depend on the number of threads.
fn norm(tensor: Tensor<1>) -> f64 {
    const PIECE: usize = 1 << 14;
    let data = tensor.into_data();
    let values = data.as_slice::<f32>().expect("gradients are accumulated in F32");
    let sums: Vec<f64> =
        values.par_chunks(PIECE).map(|piece| piece.iter().map(|value| f64::from(*value).powi(2)).sum()).collect();
    sums.iter().sum::<f64>().sqrt()
}

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

    #[test]
    fn norms_are_of_each_tensor() {
        let device = Device::flex();
        let tensors = [Tensor::from_floats([3.0, -4.0], &device), Tensor::from_floats([0.0; 3], &device)];
        assert_eq!(norms(tensors.iter(), &device), [5.0, 0.0]);
        let infinite = Tensor::from_floats([f32::MAX, f32::MAX], &device);
        // Squares leave the range of F32: only what is no number is reported as such.
        assert!(norm(infinite).is_finite());
        assert!(norm(Tensor::from_floats([f32::NAN, 1.0], &device)).is_nan());
    }

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
