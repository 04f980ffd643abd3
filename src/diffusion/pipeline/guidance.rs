//! Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598, equation 6).

use burn::tensor::Tensor;

/// `unconditional + scale (conditional - unconditional)` of a doubled batch `[2B, C, H, W]`, unconditional rows first, optionally
/// rescaled.
///
/// `rescale` in [0, 1] mixes in the prediction with the standard deviation of the conditional one (Lin et al. 2023, arXiv 2305.08891,
/// section 3.4; diffusers 0.42.1, `rescale_noise_cfg`).
pub(super) fn guide(doubled: Tensor<4>, scale: f64, rescale: f64) -> Tensor<4> {
    let batch = doubled.dims()[0] / 2;
    let unconditional = doubled.clone().narrow(0, 0, batch);
    let conditional = doubled.narrow(0, batch, batch);
    let guided = unconditional.clone() + (conditional.clone() - unconditional) * scale;
    if rescale == 0.0 {
        return guided;
    }
    let ratio: Tensor<4> = deviation(conditional) / deviation(guided.clone());
    guided * (ratio * rescale + (1.0 - rescale))
}

/// Standard deviation of each image `[B, 1, 1, 1]`, with Bessel's correction as `torch.std`.
fn deviation(x: Tensor<4>) -> Tensor<4> {
    let batch = x.dims()[0];
    x.flatten::<2>(1, 3).var(1).sqrt().reshape([batch, 1, 1, 1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor(values: &[f32]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / 2, 1, 1, 2]), &Device::flex())
    }

    #[test]
    fn scale_goes_from_unconditional_to_conditional_and_beyond() {
        for (scale, expected) in [(0.0, [1.0f32, 2.0]), (1.0, [3.0, -2.0]), (4.0, [9.0, -14.0])] {
            let guided = guide(tensor(&[1.0, 2.0, 3.0, -2.0]), scale, 0.0);
            assert_eq!(guided.into_data().try_to_vec::<f32>().unwrap(), expected);
        }
    }

    #[test]
    fn full_rescale_keeps_the_conditional_deviation() {
        let guided = guide(tensor(&[1.0, 2.0, 3.0, -2.0]), 4.0, 1.0);
        let difference: f32 = guided.clone().narrow(3, 0, 1).sub(guided.narrow(3, 1, 1)).into_scalar();
        assert!((difference - 5.0).abs() < 1e-5, "{difference}");
    }
}
