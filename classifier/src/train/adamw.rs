//! AdamW as an optimiser of burn's.

use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

use roentgen_kernels::{AdamWNumbers, AdamWStep, Stepped};

/// AdamW with PyTorch's arithmetic and, on the CPU, one pass over memory a step, where burn's own takes some twenty. Its state is that
/// of burn's AdamW.
#[derive(Clone, Debug)]
pub(super) struct AdamW(pub(super) AdamWNumbers);

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum }) => (momentum.time, [momentum.moment_1, momentum.moment_2]),
            None => (0, [weight.zeros_like(), weight.zeros_like()]),
        };
        let time = time + 1;
        let step = AdamWStep::new(&self.0, time as u64, 1.0, learning_rate);
        let Stepped { weight, moments: [first, second] } = step.take(Stepped { weight, moments }, gradient);
        (weight, Some(AdamWState::new(AdaptiveMomentumState::new(time, first, second))))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum.moment_1 = state.momentum.moment_1.to_device(device);
        state.momentum.moment_2 = state.momentum.moment_2.to_device(device);
        state
    }
}
