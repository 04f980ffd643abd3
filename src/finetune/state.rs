//! The state of training between steps, as named tensors.

use std::collections::BTreeMap;

use burn::store::{bridge, burn_pack};
use burn::tensor::{DType, Tensor, TensorData};
use roentgen_classifier::weights::{Difference, WrongShape};

use super::FinetuneError;
use super::trainee::Trainee;

/// Weights, moments and averages with their counters, between two steps. Flat tensors keep the layout that memory has; a training
/// that is restored from one continues with the same bits.
///
/// Values are not copied: they are the tensors in use, or in a file and read on demand, so that a state of many
/// gigabytes takes memory for one tensor. Training on does not change the state.
#[derive(Clone, Debug)]
pub struct TraineeState {
    /// Optimiser steps.
    pub steps: u64,
    /// Updates of the moving average; 0 without one.
    pub ema_updates: u64,
    /// Optimiser steps of each weight that took part in fewer than all, by name.
    pub behind: BTreeMap<String, u64>,
    /// `weight.NAME`, `first_moment.NAME`, `second_moment.NAME` and, with a moving average, `average.NAME`: F32.
    pub tensors: BTreeMap<String, burn_pack::Tensor>,
}

const KINDS: [&str; 4] = ["weight", "first_moment", "second_moment", "average"];

impl Trainee {
    /// Everything needed to continue with the same bits. To be taken between steps, as accumulated gradients are not part of it, and on a
    /// GPU to be written or restored before the next step: burn copies a tensor from there when its bytes are first looked at.
    #[must_use]
    pub fn state(&self) -> TraineeState {
        let mut tensors = BTreeMap::new();
        for (position, leaf) in self.leaves.list.iter().enumerate() {
            for (kind, tensor) in KINDS.iter().zip(self.tensors(position)) {
                if let Some(tensor) = tensor {
                    let name = format!("{kind}.{}", leaf.name);
                    let mut tensor = bridge::from_tensor(&tensor, name.clone(), None);
                    tensor.shape = leaf.slot.shape.clone().into();
                    tensors.insert(name, tensor);
                }
            }
        }
        let behind = self.leaves.list.iter().zip(&self.moments).filter(|(_, moments)| moments.steps != self.steps);
        TraineeState {
            steps: self.steps,
            ema_updates: self.ema.as_ref().map_or(0, |ema| ema.updates),
            behind: behind.map(|(leaf, moments)| (leaf.name.clone(), moments.steps)).collect(),
            tensors,
        }
    }

    /// In the order of [`KINDS`].
    fn tensors(&self, position: usize) -> [Option<Tensor<1>>; 4] {
        let moments = &self.moments[position];
        [
            Some(self.leaves.list[position].value.clone().inner()),
            Some(moments.first.clone()),
            Some(moments.second.clone()),
            self.ema.as_ref().map(|ema| ema.averages[position].clone()),
        ]
    }

    /// Goes back to a state; gradients accumulated so far are dropped.
    ///
    /// # Errors
    /// [`FinetuneError::StateDiffers`] lists every tensor that is missing, unexpected or of another shape, and nothing is changed.
    /// [`FinetuneError::StateUnread`] for a file that fails meanwhile.
    pub fn restore(&mut self, state: TraineeState) -> Result<(), FinetuneError> {
        let difference = self.difference(&state);
        if !difference.is_empty() {
            return Err(FinetuneError::StateDiffers { difference: Box::new(difference) });
        }
        let device = self.device.clone();
        let TraineeState { steps, ema_updates, behind, mut tensors } = state;
        for position in 0..self.leaves.list.len() {
            let name = self.leaves.list[position].name.clone();
            let mut take = |kind: &str| {
                let tensor = tensors.remove(&format!("{kind}.{name}")).expect("names were compared");
                let elements = tensor.shape.num_elements();
                let bytes = tensor.into_bytes().map_err(|error| FinetuneError::StateUnread {
                    tensor: format!("{kind}.{name}"),
                    message: error.to_string(),
                })?;
                let flat = TensorData::from_bytes(bytes, [elements], DType::F32);
                Ok::<_, FinetuneError>(Tensor::<1>::from_data(flat, (&device, DType::F32)))
            };
            let value = take("weight")?;
            let moments = &mut self.moments[position];
            moments.first = take("first_moment")?;
            moments.second = take("second_moment")?;
            moments.steps = behind.get(&name).copied().unwrap_or(steps);
            if let Some(ema) = &mut self.ema {
                ema.averages[position] = take("average")?;
            }
            self.leaves.set(position, value);
        }
        self.steps = steps;
        if let Some(ema) = &mut self.ema {
            ema.updates = ema_updates;
        }
        self.forget_gradients();
        Ok(())
    }

    fn difference(&self, state: &TraineeState) -> Difference {
        let mut difference = Difference::default();
        let mut left: BTreeMap<&String, Vec<usize>> =
            state.tensors.iter().map(|(name, tensor)| (name, tensor.shape.to_vec())).collect();
        let kinds = if self.ema.is_some() { &KINDS[..] } else { &KINDS[..3] };
        for leaf in &self.leaves.list {
            for kind in kinds {
                let name = format!("{kind}.{}", leaf.name);
                match left.remove(&name) {
                    None => difference.missing.push((name, leaf.slot.shape.clone())),
                    Some(found) if found != leaf.slot.shape => {
                        difference.wrong_shape.push(WrongShape { name, expected: leaf.slot.shape.clone(), found });
                    }
                    Some(_) => {}
                }
            }
        }
        difference.unexpected = left.into_iter().map(|(name, shape)| (name.clone(), shape)).collect();
        difference
    }
}
