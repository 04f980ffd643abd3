//! The sum of two tensors on all threads.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::applies;
use crate::isa::{self, vectorized};
use crate::memory::float::{Float, by_float};
use crate::memory::output::{Block, Output};
use crate::memory::transpose::transpose_slice;
use crate::memory::values::{PIECE, Values, overwritable, overwrite};

/// `a + b`, each sum rounded once; in place of one of them if nobody else holds it. Transposed tokens, `[B, N, C]` seen as `[B, C, N]`, are
/// read in place.
///
/// Shapes or types that differ are left to burn, which repeats the shorter axes.
pub fn add<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    let alike = a.dims() == b.dims() && a.dtype() == b.dtype() && a.device().is_autodiff() == b.device().is_autodiff();
    if !alike || !applies(&a) || !applies(&b) {
        return a + b;
    }
    Tensor::from_dispatch(Dispatch::sum_of_two(a.into_dispatch(), b.into_dispatch()))
}

/// Backends with the kernel.
#[backend_extension(Flex, Autodiff)]
pub trait AddBackend: Backend {
    /// The sum of tensors of one shape and type.
    fn sum_of_two(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl AddBackend for Flex {
    fn sum_of_two(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        by_float!(a, E => sum::<E>(a, b))
    }
}

fn sum<E: Float>(mut a: FlexTensor, mut b: FlexTensor) -> FlexTensor {
    // What is overwritten comes first; a sum has no order.
    if overwritable::<E>(&mut a).is_none() && overwritable::<E>(&mut b).is_some() {
        std::mem::swap(&mut a, &mut b);
    }
    if let Some(tokens) = Tokens::<E>::of(&b) {
        tokens.add_to(overwrite::<E>(&mut a));
        return a;
    }
    let b = Values::<E>::of(b);
    if let Some(sums) = overwritable::<E>(&mut a) {
        sums.par_chunks_mut(PIECE).zip(b.as_slice().par_chunks(PIECE)).for_each(|(sums, terms)| {
            vectorized!(sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum = E::rounded(sum.wide() + term.wide())));
        });
        return a;
    }
    let a = Values::<E>::of(a);
    let mut output = Output::<E>::new(a.shape());
    let terms = a.as_slice().par_chunks(PIECE).zip(b.as_slice().par_chunks(PIECE));
    output.whole().par_chunks(PIECE).zip(terms).for_each(|(mut out, (a, b))| {
        isa::run(Append { out: &mut out, a, b });
    });
    output.tensor()
}

/// `[B, C, N]` whose memory is `[B, N, C]`: tokens that are seen as channels.
struct Tokens<'a, E> {
    values: &'a [E],
    channels: usize,
    tokens: usize,
}

impl<'a, E: Float> Tokens<'a, E> {
    /// `None` for tensors that lie otherwise.
    fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let (shape, strides) = (layout.shape(), layout.strides());
        let &[batch, channels, tokens] = &shape[..] else { return None };
        let expected = [channels * tokens, 1, channels].map(|step| step as isize);
        if strides != expected || layout.is_contiguous() || shape.contains(&0) {
            return None;
        }
        let start = layout.start_offset();
        Some(Self { values: &tensor.storage::<E>()[start..start + batch * channels * tokens], channels, tokens })
    }

    /// Adds them to `[B, C, N]`.
    fn add_to(&self, sums: &mut [E]) {
        /// Channels of a task, and tokens that are turned at a time: their numbers are whole lines of the caches.
        const SIDE: usize = 32;
        let Self { values, channels, tokens } = *self;
        let images = sums.par_chunks_mut(channels * tokens).zip(values.par_chunks(channels * tokens));
        images.for_each(|(sums, values)| {
            sums.par_chunks_mut(SIDE * tokens).enumerate().for_each(|(part, sums)| {
                let (first, count) = (part * SIDE, sums.len() / tokens);
                let mut turned = [0f32; SIDE * SIDE];
                for token in (0..tokens).step_by(SIDE) {
                    let length = SIDE.min(tokens - token);
                    transpose_slice([length, count], &values[token * channels + first..], &mut turned, [channels, SIDE]);
                    vectorized!({
                        for (sums, turned) in sums.chunks_exact_mut(tokens).zip(turned.chunks_exact(SIDE)) {
                            let sums = sums[token..token + length].iter_mut();
                            sums.zip(turned).for_each(|(sum, x)| *sum = E::rounded(sum.wide() + x));
                        }
                    });
                }
            });
        });
    }
}

