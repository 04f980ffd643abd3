//! A dense block's feature maps in one buffer, from which every layer reads and to which it adds its channels.
//!
//! Huang et al. (arXiv 1608.06993) concatenate all earlier maps for every layer: copies and activations that grow with the square
//! of the depth. Here new channels are written once, with their batch statistics, which later layers share because those of a batch
//! norm are per channel. The norm, ReLU and 1x1 convolution that begin a layer read the buffer tile by tile and keep nothing but
//! their output; gradients go through one buffer of the same shape, and tiles are normalised again there (Pleiss et al., arXiv
//! 1707.06990). What goes through a channel's mean and variance is a line in `x`, so it waits, summed over all layers, until the
//! layer that made the channel asks for its gradient.

mod bottleneck;
mod growth;
#[cfg(test)]
mod tests;
mod tile;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{FloatDType, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};

use crate::applies;
use crate::memory::float::{Float, by_float};
use crate::memory::values::{Values, vector, vector_like, wide_vector};
use crate::shapes::{check_filled, check_vectors};
use bottleneck::Bottleneck;
use growth::Growth;

/// The feature maps of a dense block so far, on the CPU.
#[derive(Debug)]
pub struct DenseFeatures {
    /// Carries no value; it gives the autodiff graph the order of operations.
    order: Tensor<1>,
    growth: Growth,
    channels: usize,
}

/// What a layer does to the maps so far, besides its weights.
#[derive(Clone, Copy, Debug)]
pub struct BottleneckOptions {
    /// Of the norm; added to the variance.
    pub epsilon: f64,
    /// The statistics are the batch's own, so that gradients go through them.
    pub of_batch: bool,
}

impl DenseFeatures {
    /// Whether blocks that begin with such maps can be computed here.
    #[must_use]
    pub fn take(x: &Tensor<4>) -> bool {
        applies(x)
    }

    /// `[B, C, H, W]`, with room for `capacity` channels; only where they are [taken](Self::take).
    ///
    /// # Panics
    /// If they are not taken, there are more channels than `capacity`, or an axis is empty.
    #[must_use]
    pub fn start(x: Tensor<4>, capacity: usize) -> Self {
        let [batch, _, height, width] = x.dims();
        check_filled("dense block", &x, 4);
        assert!(
            Self::take(&x),
            "dense block of {:?} in {:?}: only 32-bit and brain floats on the CPU are taken",
            x.dims(),
            x.dtype()
        );
        let growth = Growth::new([batch, capacity, height, width], x.dtype(), x.device().is_autodiff());
        let order = Tensor::zeros([1], &x.device());
        Self { order, growth, channels: 0 }.with(x)
    }

    /// With `[B, K, H, W]` more channels.
    ///
    /// # Panics
    /// If there is no room for them, or batch, height or width are others.
    #[must_use]
    pub fn with(self, x: Tensor<4>) -> Self {
        check_filled("dense block", &x, 4);
        let (at, new) = (self.channels, x.dims()[1]);
        let order = Dispatch::dense_put(self.order.into_dispatch(), x.into_dispatch(), at, self.growth.clone());
        Self { order: Tensor::from_dispatch(order), growth: self.growth, channels: at + new }
    }

    /// The type of the maps, which layers have to be of.
    #[must_use]
    pub fn dtype(&self) -> FloatDType {
        self.growth.with(|maps| maps.dtype()).into()
    }

    /// Values that a channel's statistics are of, `B * H * W`.
    #[must_use]
    pub fn count(&self) -> usize {
        self.growth.with(|maps| maps.batch * maps.plane())
    }

    /// Mean and biased variance of each channel over the batch, `[C]`; kept on an autodiff device only.
    #[must_use]
    pub fn statistics(&self) -> [Tensor<1>; 2] {
        let device = self.order.device();
        self.growth.statistics(self.channels).map(|values| Tensor::from_data(TensorData::new(values, [self.channels]), &device))
    }

