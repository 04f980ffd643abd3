//! Activations on all threads, forward and backward in one pass each.

use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu as burn_gelu, relu as burn_relu, sigmoid, silu as burn_silu};
use burn_flex::{Flex, FlexTensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::applies;
use crate::elementwise::function::{Activation, Function, QUICK, by_function};
use crate::isa::{self, vectorized};
use crate::memory::float::{Float, by_float};
use crate::memory::output::{Block, Output};
use crate::memory::values::{PIECE, Values, overwritable};

impl Activation {
    /// The function of every element; in one pass on the CPU.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            _ if applies(&x) => Tensor::from_dispatch(Dispatch::activate(x.into_dispatch(), self)),
            _ => self.compose(x),
        }
    }

    /// The same by burn's own operations.
    pub(crate) fn compose<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => x,
            Self::Relu => burn_relu(x),
            Self::Silu => burn_silu(x),
            Self::Gelu => burn_gelu(x),
            Self::QuickGelu => x.clone() * sigmoid(x * QUICK),
        }
    }
}

/// [`Activation::Relu`]
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Relu.forward(x)
}

/// [`Activation::Silu`]
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Silu.forward(x)
}

/// [`Activation::Gelu`]
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::Gelu.forward(x)
}

/// [`Activation::QuickGelu`]
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Activation::QuickGelu.forward(x)
}

/// Backends with the kernel.
#[backend_extension(Flex, Autodiff)]
pub trait ActivationBackend: Backend {
    /// The function of every element.
    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
    /// The gradient w.r.t. `x`, from that w.r.t. the output.
    fn activate_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
}

impl ActivationBackend for Flex {
    fn activate(x: FlexTensor, activation: Activation) -> FlexTensor {
        by_float!(x, E => by_function!(activation, F => forward::<E, F>(x)))
    }

    fn activate_backward(x: FlexTensor, gradient: FlexTensor, activation: Activation) -> FlexTensor {
        by_float!(x, E => by_function!(activation, F => backward::<E, F>(x, gradient)))
    }
}

fn forward<E: Float, F: Function>(mut x: FlexTensor) -> FlexTensor {
    if let Some(values) = overwritable::<E>(&mut x) {
        values.par_chunks_mut(PIECE).for_each(|values| {
            vectorized!(values.iter_mut().for_each(|x| *x = E::rounded(F::value(x.wide()))));
        });
        return x;
    }
    let x = Values::<E>::of(x);
    let mut output = Output::<E>::new(x.shape());
    output.whole().par_chunks(PIECE).zip(x.as_slice().par_chunks(PIECE)).for_each(|(mut out, x)| {
        isa::run(Append { out: &mut out, x, function: PhantomData::<F> });
    });
    output.tensor()
}

/// Appends the function of every element.
struct Append<'a, 'b, E, F> {
    out: &'a mut Block<'b, E>,
    x: &'a [E],
    function: PhantomData<F>,
}

impl<E: Float, F: Function> WithSimd for Append<'_, '_, E, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.out.append(self.x.len(), self.x.iter().map(|x| F::value(x.wide())));
    }
}

fn backward<E: Float, F: Function>(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let (x, gradient) = (Values::<E>::of(x), Values::<E>::of(gradient));
    assert_eq!(x.shape(), gradient.shape(), "a gradient has its output's shape");
    let mut output = Output::<E>::new(x.shape());
    let inputs = x.as_slice().par_chunks(PIECE).zip(gradient.as_slice().par_chunks(PIECE));
    output.whole().par_chunks(PIECE).zip(inputs).for_each(|(mut out, (x, gradient))| {
        let pulls = x.iter().zip(gradient).map(
            #[inline(always)]
            |(x, gradient)| gradient.wide() * F::slope(x.wide()),
        );
        vectorized!(_ = out.append(x.len(), pulls));
    });
    output.tensor()
}

/// Computes an output again where gradients are checkpointed.
#[derive(Debug)]
struct Again<B> {
    x: NodeId,
    activation: Activation,
    backend: PhantomData<B>,
}

impl<B: ActivationBackend> RetroForward for Again<B> {
    fn forward(&self, states: &mut BackwardStates, output: NodeId) {
        let x: FloatTensor<B> = states.get_state(&self.x);
        states.save(output, B::activate(x, self.activation));
    }
}

