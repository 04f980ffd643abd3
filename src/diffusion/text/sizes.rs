//! The common part of the text encoders' configurations: sizes, and activations by their names in transformers.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu_approximate;
use roentgen_kernels::{gelu, quick_gelu};
use serde_json::json;

use crate::diffusion::DiffusionError;
use crate::diffusion::options::{LAYERS, Options, ROWS, WIDTH};

/// The function between the two matrices of a feed-forward block (`hidden_act`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `x Φ(x)` by the error function (Hendrycks and Gimpel 2016).
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
}

impl Activation {
    /// Takes `hidden_act`.
    pub(crate) fn take(options: &mut Options, default: &str) -> Result<Self, DiffusionError> {
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
            Self::QuickGelu => quick_gelu(x),
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
        }
    }
}

/// Sizes of a transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::diffusion) struct Sizes {
    /// Number of ids.
    pub(in crate::diffusion) vocabulary: usize,
    pub(in crate::diffusion) width: usize,
    /// Width between the two matrices of a feed-forward block.
    pub(in crate::diffusion) inner: usize,
    pub(in crate::diffusion) layers: usize,
    pub(in crate::diffusion) heads: usize,
    /// Rows of the position embedding.
    pub(in crate::diffusion) positions: usize,
    /// Of every norm.
    pub(in crate::diffusion) epsilon: f64,
}

impl Sizes {
    /// Refuses sizes of no valid transformer.
    pub(in crate::diffusion) fn check(&self, options: &Options) -> Result<(), DiffusionError> {
        let sizes = [
            ("vocab_size", self.vocabulary, ROWS),
            ("hidden_size", self.width, WIDTH),
            ("intermediate_size", self.inner, WIDTH),
            ("num_hidden_layers", self.layers, LAYERS),
            ("num_attention_heads", self.heads, WIDTH),
            ("max_position_embeddings", self.positions, ROWS),
        ];
        for (key, size, range) in sizes {
            options.in_range(key, &[size], range)?;
        }
        if !self.width.is_multiple_of(self.heads) {
            let expected = format!("a divisor of hidden_size, {}", self.width);
            return Err(options.refuse("num_attention_heads", &self.heads.to_string(), &expected));
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return Err(options.refuse("layer_norm_eps", &self.epsilon.to_string(), "a small positive number"));
        }
        Ok(())
    }

    /// Consumes the options that transformers writes into every configuration and no encoder uses, and refuses the rest.
    pub(in crate::diffusion) fn finish(mut options: Options) -> Result<(), DiffusionError> {
        options.without_training();
        options.neutral("is_encoder_decoder", &[json!(false)])?;
        options.neutral("pruned_heads", &[json!({})])?;
        options.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;

    fn take(text: &str) -> Result<Activation, DiffusionError> {
        Activation::take(&mut Options::parse(text, Path::new("config.json")).unwrap(), "gelu")
    }

    #[test]
    fn values_are_those_of_torch() {
        // torch 2.15.0, f64: gelu(x), gelu(x, approximate="tanh"), x * sigmoid(1.702 * x)
        let rows = [
            (Activation::Gelu, [0.841344746, -0.158655254, 2.995950306, -0.154268770]),
            (Activation::GeluTanh, [0.841191991, -0.158808009, 2.996362607, -0.154285988]),
            (Activation::QuickGelu, [0.845795765, -0.154204235, 2.981928691, -0.149611563]),
        ];
        for (activation, expected) in rows {
            let x = Tensor::<1>::from_floats([1.0, -1.0, 3.0, -0.5], &Device::flex());
            let values: Vec<f32> = activation.forward(x).into_data().try_to_vec().unwrap();
            for (value, expected) in values.into_iter().zip(expected) {
                // Two units in the last place of values around 3.
                assert!((f64::from(value) - expected).abs() < 5e-7, "{activation:?}: {value} {expected}");
            }
        }
    }

    #[test]
    fn names_are_those_of_transformers() {
        assert_eq!(take("{}").unwrap(), Activation::Gelu);
        assert_eq!(take(r#"{"hidden_act": "quick_gelu"}"#).unwrap(), Activation::QuickGelu);
        assert_eq!(take(r#"{"hidden_act": "gelu_new"}"#).unwrap(), Activation::GeluTanh);
        let message = take(r#"{"hidden_act": "mish"}"#).unwrap_err().to_string();
        assert!(message.contains("`hidden_act` is mish"), "{message}");
    }
}
