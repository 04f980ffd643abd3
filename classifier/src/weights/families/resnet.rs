//! Tensors of torchvision's ResNet.
//!
//! | torchvision 0.29 | here |
//! |---|---|
//! | `conv1.weight`, `bn1.*`, `fc.*` | the same, `fc.weight` transposed |
//! | `layer1.0.conv2.weight`, `layer1.0.bn2.*` | `stages.0.0.conv2.weight`, `stages.0.0.bn2.*` |
//! | `layer1.0.downsample.0.weight` | `stages.0.0.downsample.conv.weight` |
//! | `layer1.0.downsample.1.*` | `stages.0.0.downsample.norm.*` |
//! | `….num_batches_tracked` | not kept: PyTorch reads it only when a norm has no momentum |

use super::{Naming, Shapes, count, index, is_norm, shape};
use crate::networks::{NetworkShape, ResNetConfig, ResidualBlock};

pub(super) const NAMING: Naming = Naming {
    marks: &["layer1.0.conv1.weight"],
    first: "conv1.weight",
    head: ["fc.weight", "fc.bias"],
    unused: None,
    current: str::to_owned,
    module_path,
    file_name,
    shape: from_shapes,
};

fn module_path(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    Some(match parts[..] {
        ["conv1", "weight"] | ["fc", "weight" | "bias"] => name.to_owned(),
        ["bn1", field] if is_norm(field) => name.to_owned(),
        [stage, block, ref rest @ ..] => {
            let (stage, block) = (index(stage.strip_prefix("layer")?)?.checked_sub(1)?, index(block)?);
            let rest = match rest {
                ["conv1" | "conv2" | "conv3", "weight"] => rest.join("."),
                ["bn1" | "bn2" | "bn3", field] if is_norm(field) => rest.join("."),
                ["downsample", "0", "weight"] => "downsample.conv.weight".to_owned(),
                ["downsample", "1", field] if is_norm(field) => format!("downsample.norm.{field}"),
                _ => return None,
            };
            format!("stages.{stage}.{block}.{rest}")
        }
        _ => return None,
    })
}

fn file_name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    let name = match parts[..] {
        ["stages", stage, block, "downsample", part, field] => {
            let part = if part == "conv" { 0 } else { 1 };
            format!("layer{}.{block}.downsample.{part}.{field}", index(stage)?.checked_add(1)?)
        }
        ["stages", stage, block, part, field] => format!("layer{}.{block}.{part}.{field}", index(stage)?.checked_add(1)?),
        _ => path.to_owned(),
    };
    (module_path(&name).as_deref() == Some(path)).then_some(name)
}

fn from_shapes(shapes: &Shapes) -> Result<NetworkShape, String> {
    let stages = count(shapes, |stage| format!("layer{}.0.conv1.weight", stage + 1));
    let layers = (1..=stages).map(|stage| count(shapes, |block| format!("layer{stage}.{block}.conv1.weight"))).collect();
    let planes = (1..=stages).map(|stage| Ok(shape::<4>(shapes, &format!("layer{stage}.0.conv1.weight"))?[0]));
    let planes = planes.collect::<Result<Vec<_>, String>>()?;
    let bottleneck = shapes.contains_key("layer1.0.conv3.weight");
    if bottleneck {
        let [outputs, inner, ..] = shape::<4>(shapes, "layer1.0.conv3.weight")?;
        if outputs != 4 * inner || inner != planes[0] {
            return Err(format!(
                "its blocks give {outputs} channels from {inner}, a ResNet's four times as many (it may be a wide ResNet or a ResNeXt)"
            ));
        }
    }
    let [stem, in_channels, ..] = shape::<4>(shapes, NAMING.first)?;
    let [num_classes, _] = shape::<2>(shapes, NAMING.head[0])?;
    let block = if bottleneck { ResidualBlock::Bottleneck } else { ResidualBlock::Basic };
    Ok(NetworkShape::ResNet(ResNetConfig { block, layers, planes, stem, in_channels, num_classes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_torchvision() {
        // torchvision 0.29.2: list(resnet50().state_dict()).
        for (theirs, ours) in [
            ("conv1.weight", "conv1.weight"),
            ("bn1.running_mean", "bn1.running_mean"),
            ("layer1.0.conv3.weight", "stages.0.0.conv3.weight"),
            ("layer4.2.bn2.running_var", "stages.3.2.bn2.running_var"),
            ("layer2.0.downsample.0.weight", "stages.1.0.downsample.conv.weight"),
            ("layer2.0.downsample.1.bias", "stages.1.0.downsample.norm.bias"),
            ("fc.bias", "fc.bias"),
        ] {
            assert_eq!(module_path(theirs).as_deref(), Some(ours));
            assert_eq!(file_name(ours).as_deref(), Some(theirs));
        }
    }

    #[test]
    fn other_names_have_no_path() {
        for name in [
            "layer0.0.conv1.weight",
            "layer1.00.conv1.weight",
            "layer1.0.conv4.weight",
            "layer1.0.conv1.bias",
            "layer1.0.downsample.2.weight",
            "layer1.0.downsample.0.bias",
            "layer18446744073709551616.0.conv1.weight",
            "conv1.bias",
            "features.conv0.weight",
            "fc",
            "",
        ] {
            assert_eq!(module_path(name), None, "{name}");
        }
        assert_eq!(file_name("stages.18446744073709551615.0.conv1.weight"), None);
        assert_eq!(file_name("stages.0.0.downsample.pool.weight"), None);
    }
}
