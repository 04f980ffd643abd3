//! Clipping of gradients w.r.t. their global norm.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use roentgen_kernels::euclidean_norms_beside;

/// The factor that reduces a joint norm of `norm` to at most `max_norm`; 1 without a limit.
///
/// As `torch.nn.utils.clip_grad_norm_`: `max_norm / (norm + 1e-6)`, at most 1.
#[must_use]
pub fn clip_factor(norm: f64, max_norm: Option<f64>) -> f64 {
    /// Keeps the quotient finite.
    const EPSILON: f64 = 1e-6;
    max_norm.map_or(1.0, |max_norm| (max_norm / (norm + EPSILON)).min(1.0))
}

/// Scales all gradients so that their joint Euclidean norm is at most `max_norm`, 0 for no limit; returns the
/// norm before.
///
/// The factor is [`clip_factor`]'s. burn's own clipping takes the norm of each tensor by itself, which changes the direction of the
/// step.
pub fn clip_grad_norm<M: Module>(module: &M, grads: &mut GradientsParams, max_norm: f64) -> f64 {
    clip_beside(module, grads, max_norm, Vec::new()).0
}

/// [`clip_grad_norm`], and the sum of the losses of a step's micro-batches, which the host reads with the norms: it waits for the device
/// once.
pub(super) fn clip_beside<M: Module>(
    module: &M,
    grads: &mut GradientsParams,
    max_norm: f64,
    losses: Vec<Tensor<1>>,
) -> (f64, f64) {
    let (norms, losses) = euclidean_norms_beside(flat(module, grads), losses);
    let norm = joint(norms);
    let factor = clip_factor(norm, (max_norm > 0.0).then_some(max_norm));
    if factor < 1.0 {
        module.visit(&mut Scale { grads, factor });
    }
    (norm, losses.into_iter().flatten().sum())
}

/// Joint Euclidean norm of all gradients.
pub fn grad_norm<M: Module>(module: &M, grads: &GradientsParams) -> f64 {
    joint(euclidean_norms_beside(flat(module, grads), Vec::new()).0)
}

fn joint(norms: Vec<f64>) -> f64 {
    norms.into_iter().map(|norm| norm * norm).sum::<f64>().sqrt()
}

/// All gradients, each in one row.
fn flat<M: Module>(module: &M, grads: &GradientsParams) -> Vec<Tensor<1>> {
    let mut flat = Flat { grads, tensors: Vec::new() };
    module.visit(&mut flat);
    flat.tensors
}

struct Flat<'a> {
    grads: &'a GradientsParams,
    tensors: Vec<Tensor<1>>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.tensors.push(grad.flatten(0, D - 1));
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad.mul_scalar(self.factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// A linear layer without bias and a loss that is the sum of its outputs: every gradient is the input, 3 and 4.
    fn gradients() -> (burn::nn::Linear, GradientsParams) {
        let device = Device::flex().autodiff();
        let layer = LinearConfig::new(2, 1).with_bias(false).init(&device);
        let loss = layer.forward(Tensor::<2>::from_floats([[3.0, 4.0]], &device)).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &layer);
        (layer, grads)
    }

    #[test]
    fn a_large_norm_is_scaled_as_torch_does() {
        let (layer, mut grads) = gradients();
        assert!((clip_grad_norm(&layer, &mut grads, 1.0) - 5.0).abs() < 1e-6);
        assert!((grad_norm(&layer, &grads) - 5.0 / 5.000_001).abs() < 1e-6);
    }

    #[test]
    fn a_small_norm_and_zero_leave_gradients_alone() {
        for limit in [6.0, 0.0] {
            let (layer, mut grads) = gradients();
            clip_grad_norm(&layer, &mut grads, limit);
            assert_eq!(grad_norm(&layer, &grads), 5.0);
        }
    }

    proptest! {
        #[test]
        fn clipped_norms_are_within_bounds(norm in 0f64..1e6, max in 1e-3f64..1e3) {
            let clipped = norm * clip_factor(norm, Some(max));
            prop_assert!(clipped <= max && clipped <= norm);
            // The epsilon changes the quotient by at most 1e-6 of it.
            prop_assert!(norm < max || clipped > max * (1.0 - 1e-2), "{clipped}");
            prop_assert_eq!(clip_factor(norm, None), 1.0);
        }
    }
}