impl<B: ActivationBackend, C: CheckpointStrategy> ActivationBackend for Autodiff<B, C> {
    fn activate(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Activate;
        impl<B: ActivationBackend> Backward<B, 1> for Activate {
            type State = (NodeId, Activation);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = grads.consume::<B>(&ops.node);
                let (x, activation) = ops.state;
                let x: FloatTensor<B> = checkpointer.retrieve_node_output(x);
                if let Some(parent) = parent {
                    grads.register::<B>(parent.id, B::activate_backward(x, gradient, activation));
                }
            }
        }
        let again = Again::<B> { x: x.id(), activation, backend: PhantomData };
        match Activate.prepare::<C>([x.node()]).memory_bound().retro_forward(again).parents([&x]).stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), activation);
                prep.finish(state, B::activate(x.into_primitive(), activation))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::activate(x.into_primitive(), activation)),
        }
    }

    fn activate_backward(_: FloatTensor<Self>, _: FloatTensor<Self>, _: Activation) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, Distribution, FloatDType, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Draws, assert_rounded, brain, numbers, tracked_alike, wide, with_gradients};

    const ALL: [Activation; 4] = [Activation::Relu, Activation::Silu, Activation::Gelu, Activation::QuickGelu];

    /// burn's derivative of GELU is that of the approximation by tanh; this is the definition.
    fn composition(activation: Activation, x: Tensor<2>) -> Tensor<2> {
        match activation {
            Activation::Gelu => x.clone() * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
            _ => activation.compose(x),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_the_composition_with_its_gradient(rows in 1usize..40, columns in 1usize..1200, scale in 0.1f64..30.0, seed: u64) {
            let x: Tensor<2> = Draws::new(seed).tensor([rows, columns], Distribution::Normal(0.0, scale));
            // A few units in the last place, of values that are sums of two of this size.
            let close = Tolerance::<f32>::rel_abs(1e-5, 1e-6 * scale.max(1.0) as f32);
            for activation in ALL {
                let ours = with_gradients([x.clone()], |[x]| activation.forward(x));
                let plain = with_gradients([x.clone()], |[x]| composition(activation, x));
                for (ours, plain) in ours.iter().zip(&plain) {
                    ours.assert_approx_eq::<f32>(plain, close);
                }
            }
        }
    }

    #[test]
    fn views_and_half_precision_are_taken() {
        let x: Tensor<2> = Draws::new(1).tensor([5, 7], Distribution::Default);
        for activation in ALL {
            let plain = activation.forward(x.clone());
            activation.forward(x.clone().transpose()).into_data().assert_eq(&plain.clone().transpose().into_data(), true);
            let half = activation.forward(x.clone().cast(FloatDType::F16)).cast(FloatDType::F32);
            half.into_data().assert_approx_eq::<f32>(&plain.into_data(), Tolerance::absolute(1e-3));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn brain_floats_are_rounded_once(rows in 1usize..40, columns in 1usize..1200, scale in 0.1f64..30.0, seed: u64) {
            let mut draws = Draws::new(seed);
            let x = brain(&draws.tensor::<2>([rows, columns], Distribution::Normal(0.0, scale)));
            let towards = brain(&draws.normal([rows, columns]));
            for activation in ALL {
                let run = |x: &Tensor<2>, towards: &Tensor<2>| {
                    let dtype = x.dtype();
                    let x = tracked_alike(x);
                    let output = activation.forward(x.clone());
                    let mut grads = (output.clone() * towards.clone().autodiff()).sum().backward();
                    [output, x.grad_remove(&mut grads).unwrap()].map(|x| numbers(x, dtype))
                };
                let (got, exact) = (run(&x, &towards), run(&wide(&x), &wide(&towards)));
                assert_rounded("output", &got[0], &exact[0]);
                assert_rounded("gradient", &got[1], &exact[1]);
                // With nobody else who holds it.
                let copy = Tensor::<2>::from_data(x.to_data(), (&x.device(), x.dtype()));
                assert_rounded("in place", &numbers(activation.forward(copy), DType::BF16), &exact[0]);
            }
        }
    }

    #[test]
    fn a_tensor_that_is_held_elsewhere_is_not_overwritten() {
        let device = Device::flex();
        let x = Tensor::<1>::from_floats([-1.0, 2.0], &device);
        let kept = x.clone();
        let first: Vec<f32> = relu(x).into_data().try_to_vec().unwrap();
        assert_eq!(first, [0.0, 2.0]);
        assert_eq!(kept.clone().into_data().try_to_vec::<f32>().unwrap(), [-1.0, 2.0]);
        assert_eq!(relu(kept).into_data().try_to_vec::<f32>().unwrap(), first);
    }

    #[test]
    fn checkpointed_gradients_are_the_same() {
        let x: Tensor<2> = Draws::new(1).tensor([3, 5], Distribution::Normal(0.0, 2.0));
        let gradient = |device: Device| {
            let x = Tensor::<2>::from_data(x.to_data(), &device).require_grad();
            let mut grads = silu(gelu(x.clone())).sum().backward();
            x.grad_remove(&mut grads).expect("x requires one").into_data()
        };
        let plain = gradient(Device::flex().autodiff());
        gradient(Device::flex().autodiff().gradient_checkpointing()).assert_eq(&plain, true);
    }
}
