//! A step of AdamW: weights, gradient and moments in one pass over memory.

use burn::tensor::Tensor;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::applies_in_32_bits;
use crate::isa::vectorized;
use crate::memory::values::{PIECE, Values, overwrite};

/// The numbers of AdamW that no step changes (Loshchilov and Hutter 2019, algorithm 2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWNumbers {
    /// Decay rates of the first and the second moment, in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of a weight that a step with a learning rate of 1 subtracts.
    pub weight_decay: f64,
}

/// One step of AdamW with PyTorch's arithmetic: PyTorch 2.15, `torch/optim/adamw.py`, `_single_tensor_adam`. Weights decay before the
/// step, the second moment's bias correction is inside the root and epsilon outside of it.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    gradient: f32,
    keep: f32,
    first: f32,
    second_keep: f32,
    second: f32,
    root: f32,
    epsilon: f32,
    step: f32,
}

/// A weight after a step, with the moments of its gradient.
#[derive(Clone, Debug)]
pub struct Stepped<const D: usize> {
    /// The weight.
    pub weight: Tensor<D>,
    /// First and second moment: decaying means of the gradient and of its square.
    pub moments: [Tensor<D>; 2],
}

impl AdamWStep {
    /// Step number `steps` of a weight, from 1, along its gradient times `gradient_scale`.
    #[must_use]
    pub fn new(numbers: &AdamWNumbers, steps: u64, gradient_scale: f64, learning_rate: f64) -> Self {
        let [beta1, beta2] = numbers.betas;
        let correction = |beta: f64| 1.0 - beta.powf(steps as f64);
        Self {
            gradient: gradient_scale as f32,
            keep: (1.0 - learning_rate * numbers.weight_decay) as f32,
            first: (1.0 - beta1) as f32,
            second_keep: beta2 as f32,
            second: (1.0 - beta2) as f32,
            root: correction(beta2).sqrt() as f32,
            epsilon: numbers.epsilon as f32,
            step: (learning_rate / correction(beta1)) as f32,
        }
    }

    /// Takes the step. All tensors are of one shape, type and device, and without autodiff; those that nobody else holds are written in
    /// place.
    ///
    /// # Panics
    /// If a shape or a type is another one.
    pub fn take<const D: usize>(self, before: Stepped<D>, gradient: Tensor<D>) -> Stepped<D> {
        let [first, second] = &before.moments;
        let weight = (before.weight.dims(), before.weight.dtype());
        for (name, tensor) in [("gradient", &gradient), ("first moment", first), ("second moment", second)] {
            let (dims, dtype) = (tensor.dims(), tensor.dtype());
            assert!(
                (dims, dtype) == weight,
                "a weight of {:?} in {:?} with a {name} of {dims:?} in {dtype:?}",
                weight.0,
                weight.1
            );
        }
        if applies_in_32_bits(&before.weight) && !before.weight.device().is_autodiff() {
            self.in_one_pass(before, gradient)
        } else {
            self.by_tensors(before, gradient)
        }
    }

    /// On the CPU: every value is read and written once. Elements are independent, so threads change nothing.
    fn in_one_pass<const D: usize>(self, before: Stepped<D>, gradient: Tensor<D>) -> Stepped<D> {
        let primitive = |x: Tensor<D>| x.try_into_primitive::<Flex>().expect("the tensor is on the CPU");
        let [first, second] = before.moments;
        let [mut weight, mut first, mut second]: [FlexTensor; 3] = [before.weight, first, second].map(primitive);
        let gradient = Values::of(primitive(gradient));
        let [weights, firsts, seconds] = [&mut weight, &mut first, &mut second].map(|x| overwrite(x).par_chunks_mut(PIECE));
        let gradients = gradient.as_slice().par_chunks(PIECE);
        weights.zip(gradients).zip(firsts).zip(seconds).for_each(|(((weights, gradients), firsts), seconds)| {
            vectorized!({
                for (((weight, gradient), first), second) in weights.iter_mut().zip(gradients).zip(firsts).zip(seconds) {
                    self.element(weight, *gradient, first, second);
                }
            });
        });
        let [weight, first, second] = [weight, first, second].map(Tensor::from_primitive::<Flex>);
        Stepped { weight, moments: [first, second] }
    }

    #[inline(always)]
    fn element(self, weight: &mut f32, gradient: f32, first: &mut f32, second: &mut f32) {
        let gradient = gradient * self.gradient;
        *weight *= self.keep;
        *first += self.first * (gradient - *first);
        *second = *second * self.second_keep + self.second * gradient * gradient;
        *weight -= self.step * *first / (second.sqrt() / self.root + self.epsilon);
    }

