//! Tensors of torchvision's ConvNeXt.
//!
//! | torchvision 0.29 | here |
//! |---|---|
//! | `features.0.0.*`, `features.0.1.*` | `stem.conv.*`, `stem.norm.*` |
//! | `features.3.1.layer_scale` `[C, 1, 1]` | `stages.1.blocks.1.layer_scale` |
//! | `features.3.1.block.0.*` | `stages.1.blocks.1.depthwise.*` |
//! | `features.3.1.block.2.*` | `stages.1.blocks.1.norm.*` |
//! | `features.3.1.block.3.*`, `features.3.1.block.5.*` | `stages.1.blocks.1.expand.*`, `….project.*`, weights transposed |
//! | `features.4.0.*`, `features.4.1.*` | `stages.2.downsample.norm.*`, `….conv.*` |
//! | `classifier.0.*`, `classifier.2.*` | `norm.*`, `classifier.*`, the latter's weight transposed |

use super::{Naming, Shapes, count, index, shape};
use crate::networks::{ConvNeXtConfig, NetworkShape};

pub(super) const NAMING: Naming = Naming {
    marks: &["features.1.0.layer_scale"],
    first: "features.0.0.weight",
    head: ["classifier.2.weight", "classifier.2.bias"],
    unused: None,
    current: str::to_owned,
    module_path,
    file_name,
    shape: from_shapes,
};

/// Numbers of a block's parts in torchvision, and their names here.
const PARTS: [(&str, &str); 4] = [("0", "depthwise"), ("2", "norm"), ("3", "expand"), ("5", "project")];

fn module_path(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let affine = |field: &str| matches!(field, "weight" | "bias").then(|| field.to_owned());
    Some(match parts[..] {
        ["classifier", "0", field] => format!("norm.{}", affine(field)?),
        ["classifier", "2", field] => format!("classifier.{}", affine(field)?),
        ["features", "0", "0", field] => format!("stem.conv.{}", affine(field)?),
        ["features", "0", "1", field] => format!("stem.norm.{}", affine(field)?),
        ["features", place, part, field] if index(place)?.is_multiple_of(2) => {
            let part = match part {
                "0" => "norm",
                "1" => "conv",
                _ => return None,
            };
            format!("stages.{}.downsample.{part}.{}", index(place)? / 2, affine(field)?)
        }
        ["features", place, block, "layer_scale"] if !index(place)?.is_multiple_of(2) => {
            format!("stages.{}.blocks.{}.layer_scale", index(place)? / 2, index(block)?)
        }
        ["features", place, block, "block", part, field] if !index(place)?.is_multiple_of(2) => {
            let (_, part) = PARTS.iter().find(|(number, _)| *number == part)?;
            format!("stages.{}.blocks.{}.{part}.{}", index(place)? / 2, index(block)?, affine(field)?)
        }
        _ => return None,
    })
}

fn file_name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    let place = |stage: &str| index(stage)?.checked_mul(2);
    let name = match parts[..] {
        ["norm", field] => format!("classifier.0.{field}"),
        ["classifier", field] => format!("classifier.2.{field}"),
        ["stem", "conv", field] => format!("features.0.0.{field}"),
        ["stem", "norm", field] => format!("features.0.1.{field}"),
        ["stages", stage, "downsample", "norm", field] => format!("features.{}.0.{field}", place(stage)?),
        ["stages", stage, "downsample", "conv", field] => format!("features.{}.1.{field}", place(stage)?),
        ["stages", stage, "blocks", block, "layer_scale"] => format!("features.{}.{block}.layer_scale", place(stage)? + 1),
        ["stages", stage, "blocks", block, part, field] => {
            let (number, _) = PARTS.iter().find(|(_, name)| *name == part)?;
            format!("features.{}.{block}.block.{number}.{field}", place(stage)? + 1)
        }
        _ => return None,
    };
    (module_path(&name).as_deref() == Some(path)).then_some(name)
}

fn from_shapes(shapes: &Shapes) -> Result<NetworkShape, String> {
    let stages = count(shapes, |stage| format!("features.{}.0.layer_scale", 2 * stage + 1));
    let layers = (0..stages).map(|stage| count(shapes, |block| format!("features.{}.{block}.layer_scale", 2 * stage + 1)));
    let channels = (0..stages).map(|stage| Ok(shape::<3>(shapes, &format!("features.{}.0.layer_scale", 2 * stage + 1))?[0]));
    let [_, in_channels, ..] = shape::<4>(shapes, NAMING.first)?;
    let [num_classes, _] = shape::<2>(shapes, NAMING.head[0])?;
    let (channels, layers) = (channels.collect::<Result<_, String>>()?, layers.collect());
    Ok(NetworkShape::ConvNeXt(ConvNeXtConfig { channels, layers, in_channels, num_classes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_torchvision() {
        // torchvision 0.29.2: list(convnext_tiny().state_dict()).
        for (theirs, ours) in [
            ("features.0.0.weight", "stem.conv.weight"),
            ("features.0.1.bias", "stem.norm.bias"),
            ("features.1.0.layer_scale", "stages.0.blocks.0.layer_scale"),
            ("features.5.8.block.0.weight", "stages.2.blocks.8.depthwise.weight"),
            ("features.5.8.block.2.bias", "stages.2.blocks.8.norm.bias"),
            ("features.7.2.block.5.weight", "stages.3.blocks.2.project.weight"),
            ("features.2.0.weight", "stages.1.downsample.norm.weight"),
            ("features.6.1.bias", "stages.3.downsample.conv.bias"),
            ("classifier.0.weight", "norm.weight"),
            ("classifier.2.bias", "classifier.bias"),
        ] {
            assert_eq!(module_path(theirs).as_deref(), Some(ours));
            assert_eq!(file_name(ours).as_deref(), Some(theirs));
        }
    }

    #[test]
    fn other_names_have_no_path() {
        for name in [
            "features.2.0.layer_scale",
            "features.1.0.block.1.weight",
            "features.1.0.block.0.scale",
            "features.2.2.weight",
            "features.01.0.layer_scale",
            "classifier.1.weight",
            "features.conv0.weight",
            "features.0.2.weight",
            "",
        ] {
            assert_eq!(module_path(name), None, "{name}");
        }
        assert_eq!(file_name("stages.9223372036854775808.blocks.0.layer_scale"), None);
    }
}
