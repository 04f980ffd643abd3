//! A small model with every kind of layer, for the tests of this folder.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, TensorData};
use roentgen_classifier::nn::{
    Conv2d, Conv2dConfig, GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};

use super::KeyMap;
use super::load::init_with;

#[derive(Module, Debug)]
pub(super) enum Projection {
    Matrix(Linear),
    Convolution(Conv2d),
}

#[derive(Module, Debug)]
pub(super) struct Toy {
    conv: Conv2d,
    norm: GroupNorm,
    layer_norm: LayerNorm,
    embedding: Embedding,
    layers: Vec<Linear>,
    projections: Vec<Projection>,
}

/// `layers.1` is kept as a 1x1 convolution; files of old have `old.` before every name and a buffer.
pub(super) struct ToyKeys;

impl KeyMap for ToyKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        (name != "position_ids").then(|| name.strip_prefix("old.").unwrap_or(name).to_owned())
    }

    fn file_shape(&self, key: &str, mut shape: Vec<usize>) -> Vec<usize> {
        if key == "layers.1.weight" {
            shape.extend([1, 1]);
        }
        shape
    }
}

pub(super) fn toy() -> Toy {
    let device = Device::flex();
    Toy {
        conv: Conv2dConfig::new([3, 4], [3, 3]).init(&device),
        norm: GroupNormConfig::new(2, 4).init(&device),
        layer_norm: LayerNormConfig::new(5).init(&device),
        embedding: EmbeddingConfig::new(7, 5).init(&device),
        layers: vec![LinearConfig::new(40, 33).init(&device), LinearConfig::new(2, 3).with_bias(false).init(&device)],
        projections: vec![
            Projection::Matrix(LinearConfig::new(2, 3).init(&device)),
            Projection::Convolution(Conv2dConfig::new([2, 3], [1, 1]).init(&device)),
        ],
    }
}

/// A toy with other values in every place, all of them exact in half precision.
pub(super) fn filled() -> Toy {
    let mut next = 0;
    let value = |_: &str, shape: &[usize]| {
        let values = (0..shape.iter().product()).map(|_| {
            next += 1;
            (next % 2039) as f32 / 64.0
        });
        Ok(TensorData::new(values.collect::<Vec<f32>>(), shape.to_vec()))
    };
    init_with(toy(), &ToyKeys, burn::tensor::FloatDType::F32, value).unwrap()
}
