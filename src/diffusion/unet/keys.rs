//! Tensor names of U-Net files.

use crate::diffusion::weights::KeyMap;

/// Names and shapes that diffusers gives the tensors of a `UNet2DConditionModel`.
///
/// They have been the same since its first release.
#[derive(Clone, Copy, Debug)]
pub struct UNetKeys {
    /// Whether files have the projections around a transformer as matrices (`use_linear_projection`) or as 1x1 convolutions.
    pub(super) linear_projection: bool,
}

impl KeyMap for UNetKeys {
    fn key(&self, path: &str) -> String {
        // Layers of a `Sequential`, whose others have no weights.
        for (field, sequential) in [(".to_out.", ".to_out.0."), (".ff.proj.", ".ff.net.0.proj."), (".ff.out.", ".ff.net.2.")] {
            if path.contains(field) {
                return path.replace(field, sequential);
            }
        }
        path.to_owned()
    }

    fn file_shape(&self, key: &str, mut shape: Vec<usize>) -> Vec<usize> {
        if !self.linear_projection && (key.ends_with(".proj_in.weight") || key.ends_with(".proj_out.weight")) {
            shape.extend([1, 1]);
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::{Device, FloatDType};

    use super::super::config::UNetConfig;
    use crate::diffusion::DiffusionError;
    use crate::diffusion::weights::{Stem, load};

    /// Every name and shape that files of this configuration have, sorted; without a value being made.
    fn tensors(config: &str) -> Vec<(String, Vec<usize>)> {
        let config = UNetConfig::parse(config, Path::new("config.json")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let nothing: [(&str, safetensors::tensor::TensorView<'_>); 0] = [];
        std::fs::write(folder.path().join(Stem::Diffusers.file_name()), safetensors::serialize(nothing, None).unwrap())
            .unwrap();
        let unet = config.init(&Device::flex());
        match load(unet, folder.path(), Stem::Diffusers, &config.keys(), FloatDType::F32) {
            Err(DiffusionError::WeightsDiffer { mut difference, .. }) => {
                difference.missing.sort();
                difference.missing
            }
            other => panic!("{other:?}"),
        }
    }

    fn shape<'a>(tensors: &'a [(String, Vec<usize>)], name: &str) -> &'a [usize] {
        &tensors.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    /// Of a line `name [shape]` for each tensor.
    fn digest(tensors: &[(String, Vec<usize>)]) -> String {
        let lines: String = tensors.iter().map(|(name, shape)| format!("{name} {shape:?}\n")).collect();
        blake3::hash(lines.as_bytes()).to_hex().to_string()
    }

    fn parameters(tensors: &[(String, Vec<usize>)]) -> usize {
        tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Counts and digests are of `UNet2DConditionModel(**config).state_dict()` in diffusers 0.42.1.
    #[test]
    fn stable_diffusion_1_has_the_tensors_of_its_files() {
        let tensors = tensors(r#"{"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}"#);
        assert_eq!((tensors.len(), parameters(&tensors)), (686, 859_520_964));
        let block = "down_blocks.1.attentions.0";
        assert_eq!(shape(&tensors, &format!("{block}.proj_in.weight")), [640, 640, 1, 1]);
        assert_eq!(shape(&tensors, &format!("{block}.transformer_blocks.0.attn2.to_k.weight")), [640, 768]);
        assert_eq!(shape(&tensors, &format!("{block}.transformer_blocks.0.attn2.to_out.0.bias")), [640]);
        assert_eq!(shape(&tensors, &format!("{block}.transformer_blocks.0.ff.net.0.proj.weight")), [5120, 640]);
        assert_eq!(shape(&tensors, &format!("{block}.transformer_blocks.0.ff.net.2.weight")), [640, 2560]);
        assert_eq!(shape(&tensors, "up_blocks.0.upsamplers.0.conv.weight"), [1280, 1280, 3, 3]);
        assert_eq!(digest(&tensors), "61c3e31737f7e25c94c4d019e1cb40c0a8687fea3b8c9edcda28d18d19c07479");
    }

    #[test]
    fn stable_diffusion_2_has_the_tensors_of_its_files() {
        let config = r#"{"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
            "use_linear_projection": true}"#;
        let tensors = tensors(config);
        assert_eq!((tensors.len(), parameters(&tensors)), (686, 865_910_724));
        assert_eq!(shape(&tensors, "mid_block.attentions.0.proj_out.weight"), [1280, 1280]);
        assert_eq!(digest(&tensors), "9bc3a9218c3f0a713a40bd02175f32ac3c31a0473bede71e97af8966d42d5319");
    }
}
