//! The same numbers in another type, on all threads.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, FloatDType, Tensor};
use burn_flex::{Flex, FlexTensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

use crate::applies;
use crate::isa;
use crate::memory::float::{Float, by_dtype, by_float};
use crate::memory::output::{Block, Output};
use crate::memory::values::{PIECE, Values};

/// `x` in numbers of another type, rounded to nearest; a gradient becomes one of the type that `x` has.
pub fn cast<const D: usize>(x: Tensor<D>, dtype: FloatDType) -> Tensor<D> {
    let to = DType::from(dtype);
    if x.dtype() == to {
        return x;
    }
    if !applies(&x) || !matches!(to, DType::F32 | DType::BF16) {
        return x.cast(dtype);
    }
    Tensor::from_dispatch(Dispatch::convert(x.into_dispatch(), to))
}

/// Backends with the kernel.
#[backend_extension(Flex, Autodiff)]
pub trait CastBackend: Backend {
    /// The numbers in that type.
    fn convert(x: FloatTensor<Self>, to: DType) -> FloatTensor<Self>;
}

impl CastBackend for Flex {
    fn convert(x: FlexTensor, to: DType) -> FlexTensor {
        by_float!(x, E => by_dtype!(to, F => converted::<E, F>(&Values::of(x))))
    }
}

fn converted<E: Float, F: Float>(x: &Values<E>) -> FlexTensor {
    let mut output = Output::<F>::new(x.shape());
    output.whole().par_chunks(PIECE).zip(x.as_slice().par_chunks(PIECE)).for_each(|(mut out, x)| {
        isa::run(Append { out: &mut out, x });
    });
    output.tensor()
}

/// Appends every number.
struct Append<'a, 'b, E, F> {
    out: &'a mut Block<'b, F>,
    x: &'a [E],
}

impl<E: Float, F: Float> WithSimd for Append<'_, '_, E, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.out.append(self.x.len(), self.x.iter().map(|x| x.wide()));
    }
}

impl<B: CastBackend, C: CheckpointStrategy> CastBackend for Autodiff<B, C> {
    fn convert(x: FloatTensor<Self>, to: DType) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Convert;
        impl<B: CastBackend> Backward<B, 1> for Convert {
            /// The type of `x`.
            type State = DType;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let [parent] = ops.parents;
                let gradient = grads.consume::<B>(&ops.node);
                if let Some(parent) = parent {
                    grads.register::<B>(parent.id, B::convert(gradient, ops.state));
                }
            }
        }
        let from = x.dtype();
        match Convert.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(from, B::convert(x.into_primitive(), to)),
            OpsKind::UnTracked(prep) => prep.finish(B::convert(x.into_primitive(), to)),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, bf16};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Draws;

    const TYPES: [FloatDType; 2] = [FloatDType::F32, FloatDType::BF16];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_number_is_the_nearest_and_gradients_keep_their_type(rows in 1usize..40, columns in 1usize..1200, seed: u64) {
            let mut draws = Draws::new(seed);
            let x: Tensor<2> = draws.tensor([rows, columns], Distribution::Normal(0.0, 3.0));
            let towards: Tensor<2> = draws.tensor([rows, columns], Distribution::Normal(0.0, 1.0));
            for [from, to] in [[TYPES[0], TYPES[1]], [TYPES[1], TYPES[0]], [TYPES[0]; 2]] {
                // The reference is burn's own, on one thread.
                let x = x.clone().cast(from);
                let run = |cast: fn(Tensor<2>, FloatDType) -> Tensor<2>| {
                    let x = x.clone().autodiff().require_grad();
                    let output = cast(x.clone(), to);
                    let mut grads = (output.clone() * towards.clone().cast(to).autodiff()).sum().backward();
                    [output.into_data(), x.grad_remove(&mut grads).unwrap().into_data()]
                };
                let [ours, plain] = [run(cast), run(|x, to| x.cast(to))];
                for (ours, plain) in ours.iter().zip(&plain) {
                    prop_assert_eq!(ours.dtype(), plain.dtype());
                    ours.assert_eq(plain, true);
                }
            }
        }
    }

    #[test]
    fn views_and_other_types_are_taken() {
        let x: Tensor<2> = Draws::new(1).tensor([5, 7], Distribution::Default);
        let turned: Vec<bf16> = cast(x.clone().transpose(), FloatDType::BF16).transpose().into_data().iter().collect();
        let plain: Vec<bf16> = x.clone().into_data().iter::<f32>().map(bf16::from_f32).collect();
        assert_eq!(turned, plain);
        assert_eq!(cast(x, FloatDType::F64).dtype(), DType::F64);
    }
}
