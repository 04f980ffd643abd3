//! The kernel's backward pass.

use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::tensor::ops::ConvOptions;

use super::ConvolutionBackend;

/// Input, weight and settings, as kept for the backward pass.
type Kept = (NodeId, NodeId, ConvOptions<2>);

/// The backward pass; with a bias it has a third parent.
#[derive(Debug)]
struct Convolution;

impl Convolution {
    fn backward<B: ConvolutionBackend, const N: usize>(
        ops: Ops<Kept, N>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let (input, weight, options) = ops.state;
        let input: FloatTensor<B> = checkpointer.retrieve_node_output(input);
        let weight: FloatTensor<B> = checkpointer.retrieve_node_output(weight);
        let [input_dims, weight_dims] = [input.shape().dims(), weight.shape().dims()];
        for (parent, node) in ops.parents.into_iter().enumerate().filter_map(|(i, node)| Some((i, node?))) {
            let gradient = gradient.clone();
            let gradient = match parent {
                0 => B::convolve_by_input(weight.clone(), gradient, input_dims, options.clone()),
                1 => B::convolve_by_weight(input.clone(), gradient, weight_dims, options.clone()),
                _ => B::convolve_by_bias(gradient),
            };
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: ConvolutionBackend, const N: usize> Backward<B, N> for Convolution {
    type State = Kept;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        Self::backward::<B, N>(ops, grads, checkpointer);
    }
}

impl<B: ConvolutionBackend, C: CheckpointStrategy> ConvolutionBackend for Autodiff<B, C> {
    fn convolve(input: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        let parents = [input.node(), weight.node()];
        let output = |input, weight, options| B::convolve(input, weight, options);
        tracked::<B, C, _>(parents, [input, weight], options, output)
    }

    fn convolve_biased(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let parents = [input.node(), weight.node(), bias.node()];
        let output = |input, weight, options| B::convolve_biased(input, weight, bias.into_primitive(), options);
        tracked::<B, C, _>(parents, [input, weight], options, output)
    }

    fn convolve_by_input(_: FloatTensor<Self>, _: FloatTensor<Self>, _: [usize; 4], _: ConvOptions<2>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }

    fn convolve_by_weight(_: FloatTensor<Self>, _: FloatTensor<Self>, _: [usize; 4], _: ConvOptions<2>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }

    fn convolve_by_bias(_: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }
}

/// An output with its parents: input and weight, and a bias if it has one.
fn tracked<B: ConvolutionBackend, C: CheckpointStrategy, const N: usize>(
    parents: [NodeGuard; N],
    [input, weight]: [FloatTensor<Autodiff<B, C>>; 2],
    options: ConvOptions<2>,
    output: impl FnOnce(FloatTensor<B>, FloatTensor<B>, ConvOptions<2>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    match Backward::<B, N>::prepare::<C>(Convolution, parents).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = (prep.checkpoint(&input), prep.checkpoint(&weight), options.clone());
            prep.finish(kept, output(input.into_primitive(), weight.into_primitive(), options))
        }
        OpsKind::UnTracked(prep) => prep.finish(output(input.into_primitive(), weight.into_primitive(), options)),
    }
}
