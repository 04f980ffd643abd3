//! What the layers of feature networks compute in.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{FloatDType, Tensor};
use roentgen_augment::digest::Fingerprint;

use crate::config::ComputeType;

/// The type of a network's weights and of what its layers give each other. Images come, and features go, in 32 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compute(ComputeType);

impl Compute {
    pub(super) fn new(dtype: ComputeType) -> Self {
        Self(dtype)
    }

    /// `network` with all weights, running statistics included, rounded to the type.
    pub(super) fn round<M: Module>(self, network: M) -> M {
        struct Rounding(FloatDType);
        impl ModuleMapper for Rounding {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|tensor| tensor.cast(self.0))
            }
        }
        if self.is_usual() { network } else { network.map(&mut Rounding(self.0.into())) }
    }

    /// Images as the first layer takes them.
    pub(super) fn images(self, images: Tensor<4>) -> Tensor<4> {
        images.cast(FloatDType::from(self.0))
    }

    /// How images are prepared, and what the network computes in where that is not the usual type.
    pub(super) fn describe(self, preparation: String) -> String {
        if self.is_usual() { preparation } else { format!("{preparation}; computed in {}", self.0) }
    }

    /// The digest of a network that computes in this type. In 32 bits it is the network's own, as versions without other types had it.
    pub(super) fn fingerprint(self, network: Fingerprint) -> Fingerprint {
        if self.is_usual() { network } else { Fingerprint::of(&[&network.0, self.0.name().as_bytes()]) }
    }

    fn is_usual(self) -> bool {
        self.0 == ComputeType::default()
    }
}
