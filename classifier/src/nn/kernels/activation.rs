//! SiLU on all threads, forward and backward in one pass each.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Tensor, activation};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::applies;
use super::buffer::{PIECE, Values, filled};
use super::exp::exp;

/// `x / (1 + e^-x)`, element by element (Elfwing et al. 2017): burn's [`activation::silu`] in one pass over memory.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if applies(&x) { Tensor::from_dispatch(Dispatch::silu(x.into_dispatch())) } else { activation::silu(x) }
}

/// Backends with the kernel.
#[backend_extension(Flex, Autodiff)]
pub trait SiluBackend: Backend {
    /// `x / (1 + e^-x)`.
    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient by `x`, from that by the output.
    fn silu_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl SiluBackend for Flex {
    fn silu(x: FlexTensor) -> FlexTensor {
        let x = Values::of(x);
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            out.par_chunks_mut(PIECE).zip(x.as_slice().par_chunks(PIECE)).for_each(|(out, x)| {
                pulp::Arch::new().dispatch(|| {
                    out.iter_mut().zip(x).for_each(|(out, x)| _ = out.write(x / (1.0 + exp(-x))));
                });
            });
        };
        // SAFETY: both are cut alike and have as many elements, so each is written.
        unsafe { filled(x.shape(), write) }
    }

    fn silu_backward(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (x, gradient) = (Values::of(x), Values::of(gradient));
        assert_eq!(x.shape(), gradient.shape(), "a gradient has its output's shape");
        let write = |out: &mut [std::mem::MaybeUninit<f32>]| {
            let inputs = x.as_slice().par_chunks(PIECE).zip(gradient.as_slice().par_chunks(PIECE));
            out.par_chunks_mut(PIECE).zip(inputs).for_each(|(out, (x, gradient))| {
                pulp::Arch::new().dispatch(|| {
                    for ((out, x), gradient) in out.iter_mut().zip(x).zip(gradient) {
                        let sigmoid = 1.0 / (1.0 + exp(-x));
                        out.write(gradient * sigmoid * (1.0 + x * (1.0 - sigmoid)));
                    }
                });
            });
        };
        // SAFETY: all three are cut alike and have as many elements, so each is written.
        unsafe { filled(x.shape(), write) }
    }
}

impl<B: SiluBackend, C: CheckpointStrategy> SiluBackend for Autodiff<B, C> {
    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Silu;
        impl<B: SiluBackend> Backward<B, 1> for Silu {
            type State = NodeId;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = grads.consume::<B>(&ops.node);
                let x: FloatTensor<B> = checkpointer.retrieve_node_output(ops.state);
                if let Some(parent) = parent {
                    grads.register::<B>(parent.id, B::silu_backward(x, gradient));
                }
            }
        }
        match Silu.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::silu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::silu(x.into_primitive())),
        }
    }

    fn silu_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    use super::*;

    /// Output and gradient of `f` at `x`, for the loss `sum(f(x) * towards)`.
    fn both(f: impl Fn(Tensor<2>) -> Tensor<2>, x: &Tensor<2>, towards: &Tensor<2>) -> [burn::tensor::TensorData; 2] {
        let x = Tensor::<2>::from_data(x.to_data(), &Device::flex().autodiff()).require_grad();
        let towards = Tensor::<2>::from_data(towards.to_data(), &Device::flex().autodiff());
        let y = f(x.clone());
        let mut grads = (y.clone() * towards).sum().backward();
        [y.into_data(), x.grad_remove(&mut grads).unwrap().into_data()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_the_composition_with_its_gradient(rows in 1usize..40, columns in 1usize..1200, scale in 0.1f64..30.0) {
            let device = Device::flex();
            let random = || Tensor::<2>::random([rows, columns], Distribution::Normal(0.0, scale), &device);
            let (x, towards) = (random(), random());
            let close = Tolerance::<f32>::rel_abs(1e-5, 1e-6 * scale as f32);
            for (ours, plain) in both(silu, &x, &towards).iter().zip(&both(activation::silu, &x, &towards)) {
                ours.assert_approx_eq::<f32>(plain, close);
            }
        }
    }

    #[test]
    fn views_and_half_precision_are_taken() {
        let device = Device::flex();
        let x = Tensor::<2>::random([5, 7], Distribution::Default, &device);
        silu(x.clone().transpose()).into_data().assert_eq(&silu(x.clone()).transpose().into_data(), true);
        let half = silu(x.clone().cast(burn::tensor::FloatDType::F16)).cast(burn::tensor::FloatDType::F32);
        half.into_data().assert_approx_eq::<f32>(&silu(x).into_data(), Tolerance::absolute(1e-3));
    }
}
