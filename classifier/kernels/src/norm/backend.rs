//! Group, batch and layer norm with the activation after them as one operation on backends, with its gradients.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};

use super::problem::{Input, Norm, Over, Pulled};
use super::{batch, group, layer};
use crate::elementwise::function::by_function;
use crate::memory::float::{Float, by_float};
use crate::memory::values::{Values, vector, vector_like, wide_vector};

/// Backends with the kernels.
#[backend_extension(Flex, Autodiff)]
pub trait NormBackend: Backend {
    /// The output; and mean and biased variance of all that was normalised together, `[groups, 2]`. No gradient goes to these.
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The gradients w.r.t. `x`, `gamma` and `beta`, from the statistics and the gradient w.r.t. the output.
    fn norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The operation on tensors that the kernels compute: the output and the statistics.
pub(crate) fn apply<const D: usize>(x: Tensor<D>, [gamma, beta]: [Tensor<1>; 2], norm: Norm) -> (Tensor<D>, Tensor<2>) {
    let (output, statistics) = Dispatch::norm(x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch(), norm);
    (Tensor::from_dispatch(output), Tensor::from_dispatch(statistics))
}

impl NormBackend for Flex {
    fn norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, norm: Norm) -> (FlexTensor, FlexTensor) {
        by_float!(x, E => normalise::<E>(x, [gamma, beta], norm))
    }

    fn norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        statistics: FlexTensor,
        gradient: FlexTensor,
        norm: Norm,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        by_float!(x, E => pull::<E>([x, gradient], [gamma, beta], statistics, norm))
    }
}

fn normalise<E: Float>(x: FlexTensor, affine: [FlexTensor; 2], norm: Norm) -> (FlexTensor, FlexTensor) {
    let [gamma, beta] = affine.map(wide_vector);
    let input = Input { x: Values::<E>::of(x), gamma, beta, epsilon: norm.epsilon };
    let (output, statistics) = by_function!(norm.activation, F => match norm.over {
        Over::Groups(groups) => group::forward::<E, F>(&input, groups),
        Over::Batch => batch::forward::<E, F>(&input),
        Over::Last => layer::forward::<E, F>(&input),
    });
    let groups = statistics.len() / 2;
    (output, vector(statistics).reshape(Shape::new([groups, 2])))
}

fn pull<E: Float>(
    [x, gradient]: [FlexTensor; 2],
    affine: [FlexTensor; 2],
    statistics: FlexTensor,
    norm: Norm,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let (x, gradient, statistics) = (Values::<E>::of(x), Values::<E>::of(gradient), Values::of(statistics));
    assert_eq!(x.shape(), gradient.shape(), "a gradient has its output's shape");
    let types = affine.each_ref().map(FlexTensor::dtype);
    let [gamma, beta] = affine.map(wide_vector);
    let pulled = Pulled { input: Input { x, gamma, beta, epsilon: norm.epsilon }, statistics, gradient };
    let (x, sums) = by_function!(norm.activation, F => match norm.over {
        Over::Groups(groups) => group::backward::<E, F>(&pulled, groups),
        Over::Batch => batch::backward::<E, F>(&pulled),
        Over::Last => layer::backward::<E, F>(&pulled),
    });
    let [of_gamma, of_beta] = sums;
    (x, vector_like(types[0], of_gamma.into_iter()), vector_like(types[1], of_beta.into_iter()))
}

impl<B: NormBackend, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        #[derive(Debug)]
        struct Normalise;
        impl<B: NormBackend> Backward<B, 3> for Normalise {
            type State = ([NodeId; 3], FloatTensor<B>, Norm);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                let (inputs, statistics, norm) = ops.state;
                let [x, gamma, beta] = inputs.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
                let (x, gamma, beta) = B::norm_backward(x, gamma, beta, statistics, gradient, norm);
                for (parent, gradient) in ops.parents.into_iter().zip([x, gamma, beta]) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
        let nodes = [x.node(), gamma.node(), beta.node()];
        match Normalise.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [&x, &gamma, &beta].map(|input| prep.checkpoint(input));
                let (output, statistics) = B::norm(x.into_primitive(), gamma.into_primitive(), beta.into_primitive(), norm);
                (prep.finish((inputs, statistics.clone(), norm), output), Self::from_inner(statistics))
            }
            OpsKind::UnTracked(prep) => {
                let (output, statistics) = B::norm(x.into_primitive(), gamma.into_primitive(), beta.into_primitive(), norm);
                (prep.finish(output), Self::from_inner(statistics))
            }
        }
    }

    fn norm_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("gradients of gradients are not computed");
    }
}
