//! The two poolings of DenseNet: the largest of every 3x3 window, and the mean of every 2x2 block.

mod mean;
mod most;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};

use crate::applies;
use crate::memory::output::Values;

/// The largest of every 3x3 window; windows are 2 apart, and a border of 1 around the image never counts.
///
/// # Shapes
/// - input: `[B, C, H, W]`
/// - output: `[B, C, ceil(H/2), ceil(W/2)]`
pub fn max_pool(x: Tensor<4>) -> Tensor<4> {
    if pooled(&x) {
        return Tensor::from_dispatch(Dispatch::max_pool_3x3(x.into_dispatch()));
    }
    plain_max(x)
}

/// The mean of every 2x2 block; a last odd row or column is left out.
///
/// # Shapes
/// - input: `[B, C, H, W]`
/// - output: `[B, C, floor(H/2), floor(W/2)]`
pub fn average_pool(x: Tensor<4>) -> Tensor<4> {
    if pooled(&x) {
        return Tensor::from_dispatch(Dispatch::average_pool_2x2(x.into_dispatch()));
    }
    plain_average(x)
}

/// [`max_pool`] by burn's operation.
fn plain_max(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

/// [`average_pool`] by burn's operation.
fn plain_average(x: Tensor<4>) -> Tensor<4> {
    avg_pool2d(x, AvgPoolOptions::new([2, 2]).with_stride([2, 2]))
}

/// Whether the kernels compute this image.
fn pooled(x: &Tensor<4>) -> bool {
    let [batch, channels, height, width] = x.dims();
    applies(x) && batch * channels > 0 && height >= 2 && width >= 2
}

/// Images, and a pooled image of each.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// `[H, W]`
    full: [usize; 2],
    /// `[H, W]`
    pooled: [usize; 2],
}

impl Sizes {
    fn full(self) -> usize {
        self.full[0] * self.full[1]
    }

    fn pooled(self) -> usize {
        self.pooled[0] * self.pooled[1]
    }
}

/// A shape `[B, C, ..]` with other images.
fn with_images(shape: &Shape, [height, width]: [usize; 2]) -> Shape {
    Shape::new([shape[0], shape[1], height, width])
}

/// Backends that poolings are dispatched to.
#[backend_extension(Flex, Autodiff)]
pub trait PoolBackend: Backend {
    /// [`max_pool`]
    fn max_pool_3x3(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// [`average_pool`]
    fn average_pool_2x2(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Backends with the kernels' gradients.
pub trait PoolGradients: PoolBackend {
    /// The output, and for each element the place of the largest in its window: 0 to 8, in rows.
    fn max_pool_with_places(x: FloatTensor<Self>) -> (FloatTensor<Self>, Vec<u8>);
    /// The gradient by an input of this shape: each gradient goes to the largest of its window.
    fn max_pool_backward(shape: Shape, places: &[u8], gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient by an input of this shape: each gradient goes to its block in equal parts.
    fn average_pool_backward(shape: Shape, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl PoolBackend for Flex {
    fn max_pool_3x3(x: FlexTensor) -> FlexTensor {
        Self::max_pool_with_places(x).0
    }

    fn average_pool_2x2(x: FlexTensor) -> FlexTensor {
        mean::forward(&Values::of(x))
    }
}

impl PoolGradients for Flex {
    fn max_pool_with_places(x: FlexTensor) -> (FlexTensor, Vec<u8>) {
        most::forward(&Values::of(x))
    }

    fn max_pool_backward(shape: Shape, places: &[u8], gradient: FlexTensor) -> FlexTensor {
        most::backward(shape, places, &Values::of(gradient))
    }

    fn average_pool_backward(shape: Shape, gradient: FlexTensor) -> FlexTensor {
        mean::backward(shape, &Values::of(gradient))
    }
}

impl<B: PoolGradients, C: CheckpointStrategy> PoolBackend for Autodiff<B, C> {
    fn max_pool_3x3(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct MaxPool;
        impl<B: PoolGradients> Backward<B, 1> for MaxPool {
            type State = (Shape, Vec<u8>);

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                let ([parent], (shape, places)) = (ops.parents, ops.state);
                if let Some(parent) = parent {
                    grads.register::<B>(parent.id, B::max_pool_backward(shape, &places, gradient));
                }
            }
        }
        let shape = x.shape();
        match MaxPool.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (output, places) = B::max_pool_with_places(x.into_primitive());
                prep.finish((shape, places), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::max_pool_3x3(x.into_primitive())),
        }
    }

    fn average_pool_2x2(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct AveragePool;
        impl<B: PoolGradients> Backward<B, 1> for AveragePool {
            type State = Shape;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                let ([parent], shape) = (ops.parents, ops.state);
                if let Some(parent) = parent {
                    grads.register::<B>(parent.id, B::average_pool_backward(shape, gradient));
                }
            }
        }
        let shape = x.shape();
        match AveragePool.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(shape, B::average_pool_2x2(x.into_primitive())),
            OpsKind::UnTracked(prep) => prep.finish(B::average_pool_2x2(x.into_primitive())),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::with_gradients;

    type Pool = fn(Tensor<4>) -> Tensor<4>;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn equal_the_compositions_with_their_gradients(
            batch in 1usize..3, channels in 1usize..5, height in 1usize..20, width in 1usize..40, levels in 1u8..20,
        ) {
            // Few levels: many windows have their largest twice, and the first has to get the gradient.
            let x = Tensor::<4>::random([batch, channels, height, width], Distribution::Uniform(-1.0, 1.0), &Device::flex());
            let x = (x * f64::from(levels)).round() / f64::from(levels);
            let pairs: [[Pool; 2]; 2] = [[max_pool, plain_max], [average_pool, plain_average]];
            // A block's mean needs two rows and columns.
            for [ours, plain] in pairs.into_iter().take(if height.min(width) < 2 { 1 } else { 2 }) {
                let (ours, plain) = (with_gradients([x.clone()], |[x]| ours(x)), with_gradients([x.clone()], |[x]| plain(x)));
                // Sums of up to four numbers of size 1, in another order.
                for (ours, plain) in ours.iter().zip(&plain) {
                    ours.assert_approx_eq::<f32>(plain, Tolerance::absolute(1e-6));
                }
            }
        }
    }

    #[test]
    fn views_are_taken_and_nan_stays() {
        let data =
            TensorData::new((0..48).map(|i| if i == 17 { f32::NAN } else { i as f32 }).collect::<Vec<_>>(), [1, 2, 4, 6]);
        let x = Tensor::<4>::from_data(data, &Device::flex()).swap_dims(2, 3);
        for [ours, plain] in [[max_pool(x.clone()), plain_max(x.clone())], [average_pool(x.clone()), plain_average(x)]] {
            let [ours, plain]: [Vec<f32>; 2] = [ours, plain].map(|x| x.into_data().try_to_vec().unwrap());
            assert!(ours.iter().zip(&plain).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{ours:?} {plain:?}");
            assert!(ours.iter().any(|x| x.is_nan()));
        }
    }
}
