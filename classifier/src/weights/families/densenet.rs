//! Tensors of the DenseNet of torchvision and torchxrayvision.
//!
//! | torchvision 0.29, torchxrayvision 1.5 | here |
//! |---|---|
//! | `features.conv0.weight` | the same |
//! | `features.norm0.*`, `features.norm5.*` | the same |
//! | `features.denseblock1.denselayer2.norm1.*` | `features.denseblocks.0.layers.1.norm1.*` |
//! | `features.denseblock1.denselayer2.norm.1.*` (files before torchvision 0.2) | as above |
//! | `features.transition1.conv.weight` | `features.transitions.0.conv.weight` |
//! | `classifier.weight` `[F, C]` | the same, transposed |
//! | `….num_batches_tracked` | not kept: PyTorch reads it only when a norm has no momentum |
//! | `op_threshs` (torchxrayvision) | not part of the net: [`LoadedWeights::op_threshs`](crate::weights::LoadedWeights) |

use super::{Naming, Shapes, index, is_norm, shape};
use crate::networks::{DenseNetConfig, NetworkShape};

pub(super) const NAMING: Naming = Naming {
    marks: &["features.conv0.weight"],
    first: "features.conv0.weight",
    head: ["classifier.weight", "classifier.bias"],
    unused: None,
    current,
    module_path,
    file_name,
    shape: from_shapes,
};

/// The current torchvision name for a current or legacy one: `denselayer1.norm.1.weight` is `denselayer1.norm1.weight`.
///
/// A name without a legacy part is returned unchanged.
fn current(name: &str) -> String {
    let Some((layer, rest)) = name.split_once(".denselayer").and_then(|(block, rest)| {
        let (number, rest) = rest.split_once('.')?;
        Some((format!("{block}.denselayer{number}"), rest))
    }) else {
        return name.to_owned();
    };
    for (old, new) in [("norm.1.", "norm1."), ("norm.2.", "norm2."), ("conv.1.", "conv1."), ("conv.2.", "conv2.")] {
        if let Some(field) = rest.strip_prefix(old) {
            return format!("{layer}.{new}{field}");
        }
    }
    name.to_owned()
}

/// The module path of a current torchvision name; `None` where no module has that name.
fn module_path(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let from_one = |part: &str, stem: &str| index(part.strip_prefix(stem)?)?.checked_sub(1);
    Some(match parts[..] {
        ["classifier", "weight" | "bias"] | ["features", "conv0", "weight"] => name.to_owned(),
        ["features", "norm0" | "norm5", field] if is_norm(field) => name.to_owned(),
        ["features", transition, part, field] if is_part(part, field, "norm", "conv") => {
            format!("features.transitions.{}.{part}.{field}", from_one(transition, "transition")?)
        }
        ["features", block, layer, part, field]
            if is_part(part, field, "norm1", "conv1") || is_part(part, field, "norm2", "conv2") =>
        {
            let (block, layer) = (from_one(block, "denseblock")?, from_one(layer, "denselayer")?);
            format!("features.denseblocks.{block}.layers.{layer}.{part}.{field}")
        }
        _ => return None,
    })
}

/// The torchvision name of a module path; the inverse of the key table.
fn file_name(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('.').collect();
    let name = match parts[..] {
        ["features", "denseblocks", block, "layers", layer, part, field] => {
            format!("features.denseblock{}.denselayer{}.{part}.{field}", index(block)? + 1, index(layer)? + 1)
        }
        ["features", "transitions", transition, part, field] => {
            format!("features.transition{}.{part}.{field}", index(transition)? + 1)
        }
        _ => path.to_owned(),
    };
    module_path(&name).is_some().then_some(name)
}

fn is_part(part: &str, field: &str, norm: &str, conv: &str) -> bool {
    (part == norm && is_norm(field)) || (part == conv && field == "weight")
}

fn from_shapes(shapes: &Shapes) -> Result<NetworkShape, String> {
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
    let [num_init_features, in_channels, ..] = shape::<4>(shapes, NAMING.first)?;
    let [growth_rate, bottleneck, ..] = shape::<4>(shapes, "features.denseblock1.denselayer1.conv2.weight")?;
    let [num_classes, _] = shape::<2>(shapes, NAMING.head[0])?;
    if bottleneck % growth_rate != 0 {
        return Err(format!("its bottleneck of {bottleneck} channels is not a multiple of its growth rate {growth_rate}"));
    }
    let bn_size = bottleneck / growth_rate;
    let config = DenseNetConfig { growth_rate, block_config, num_init_features, bn_size, in_channels, num_classes };
    Ok(NetworkShape::DenseNet(config))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_torchvision() {
        // torchvision 0.29.2: list(densenet121().state_dict()).
        for (theirs, ours) in [
            ("features.conv0.weight", "features.conv0.weight"),
            ("features.norm0.running_mean", "features.norm0.running_mean"),
            ("features.denseblock1.denselayer2.norm1.weight", "features.denseblocks.0.layers.1.norm1.weight"),
            ("features.denseblock4.denselayer16.conv2.weight", "features.denseblocks.3.layers.15.conv2.weight"),
            ("features.transition3.norm.bias", "features.transitions.2.norm.bias"),
            ("features.transition1.conv.weight", "features.transitions.0.conv.weight"),
            ("features.norm5.running_var", "features.norm5.running_var"),
            ("classifier.bias", "classifier.bias"),
        ] {
            assert_eq!(module_path(theirs).as_deref(), Some(ours));
            assert_eq!(file_name(ours).as_deref(), Some(theirs));
        }
    }

    #[test]
    fn legacy_names_become_current() {
        // The checkpoint densenet121-a639ec97.pth of torchvision has these names.
        for (old, new) in [
            ("features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.norm1.weight"),
            ("features.denseblock3.denselayer24.conv.2.weight", "features.denseblock3.denselayer24.conv2.weight"),
            ("features.transition1.norm.weight", "features.transition1.norm.weight"),
            ("classifier.weight", "classifier.weight"),
        ] {
            assert_eq!(current(old), new);
        }
    }

    #[test]
    fn other_names_have_no_path() {
        for name in [
            "features.denseblock0.denselayer1.norm1.weight",
            "features.denseblock01.denselayer1.norm1.weight",
            "features.denseblock1.denselayer1.norm3.weight",
            "features.denseblock1.denselayer1.conv1.bias",
            "features.denseblock18446744073709551615.denselayer1.conv1.weight",
            "features.conv0.bias",
            "fc.weight",
            "",
        ] {
            assert_eq!(module_path(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn table_is_one_to_one(
            block in 0usize..50,
            layer in 0usize..100,
            part in "norm1|norm2|conv1|conv2",
            field in "weight|bias|running_mean|running_var",
        ) {
            let ours = format!("features.denseblocks.{block}.layers.{layer}.{part}.{field}");
            let theirs = file_name(&ours);
            prop_assert_eq!(theirs.is_some(), part.starts_with("norm") || field == "weight");
            if let Some(theirs) = theirs {
                prop_assert_eq!(module_path(&theirs), Some(ours));
            }
        }

        #[test]
        fn no_name_panics(name in "[a-z0-9.]{0,60}|features\\.dense(block|layer)[0-9.]{0,30}") {
            let _ = module_path(&current(&name));
            let _ = file_name(&name);
        }
    }
}
