//! The U-Net's names in the training code, which counts its blocks in one row, and in diffusers, which counts them by level.

use std::collections::BTreeMap;

use crate::diffusion::unet::{UNetBlock, UNetConfig};

/// Layers of a residual block and of the two samplings, as they are counted there and named here.
const LAYERS: [(&str, &str); 7] = [
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
    ("op.", "conv."),
];

/// The blocks of one architecture: name there, name here.
pub(super) struct Blocks(BTreeMap<String, String>);

impl Blocks {
    pub(super) fn of(config: &UNetConfig) -> Self {
        let fixed = [
            ("time_embed.0", "time_embedding.linear_1"),
            ("time_embed.2", "time_embedding.linear_2"),
            ("input_blocks.0.0", "conv_in"),
            ("middle_block.0", "mid_block.resnets.0"),
            ("middle_block.1", "mid_block.attentions.0"),
            ("middle_block.2", "mid_block.resnets.1"),
            ("out.0", "conv_norm_out"),
            ("out.2", "conv_out"),
        ];
        let mut blocks: BTreeMap<String, String> = fixed.map(|(there, here)| (there.to_owned(), here.to_owned())).into();
        let last = config.levels.len() - 1;
        let mut n = 1;
        for (i, level) in config.levels.iter().enumerate() {
            for j in 0..level.layers {
                blocks.insert(format!("input_blocks.{n}.0"), format!("down_blocks.{i}.resnets.{j}"));
                if level.down == UNetBlock::CrossAttention {
                    blocks.insert(format!("input_blocks.{n}.1"), format!("down_blocks.{i}.attentions.{j}"));
                }
                n += 1;
            }
            if i < last {
                blocks.insert(format!("input_blocks.{n}.0"), format!("down_blocks.{i}.downsamplers.0"));
                n += 1;
            }
        }
        n = 0;
        for (i, level) in config.levels.iter().rev().enumerate() {
            let attends = level.up == UNetBlock::CrossAttention;
            for j in 0..=level.layers {
                blocks.insert(format!("output_blocks.{n}.0"), format!("up_blocks.{i}.resnets.{j}"));
                if attends {
                    blocks.insert(format!("output_blocks.{n}.1"), format!("up_blocks.{i}.attentions.{j}"));
                }
                if j == level.layers && i < last {
                    blocks.insert(
                        format!("output_blocks.{n}.{}", 1 + usize::from(attends)),
                        format!("up_blocks.{i}.upsamplers.0"),
                    );
                }
                n += 1;
            }
        }
        Self(blocks)
    }

    /// diffusers' name of a tensor; one of no block keeps its name, and will be reported as unexpected.
    pub(super) fn current(&self, name: &str) -> String {
        let ends = name.match_indices('.').map(|(end, _)| end).collect::<Vec<_>>();
        // `input_blocks.3.0.` or `out.2.`.
        let found = ends.iter().rev().find_map(|end| Some((self.0.get(&name[..*end])?, &name[end + 1..])));
        let Some((block, layer)) = found else { return name.to_owned() };
        let renamed = LAYERS.iter().find_map(|(there, here)| Some(format!("{here}{}", layer.strip_prefix(there)?)));
        format!("{block}.{}", renamed.unwrap_or_else(|| layer.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_of_stable_diffusion_1() {
        let config = UNetConfig::parse(r#"{"cross_attention_dim": 768}"#, Path::new("config.json")).unwrap();
        let blocks = Blocks::of(&config);
        // diffusers 0.42.1, convert_ldm_unet_checkpoint.
        for (there, here) in [
            ("time_embed.2.bias", "time_embedding.linear_2.bias"),
            ("input_blocks.0.0.weight", "conv_in.weight"),
            ("input_blocks.3.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight"),
            ("input_blocks.4.0.skip_connection.bias", "down_blocks.1.resnets.0.conv_shortcut.bias"),
            ("input_blocks.11.0.emb_layers.1.weight", "down_blocks.3.resnets.1.time_emb_proj.weight"),
            (
                "input_blocks.2.1.transformer_blocks.0.attn2.to_out.0.bias",
                "down_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0.bias",
            ),
            ("middle_block.2.out_layers.3.weight", "mid_block.resnets.1.conv2.weight"),
            ("output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
            ("output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"),
            ("output_blocks.11.1.proj_out.weight", "up_blocks.3.attentions.2.proj_out.weight"),
            ("out.2.weight", "conv_out.weight"),
            ("strange.weight", "strange.weight"),
        ] {
            assert_eq!(blocks.current(there), here);
        }
    }
}
