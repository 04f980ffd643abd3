//! Timesteps to the vectors that residual blocks add.
//!
//! Reference: diffusers 0.42.1, `models/embeddings.py` (`get_timestep_embedding`, `TimestepEmbedding`).

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Sines and cosines of a timestep (Vaswani et al. 2017, section 3.5; Ho et al. 2020, appendix B).
#[derive(Clone, Debug)]
pub(super) struct TimeProjection {
    /// Angular frequencies, from 1 radian a step to 1/10000.
    frequencies: Vec<f32>,
    cosines_first: bool,
}

impl TimeProjection {
    /// `width` numbers a timestep, an even number; `freq_shift` is less than half of it.
    pub(super) fn new(width: usize, cosines_first: bool, freq_shift: f32) -> Self {
        const LONGEST_PERIOD: f32 = 10_000.0;
        let half = width / 2;
        // In 32 bits and in this order, as the reference: another rounding of a frequency is 1000 times as much in the angle.
        let frequency = |i| (-LONGEST_PERIOD.ln() * i as f32 / (half as f32 - freq_shift)).exp();
        Self { frequencies: (0..half).map(frequency).collect(), cosines_first }
    }

    /// # Shapes
    /// - timesteps: `[B]`, in 32 bits
    /// - output: `[B, width]`
    pub(super) fn forward(&self, timesteps: Tensor<1>) -> Tensor<2> {
        let half = self.frequencies.len();
        let data = TensorData::new(self.frequencies.clone(), [1, half]);
        let frequencies = Tensor::<2>::from_data(data, (&timesteps.device(), DType::F32));
        let angles = timesteps.unsqueeze_dim::<2>(1) * frequencies;
        let (sines, cosines) = (angles.clone().sin(), angles.cos());
        Tensor::cat(if self.cosines_first { vec![cosines, sines] } else { vec![sines, cosines] }, 1)
    }
}

/// Two linear layers around a SiLU.
#[derive(Module, Debug)]
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimeEmbedding {
    pub(super) fn new(input: usize, output: usize, device: &Device) -> Self {
        Self {
            linear_1: LinearConfig::new(input, output).init(device),
            linear_2: LinearConfig::new(output, output).init(device),
        }
    }

    /// `[B, input]` to `[B, output]`.
    pub(super) fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(silu(self.linear_1.forward(input)))
    }
}
