//! Initial weights from a seed, the same on every device.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::networks::DenseNet;

/// torchvision's initialisation, drawn on the host: runs of one seed start with equal weights, whatever the device, the threads
/// or earlier draws.
///
/// Convolutions are He-normal (fan in), the classifier's weight is uniform within `1 / sqrt(fan in)` and its bias 0, norms are 1
/// and 0. Each tensor has its own stream, so nets that differ in the number of findings still share every convolution.
#[must_use]
pub fn seeded(net: DenseNet, seed: u64) -> DenseNet {
    net.map(&mut Draw { seed, stream: 0 })
}

struct Draw {
    seed: u64,
    stream: u64,
}

impl ModuleMapper for Draw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.stream += 1;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.stream);
        param.map(|tensor| {
            let shape = tensor.dims();
            let count = shape.iter().product();
            let values: Vec<f32> = match D {
                4 => {
                    let deviation = (2.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
                    (0..count).map(|_| deviation * rng.sample::<f32, _>(StandardNormal)).collect()
                }
                // burn's linear weight is [in, out].
                2 => {
                    let bound = 1.0 / (shape[0] as f32).sqrt();
                    (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
                }
                _ => return tensor,
            };
            let device = tensor.device();
            Tensor::from_data(TensorData::new(values, shape), &device)
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use crate::networks::{DenseNetConfig, seeded};

    fn logits(seed: u64) -> Vec<f32> {
        let device = Device::flex();
        let net = seeded(DenseNetConfig::small(1, 3).init(&device), seed);
        net.forward(Tensor::ones([1, 1, 64, 64], &device)).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_seed_is_a_net() {
        assert_eq!(logits(5), logits(5));
        assert_ne!(logits(5), logits(6));
    }
}
