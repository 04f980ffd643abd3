//! Tensors of transformers' DINOv2.
//!
//! | transformers 5.23, `Dinov2ForImageClassification` | here |
//! |---|---|
//! | `dinov2.embeddings.*`, `dinov2.encoder.*`, `dinov2.layernorm.*` | the same, weights of linear layers transposed |
//! | `embeddings.*`, `encoder.*`, `layernorm.*` (`Dinov2Model`, as microsoft/rad-dino has it) | as above |
//! | `classifier.*` | the same, weight transposed |
//! | `dinov2.embeddings.mask_token` | not kept: only training by itself uses it. Written as the zeros that a new one is |

use super::{Naming, Shapes, count, index, shape};
use crate::networks::NetworkShape;
use crate::networks::vit::{HEAD, VitClassifierConfig};

/// What stands before the names of everything but the head.
const BODY: &str = "dinov2.";

pub(super) const NAMING: Naming = Naming {
    marks: &["dinov2.encoder.layer.0.layer_scale1.lambda1", "encoder.layer.0.layer_scale1.lambda1"],
    first: "dinov2.embeddings.patch_embeddings.projection.weight",
    head: ["classifier.weight", "classifier.bias"],
    unused: Some("dinov2.embeddings.mask_token"),
    current,
    module_path,
    file_name,
    shape: from_shapes,
};

/// The name in a classifier's file for one there or in a file without a head.
fn current(name: &str) -> String {
    let body = ["embeddings.", "encoder.", "layernorm."].iter().any(|part| name.starts_with(part));
    if body { format!("{BODY}{name}") } else { name.to_owned() }
}

fn module_path(name: &str) -> Option<String> {
    let known = match name.strip_prefix(BODY) {
        None => matches!(name, "classifier.weight" | "classifier.bias"),
        Some("embeddings.cls_token" | "embeddings.position_embeddings") => true,
        Some(rest) => match rest.split('.').collect::<Vec<_>>()[..] {
            ["embeddings", "patch_embeddings", "projection", field] | ["layernorm", field] => is_affine(field),
            ["encoder", "layer", layer, ref part @ ..] => index(layer).is_some() && is_of_layer(part),
            _ => false,
        },
    };
    known.then(|| name.to_owned())
}

fn is_of_layer(part: &[&str]) -> bool {
    match part {
        ["layer_scale1" | "layer_scale2", "lambda1"] => true,
        ["norm1" | "norm2", field]
        | ["attention", "attention", "query" | "key" | "value", field]
        | ["attention", "output", "dense", field]
        | ["mlp", "fc1" | "fc2", field] => is_affine(field),
        _ => false,
    }
}

fn is_affine(field: &str) -> bool {
    matches!(field, "weight" | "bias")
}

/// Files have the names of modules.
fn file_name(path: &str) -> Option<String> {
    module_path(path)
}