    /// 1x1 convolution of `max(norm(x), 0)`.
    ///
    /// # Shapes
    /// - statistics (mean, variance) and affine (gamma, beta): `[C]` each
    /// - weight: `[O, C, 1, 1]`
    /// - output: `[B, O, H, W]`
    ///
    /// # Panics
    /// If a shape does not fit the channels so far.
    #[must_use]
    pub fn bottleneck(
        &self,
        statistics: [Tensor<1>; 2],
        affine: [Tensor<1>; 2],
        weight: Tensor<4>,
        options: BottleneckOptions,
    ) -> Tensor<4> {
        let ([mean, variance], [gamma, beta]) = (statistics, affine);
        let vectors = [("mean", &mean), ("variance", &variance), ("gamma", &gamma), ("beta", &beta)];
        check_filled("bottleneck's weight", &weight, 4);
        check_vectors("bottleneck", &weight, self.channels, &vectors);
        let dims = weight.dims();
        assert!(dims[1..] == [self.channels, 1, 1], "bottleneck of {} channels: the weight is {dims:?}", self.channels);
        let dtype = self.growth.with(|maps| maps.dtype());
        assert!(weight.dtype() == dtype, "bottleneck of {dtype:?}: the weight is of {:?}", weight.dtype());
        Tensor::from_dispatch(Dispatch::dense_bottleneck(
            self.order.clone().into_dispatch(),
            weight.into_dispatch(),
            gamma.into_dispatch(),
            beta.into_dispatch(),
            Tensor::stack::<2>(vec![mean, variance], 0).into_dispatch(),
            options,
            self.growth.clone(),
        ))
    }

    /// All channels, `[B, C, H, W]`.
    ///
    /// # Panics
    /// If there is room for more.
    #[must_use]
    pub fn finish(self) -> Tensor<4> {
        let capacity = self.growth.with(|maps| maps.capacity);
        assert!(self.channels == capacity, "{} channels where there is room for {capacity}", self.channels);
        Tensor::from_dispatch(Dispatch::dense_take(self.order.into_dispatch(), self.growth))
    }
}

/// Backends with the kernels.
#[backend_extension(Flex, Autodiff)]
pub trait DenseBackend: Backend {
    /// Writes `x` as the channels from `at` on.
    fn dense_put(order: FloatTensor<Self>, x: FloatTensor<Self>, at: usize, growth: Growth) -> FloatTensor<Self>;
    /// The convolution of the normalised channels so far; `statistics` are `[2, C]`.
    fn dense_bottleneck(
        order: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        options: BottleneckOptions,
        growth: Growth,
    ) -> FloatTensor<Self>;
    /// The gradients w.r.t. weight, gamma and beta, from that w.r.t. the output; adds that w.r.t. the channels to their buffer.
    fn dense_bottleneck_backward(
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: BottleneckOptions,
        growth: Growth,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// All channels.
    fn dense_take(order: FloatTensor<Self>, growth: Growth) -> FloatTensor<Self>;
    /// Adds to the buffer of gradients.
    fn dense_take_backward(gradient: FloatTensor<Self>, growth: Growth) -> FloatTensor<Self>;
    /// The gradient w.r.t. some channels that were put, which no earlier layer has read.
    fn dense_put_backward(order: FloatTensor<Self>, at: usize, count: usize, growth: Growth) -> FloatTensor<Self>;
}

impl DenseBackend for Flex {
    fn dense_put(order: FlexTensor, x: FlexTensor, at: usize, growth: Growth) -> FlexTensor {
        growth.put(x, at);
        order
    }

    fn dense_bottleneck(
        _: FlexTensor,
        weight: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        statistics: FlexTensor,
        options: BottleneckOptions,
        growth: Growth,
    ) -> FlexTensor {
        by_float!(weight, E => {
            let layer = bottleneck::<E>(weight, [gamma, beta], statistics, options);
            growth.with(|maps| layer.forward(maps))
        })
    }

    fn dense_bottleneck_backward(
        weight: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        statistics: FlexTensor,
        gradient: FlexTensor,
        options: BottleneckOptions,
        growth: Growth,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (types, shape) = ([&weight, &gamma, &beta].map(FlexTensor::dtype), weight.layout().shape().clone());
        let (of_weight, [of_gamma, of_beta]) = by_float!(weight, E => {
            let gradient = Values::<E>::of(gradient);
            let layer = bottleneck::<E>(weight, [gamma, beta], statistics, options);
            growth.with(|maps| layer.backward(maps, &gradient))
        });
        let [of_weight, of_gamma, of_beta] = [
            vector_like(types[0], of_weight.into_iter().map(f64::from)).reshape(shape),
            vector_like(types[1], of_gamma.into_iter()),
            vector_like(types[2], of_beta.into_iter()),
        ];
        (of_weight, of_gamma, of_beta)
    }

    fn dense_take(_: FlexTensor, growth: Growth) -> FlexTensor {
        growth.take()
    }

    fn dense_take_backward(gradient: FlexTensor, growth: Growth) -> FlexTensor {
        growth.add_gradient(gradient);
        vector(vec![0.0])
    }

