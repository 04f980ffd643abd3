//! The two poolings of DenseNet: the largest of every 3x3 window, and the mean of every 2x2 block.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Shape, Tensor};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::applies;
use crate::memory::float::{Float, by_float};
use crate::memory::output::{Block, Output};
use crate::memory::values::{PIECE, Values};

/// The largest of every 3x3 window; windows are 2 apart, and a border of 1 around the image is ignored.
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

/// The mean of every 2x2 block; a last odd row or column is ignored.
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
    /// The gradient w.r.t. an input of this shape: each gradient goes to the largest of its window.
    fn max_pool_backward(shape: Shape, places: &[u8], gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient w.r.t. an input of this shape: each gradient goes to its block in equal parts.
    fn average_pool_backward(shape: Shape, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl PoolBackend for Flex {
    fn max_pool_3x3(x: FlexTensor) -> FlexTensor {
        Self::max_pool_with_places(x).0
    }

    fn average_pool_2x2(x: FlexTensor) -> FlexTensor {
        by_float!(x, E => mean_of_blocks(&Values::<E>::of(x)))
    }
}

impl PoolGradients for Flex {
    fn max_pool_with_places(x: FlexTensor) -> (FlexTensor, Vec<u8>) {
        by_float!(x, E => largest_of_windows(&Values::<E>::of(x)))
    }

    fn max_pool_backward(shape: Shape, places: &[u8], gradient: FlexTensor) -> FlexTensor {
        by_float!(gradient, E => to_the_largest(shape, places, &Values::<E>::of(gradient)))
    }

    fn average_pool_backward(shape: Shape, gradient: FlexTensor) -> FlexTensor {
        by_float!(gradient, E => to_the_block(shape, &Values::<E>::of(gradient)))
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

impl Sizes {
    /// Of images, and their poolings by [`max_pool`].
    fn of_windows(shape: &Shape) -> Self {
        let full = [shape[2], shape[3]];
        Self { full, pooled: full.map(|side| side.div_ceil(2)) }
    }

    /// Of images, and their poolings by [`average_pool`].
    fn of_blocks(shape: &Shape) -> Self {
        let full = [shape[2], shape[3]];
        Self { full, pooled: full.map(|side| side / 2) }
    }

    /// Images that a thread takes at a time.
    fn images_at_a_time(self) -> usize {
        (PIECE / self.full()).max(1)
    }
}

/// The largest of every window, and where it was.
fn largest_of_windows<E: Float>(x: &Values<E>) -> (FlexTensor, Vec<u8>) {
    let (shape, sizes) = (x.shape(), Sizes::of_windows(&x.shape()));
    let images = sizes.images_at_a_time();
    let mut output = Output::<E>::new(with_images(&shape, sizes.pooled));
    let mut whole = output.whole();
    let mut places = vec![0u8; whole.len()];
    let pieces = whole.par_chunks(images * sizes.pooled()).zip(places.par_chunks_mut(images * sizes.pooled()));
    pieces.zip(x.as_slice().par_chunks(images * sizes.full())).for_each(|((mut out, places), x)| {
        // Rows of the image with a border at both ends, and above and below it.
        let bordered = sizes.pooled[1] * 2 + 1;
        let mut rows = vec![f32::NEG_INFINITY; 3 * bordered];
        for (places, x) in places.chunks_exact_mut(sizes.pooled()).zip(x.chunks_exact(sizes.full())) {
            for (row, places) in places.chunks_exact_mut(sizes.pooled[1]).enumerate() {
                for (i, bordered) in rows.chunks_exact_mut(bordered).enumerate() {
                    border(x, sizes, (2 * row + i).checked_sub(1), bordered);
                }
                let largest = places.iter_mut().enumerate().map(|(column, place)| {
                    let (most, at) = largest([0, 1, 2].map(|i| &rows[i * bordered + 2 * column..][..3]));
                    *place = at;
                    most
                });
                out.append(sizes.pooled[1], largest);
            }
        }
    });
    drop(whole);
    (output.tensor(), places)
}

/// A row of the image behind a border of one; `None` and rows below the image are border alone.
fn border<E: Float>(x: &[E], sizes: Sizes, row: Option<usize>, bordered: &mut [f32]) {
    let [height, width] = sizes.full;
    match row.filter(|row| *row < height) {
        Some(row) => {
            bordered[1..=width].iter_mut().zip(&x[row * width..][..width]).for_each(|(to, x)| *to = x.wide());
        }
        None => bordered.fill(f32::NEG_INFINITY),
    }
}

/// The largest, and its place; the first if there are several, and NaN, the last one, before all.
///
/// Without branches: which of nine numbers is the largest can't be foreseen.
#[inline(always)]
fn largest(window: [&[f32]; 3]) -> (f32, u8) {
    let (mut most, mut place) = (f32::NEG_INFINITY, NONE);
    for (i, row) in window.into_iter().enumerate() {
        for (j, &x) in row.iter().enumerate() {
            let larger = (x > most) | x.is_nan();
            most = if larger { x } else { most };
            place = if larger { (3 * i + j) as u8 } else { place };
        }
    }
    (most, if place == NONE { CENTRE } else { place })
}

/// No element is larger than the border.
const NONE: u8 = u8::MAX;
/// Always in the image.
const CENTRE: u8 = 4;

/// Each gradient goes to the largest of its window.
fn to_the_largest<E: Float>(shape: Shape, places: &[u8], gradient: &Values<E>) -> FlexTensor {
    let sizes = Sizes::of_windows(&shape);
    let images = sizes.images_at_a_time();
    let mut output = Output::<E>::new(shape);
    let mut whole = output.whole();
    let pieces = gradient.as_slice().par_chunks(images * sizes.pooled()).zip(places.par_chunks(images * sizes.pooled()));
    whole.par_chunks(images * sizes.full()).zip(pieces).for_each(|(mut out, (gradient, places))| {
        let windows = gradient.chunks_exact(sizes.pooled()).zip(places.chunks_exact(sizes.pooled()));
        if E::IS_WIDE {
            let out: &mut [f32] = bytemuck::cast_slice_mut(out.append(out.len(), std::iter::repeat(0.0)));
            let images = out.chunks_exact_mut(sizes.full()).zip(windows);
            return images.for_each(|(out, (gradient, places))| add_to_the_largest(gradient, places, sizes, out));
        }
        let mut sums = vec![0f32; sizes.full()];
        for (gradient, places) in windows {
            sums.fill(0.0);
            add_to_the_largest(gradient, places, sizes, &mut sums);
            out.append(sizes.full(), sums.iter().copied());
        }
    });
    drop(whole);
    output.tensor()
}

/// The same for one image; windows share elements, which get up to four gradients.
fn add_to_the_largest<E: Float>(gradient: &[E], places: &[u8], sizes: Sizes, sums: &mut [f32]) {
    for (window, (gradient, place)) in gradient.iter().zip(places).enumerate() {
        let (row, column) = (window / sizes.pooled[1], window % sizes.pooled[1]);
        let (i, j) = (usize::from(place / 3), usize::from(place % 3));
        sums[(2 * row + i - 1) * sizes.full[1] + 2 * column + j - 1] += gradient.wide();
    }
}

/// The mean of every block.
fn mean_of_blocks<E: Float>(x: &Values<E>) -> FlexTensor {
    let (shape, sizes) = (x.shape(), Sizes::of_blocks(&x.shape()));
    let images = sizes.images_at_a_time();
    let mut output = Output::<E>::new(with_images(&shape, sizes.pooled));
    let mut whole = output.whole();
    let pieces = whole.par_chunks(images * sizes.pooled()).zip(x.as_slice().par_chunks(images * sizes.full()));
    pieces.for_each(|(mut out, x)| {
        let [_, width] = sizes.full;
        for rows in x.chunks_exact(sizes.full()).flat_map(|x| x.chunks_exact(2 * width)) {
            let (above, below) = rows.split_at(width);
            let blocks = above.chunks_exact(2).zip(below.chunks_exact(2));
            out.append(sizes.pooled[1], blocks.map(mean));
        }
    });
    drop(whole);
    output.tensor()
}

/// Of the halves of a block.
#[inline(always)]
fn mean<E: Float>((above, below): (&[E], &[E])) -> f32 {
    let [a, b, c, d] = [above[0], above[1], below[0], below[1]].map(Float::wide);
    (a + b + c + d) * 0.25
}

/// Each gradient goes to its block in equal parts.
fn to_the_block<E: Float>(shape: Shape, gradient: &Values<E>) -> FlexTensor {
    let sizes = Sizes::of_blocks(&shape);
    let images = sizes.images_at_a_time();
    let mut output = Output::<E>::new(shape);
    let mut whole = output.whole();
    let pieces = whole.par_chunks(images * sizes.full()).zip(gradient.as_slice().par_chunks(images * sizes.pooled()));
    pieces.for_each(|(mut out, gradient)| {
        let mut row = vec![0f32; sizes.full[1]];
        gradient.chunks_exact(sizes.pooled()).for_each(|gradient| spread(&mut out, gradient, sizes, &mut row));
    });
    drop(whole);
    output.tensor()
}

/// Every element of an image: a quarter of its block's gradient, 0 outside all blocks. `row` ends with these zeros.
fn spread<E: Float>(out: &mut Block<E>, gradient: &[E], sizes: Sizes, row: &mut [f32]) {
    let [height, width] = sizes.full;
    for gradient in gradient.chunks_exact(sizes.pooled[1]) {
        row.chunks_exact_mut(2).zip(gradient).for_each(|(block, gradient)| block.fill(gradient.wide() * 0.25));
        out.append(width, row.iter().copied());
        out.append(width, row.iter().copied());
    }
    out.append((height % 2) * width, std::iter::repeat(0.0));
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, TensorData, Tolerance};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Draws, assert_rounded, brain, numbers, tracked_alike, wide, with_gradients};

    type Pool = fn(Tensor<4>) -> Tensor<4>;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn equal_the_compositions_with_their_gradients(
            batch in 1usize..3, channels in 1usize..5, height in 1usize..20, width in 1usize..40, levels in 1u8..20, seed: u64,
        ) {
            // Few levels: many windows have their largest twice, and the first has to get the gradient.
            let x = Draws::new(seed).tensor([batch, channels, height, width], Distribution::Uniform(-1.0, 1.0));
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn brain_floats_are_rounded_once(
            batch in 1usize..3, channels in 1usize..5, height in 2usize..20, width in 2usize..40, levels in 1u8..20, seed: u64,
        ) {
            let mut draws = Draws::new(seed);
            let x = draws.tensor::<4>([batch, channels, height, width], Distribution::Uniform(-1.0, 1.0));
            let x = brain(&((x * f64::from(levels)).round() / f64::from(levels)));
            for pool in [max_pool as Pool, average_pool] {
                let towards = brain(&draws.normal(pool(x.clone()).dims()));
                let run = |x: &Tensor<4>, towards: &Tensor<4>| {
                    let dtype = x.dtype();
                    let x = tracked_alike(x);
                    let output = pool(x.clone());
                    let mut grads = (output.clone() * towards.clone().autodiff()).sum().backward();
                    [output, x.grad_remove(&mut grads).unwrap()].map(|x| numbers(x, dtype))
                };
                let (got, exact) = (run(&x, &towards), run(&wide(&x), &wide(&towards)));
                assert_rounded("output", &got[0], &exact[0]);
                assert_rounded("gradient", &got[1], &exact[1]);
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
