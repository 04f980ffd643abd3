//! The autoencoder's names in the training code, whose decoder counts its blocks from the other end, and in diffusers.

use roentgen_classifier::weights::StoredTensor;

/// Parts of names, there and here.
const PARTS: [(&str, &str); 10] = [
    (".mid.block_1.", ".mid_block.resnets.0."),
    (".mid.block_2.", ".mid_block.resnets.1."),
    (".mid.attn_1.norm.", ".mid_block.attentions.0.group_norm."),
    (".mid.attn_1.q.", ".mid_block.attentions.0.to_q."),
    (".mid.attn_1.k.", ".mid_block.attentions.0.to_k."),
    (".mid.attn_1.v.", ".mid_block.attentions.0.to_v."),
    (".mid.attn_1.proj_out.", ".mid_block.attentions.0.to_out.0."),
    (".norm_out.", ".conv_norm_out."),
    (".nin_shortcut.", ".conv_shortcut."),
    (".block.", ".resnets."),
];

/// diffusers' name of a tensor, and the tensor as diffusers has it: the attention's 1x1 convolutions are matrices. `levels` is the number of
/// resolutions.
pub(super) fn current(name: &str, tensor: &StoredTensor, levels: usize) -> (String, StoredTensor) {
    let mut current = name.to_owned();
    for (there, here) in PARTS {
        current = current.replace(there, here);
    }
    for (there, here) in [("encoder.down.", "encoder.down_blocks."), ("decoder.up.", "decoder.up_blocks.")] {
        let Some((level, rest)) = current.strip_prefix(there).and_then(|rest| rest.split_once('.')) else { continue };
        let Some(level) = level.parse::<usize>().ok().filter(|level| *level < levels) else { continue };
        let level = if here.starts_with("decoder") { levels - 1 - level } else { level };
        let rest = rest.replace("downsample.", "downsamplers.0.").replace("upsample.", "upsamplers.0.");
        current = format!("{here}{level}.{rest}");
        break;
    }
    let shape = tensor.shape();
    let tensor = match shape[..] {
        [out, input, 1, 1] if current.contains(".attentions.0.") => tensor.reshaped(&[out, input]),
        _ => tensor.clone(),
    };
    (current, tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_shapes_of_stable_diffusion() {
        let other = |shape: &[usize]| StoredTensor::Other { shape: shape.to_vec(), kind: "x".to_owned() };
        // diffusers 0.42.1, convert_ldm_vae_checkpoint.
        for (there, here) in [
            ("encoder.conv_in.weight", "encoder.conv_in.weight"),
            ("encoder.down.1.block.0.nin_shortcut.weight", "encoder.down_blocks.1.resnets.0.conv_shortcut.weight"),
            ("encoder.down.2.downsample.conv.bias", "encoder.down_blocks.2.downsamplers.0.conv.bias"),
            ("decoder.up.3.block.2.norm1.bias", "decoder.up_blocks.0.resnets.2.norm1.bias"),
            ("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.2.upsamplers.0.conv.weight"),
            ("decoder.mid.attn_1.proj_out.bias", "decoder.mid_block.attentions.0.to_out.0.bias"),
            ("decoder.norm_out.weight", "decoder.conv_norm_out.weight"),
            ("post_quant_conv.weight", "post_quant_conv.weight"),
            ("encoder.down.4.block.0.conv1.bias", "encoder.down.4.resnets.0.conv1.bias"),
        ] {
            assert_eq!(current(there, &other(&[1]), 4).0, here);
        }
        assert_eq!(current("encoder.mid.attn_1.q.weight", &other(&[8, 8, 1, 1]), 4).1.shape(), [8, 8]);
        assert_eq!(current("quant_conv.weight", &other(&[8, 8, 1, 1]), 4).1.shape(), [8, 8, 1, 1]);
    }
}
