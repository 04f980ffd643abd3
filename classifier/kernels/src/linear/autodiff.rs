//! The kernel's backward pass.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::LinearBackend;

/// The backward pass; with a bias it has a third parent.
#[derive(Debug)]
struct Linear;

impl<B: LinearBackend, const N: usize> Backward<B, N> for Linear {
    /// Input and weight, as far as the other's gradient needs them.
    type State = [Option<NodeId>; 2];

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let kept = ops.state.map(|kept| kept.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node)));
        let kept = |i: usize| kept[i].clone().expect("what a tracked parent's gradient needs is kept");
        for (parent, node) in ops.parents.into_iter().enumerate().filter_map(|(i, node)| Some((i, node?))) {
            let gradient = gradient.clone();
            let gradient = match parent {
                0 => B::linear_by_input(kept(1), gradient),
                1 => B::linear_by_weight(kept(0), gradient),
                _ => B::linear_by_bias(gradient),
            };
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: LinearBackend, C: CheckpointStrategy> LinearBackend for Autodiff<B, C> {
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let parents = [x.node(), weight.node()];
        tracked::<B, C, _>(parents, [x, weight], B::linear_map)
    }

    fn affine_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let parents = [x.node(), weight.node(), bias.node()];
        tracked::<B, C, _>(parents, [x, weight], |x, weight| B::affine_map(x, weight, bias.into_primitive()))
    }

    fn linear_by_input(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }

    fn linear_by_weight(_: FloatTensor<Self>, _: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }

    fn linear_by_bias(_: FloatTensor<Self>) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }
}

/// An output with its parents: input and weight, and a bias if it has one.
fn tracked<B: LinearBackend, C: CheckpointStrategy, const N: usize>(
    parents: [NodeGuard; N],
    [x, weight]: [FloatTensor<Autodiff<B, C>>; 2],
    output: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>> {
    // A frozen weight needs no input to be kept, nor an input without gradient the weight.
    let [by_x, by_weight] = [x.is_tracked(), weight.is_tracked()];
    match Backward::<B, N>::prepare::<C>(Linear, parents).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = [by_weight.then(|| prep.checkpoint(&x)), by_x.then(|| prep.checkpoint(&weight))];
            prep.finish(kept, output(x.into_primitive(), weight.into_primitive()))
        }
        OpsKind::UnTracked(prep) => prep.finish(output(x.into_primitive(), weight.into_primitive())),
    }
}
