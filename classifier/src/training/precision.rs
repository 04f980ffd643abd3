//! The numbers that a network computes with.

use std::fmt;

use burn::tensor::{Device, FloatDType};
use roentgen_augment::batch::CxrBatch;
use roentgen_kernels::cast;
use serde::{Deserialize, Serialize};

use crate::SettingError;

/// The numbers that a network computes with: its activations, which the backward pass reads again, and its weights as layers read them.
///
/// Weights under training, their gradients' sums, the optimiser's moments, statistics of norms, softmax and losses are of 32 bits either
/// way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// Brain floats: 8 bits of mantissa in 16, half the memory of activations.
    Bf16,
}

impl Precision {
    /// The type of tensors.
    #[must_use]
    pub const fn dtype(self) -> FloatDType {
        match self {
            Self::Fp32 => FloatDType::F32,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Whether it is 32-bit floats, which what is written need not say.
    #[must_use]
    pub fn is_fp32(&self) -> bool {
        *self == Self::Fp32
    }

    /// A batch whose images, and nothing else, are of this type.
    #[must_use]
    pub fn of_images(self, batch: CxrBatch) -> CxrBatch {
        CxrBatch { images: cast(batch.images, self.dtype()), ..batch }
    }

    /// Refuses a device that lacks these numbers; `key` names the setting.
    ///
    /// # Errors
    /// [`SettingError`] with what to write instead.
    pub fn check(self, key: &'static str, device: &Device) -> Result<(), SettingError> {
        let expected = "fp32 on this device, which has no brain floats; or --device cpu, which has them";
        SettingError::unless(device.supports_dtype(self.dtype()), key, self, expected)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        })
    }
}