    /// The same on any device, one operation at a time; devices with fusion turn it into one kernel.
    fn by_tensors<const D: usize>(self, before: Stepped<D>, gradient: Tensor<D>) -> Stepped<D> {
        let gradient = gradient * self.gradient;
        let [first, second] = before.moments;
        let first = first.clone() + (gradient.clone() - first) * self.first;
        let second = second * self.second_keep + gradient.square() * self.second;
        let root = second.clone().sqrt() / self.root + self.epsilon;
        Stepped { weight: before.weight * self.keep - first.clone() * self.step / root, moments: [first, second] }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Draws;

    fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
        tensor.to_data().iter::<f32>().collect()
    }

    fn start<const D: usize>(weight: Tensor<D>) -> Stepped<D> {
        let zeros = weight.zeros_like();
        Stepped { weight, moments: [zeros.clone(), zeros] }
    }

    const NUMBERS: AdamWNumbers = AdamWNumbers { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.1 };

    /// `torch.optim.AdamW([w], lr=0.01, weight_decay=0.1)` of PyTorch 2.15 on these gradients.
    #[test]
    fn steps_are_pytorchs() {
        /// The last bit of a weight.
        const TOLERANCE: f32 = 1.2e-7;
        let device = Device::flex();
        let mut state = start(Tensor::<1>::from_floats([1.0, -2.0, 0.5, 0.0], &device));
        for (steps, (gradient, expected)) in [
            ([0.1, -0.2, 0.0, 1e-9], [0.989_000_02, -1.988, 0.499_5, -0.000_909_090_9]),
            ([0.3, 0.2, 1.0, -1e-9], [0.978_833_26, -1.986_538_4, 0.491_559_15, -0.000_860_334_96]),
            ([-1.0, 0.05, 2.0, 3e-9], [0.981_807_6, -1.986_065_4, 0.482_781_86, -0.001_760_650_4]),
        ]
        .into_iter()
        .enumerate()
        {
            let step = AdamWStep::new(&NUMBERS, steps as u64 + 1, 1.0, 0.01);
            state = step.take(state, Tensor::from_floats(gradient, &device));
            for (got, want) in floats(&state.weight).into_iter().zip(expected) {
                assert!((got - want).abs() <= TOLERANCE * want.abs().max(0.1_f32), "{got} {want}");
            }
        }
    }

    /// A tensor that something else holds, or that is a transposed view, is not changed.
    #[test]
    fn what_others_hold_is_left_alone() {
        let (device, mut draws) = (Device::flex(), Draws::new(1));
        let weight: Tensor<2> = draws.tensor([5, 7], Distribution::Default);
        let gradient = draws.tensor([7, 5], Distribution::Default);
        let before = floats(&weight);
        let step = AdamWStep::new(&NUMBERS, 1, 1.0, 0.1);
        let after = step.take(start(weight.clone().transpose()), gradient.clone());
        assert_eq!(floats(&weight), before);
        let plain = Tensor::from_data(weight.transpose().to_data(), &device);
        assert_eq!(floats(&after.weight), floats(&step.take(start(plain), gradient).weight));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// The implementation for the CPU and that for other devices.
        #[test]
        fn one_pass_is_an_operation_at_a_time(rows in 1usize..40, width in 1usize..900, scale in 0.01f64..1.0, rate in 1e-6f64..1e-2, seed: u64) {
            let mut draws = Draws::new(seed);
            let mut random = || draws.tensor([rows, width], Distribution::Normal(0.0, 1.0));
            let mut one = start(random());
            let mut other = one.clone();
            for steps in 1..4 {
                let gradient = random();
                let step = AdamWStep::new(&NUMBERS, steps, scale, rate);
                one = step.in_one_pass(one, gradient.clone());
                other = step.by_tensors(other, gradient);
            }
            // Bits apart, because operations are grouped otherwise. What is small may be the difference of terms of about 0.1 (second
            // moments apart, whose terms are all positive).
            let ([first, second], [other_first, other_second]) = (&one.moments, &other.moments);
            let pairs = [(&one.weight, &other.weight, 0.1), (first, other_first, 0.1), (second, other_second, 0.0)];
            for (a, b, term) in pairs {
                for (a, b) in floats(a).into_iter().zip(floats(b)) {
                    prop_assert!((a - b).abs() <= 1e-6 * a.abs().max(term), "{a} {b}");
                }
            }
        }
    }
}
