//! The weights under training, flat and by name.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor};

use super::Part;
use crate::diffusion::weights::Slot;

/// A weight under training, or a factor of an adapter.
#[derive(Debug)]
pub(super) struct Leaf {
    /// Part, module and parameter, as files name them: `unet.conv_in.weight`.
    pub(super) name: String,
    pub(super) part: Part,
    /// Its place in the part.
    pub(super) slot: Slot,
    /// F32, flat, a leaf of the autodiff graph.
    pub(super) value: Tensor<1>,
}

/// All weights under training, in the order of the networks.
#[derive(Debug)]
pub(super) struct Leaves {
    pub(super) list: Vec<Leaf>,
    positions: HashMap<String, usize>,
    tape: Tape,
}

/// Makes tensors part of the autodiff graph.
///
/// Tensors of different checkpointing strategies can't be combined, and a tensor that is brought into the graph has the default
/// one: it is set here for all.
#[derive(Clone, Debug)]
pub(super) struct Tape {
    device: Device,
}

impl Tape {
    /// On a device without autodiff.
    pub(super) fn new(device: &Device, gradient_checkpointing: bool) -> Self {
        let device = device.clone().autodiff();
        Self { device: if gradient_checkpointing { device.gradient_checkpointing() } else { device } }
    }

    /// The compute device, without autodiff.
    pub(super) fn plain_device(&self) -> Device {
        self.device.clone().without_autodiff()
    }

    /// A tensor that has no gradient.
    pub(super) fn constant<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D> {
        let strategy = self.device.gradient_checkpointing_strategy().expect("the tape's device has autodiff");
        tensor.autodiff().with_gradient_checkpointing_strategy(strategy)
    }

    /// A tensor that has a gradient.
    pub(super) fn leaf(&self, tensor: Tensor<1>) -> Tensor<1> {
        self.constant(tensor).require_grad()
    }
}

impl Leaves {
    pub(super) fn new(tape: Tape) -> Self {
        Self { list: Vec::new(), positions: HashMap::new(), tape }
    }

    /// Adds a weight with a value on the compute device.
    pub(super) fn push(&mut self, part: Part, slot: Slot, value: Tensor<1>) {
        let name = format!("{part}.{}", slot.key);
        self.positions.insert(name.clone(), self.list.len());
        self.list.push(Leaf { name, part, slot, value: self.tape.leaf(value) });
    }

    pub(super) fn position(&self, part: Part, key: &str) -> Option<usize> {
        self.positions.get(&format!("{part}.{key}")).copied()
    }

    /// Gives a weight another value, on the compute device.
    pub(super) fn set(&mut self, position: usize, value: Tensor<1>) {
        self.list[position].value = self.tape.leaf(value);
    }

    /// Takes a weight's value off the graph to be changed; [`set`](Self::set) must follow.
    pub(super) fn take(&mut self, position: usize) -> Tensor<1> {
        let empty = Tensor::empty([0], &self.tape.plain_device());
        std::mem::replace(&mut self.list[position].value, empty).inner()
    }

    /// Values off the graph.
    pub(super) fn values(&self) -> impl Iterator<Item = Tensor<1>> {
        self.list.iter().map(|leaf| leaf.value.clone().inner())
    }

    pub(super) fn tape(&self) -> &Tape {
        &self.tape
    }
}
