//! Attention as an extension of burn's backends, with its gradient.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::{BoolTensor, FloatTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};

/// The sizes of one attention; queries and results are `[B, Lq, heads * size]`, keys and values `[B, Lk, heads * size]`.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub(super) batch: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) heads: usize,
    /// Width of a head: numbers per token.
    pub(super) size: usize,
    pub(super) causal: bool,
}

impl Sizes {
    /// Numbers between a token and the next.
    pub(super) fn width(&self) -> usize {
        self.heads * self.size
    }

    /// Whether all scores at once take little memory: at most 4 MiB in 32 bits, or twice what queries take.
    pub(super) fn has_few_scores(&self) -> bool {
        let scores = self.batch * self.heads * self.queries * self.keys;
        scores <= 1 << 20 || self.keys <= 2 * self.size
    }

    /// `1 / sqrt(size)`
    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }
}

/// Which keys are seen.
#[derive(Clone, Debug, ExtensionType)]
#[extension_type(fusion: cfg(feature = "gpu"))]
pub enum Seen<B: Backend> {
    /// Every key.
    All,
    /// `[B, Lk]`, true where a key may be seen.
    Keys(BoolTensor<B>),
}

/// Backends that attention is dispatched to.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "gpu"), Autodiff)]
pub trait AttentionBackend: Backend {
    /// The results `[B, Lq, heads * d]`.
    #[fusion(dtype = query, shape = query)]
    fn tiled_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] seen: Seen<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self>;
}

/// Backends on which it has a gradient.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Fusion: cfg(feature = "gpu"))]
pub trait TiledAttention: Backend {
    /// The results, and the logarithm of the sum of the exponentials of each query's scores: `[B, heads, Lq]`, of 32 bits or more.
    #[fusion(meta = |query, _key, _value, _seen, sizes| (query.clone(), norms_like(query, sizes)))]
    fn tiles(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] seen: Seen<Self>,
        sizes: Sizes,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients w.r.t. query, key and value, from those and what [`tiles`](Self::tiles) made of them.
    #[fusion(meta = |query, key, value, _seen, _results, _norms, _gradient, _sizes| (query.clone(), key.clone(), value.clone()))]
    #[allow(
        clippy::too_many_arguments,
        reason = "extensions take tensors one by one; the macro copies this to where it is not needed"
    )]
    fn tiles_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] seen: Seen<Self>,
        results: FloatTensor<Self>,
        norms: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        sizes: Sizes,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// What [`tiles`](TiledAttention::tiles) gives beside the results.
#[cfg(feature = "gpu")]
fn norms_like(query: &burn::backend::fusion::custom::TensorSpec, sizes: &Sizes) -> burn::backend::fusion::custom::TensorSpec {
    let shape = burn::tensor::Shape::new([sizes.batch, sizes.heads, sizes.queries]);
    burn::backend::fusion::custom::TensorSpec::new(shape, super::chunks::wide(query.dtype).into())
}

impl<B: TiledAttention + AttentionBackend, C: CheckpointStrategy> AttentionBackend for Autodiff<B, C> {
    fn tiled_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        seen: Seen<Self>,
        sizes: Sizes,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Attend;
        impl<B: TiledAttention> Backward<B, 3> for Attend {
            type State = ([NodeId; 3], Seen<B>, [FloatTensor<B>; 2], Sizes);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                let (inputs, seen, [results, norms], sizes) = ops.state;
                let [query, key, value] = inputs.map(|input| checkpointer.retrieve_node_output(input));
                let (query, key, value) = B::tiles_backward(query, key, value, seen, results, norms, gradient, sizes);
                for (parent, gradient) in ops.parents.into_iter().zip([query, key, value]) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
        let seen = match seen {
            Seen::All => Seen::All,
            Seen::Keys(keys) => Seen::Keys(keys),
        };
        let inputs = [query, key, value];
        let nodes = inputs.each_ref().map(|input| input.node());
        match Attend.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let saved = inputs.each_ref().map(|input| prep.checkpoint(input));
                let [query, key, value] = inputs.map(|input| input.into_primitive());
                let (results, norms) = B::tiles(query, key, value, seen.clone(), sizes);
                prep.finish((saved, seen, [results.clone(), norms], sizes), results)
            }
            OpsKind::UnTracked(prep) => {
                let [query, key, value] = inputs.map(|input| input.into_primitive());
                prep.finish(B::tiled_attention(query, key, value, seen, sizes))
            }
        }
    }
}
