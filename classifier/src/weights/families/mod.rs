//! What files of each kind of network look like: the names of their tensors, and the shape that these tell.

mod convnext;
mod densenet;
mod resnet;
mod vit;

use std::collections::BTreeMap;

use crate::networks::{Family, NetworkShape};

/// Shapes in PyTorch's layout by the names in files.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// torchxrayvision's operating thresholds, one per finding.
pub(super) const OP_THRESHS: &str = "op_threshs";

/// Number of training batches a norm has seen; `i64`, no dimensions.
pub(super) const COUNTER: &str = "num_batches_tracked";

/// How files of a kind of network name its tensors.
pub(super) struct Naming {
    /// A tensor that every network of the kind has and no other, by which kind and prefix are found; under every name that files give it.
    pub(super) marks: &'static [&'static str],
    /// The weight of the first convolution, `[O, C, K, K]`.
    pub(super) first: &'static str,
    /// Weight `[F, C]` and bias `[F]` of the linear head.
    pub(super) head: [&'static str; 2],
    /// A tensor that files have and no forward pass uses, `[1, C]` for features of `2 * C`.
    pub(super) unused: Option<&'static str>,
    /// The current name for a current or legacy one.
    pub(super) current: fn(&str) -> String,
    /// The module path of a current name; `None` where no module has that name.
    pub(super) module_path: fn(&str) -> Option<String>,
    /// The current name of a module path; the inverse.
    pub(super) file_name: fn(&str) -> Option<String>,
    /// The shape of the network that has these tensors, or why there is none.
    pub(super) shape: fn(&Shapes) -> Result<NetworkShape, String>,
}

/// The names in files of `family`.
pub(super) fn naming(family: Family) -> &'static Naming {
    match family {
        Family::DenseNet => &densenet::NAMING,
        Family::ResNet => &resnet::NAMING,
        Family::ConvNeXt => &convnext::NAMING,
        Family::Vit => &vit::NAMING,
    }
}

/// torchvision's name (of a DINOv2 transformers') of the parameter at `path` in a network of `family`; layer norms have `gamma` and `beta`
/// here, `weight` and `bias` there.
#[must_use]
pub fn published_name(family: Family, path: &str) -> Option<String> {
    let path = match path.rsplit_once('.') {
        Some((layer, "gamma")) => format!("{layer}.weight"),
        Some((layer, "beta")) => format!("{layer}.bias"),
        _ => path.to_owned(),
    };
    (naming(family).file_name)(&path)
}

/// Whether a tensor is part of the linear head of some network.
pub(super) fn is_head(name: &str) -> bool {
    Family::ALL.iter().any(|family| naming(*family).head.contains(&name))
}

/// Whether a tensor is the weight of the first convolution of some network.
pub(super) fn is_first(name: &str) -> bool {
    Family::ALL.iter().any(|family| naming(*family).first == name)
}

/// The counter beside a norm's `running_var`, by name in files.
pub(super) fn counter_beside(name: &str) -> Option<String> {
    Some(format!("{}{COUNTER}", name.strip_suffix("running_var")?))
}

/// A number as PyTorch and burn write it: no sign, no leading zero.
fn index(digits: &str) -> Option<usize> {
    let number: usize = digits.parse().ok()?;
    (number < usize::MAX && number.to_string() == digits).then_some(number)
}

/// Whether a field is one of a batch norm.
fn is_norm(field: &str) -> bool {
    matches!(field, "weight" | "bias" | "running_mean" | "running_var")
}

/// Far above any published network; a file with more would need absurd amounts of memory.
const MAX_DIMENSION: usize = 4096;

/// A shape of `D` dimensions of a possible size.
fn shape<const D: usize>(shapes: &Shapes, name: &str) -> Result<[usize; D], String> {
    let found = shapes.get(name).ok_or_else(|| format!("it has no `{name}`"))?;
    <[usize; D]>::try_from(found.as_slice())
        .ok()
        .filter(|shape| shape.iter().all(|size| (1..=MAX_DIMENSION).contains(size)))
        .ok_or_else(|| format!("`{name}` has shape {found:?}, expected {D} dimensions of 1 to {MAX_DIMENSION}"))
}

