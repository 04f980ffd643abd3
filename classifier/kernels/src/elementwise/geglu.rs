//! The gated linear unit with GELU, forward and backward in one pass each.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

use crate::elementwise::function::{Function, Gelu};
use crate::isa::vectorized;
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::values::{PIECE, Values};
use crate::{applies, gelu};

/// `value * gelu(gate)` (Shazeer 2020, GEGLU); values and gates are the halves of the last axis.
///
/// # Shapes
/// - x: `[.., 2 C]`
/// - output: `[.., C]`
///
/// # Panics
/// If the last axis is empty or of odd length.
pub fn geglu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let width = x.dims()[D - 1];
    assert!(width > 0 && width.is_multiple_of(2), "{width} is no pair of values and gates");
    if applies(&x) && x.shape().num_elements() > 0 {
        Tensor::from_dispatch(Dispatch::geglu(x.into_dispatch()))
    } else {
        compose(x)
    }
}

fn compose<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let width = x.dims()[D - 1] / 2;
    x.clone().narrow(D - 1, 0, width) * gelu(x.narrow(D - 1, width, width))
}

/// Backends with the kernel.
#[backend_extension(Flex, Autodiff)]
pub trait GegluBackend: Backend {
    /// The values times the activated gates.
    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient w.r.t. `x`, from that w.r.t. the output.
    fn geglu_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Length of the last axis, and rows that a thread takes at a time.
fn cut(shape: &Shape) -> [usize; 2] {
    let width = shape[shape.num_dims() - 1];
    [width, (PIECE / width).max(1)]
}

impl GegluBackend for Flex {
    fn geglu(x: FlexTensor) -> FlexTensor {
        by_float!(x, E => forward::<E>(x))
    }

    fn geglu_backward(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        by_float!(x, E => backward::<E>(x, gradient))
    }
}

fn forward<E: Float>(x: FlexTensor) -> FlexTensor {
    let x = Values::<E>::of(x);
    let mut shape = x.shape();
    let [width, rows] = cut(&shape);
    let last = shape.num_dims() - 1;
    shape[last] = width / 2;
    let mut output = Output::<E>::new(shape);
    let mut whole = output.whole();
    let pieces = whole.par_chunks(rows * width / 2).zip(x.as_slice().par_chunks(rows * width));
    pieces.for_each(|(mut out, x)| {
        vectorized!({
            for x in x.chunks(width) {
                let (value, gate) = x.split_at(width / 2);
                out.append(
                    width / 2,
                    value.iter().zip(gate).map(
                        #[inline(always)]
                        |(value, gate)| value.wide() * Gelu::value(gate.wide()),
                    ),
                );
            }
        });
    });
    drop(whole);
    output.tensor()
}

fn backward<E: Float>(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let (x, gradient) = (Values::<E>::of(x), Values::<E>::of(gradient));
    let [width, rows] = cut(&x.shape());
    assert_eq!(x.as_slice().len(), 2 * gradient.as_slice().len(), "a gradient has its output's shape");
    let mut output = Output::<E>::new(x.shape());
    let mut whole = output.whole();
    let inputs = x.as_slice().par_chunks(rows * width).zip(gradient.as_slice().par_chunks(rows * width / 2));
    whole.par_chunks(rows * width).zip(inputs).for_each(|(mut out, (x, gradient))| {
        vectorized!({
            for (x, gradient) in x.chunks(width).zip(gradient.chunks(width / 2)) {
                let (value, gate) = x.split_at(width / 2);
                let each = value.iter().zip(gate).zip(gradient);
                // By the value, and by the gate.
                let pulls = each.map(
                    #[inline(always)]
                    |((value, gate), gradient)| {
                        let [value, gate, gradient] = [value, gate, gradient].map(|x| x.wide());
                        [gradient * Gelu::value(gate), gradient * value * Gelu::slope(gate)]
                    },
                );
                out.append_pairs(width / 2, pulls);
            }
        });
    });
    drop(whole);
    output.tensor()
}

impl<B: GegluBackend, C: CheckpointStrategy> GegluBackend for Autodiff<B, C> {
    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Geglu;
        impl<B: GegluBackend> Backward<B, 1> for Geglu {
            type State = NodeId;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = grads.consume::<B>(&ops.node);
                let x: FloatTensor<B> = checkpointer.retrieve_node_output(ops.state);
                if let Some(parent) = parent {
                    grads.register::<B>(parent.id, B::geglu_backward(x, gradient));
                }
            }
        }
        match Geglu.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::geglu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::geglu(x.into_primitive())),
        }
    }

    fn geglu_backward(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Draws, assert_rounded, brain, numbers, tracked_alike, wide, with_gradients};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_the_composition_with_its_gradient(batch in 1usize..4, rows in 1usize..30, width in 1usize..300, seed: u64) {
            let x: Tensor<3> = Draws::new(seed).tensor([batch, rows, 2 * width], Distribution::Normal(0.0, 2.0));
            let ours = with_gradients([x.clone()], |[x]| geglu(x));
            let plain = with_gradients([x], |[x]| compose(x));
            for (ours, plain) in ours.iter().zip(&plain) {
                // Two roundings of products up to about 50.
                ours.assert_approx_eq::<f32>(plain, Tolerance::rel_abs(1e-6, 1e-6));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn brain_floats_are_rounded_once(batch in 1usize..4, rows in 1usize..30, width in 1usize..300, seed: u64) {
            let mut draws = Draws::new(seed);
            let x = brain(&draws.tensor::<3>([batch, rows, 2 * width], Distribution::Normal(0.0, 2.0)));
            let towards = brain(&draws.normal([batch, rows, width]));
            let run = |x: &Tensor<3>, towards: &Tensor<3>| {
                let dtype = x.dtype();
                let x = tracked_alike(x);
                let output = geglu(x.clone());
                let mut grads = (output.clone() * towards.clone().autodiff()).sum().backward();
                [output, x.grad_remove(&mut grads).unwrap()].map(|x| numbers(x, dtype))
            };
            let (got, exact) = (run(&x, &towards), run(&wide(&x), &wide(&towards)));
            assert_rounded("output", &got[0], &exact[0]);
            assert_rounded("gradient", &got[1], &exact[1]);
        }
    }

    #[test]
    fn views_are_taken() {
        let x: Tensor<3> = Draws::new(1).tensor([2, 6, 5], Distribution::Default);
        let copy = Tensor::<3>::from_data(x.clone().swap_dims(1, 2).to_data(), &Device::flex());
        geglu(x.swap_dims(1, 2)).into_data().assert_eq(&geglu(copy).into_data(), true);
    }
}
