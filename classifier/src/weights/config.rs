//! The shape of a net, inferred from its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot};

use super::{keys, source::Source};
use crate::ClassifierError;
use crate::networks::{DenseNet, DenseNetConfig};

/// Shapes in PyTorch's layout by torchvision's names.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

impl DenseNet {
    /// The configuration that makes a net of this shape.
    #[must_use]
    pub fn config(&self) -> DenseNetConfig {
        from_shapes(&shapes_of(self)).expect("a net has the tensors of a net")
    }
}

pub(super) fn shapes_of(net: &DenseNet) -> Shapes {
    let tensors = net.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true);
    tensors.into_iter().map(|tensor| (name_of(&tensor.name), tensor.shape.to_vec())).collect()
}

pub(super) fn name_of(module_path: &str) -> String {
    keys::torchvision_name(module_path).expect("each tensor of a DenseNet is in the key table")
}

/// The configuration of the net in a file: from the tensors' shapes, and in our own files checked against the card.
///
/// # Errors
/// As [`load_weights`](super::load_weights), and [`ClassifierError::NotWeights`] if the shapes are no DenseNet's.
pub fn infer_config(path: &Path) -> Result<DenseNetConfig, ClassifierError> {
    infer(path, &Source::open(path)?)
}

pub(super) fn infer(path: &Path, source: &Source) -> Result<DenseNetConfig, ClassifierError> {
    let config = from_shapes(&source.shapes()).map_err(|reason| ClassifierError::NotWeights {
        path: path.to_owned(),
        looks_like: format!("a DenseNet of an unsupported form: {reason}"),
    })?;
    if let Some(card) = &source.card {
        card.check(path, &config)?;
    }
    Ok(config)
}

fn from_shapes(shapes: &Shapes) -> Result<DenseNetConfig, String> {
    let has = |name: &str| shapes.contains_key(name);
    let block_config: Vec<usize> = (1..)
        .map(|block| {
            (1..).take_while(|layer| has(&format!("features.denseblock{block}.denselayer{layer}.conv2.weight"))).count()
        })
        .take_while(|layers| *layers > 0)
        .collect();
    if block_config.is_empty() {
        return Err("it has no dense block".to_owned());
    }
    let [num_init_features, in_channels, ..] = shape::<4>(shapes, keys::FIRST)?;
    let [growth_rate, bottleneck, ..] = shape::<4>(shapes, "features.denseblock1.denselayer1.conv2.weight")?;
    let [num_classes, _] = shape::<2>(shapes, "classifier.weight")?;
    if bottleneck % growth_rate != 0 {
        return Err(format!("its bottleneck of {bottleneck} channels is not a multiple of its growth rate {growth_rate}"));
    }
    let bn_size = bottleneck / growth_rate;
    Ok(DenseNetConfig { growth_rate, block_config, num_init_features, bn_size, in_channels, num_classes })
}

/// Far above any published DenseNet; a file with more would need absurd amounts of memory.
const MAX_DIMENSION: usize = 4096;

/// A shape of `D` dimensions of a possible size.
fn shape<const D: usize>(shapes: &Shapes, name: &str) -> Result<[usize; D], String> {
    let found = shapes.get(name).ok_or_else(|| format!("it has no `{name}`"))?;
    <[usize; D]>::try_from(found.as_slice())
        .ok()
        .filter(|shape| shape.iter().all(|size| (1..=MAX_DIMENSION).contains(size)))
        .ok_or_else(|| format!("`{name}` has shape {found:?}, expected {D} dimensions of 1 to {MAX_DIMENSION}"))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn shapes_give_back_the_configuration() {
        for config in [
            DenseNetConfig::small(1, 3),
            DenseNetConfig { bn_size: 1, block_config: vec![1], ..DenseNetConfig::small(3, 1) },
            DenseNetConfig { num_init_features: 7, block_config: vec![1, 3, 1, 2, 1], ..DenseNetConfig::small(2, 2) },
        ] {
            assert_eq!(config.init(&Device::flex()).config(), config);
        }
    }
}