/// For as many of 0, 1, … as there is a tensor of the name that `name` gives.
fn count(shapes: &Shapes, name: impl Fn(usize) -> String) -> usize {
    (0..).take_while(|i| shapes.contains_key(&name(*i))).count()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::networks::vit::VitClassifierConfig;
    use crate::networks::{ConvNeXtConfig, DenseNetConfig, ResNetConfig, ResidualBlock};

    /// Networks of all kinds, small and of odd widths.
    fn shapes() -> Vec<NetworkShape> {
        let (resnet, convnext) = (ResNetConfig::resnet50(2, 5), ConvNeXtConfig::tiny(1, 2));
        let (basic, layers) = (ResidualBlock::Basic, vec![1, 3, 1, 2]);
        let vit = VitClassifierConfig { hidden_size: 128, num_hidden_layers: 3, grid: 2, ..VitClassifierConfig::base14(3, 2) };
        vec![
            NetworkShape::DenseNet(DenseNetConfig::small(1, 3)),
            NetworkShape::DenseNet(DenseNetConfig { bn_size: 1, block_config: vec![1], ..DenseNetConfig::small(3, 1) }),
            NetworkShape::DenseNet(DenseNetConfig {
                num_init_features: 7,
                block_config: vec![1, 3, 1, 2, 1],
                ..DenseNetConfig::small(2, 2)
            }),
            NetworkShape::ResNet(ResNetConfig { layers: layers.clone(), planes: vec![4, 5, 8, 9], stem: 6, ..resnet.clone() }),
            NetworkShape::ResNet(ResNetConfig { layers, block: basic, planes: vec![6, 6, 7, 3], stem: 6, ..resnet.clone() }),
            NetworkShape::ResNet(ResNetConfig { block: basic, layers: vec![1], planes: vec![3], stem: 2, ..resnet }),
            NetworkShape::ConvNeXt(ConvNeXtConfig { channels: vec![3, 5, 4], layers: vec![2, 1, 3], ..convnext.clone() }),
            NetworkShape::ConvNeXt(ConvNeXtConfig { channels: vec![7], layers: vec![1], ..convnext }),
            NetworkShape::Vit(VitClassifierConfig { hidden_size: 64, mlp_ratio: 1, grid: 1, patch_size: 3, ..vit.clone() }),
            NetworkShape::Vit(vit),
        ]
    }

    #[test]
    fn tensors_give_back_the_shape_of_their_network() {
        for shape in shapes() {
            assert_eq!(shape.init(&Device::flex()).shape(), shape);
        }
    }

    #[test]
    fn names_of_files_and_paths_of_modules_are_one_to_one() {
        for shape in shapes() {
            let naming = naming(shape.family());
            let names = super::super::config::shapes_of(&shape.init(&Device::flex()));
            for name in [naming.marks[0], naming.first, naming.head[0], naming.head[1]] {
                assert!(names.contains_key(name), "{shape:?} has no {name}");
            }
            for name in names.keys() {
                let path = (naming.module_path)(name).unwrap_or_else(|| panic!("{name} has no module"));
                assert_eq!((naming.file_name)(&path).as_ref(), Some(name));
                assert_eq!(&(naming.current)(name), name);
            }
        }
    }

    #[test]
    fn marks_tell_networks_apart() {
        for shape in shapes() {
            let names = super::super::config::shapes_of(&shape.init(&Device::flex()));
            for family in Family::ALL {
                let marked = naming(family).marks.iter().any(|mark| names.contains_key(*mark));
                assert_eq!(marked, family == shape.family(), "{family} of {shape:?}");
            }
        }
    }
}
