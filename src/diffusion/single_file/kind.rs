//! What a file is, by the names of its tensors.

use std::collections::BTreeMap;
use std::path::Path;

use roentgen_classifier::weights::StoredTensor;

use super::{UNET, VAE};
use crate::diffusion::DiffusionError;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// U-Net, autoencoder and text encoder.
    Pipeline(TextKind),
    /// An autoencoder alone.
    Vae,
}

/// The code that the text encoder is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    /// transformers', in Stable Diffusion 1.
    Clip,
    /// OpenCLIP's, in Stable Diffusion 2.
    OpenClip,
}

impl TextKind {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Clip => "cond_stage_model.transformer.",
            Self::OpenClip => "cond_stage_model.model.",
        }
    }
}

/// A part of a name that only this kind of file has, what it is, and what to do. The first that fits counts.
const OTHERS: [(&str, &str, &str); 14] = [
    ("hada_w1_a", "a LoHa adapter", "which this program does not compute"),
    ("lora_unet_", "a LoRA adapter", ADAPTER),
    ("lora_te", "a LoRA adapter", ADAPTER),
    (".lora_down.", "a LoRA adapter", ADAPTER),
    (".lora.down.", "a LoRA adapter", ADAPTER),
    (".lora_A.", "a LoRA adapter", ADAPTER),
    ("_lora.down.", "a LoRA adapter", ADAPTER),
    ("string_to_param.", "a textual inversion embedding", EMBEDDING),
    ("emb_params", "a textual inversion embedding", EMBEDDING),
    ("control_model.", "a ControlNet", "which this program does not compute"),
    ("conditioner.embedders.", "a Stable Diffusion XL checkpoint", ONLY),
    (".label_emb.", "a checkpoint of Stable Diffusion XL or unCLIP, whose U-Net takes a second condition", ONLY),
    ("joint_blocks.", "a Stable Diffusion 3 checkpoint", ONLY),
    ("double_blocks.", "a Flux checkpoint", ONLY),
];

const ONLY: &str = "this program runs Stable Diffusion 1 and 2, RoentGen among them";
const ADAPTER: &str = "give the pipeline that it was trained for as --pipeline, and this file as --lora";
const EMBEDDING: &str = "it is a word for a pipeline's prompts, and no pipeline";

impl Kind {
    /// # Errors
    /// [`DiffusionError::OtherModel`]; [`DiffusionError::WeightType`] for 8-bit floats.
    pub(super) fn of(path: &Path, tensors: &BTreeMap<String, StoredTensor>) -> Result<Self, DiffusionError> {
        let other = |found: &str, expected: &str| {
            Err(DiffusionError::OtherModel { path: path.to_owned(), found: found.to_owned(), expected: expected.to_owned() })
        };
        let has = |part: &str| tensors.keys().any(|name| name.contains(part));
        let begins = |prefix: &str| tensors.keys().any(|name| name.starts_with(prefix));
        for (part, found, expected) in OTHERS {
            if has(part) {
                return other(found, expected);
            }
        }
        if let Some((tensor, kind)) = tensors.iter().find_map(|(name, tensor)| Some((name, eight_bits(tensor)?))) {
            return Err(DiffusionError::WeightType {
                path: path.to_owned(),
                tensor: tensor.clone(),
                found: format!("{kind} (fp8, which is too coarse to compute with: take the fp16 file of this model)"),
            });
        }
        if begins("down_blocks.") || begins("encoder.down_blocks.") {
            let expected =
                "put it into a folder with its config.json, as diffusion_pytorch_model.safetensors, within a pipeline's folder";
            return other("one component (U-Net or autoencoder) in diffusers' names", expected);
        }
        if begins("text_model.") {
            let expected = "put it into a pipeline's folder text_encoder, as model.safetensors, with its config.json";
            return other("a text encoder in transformers' names", expected);
        }
        let has_unet = begins(UNET);
        if !has_unet && (begins("encoder.") || begins(VAE)) && (begins("decoder.") || begins(VAE)) {
            return if begins(VAE) { other("a part of a checkpoint: it has no U-Net", ONLY) } else { Ok(Self::Vae) };
        }
        if !has_unet {
            let first =
                tensors.keys().next().map_or_else(|| "no tensor".to_owned(), |name| format!("tensors such as `{name}`"));
            return other(&format!("a file with {first}"), ONLY);
        }
        if let Some((found, expected)) = other_channels(tensors) {
            return other(&found, expected);
        }
        let text = [TextKind::Clip, TextKind::OpenClip].into_iter().find(|kind| begins(kind.prefix()));
        match text {
            Some(text) if begins(VAE) => Ok(Self::Pipeline(text)),
            Some(_) => other("a part of a checkpoint: it has no autoencoder (`first_stage_model.`)", "take the whole file"),
            None => other("a part of a checkpoint: it has no text encoder (`cond_stage_model.`)", "take the whole file"),
        }
    }
}

