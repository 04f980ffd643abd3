//! The random numbers of one image.

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Standard normal noise of one image, a function of its seed alone: the same on every device and in every batch.
///
/// The numbers are not those of `torch.Generator`: to compare with diffusers, hand over the latents.
#[derive(Clone, Debug)]
pub(super) struct ImageNoise(ChaCha8Rng);

impl ImageNoise {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn draw(&mut self, count: usize, into: &mut Vec<f32>) {
        into.extend(StandardNormal.sample_iter(&mut self.0).take(count).map(|value: f32| value));
    }
}

/// The next noise `[B, C, H, W]` of a batch, one generator an image.
pub(super) fn next(noises: &mut [ImageNoise], [channels, height, width]: [usize; 3], device: &Device) -> Tensor<4> {
    let each = channels * height * width;
    let mut values = Vec::with_capacity(noises.len() * each);
    noises.iter_mut().for_each(|noise| noise.draw(each, &mut values));
    Tensor::from_data(TensorData::new(values, [noises.len(), channels, height, width]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_the_seed_alone() {
        let device = Device::flex();
        let noise = |seeds: &[u64]| {
            let mut noises: Vec<_> = seeds.iter().map(|seed| ImageNoise::new(*seed)).collect();
            let first = next(&mut noises, [4, 3, 2], &device);
            Tensor::cat(vec![first, next(&mut noises, [4, 3, 2], &device)], 1)
        };
        let batch = noise(&[5, 6, 5]);
        assert_eq!(batch.clone().narrow(0, 1, 1).into_data(), noise(&[6]).into_data());
        assert_eq!(batch.clone().narrow(0, 0, 1).into_data(), batch.clone().narrow(0, 2, 1).into_data());
        assert_ne!(batch.clone().narrow(0, 0, 1).into_data(), batch.narrow(0, 1, 1).into_data());
    }

    #[test]
    fn is_standard_normal() {
        let values = next(&mut [ImageNoise::new(1)], [4, 64, 64], &Device::flex());
        let values = values.flatten::<1>(0, 3);
        let (mean, variance): (f32, f32) = (values.clone().mean().into_scalar(), values.var(0).into_scalar());
        // Three standard errors of 16,384 draws.
        assert!(mean.abs() < 3.0 / 128.0 && (variance - 1.0).abs() < 3.0 * 2f32.sqrt() / 128.0, "{mean} {variance}");
    }
}
