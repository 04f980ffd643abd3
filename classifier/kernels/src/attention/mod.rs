//! Scaled dot-product attention over several heads, forward and backward, without ever holding a matrix of scores.

mod backward;
mod forward;
mod panels;
mod problem;
mod softmax;
mod tile;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::module::attention as composed;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Shape, Tensor};
use burn_flex::{Flex, FlexTensor};

use self::backward::{Outputs, Pass};
use self::forward::{Inputs, forward};
pub use self::problem::Problem;
use crate::applies;
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::values::Values;

/// What a query may attend to.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    /// No token sees a later one (CLIP's text model). Where keys and queries differ in number, the last query sees the last key.
    pub causal: bool,
    /// `[B, Lk]`, true where the token may be seen; `None` sees all. A row that sees none attends to zeros.
    pub keys: Option<Tensor<2, Bool>>,
}

/// `softmax(Q Kᵀ / sqrt(d)) V` for each of `heads` equal parts of the last axis (Vaswani et al. 2017, equation 1).
///
/// On the CPU it is computed tile by tile (Dao et al. 2022), and the backward pass computes the scores again: memory grows with
/// the number of tokens, not with its square.
///
/// # Shapes
/// - query: `[B, Lq, heads * d]`; key, value: `[B, Lk, heads * d]`
/// - output: `[B, Lq, heads * d]`
///
/// # Panics
/// If `heads` does not divide the width, or batch, width or number of keys differ, also in what is visible.
pub fn attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize, visible: &Visible) -> Tensor<3> {
    let [batch, queries, width] = query.dims();
    let keys = key.dims()[1];
    assert!(heads > 0 && width.is_multiple_of(heads), "{heads} heads do not divide a width of {width}");
    assert_eq!(
        [key.dims(), value.dims()],
        [[batch, keys, width]; 2],
        "keys and values for queries of [{batch}, {queries}, {width}]"
    );
    if let Some(seen) = &visible.keys {
        assert_eq!(seen.dims(), [batch, keys], "which of [batch, keys] are seen");
    }
    let alike = [&key, &value].into_iter().all(|x| x.dtype() == query.dtype());
    if !alike || !applies(&query) || batch * queries * keys * width == 0 {
        return composition(query, key, value, heads, visible);
    }
    let seen = visible.keys.clone().map(|seen| seen.into_data().iter::<bool>().collect());
    let problem = Problem { batch, queries, keys, heads, size: width / heads, causal: visible.causal, seen };
    let [query, key, value] = [query, key, value].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::tiled_attention(query, key, value, problem))
}

/// The same by burn's operations.
fn composition(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, heads: usize, visible: &Visible) -> Tensor<3> {
    let [batch, queries, width] = query.dims();
    let keys = key.dims()[1];
    let split = |x: Tensor<3>| {
        let length = x.dims()[1];
        x.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
    };
    let hidden = visible.keys.clone().map(|seen| {
        let hidden: Tensor<4, Bool> = seen.bool_not().reshape([batch, 1, 1, keys]);
        hidden.expand([batch, heads, queries, keys])
    });
    let options = AttentionModuleOptions { is_causal: visible.causal, ..Default::default() };
    let x = composed(split(query), split(key), split(value), hidden, None, options);
    x.swap_dims(1, 2).reshape([batch, queries, width])
}

/// Backends that attention is dispatched to.
#[backend_extension(Flex, Autodiff)]
pub trait AttentionBackend: Backend {
    /// The results `[B, Lq, heads * d]`.
    fn tiled_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        problem: Problem,
    ) -> FloatTensor<Self>;
}

/// Backends with the kernel.
pub trait TiledAttention: AttentionBackend {
    /// From query, key and value: the results, and the logarithm of the sum of the exponentials of each query's scores
    /// `[B, heads, Lq]`.
    fn tiles(inputs: [FloatTensor<Self>; 3], problem: &Problem) -> [FloatTensor<Self>; 2];

    /// The gradients w.r.t. query, key and value, from those and what [`tiles`](Self::tiles) made of them.
    fn tiles_backward(
        inputs: [FloatTensor<Self>; 3],
        outputs: [FloatTensor<Self>; 2],
        gradient: FloatTensor<Self>,
        problem: &Problem,
    ) -> [FloatTensor<Self>; 3];
}

impl AttentionBackend for Flex {
    fn tiled_attention(query: FlexTensor, key: FlexTensor, value: FlexTensor, problem: Problem) -> FlexTensor {
        let [results, _] = Self::tiles([query, key, value], &problem);
        results
    }
}

impl TiledAttention for Flex {
    fn tiles(inputs: [FlexTensor; 3], problem: &Problem) -> [FlexTensor; 2] {
        by_float!(inputs[0], E => attend::<E>(inputs, problem))
    }

    fn tiles_backward(
        inputs: [FlexTensor; 3],
        outputs: [FlexTensor; 2],
        gradient: FlexTensor,
        problem: &Problem,
    ) -> [FlexTensor; 3] {
        by_float!(gradient, E => pull::<E>(inputs, outputs, gradient, problem))
    }
}

fn attend<E: Float>(inputs: [FlexTensor; 3], problem: &Problem) -> [FlexTensor; 2] {
    let inputs = inputs.map(Values::<E>::of);
    let results = Output::<E>::new(inputs[0].shape());
    let norms = Output::<f32>::new(Shape::new([problem.batch, problem.heads, problem.queries]));
    forward(problem, Inputs::of(&inputs), results.places(), norms.places());
    [results.tensor(), norms.tensor()]
}

fn pull<E: Float>(
    inputs: [FlexTensor; 3],
    [results, norms]: [FlexTensor; 2],
    gradient: FlexTensor,
    problem: &Problem,
) -> [FlexTensor; 3] {
    let inputs = inputs.map(Values::<E>::of);
    let (results, norms, gradient) = (Values::<E>::of(results), Values::<f32>::of(norms), Values::<E>::of(gradient));
    let outputs = Outputs { results: results.as_slice(), norms: norms.as_slice(), gradient: gradient.as_slice() };
    let [key, value] = [1, 2].map(|i| Output::<E>::new(inputs[i].shape()));
    let (towards_key, towards_value) = (key.places(), value.places());
    let query = Pass { problem, inputs: Inputs::of(&inputs), outputs, towards_key, towards_value }.run(inputs[0].shape());
    [query, key.tensor(), value.tensor()]
}

impl<B: TiledAttention, C: CheckpointStrategy> AttentionBackend for Autodiff<B, C> {
    fn tiled_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        problem: Problem,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Attend;
        impl<B: TiledAttention> Backward<B, 3> for Attend {
            type State = ([NodeId; 3], [FloatTensor<B>; 2], Problem);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                let (inputs, outputs, problem) = ops.state;
                let inputs = inputs.map(|input| checkpointer.retrieve_node_output(input));
                let gradients = B::tiles_backward(inputs, outputs, gradient, &problem);
                for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
        let inputs = [query, key, value];
        let nodes = inputs.each_ref().map(|input| input.node());
        match Attend.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = inputs.each_ref().map(|input| prep.checkpoint(input));
                let [results, norms] = B::tiles(inputs.map(|input| input.into_primitive()), &problem);
                prep.finish((saved, [results.clone(), norms], problem), results)
            }
            OpsKind::UnTracked(prep) => {
                let [query, key, value] = inputs.map(|input| input.into_primitive());
                prep.finish(B::tiled_attention(query, key, value, problem))
            }
        }
    }
}

#[cfg(test)]
mod brain_tests;
#[cfg(test)]
mod tests;
