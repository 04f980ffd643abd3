//! Timesteps to the vectors that residual blocks add.
//!
//! Reference: diffusers 0.42.1, `models/embeddings.py` (`get_timestep_embedding`, `TimestepEmbedding`).

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use roentgen_classifier::nn::{Linear, LinearConfig};
use roentgen_kernels::silu;

/// Sines and cosines of a timestep (Vaswani et al. 2017, section 3.5; Ho et al. 2020, appendix B).
#[derive(Clone, Debug)]
pub(super) struct TimeProjection {
    /// Angular frequencies, from 1 radian per step to 1/10000.
    frequencies: Vec<f32>,
    cosines_first: bool,
}

impl TimeProjection {
    /// `width` numbers per timestep, an even number; `freq_shift` is less than half of it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight numbers each for the timesteps 0, 1 and 999.5.
    fn projected(cosines_first: bool, freq_shift: f32) -> Vec<f32> {
        let timesteps = Tensor::from_floats([0.0, 1.0, 999.5], &Device::flex());
        TimeProjection::new(8, cosines_first, freq_shift).forward(timesteps).into_data().try_to_vec().unwrap()
    }

    /// `get_timestep_embedding(torch.tensor([0., 1., 999.5]), 8, …)` of diffusers 0.42.1; a step in the last place of an angle
    /// of 999.5 radians is 6e-5.
    fn assert_is(got: &[f32], want: [[f32; 8]; 3]) {
        let want = want.as_flattened();
        assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-4), "{got:?}, expected {want:?}");
    }

    #[test]
    fn is_the_reference() {
        let expected = [
            [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
            [0.540_302_3, 0.995_004_2, 0.999_95, 0.999_999_5, 0.841_471, 0.099_833_414, 0.009_999_833, 0.001],
            [0.889_961_24, 0.835_931_8, -0.841_781_2, 0.540_723, 0.456_036_18, -0.548_833_4, -0.539_818_9, 0.841_200_65],
        ];
        assert_is(&projected(true, 0.0), expected);
    }

    #[test]
    fn sines_first_and_a_shift_are_the_reference() {
        let expected = [
            [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
            [0.841_471, 0.046_399_23, 0.002_154_433_2, 0.0001, 0.540_302_3, 0.998_922_94, 0.999_997_7, 1.0],
            [0.456_036_18, 0.667_767, 0.835_056_3, 0.099_783_66, 0.889_961_24, -0.744_370_34, -0.550_164_46, 0.995_009_1],
        ];
        assert_is(&projected(false, 1.0), expected);
    }
}