/// What takes more channels than latents have, and why that can't be run.
fn other_channels(tensors: &BTreeMap<String, StoredTensor>) -> Option<(String, &'static str)> {
    let channels = tensors.get(&format!("{UNET}input_blocks.0.0.weight"))?.shape().get(1).copied()?;
    let (found, expected) = match channels {
        9 => ("an inpainting checkpoint", "it takes a mask, which this program has not: take the text-to-image checkpoint"),
        8 => ("a checkpoint that edits images (InstructPix2Pix)", ONLY),
        5 => ("a checkpoint that takes a depth map", ONLY),
        7 => ("a checkpoint that enlarges images", ONLY),
        _ => return None,
    };
    Some((format!("{found}: its U-Net takes {channels} channels instead of 4"), expected))
}

/// The name of a type of 8-bit floats.
fn eight_bits(tensor: &StoredTensor) -> Option<&str> {
    match tensor {
        StoredTensor::Other { kind, .. } if kind.starts_with("F8") || kind.starts_with("float8") => Some(kind),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(names: &[(&str, &[usize], &str)]) -> Result<Kind, DiffusionError> {
        let tensor = |(name, shape, kind): &(&str, &[usize], &str)| {
            ((*name).to_owned(), StoredTensor::Other { shape: shape.to_vec(), kind: (*kind).to_owned() })
        };
        Kind::of(Path::new("model.safetensors"), &names.iter().map(tensor).collect())
    }

    const UNET_IN: &str = "model.diffusion_model.input_blocks.0.0.weight";
    const VAE_IN: &str = "first_stage_model.encoder.conv_in.weight";

    #[test]
    fn families_are_known_by_their_text_encoders() {
        let of = |text| kind(&[(UNET_IN, &[320, 4, 3, 3], "F16"), (VAE_IN, &[1], "F16"), (text, &[1], "F16")]).unwrap();
        assert_eq!(of("cond_stage_model.transformer.text_model.final_layer_norm.bias"), Kind::Pipeline(TextKind::Clip));
        assert_eq!(of("cond_stage_model.model.ln_final.bias"), Kind::Pipeline(TextKind::OpenClip));
        let vae =
            [("encoder.conv_in.weight", &[1][..], "F32"), ("decoder.conv_in.weight", &[1], "F32"), ("loss.logvar", &[], "F32")];
        assert_eq!(kind(&vae).unwrap(), Kind::Vae);
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let text = "cond_stage_model.transformer.text_model.final_layer_norm.bias";
        for (names, said) in [
            (&[("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", &[4usize, 4][..], "F16")][..], "LoRA adapter"),
            (&[("unet.up_blocks.0.attentions.0.to_q.lora_A.weight", &[4, 4], "F16")], "as --lora"),
            (&[("emb_params", &[2, 768], "F32")], "textual inversion"),
            (
                &[("conditioner.embedders.0.transformer.x", &[1], "F16"), (UNET_IN, &[320, 4, 3, 3], "F16")],
                "Stable Diffusion XL",
            ),
            (&[("model.diffusion_model.joint_blocks.0.x", &[1], "F16")], "Stable Diffusion 3"),
            (&[("double_blocks.0.img_attn.norm.key_norm.scale", &[1], "BF16")], "Flux"),
            (&[("down_blocks.0.resnets.0.conv1.weight", &[1], "F16")], "one component"),
            (&[(UNET_IN, &[320, 9, 3, 3], "F16")], "inpainting checkpoint: its U-Net takes 9 channels"),
            (&[(UNET_IN, &[320, 4, 3, 3], "F8_E4M3"), (VAE_IN, &[1], "F16"), (text, &[1], "F16")], "fp8"),
            (&[(UNET_IN, &[320, 4, 3, 3], "F16"), (VAE_IN, &[1], "F16")], "no text encoder"),
            (&[(UNET_IN, &[320, 4, 3, 3], "F16"), (text, &[1], "F16")], "no autoencoder"),
            (&[("layer1.0.conv1.weight", &[1], "F32")], "layer1.0.conv1.weight"),
            (&[], "no tensor"),
        ] {
            let message = kind(names).unwrap_err().to_string();
            assert!(message.contains(said) && message.contains("model.safetensors"), "{message}\nexpected {said}");
        }
    }
}