    fn dense_put_backward(_: FlexTensor, at: usize, count: usize, growth: Growth) -> FlexTensor {
        growth.gradient_of(at, count)
    }
}

/// The first half of a layer.
fn bottleneck<E: Float>(
    weight: FlexTensor,
    affine: [FlexTensor; 2],
    statistics: FlexTensor,
    options: BottleneckOptions,
) -> Bottleneck<E> {
    let [gamma, beta] = affine.map(wide_vector);
    Bottleneck { weight: Values::of(weight), gamma, beta, statistics: wide_vector(statistics), options }
}

impl<B: DenseBackend, C: CheckpointStrategy> DenseBackend for Autodiff<B, C> {
    fn dense_put(order: FloatTensor<Self>, x: FloatTensor<Self>, at: usize, growth: Growth) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Put;
        impl<B: DenseBackend> Backward<B, 2> for Put {
            type State = (usize, usize, Growth);

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [order, x] = ops.parents;
                let gradient = grads.consume::<B>(&ops.node);
                let (at, count, growth) = ops.state;
                if let Some(x) = x {
                    grads.register::<B>(x.id, B::dense_put_backward(gradient.clone(), at, count, growth));
                }
                if let Some(order) = order {
                    grads.register::<B>(order.id, gradient);
                }
            }
        }
        let count = burn::backend::TensorMetadata::shape(&x)[1];
        match Put.prepare::<C>([order.node(), x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let output = B::dense_put(order.into_primitive(), x.into_primitive(), at, growth.clone());
                prep.finish((at, count, growth), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::dense_put(order.into_primitive(), x.into_primitive(), at, growth)),
        }
    }

    fn dense_bottleneck(
        order: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        statistics: FloatTensor<Self>,
        options: BottleneckOptions,
        growth: Growth,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Layer;
        impl<B: DenseBackend> Backward<B, 4> for Layer {
            type State = ([NodeId; 3], FloatTensor<B>, FloatTensor<B>, BottleneckOptions, Growth);

            fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                let (weights, statistics, no_value, options, growth) = ops.state;
                let [weight, gamma, beta] = weights.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
                let (weight, gamma, beta) =
                    B::dense_bottleneck_backward(weight, gamma, beta, statistics, gradient, options, growth);
                for (parent, gradient) in ops.parents.into_iter().zip([no_value, weight, gamma, beta]) {
                    if let Some(parent) = parent {
                        grads.register::<B>(parent.id, gradient);
                    }
                }
            }
        }
        let nodes = [order.node(), weight.node(), gamma.node(), beta.node()];
        match Layer.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let weights = [&weight, &gamma, &beta].map(|weight| prep.checkpoint(weight));
                let [order, weight, gamma, beta] = [order, weight, gamma, beta].map(|x| x.into_primitive());
                let statistics = statistics.into_primitive();
                let state = (weights, statistics.clone(), order.clone(), options, growth.clone());
                prep.finish(state, B::dense_bottleneck(order, weight, gamma, beta, statistics, options, growth))
            }
            OpsKind::UnTracked(prep) => {
                let [order, weight, gamma, beta] = [order, weight, gamma, beta].map(|x| x.into_primitive());
                let statistics = statistics.into_primitive();
                prep.finish(B::dense_bottleneck(order, weight, gamma, beta, statistics, options, growth))
            }
        }
    }

    fn dense_take(order: FloatTensor<Self>, growth: Growth) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Take;
        impl<B: DenseBackend> Backward<B, 1> for Take {
            type State = Growth;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [order] = ops.parents;
                let no_value = B::dense_take_backward(grads.consume::<B>(&ops.node), ops.state);
                if let Some(order) = order {
                    grads.register::<B>(order.id, no_value);
                }
            }
        }
        match Take.prepare::<C>([order.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(growth.clone(), B::dense_take(order.into_primitive(), growth)),
            OpsKind::UnTracked(prep) => prep.finish(B::dense_take(order.into_primitive(), growth)),
        }
    }

    fn dense_bottleneck_backward(
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
        _: BottleneckOptions,
        _: Growth,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        panic!("gradients of gradients are not computed");
    }

    fn dense_take_backward(_: FloatTensor<Self>, _: Growth) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }

    fn dense_put_backward(_: FloatTensor<Self>, _: usize, _: usize, _: Growth) -> FloatTensor<Self> {
        panic!("gradients of gradients are not computed");
    }
}
