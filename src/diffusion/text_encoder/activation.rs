//! Activations of text encoders, by their names in transformers.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, sigmoid};

use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// The function between the two matrices of a feed-forward block (`hidden_act`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::diffusion) enum Activation {
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `x Φ(x)` by the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
}

impl Activation {
    /// Takes `hidden_act`.
    pub(in crate::diffusion) fn take(options: &mut Options, default: &str) -> Result<Self, DiffusionError> {
        let name = options.take_or("hidden_act", default.to_owned())?;
        match name.as_str() {
            "quick_gelu" => Ok(Self::QuickGelu),
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            _ => Err(options.refuse("hidden_act", &name, "quick_gelu, gelu, gelu_new or gelu_pytorch_tanh")),
        }
    }

    pub(in crate::diffusion) fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
        }
    }
}
