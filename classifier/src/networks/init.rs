//! Initial weights from a seed, the same on every device.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::{Family, Network};

/// Deviation of the initial weights of ConvNeXt and of DINOv2 (transformers' `initializer_range`).
const DEVIATION: f32 = 0.02;
/// Initial value of ConvNeXt's layer scales.
const LAYER_SCALE: f32 = 1e-6;

/// torchvision's initialisation, of a vision transformer transformers' (5.23.0), drawn on the host: runs of one seed start with equal
/// weights, whatever the device, the threads or earlier draws. Each tensor has its own stream, so nets that differ in the number of
/// findings still share every convolution.
///
/// | network | convolutions | linear layers |
/// |---|---|---|
/// | DenseNet | He-normal by fan in | uniform within `1 / sqrt(fan in)`, biases 0 |
/// | ResNet | He-normal by fan out | uniform within `1 / sqrt(fan in)`, biases too |
/// | ConvNeXt | normal with deviation 0.02, biases 0 | the same; layer scales are 1e-6 |
/// | DINOv2 | normal with deviation 0.02, biases 0 | the same, the class token and places too; layer scales are 1 |
///
/// Norms are 1 and 0. (torchvision and transformers cut the normal off at 100 deviations, which no draw reaches.)
#[must_use]
pub fn seeded(net: impl Into<Network>, seed: u64) -> Network {
    let net = net.into();
    let family = net.family();
    net.map(&mut Draw { family, seed, stream: 0, fan_in: 0, path: Vec::new() })
}

struct Draw {
    family: Family,
    seed: u64,
    stream: u64,
    /// Of the last matrix, whose bias comes next.
    fan_in: usize,
    path: Vec<String>,
}

impl Draw {
    /// Values of the parameter at `path`; `None` where those of the layer stay.
    fn values(&mut self, shape: &[usize], rng: &mut ChaCha8Rng) -> Option<Vec<f32>> {
        let count = shape.iter().product();
        let mut normal = |deviation: f32| (0..count).map(|_| deviation * rng.sample::<f32, _>(StandardNormal)).collect();
        match (self.family, shape) {
            (Family::DenseNet, [_, kernel @ ..]) if kernel.len() == 3 => {
                Some(normal((2.0 / kernel.iter().product::<usize>() as f32).sqrt()))
            }
            (Family::ResNet, [outputs, _, kernel @ ..]) if kernel.len() == 2 => {
                Some(normal((2.0 / (outputs * kernel.iter().product::<usize>()) as f32).sqrt()))
            }
            (Family::ConvNeXt, [_, _, _, _] | [_, _]) => Some(normal(DEVIATION)),
            (Family::ConvNeXt, [_, 1, 1]) => Some(vec![LAYER_SCALE; count]),
            (Family::Vit, [_, _, ..]) => Some(normal(DEVIATION)),
            (Family::Vit, [_]) if self.path.last().is_some_and(|name| name == "bias") => Some(vec![0.0; count]),
            // burn's linear weight is [in, out].
            (_, [fan_in, _]) => {
                self.fan_in = *fan_in;
                Some(self.uniform(count, rng))
            }
            (Family::ResNet, [_]) if self.path.first().is_some_and(|name| name == "fc") => Some(self.uniform(count, rng)),
            _ => None,
        }
    }

    fn uniform(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let bound = 1.0 / (self.fan_in as f32).sqrt();
        (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
    }
}

impl ModuleMapper for Draw {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.stream += 1;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.stream);
        param.map(|tensor| {
            let shape = tensor.dims();
            match self.values(&shape, &mut rng) {
                Some(values) => Tensor::from_data(TensorData::new(values, shape), &tensor.device()),
                None => tensor,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::module::ModuleVisitor;
    use burn::tensor::Device;

    use super::*;
    use crate::networks::vit::VitClassifierConfig;
    use crate::networks::{ConvNeXtConfig, DenseNetConfig, ResNetConfig};

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

    /// Root of the mean square of every parameter, by path.
    fn deviations(net: &Network) -> BTreeMap<String, f32> {
        #[derive(Default)]
        struct Deviations {
            path: Vec<String>,
            by_path: BTreeMap<String, f32>,
        }
        impl ModuleVisitor for Deviations {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let deviation = param.val().square().mean().into_scalar::<f32>().sqrt();
                self.by_path.insert(self.path.join("."), deviation);
            }
        }
        let mut visitor = Deviations::default();
        net.visit(&mut visitor);
        visitor.by_path
    }

    /// Expected values from the formulas of torchvision 0.29.2 and transformers 5.23.0; a normal of 10,000 draws is within 3 % of its
    /// deviation.
    #[test]
    fn weights_are_drawn_as_torchvision_and_transformers_draw_them() {
        let device = Device::flex();
        let near = |found: f32, expected: f32| assert!((found / expected - 1.0).abs() < 0.03, "{found}, expected {expected}");
        let resnet = ResNetConfig { layers: vec![1, 1], planes: vec![16, 64], stem: 64, ..ResNetConfig::resnet50(3, 100) };
        let resnet = deviations(&seeded(resnet.init(&device), 1));
        near(resnet["conv1.weight"], (2.0 / (64.0 * 49.0f32)).sqrt());
        near(resnet["stages.1.0.conv3.weight"], (2.0 / 256.0f32).sqrt());
        near(resnet["fc.weight"], 1.0 / (3.0 * 256.0f32).sqrt());
        assert!(resnet["fc.bias"] > 0.5 / (3.0 * 256.0f32).sqrt());
        let convnext = ConvNeXtConfig { channels: vec![96, 128], layers: vec![1, 1], ..ConvNeXtConfig::tiny(3, 100) };
        let convnext = deviations(&seeded(convnext.init(&device), 1));
        for name in ["stages.1.downsample.conv.weight", "stages.0.blocks.0.expand.weight", "classifier.weight"] {
            near(convnext[name], 0.02);
        }
        assert_eq!(convnext["stages.0.blocks.0.layer_scale"], 1e-6);
        assert_eq!(convnext["stages.0.blocks.0.depthwise.bias"], 0.0);
        assert_eq!(convnext["stages.0.blocks.0.norm.gamma"], 1.0);
        let vit =
            VitClassifierConfig { hidden_size: 128, num_hidden_layers: 1, grid: 9, ..VitClassifierConfig::base14(3, 100) };
        let vit = deviations(&seeded(vit.init(&device), 1));
        for name in [
            "embeddings.position_embeddings",
            "embeddings.patch_embeddings.projection.weight",
            "encoder.layer.0.mlp.Gelu.fc1.weight",
        ] {
            near(vit[&format!("dinov2.{name}")], 0.02);
        }
        near(vit["classifier.weight"], 0.02);
        // 128 draws: three standard errors of the deviation.
        assert!((vit["dinov2.embeddings.cls_token"] / 0.02 - 1.0).abs() < 3.0 / 256f32.sqrt());
        for (name, expected) in
            [("attention.attention.key.bias", 0.0), ("layer_scale1.lambda1", 1.0), ("norm2.gamma", 1.0), ("norm2.beta", 0.0)]
        {
            assert_eq!(vit[&format!("dinov2.encoder.layer.0.{name}")], expected, "{name}");
        }
        assert_eq!(vit["dinov2.embeddings.patch_embeddings.projection.bias"], 0.0);
    }
}
