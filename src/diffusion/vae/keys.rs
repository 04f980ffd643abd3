//! Names of the autoencoder's tensors.

use super::super::weights::KeyMap;

/// Names of an [`AutoencoderKl`](super::AutoencoderKl) in files.
///
/// Before diffusers 0.17 the attention's layers had other names, which most Stable Diffusion checkpoints still have.
#[derive(Clone, Copy, Debug)]
pub struct AutoencoderKlKeys;

/// Old and current name of a layer within an attention.
const RENAMED: [(&str, &str); 4] = [("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0")];

impl KeyMap for AutoencoderKlKeys {
    fn canonical(&self, name: &str) -> Option<String> {
        let renamed = RENAMED.iter().find_map(|(old, new)| {
            let (block, rest) = name.split_once(&format!(".attentions.0.{old}."))?;
            Some(format!("{block}.attentions.0.{new}.{rest}"))
        });
        Some(renamed.unwrap_or_else(|| name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_become_current_ones() {
        for (old, current) in [
            ("encoder.mid_block.attentions.0.query.weight", "encoder.mid_block.attentions.0.to_q.weight"),
            ("decoder.mid_block.attentions.0.key.bias", "decoder.mid_block.attentions.0.to_k.bias"),
            ("decoder.mid_block.attentions.0.value.bias", "decoder.mid_block.attentions.0.to_v.bias"),
            ("encoder.mid_block.attentions.0.proj_attn.weight", "encoder.mid_block.attentions.0.to_out.0.weight"),
            ("encoder.mid_block.attentions.0.to_q.weight", "encoder.mid_block.attentions.0.to_q.weight"),
            ("encoder.conv_in.weight", "encoder.conv_in.weight"),
            ("query.weight", "query.weight"),
        ] {
            assert_eq!(AutoencoderKlKeys.canonical(old).unwrap(), current);
        }
    }
}