/// Appends every sum.
struct Append<'a, 'b, E> {
    out: &'a mut Block<'b, E>,
    a: &'a [E],
    b: &'a [E],
}

impl<E: Float> WithSimd for Append<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.out.append(self.a.len(), self.a.iter().zip(self.b).map(|(a, b)| a.wide() + b.wide()));
    }
}

impl<B: AddBackend, C: CheckpointStrategy> AddBackend for Autodiff<B, C> {
    fn sum_of_two(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Add;
        impl<B: AddBackend> Backward<B, 2> for Add {
            type State = ();

            fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
                let gradient = grads.consume::<B>(&ops.node);
                for parent in ops.parents.into_iter().flatten() {
                    grads.register::<B>(parent.id, gradient.clone());
                }
            }
        }
        match Add.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), B::sum_of_two(a.into_primitive(), b.into_primitive())),
            OpsKind::UnTracked(prep) => prep.finish(B::sum_of_two(a.into_primitive(), b.into_primitive())),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Draws, assert_rounded, brain, numbers, tracked_alike, wide, with_gradients};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn equals_burns_sum_with_its_gradients(rows in 1usize..40, columns in 1usize..1200, seed: u64) {
            let mut draws = Draws::new(seed);
            let terms: [Tensor<2>; 2] = [draws.normal([rows, columns]), draws.normal([rows, columns])];
            let ours = with_gradients(terms.clone(), |[a, b]| add(a, b));
            let plain = with_gradients(terms.clone(), |[a, b]| a + b);
            for (ours, plain) in ours.iter().zip(&plain) {
                ours.assert_eq(plain, true);
            }
            let brains = terms.each_ref().map(brain);
            let exact: Vec<f64> = (wide(&brains[0]) + wide(&brains[1])).into_data().iter::<f64>().collect();
            // Both held, one held, none held, and a view.
            let copy = |x: &Tensor<2>| Tensor::<2>::from_data(x.to_data(), (&x.device(), x.dtype()));
            let turned = |x: &Tensor<2>| copy(&x.clone().transpose()).transpose();
            let [a, b] = &brains;
            let sums = [add(a.clone(), b.clone()), add(copy(a), b.clone()), add(a.clone(), copy(b)), add(turned(a), turned(b))];
            for sum in sums {
                assert_rounded("sum", &numbers(sum, burn::tensor::DType::BF16), &exact);
            }
            assert_rounded("kept", &numbers(a.clone(), a.dtype()), &numbers(wide(a), burn::tensor::DType::F32));
        }
    }

    #[test]
    fn a_tensor_added_to_itself_has_both_gradients() {
        let x = tracked_alike(&brain(&Tensor::<1>::from_floats([1.0, -2.0], &Device::flex())));
        let mut grads = add(x.clone(), x.clone()).sum().backward();
        let gradient: Vec<f32> = x.grad_remove(&mut grads).unwrap().into_data().iter().collect();
        assert_eq!(gradient, [2.0, 2.0]);
    }

    #[test]
    fn shorter_axes_are_left_to_burn() {
        let device = Device::flex();
        let rows = Tensor::<2>::from_data(TensorData::from([[1.0, 2.0], [3.0, 4.0]]), &device);
        let row = Tensor::<2>::from_data(TensorData::from([[10.0, 20.0]]), &device);
        assert_eq!(add(rows, row).into_data().iter::<f32>().collect::<Vec<_>>(), [11.0, 22.0, 13.0, 24.0]);
    }
}
