//! OpenCLIP's names of the text encoder, and transformers'.

use roentgen_classifier::weights::StoredTensor;

/// Parts of a block, there and here.
const PARTS: [(&str, &str); 5] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("attn.out_proj.", "self_attn.out_proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
];

/// transformers' names of a tensor, of which OpenCLIP keeps query, key and value in one; none for what is not used: the block behind the
/// last of `layers`, whose predecessor's states are Stable Diffusion 2's, and the way to image and text embeddings.
pub(super) fn current(name: &str, tensor: &StoredTensor, layers: usize) -> Vec<(String, StoredTensor)> {
    let one = |name: String| vec![(name, tensor.clone())];
    match name {
        "text_projection" | "logit_scale" | "attn_mask" => return Vec::new(),
        "positional_embedding" => return one("embeddings.position_embedding.weight".to_owned()),
        "token_embedding.weight" => return one("embeddings.token_embedding.weight".to_owned()),
        _ => {}
    }
    if let Some(rest) = name.strip_prefix("ln_final.") {
        return one(format!("final_layer_norm.{rest}"));
    }
    let block = name.strip_prefix("transformer.resblocks.").and_then(|rest| rest.split_once('.'));
    let Some((Ok(layer), part)) = block.map(|(number, part)| (number.parse::<usize>(), part)) else {
        return one(name.to_owned());
    };
    if layer == layers {
        return Vec::new();
    }
    let here = format!("encoder.layers.{layer}");
    if let Some(kind) = part.strip_prefix("attn.in_proj_") {
        let rows = tensor.shape().first().copied().unwrap_or(0) / 3;
        let third =
            |(i, part): (usize, &str)| (format!("{here}.self_attn.{part}.{kind}"), tensor.rows(i * rows..(i + 1) * rows));
        return ["q_proj", "k_proj", "v_proj"].into_iter().enumerate().map(third).collect();
    }
    let renamed = PARTS.iter().find_map(|(there, new)| Some(format!("{new}{}", part.strip_prefix(there)?)));
    one(format!("{here}.{}", renamed.unwrap_or_else(|| part.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stable_diffusion_2() {
        let tensor = StoredTensor::Other { shape: vec![12, 4], kind: "x".to_owned() };
        let names = |name: &str| current(name, &tensor, 23).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        // diffusers 0.42.1, convert_open_clip_checkpoint.
        for (there, here) in [
            ("positional_embedding", "embeddings.position_embedding.weight"),
            ("ln_final.bias", "final_layer_norm.bias"),
            ("transformer.resblocks.22.mlp.c_proj.weight", "encoder.layers.22.mlp.fc2.weight"),
            ("transformer.resblocks.0.attn.out_proj.bias", "encoder.layers.0.self_attn.out_proj.bias"),
            ("transformer.resblocks.24.ln_1.bias", "encoder.layers.24.layer_norm1.bias"),
        ] {
            assert_eq!(names(there), [here]);
        }
        for unused in ["transformer.resblocks.23.ln_1.bias", "text_projection", "logit_scale"] {
            assert!(names(unused).is_empty(), "{unused}");
        }
        let split = current("transformer.resblocks.1.attn.in_proj_weight", &tensor, 23);
        assert!(split.iter().all(|(_, part)| part.shape() == [4, 4]) && split.len() == 3);
        assert_eq!(split[1].0, "encoder.layers.1.self_attn.k_proj.weight");
    }
}
