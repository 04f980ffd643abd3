//! Euclidean norms.

use burn::tensor::{FloatDType, Tensor};
use burn_flex::Flex;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice};

use crate::applies;
use crate::isa::vectorized;
use crate::memory::float::{Float, by_float};
use crate::memory::values::{PIECE, Values};

/// The Euclidean norm of each tensor, in their order; all of one device and without autodiff.
///
/// On the CPU in 64 bits, without a copy, and the same whatever the number of threads. On other devices one copy to the host is made for
/// all of them.
#[must_use]
pub fn euclidean_norms(tensors: Vec<Tensor<1>>) -> Vec<f64> {
    euclidean_norms_beside(tensors, Vec::new()).0
}

/// [`euclidean_norms`] of tensors, and the values of `others`, which the host reads with them: it waits for the device once.
#[must_use]
pub fn euclidean_norms_beside(tensors: Vec<Tensor<1>>, others: Vec<Tensor<1>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    if tensors.iter().all(|tensor| applies(tensor) && !tensor.device().is_autodiff()) {
        let others = others.into_iter().map(|tensor| tensor.into_data().iter::<f64>().collect()).collect();
        return (tensors.into_iter().map(norm).collect(), others);
    }
    let (count, lengths) = (tensors.len(), others.iter().map(|tensor| tensor.dims()[0]).collect::<Vec<_>>());
    let wide = |tensor: Tensor<1>| tensor.cast(FloatDType::F32);
    let sums = tensors.into_iter().map(|tensor| wide(tensor).square().sum());
    let read: Vec<f64> = Tensor::cat(sums.chain(others.into_iter().map(wide)).collect(), 0).into_data().iter::<f64>().collect();
    let (sums, mut rest) = read.split_at(count);
    let mut next = |length| {
        let (values, after) = rest.split_at(length);
        rest = after;
        values.to_vec()
    };
    let others = lengths.into_iter().map(&mut next).collect();
    (sums.iter().copied().map(f64::sqrt).collect(), others)
}

/// Pieces are of a fixed size, and summed in order.
fn norm(tensor: Tensor<1>) -> f64 {
    let tensor = tensor.try_into_primitive::<Flex>().expect("the tensor is on the CPU");
    by_float!(tensor, E => norm_of(&Values::<E>::of(tensor)))
}

fn norm_of<E: Float>(values: &Values<E>) -> f64 {
    let of = |piece: &[E]| vectorized!(squares(piece));
    let pieces: Vec<f64> = values.as_slice().par_chunks(PIECE).with_max_len(1).map(of).collect();
    pieces.iter().sum::<f64>().sqrt()
}

/// In 64 bits, whose squares stay in range whatever the values; in lanes, which fill vector registers.
#[inline(always)]
fn squares<E: Float>(values: &[E]) -> f64 {
    const LANES: usize = 16;
    let mut lanes = [0f64; LANES];
    let (rows, rest) = values.as_chunks::<LANES>();
    for row in rows {
        for (lane, value) in lanes.iter_mut().zip(row) {
            *lane += f64::from(value.wide()).powi(2);
        }
    }
    let rest = rest.iter().map(|value| f64::from(value.wide()).powi(2));
    lanes.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Draws;

    #[test]
    fn norms_are_of_each_tensor() {
        let device = Device::flex();
        let tensors = vec![Tensor::from_floats([3.0, -4.0], &device), Tensor::from_floats([0.0; 3], &device)];
        assert_eq!(euclidean_norms(tensors), [5.0, 0.0]);
        assert!(euclidean_norms(Vec::new()).is_empty());
        // With autodiff they are computed as on other devices.
        for device in [device.clone(), device.clone().autodiff()] {
            let others = vec![Tensor::from_floats([1.0, 2.0], &device), Tensor::from_floats([7.0], &device)];
            let found = euclidean_norms_beside(vec![Tensor::from_floats([3.0, -4.0], &device)], others);
            assert_eq!(found, (vec![5.0], vec![vec![1.0, 2.0], vec![7.0]]));
        }
        // Squares leave the range of 32 bits: only what is no number is reported as such.
        assert!(norm(Tensor::from_floats([f32::MAX, f32::MAX], &device)).is_finite());
        assert!(norm(Tensor::from_floats([f32::NAN, 1.0], &device)).is_nan());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_value_counts_once(count in 1usize..70_000, skipped in 0usize..5, seed: u64) {
            let x: Tensor<1> = Draws::new(seed).tensor([count + skipped], Distribution::Normal(0.0, 1.0));
            let x = x.narrow(0, skipped, count);
            let plain = x.to_data().iter::<f64>().map(|x| x * x).sum::<f64>().sqrt();
            let ours = norm(x);
            // Sums of 64-bit floats in another order.
            prop_assert!((ours - plain).abs() <= 1e-12 * plain, "{ours} {plain}");
        }
    }
}