fn from_shapes(shapes: &Shapes) -> Result<NetworkShape, String> {
    let [in_channels, patch_size] = {
        let [_, channels, height, width] = shape::<4>(shapes, NAMING.first)?;
        if height != width {
            return Err(format!("its patches are of {width}x{height} pixels, expected squares"));
        }
        [channels, height]
    };
    let [_, rows, hidden_size] = shape::<3>(shapes, "dinov2.embeddings.position_embeddings")?;
    let grid = (rows - 1).isqrt();
    if grid == 0 || grid * grid != rows - 1 {
        return Err(format!("it has {rows} position embeddings, expected one and those of a square of patches"));
    }
    if !hidden_size.is_multiple_of(HEAD) {
        return Err(format!("its tokens are {hidden_size} wide, expected a multiple of {HEAD}, the channels of a head"));
    }
    if !shapes.contains_key(NAMING.head[0]) {
        return Err(format!("it has no head `{}`: it makes features, and a classifier can start from them", NAMING.head[0]));
    }
    let num_hidden_layers = count(shapes, |layer| format!("dinov2.encoder.layer.{layer}.layer_scale1.lambda1"));
    let [inner, _] = shape::<2>(shapes, "dinov2.encoder.layer.0.mlp.fc1.weight")?;
    if inner < hidden_size || inner % hidden_size != 0 {
        return Err(format!(
            "its feed-forward blocks are {inner} wide inside, expected a multiple of the tokens' {hidden_size}"
        ));
    }
    let [num_classes, _] = shape::<2>(shapes, NAMING.head[0])?;
    let mlp_ratio = inner / hidden_size;
    let config = VitClassifierConfig { hidden_size, num_hidden_layers, mlp_ratio, grid, patch_size, in_channels, num_classes };
    Ok(NetworkShape::Vit(config))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::Device;
    use serde_json::Value;
    use tempfile::TempDir;

    use super::super::super::save::{Entry, serialize, state_dict};
    use super::super::super::testing::{card_of, floats, folder, same};
    use super::super::super::{LoadOptions, infer_config, load_weights, save_state_dict, save_weights};
    use super::*;
    use crate::ClassifierError;
    use crate::networks::{Network, ResNetConfig, seeded};

    fn small() -> VitClassifierConfig {
        VitClassifierConfig { hidden_size: 64, num_hidden_layers: 2, grid: 3, ..VitClassifierConfig::base14(1, 3) }
    }

    /// A net whose tensors differ.
    fn net() -> Network {
        seeded(small().init(&Device::flex()), 7)
    }

    fn write(entries: &[Entry]) -> (TempDir, PathBuf) {
        let folder = folder();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, serialize(entries, None)).unwrap();
        (folder, path)
    }

    /// The file of the same network without its head, with a mask token that is not zero.
    fn headless() -> Vec<Entry> {
        let mut entries = state_dict(&net());
        entries.retain(|entry| !entry.name.starts_with("classifier."));
        for entry in &mut entries {
            entry.name = entry.name.strip_prefix(BODY).unwrap().to_owned();
            if entry.name == "embeddings.mask_token" {
                *entry = floats("embeddings.mask_token", &[1, 64], &[0.5; 64]);
            }
        }
        entries
    }

    #[test]
    fn names_are_those_of_transformers() {
        // microsoft/rad-dino, model.safetensors; transformers 5.23.0: Dinov2ForImageClassification(Dinov2Config()).state_dict().
        for (theirs, ours) in [
            ("embeddings.cls_token", "dinov2.embeddings.cls_token"),
            ("dinov2.embeddings.position_embeddings", "dinov2.embeddings.position_embeddings"),
            ("embeddings.patch_embeddings.projection.bias", "dinov2.embeddings.patch_embeddings.projection.bias"),
            ("encoder.layer.11.attention.attention.query.weight", "dinov2.encoder.layer.11.attention.attention.query.weight"),
            ("dinov2.encoder.layer.0.attention.output.dense.bias", "dinov2.encoder.layer.0.attention.output.dense.bias"),
            ("encoder.layer.3.layer_scale2.lambda1", "dinov2.encoder.layer.3.layer_scale2.lambda1"),
            ("encoder.layer.3.mlp.fc1.weight", "dinov2.encoder.layer.3.mlp.fc1.weight"),
            ("layernorm.weight", "dinov2.layernorm.weight"),
            ("classifier.bias", "classifier.bias"),
        ] {
            assert_eq!(module_path(&current(theirs)).as_deref(), Some(ours));
            assert_eq!(file_name(ours).as_deref(), Some(ours));
        }
        for name in [
            "dinov2.embeddings.mask_token",
            "dinov2.embeddings.register_tokens",
            "dinov2.encoder.layer.01.norm1.weight",
            "dinov2.encoder.layer.0.mlp.weights_in.weight",
            "dinov2.encoder.layer.0.norm3.weight",
            "dinov2.encoder.layer.0.layer_scale1.weight",
            "dinov2.classifier.weight",
            "classifier",
            "dinov2.",
            "",
        ] {
            assert_eq!(module_path(name), None, "{name}");
        }
    }

    #[test]
    fn files_give_the_network_back_bit_for_bit() {
        let (net, folder) = (net(), folder());
        let (ours, torch) = (folder.path().join("a"), folder.path().join("b"));
        save_weights(&net, &ours, &card_of(&net)).unwrap();
        save_state_dict(&net, &torch).unwrap();
        let (_kept, transformers) = write(&state_dict(&net));
        for path in [ours, torch, transformers] {
            same(&net, &Network::load(&path, &Device::flex()).unwrap().net);
            assert_eq!(infer_config(&path).unwrap(), small().into());
        }
    }

    #[test]
    fn a_file_has_what_transformers_expects() {
        let names: Vec<String> = state_dict(&net()).into_iter().map(|entry| entry.name).collect();
        // Four embeddings and the mask token, 18 tensors per layer, the last norm, the head.
        assert_eq!(names.len(), 5 + 2 * 18 + 2 + 2);
        assert!(names.contains(&"dinov2.embeddings.mask_token".to_owned()));
        let entries = state_dict(&net());
        let mask = entries.iter().find(|entry| entry.name == "dinov2.embeddings.mask_token").unwrap();
        assert!(mask.shape == [1, 64] && mask.bytes == [0; 256]);
    }

    #[test]
    fn features_alone_start_a_classifier_and_are_none() {
        let (folder, path) = write(&headless());
        let fresh = seeded(small().init(&Device::flex()), 8);
        let options = LoadOptions { replace_head: true, ..LoadOptions::default() };
        std::fs::write(
            folder.path().join("config.json"),
            r#"{"model_type": "dinov2", "hidden_size": 64, "num_attention_heads": 1}"#,
        )
        .unwrap();
        for path in [&path, folder.path()] {
            let loaded = load_weights(fresh.clone(), path, options).unwrap().net;
            let entries = state_dict(&loaded);
            for ((loaded, fresh), given) in entries.iter().zip(&state_dict(&fresh)).zip(&state_dict(&net())) {
                let expected = if loaded.name.starts_with("classifier.") { fresh } else { given };
                assert!(loaded.bytes == expected.bytes, "{}", loaded.name);
            }
        }
        let error = Network::load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("a DINOv2") && error.contains("it has no head `classifier.weight`"), "{error}");
        let error = load_weights(fresh, &path, LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("missing classifier.weight [3, 128]"), "{error}");
    }

    #[test]
    fn folders_of_other_networks_say_what_they_are() {
        let (folder, path) = write(&headless());
        let config = folder.path().join("config.json");
        for (text, message) in [
            (r#"{"model_type": "vit", "hidden_size": 64, "num_attention_heads": 1}"#, "`vit`"),
            (r#"{"model_type": "dinov2", "hidden_size": 64, "num_attention_heads": 2}"#, "num_attention_heads"),
            (r#"{"model_type": "dinov2", "hidden_size": 64, "num_attention_heads": 1, "hidden_act": "relu"}"#, "hidden_act"),
            (
                r#"{"model_type": "dinov2", "hidden_size": 64, "num_attention_heads": 1, "layer_norm_eps": 1e-5}"#,
                "layer_norm_eps",
            ),
            ("[", "config.json"),
        ] {
            std::fs::write(&config, text).unwrap();
            let error = load_weights(net(), folder.path(), LoadOptions::default()).unwrap_err();
            assert!(matches!(error, ClassifierError::NotWeights { .. }) && error.to_string().contains(message), "{error}");
        }
        std::fs::remove_file(config).unwrap();
        let error = load_weights(net(), folder.path(), LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("a folder without config.json"), "{error}");
        std::fs::remove_file(path).unwrap();
        std::fs::write(folder.path().join("config.json"), r#"{"model_type": "dinov2"}"#).unwrap();
        let error = load_weights(net(), folder.path(), LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("without model.safetensors"), "{error}");
    }

    #[test]
    fn networks_of_another_kind_are_refused_by_name() {
        let device = Device::flex();
        let resnet: Network =
            ResNetConfig { layers: vec![1], planes: vec![3], stem: 2, ..ResNetConfig::resnet50(1, 3) }.init(&device).into();
        let (_ours, vit) = write(&state_dict(&net()));
        let (_theirs, other) = write(&state_dict(&resnet));
        let error = load_weights(resnet, &vit, LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("holds a DINOv2, the net is a ResNet"), "{error}");
        let error = load_weights(net(), &other, LoadOptions::default()).unwrap_err().to_string();
        assert!(error.contains("holds a ResNet, the net is a DINOv2"), "{error}");
    }

    #[test]
    fn forms_that_are_not_computed_are_refused() {
        type Spoil = fn(&mut Vec<Entry>);
        let cases: [(Spoil, &str); 4] = [
            (|entries| entries.push(floats("dinov2.embeddings.register_tokens", &[1, 4, 64], &[0.0; 256])), "register_tokens"),
            (|entries| replace(entries, "dinov2.encoder.layer.0.mlp.fc1.weight", &[100, 64]), "100 wide inside"),
            (|entries| replace(entries, "dinov2.embeddings.position_embeddings", &[1, 12, 64]), "12 position embeddings"),
            (|entries| replace(entries, NAMING.first, &[64, 1, 14, 7]), "7x14"),
        ];
        for (spoil, message) in cases {
            let mut entries = state_dict(&net());
            spoil(&mut entries);
            let (_folder, path) = write(&entries);
            let error = Network::load(&path, &Device::flex()).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    fn replace(entries: &mut [Entry], name: &str, shape: &[usize]) {
        let entry = entries.iter_mut().find(|entry| entry.name == name).unwrap();
        *entry = floats(name, shape, &vec![0.0; shape.iter().product()]);
    }

    /// The rows of a token that is 64 wide have no name in the file of one that is not.
    #[test]
    fn a_width_without_heads_is_refused() {
        let mut entries = state_dict(&net());
        replace(&mut entries, "dinov2.embeddings.position_embeddings", &[1, 10, 48]);
        let (_folder, path) = write(&entries);
        let error = Network::load(&path, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("48 wide, expected a multiple of 64"), "{error}");
    }

    #[test]
    fn cards_name_the_family() {
        let card: Value = serde_json::to_value(card_of(&net())).unwrap();
        assert_eq!(card["config"]["family"], "vit");
    }
}
