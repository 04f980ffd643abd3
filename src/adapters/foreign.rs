//! What a file may be instead of a LoRA that is computed here, by the names of its tensors.

use super::file::AdapterFile;

/// What helps with an adapter of a kind that is not computed here.
const MERGE_ELSEWHERE: &str = "merge it into its base checkpoint with the tool that made it (LyCORIS: tools/merge.py; peft: \
                               merge_and_unload, then save_pretrained), and give the merged pipeline to --pipeline";

/// Words between the dots of names that only one kind of adapter has, and the kind; a star stands for any end.
const KINDS: [(&str, &str); 18] = [
    ("lora_magnitude_vector", "DoRA"),
    ("dora_scale", "DoRA"),
    ("hada_*", "LoHa (LyCORIS)"),
    ("lokr_*", "LoKr (LyCORIS)"),
    ("lora_mid", "a LoCon with a Tucker decomposition (LyCORIS)"),
    ("oft_*", "OFT"),
    ("boft_*", "BOFT"),
    ("on_input", "IA3"),
    ("ia3_*", "IA3"),
    ("to_k_custom_diffusion", "Custom Diffusion"),
    ("to_v_custom_diffusion", "Custom Diffusion"),
    ("w_norm", "trained norms (LyCORIS)"),
    ("b_norm", "trained norms (LyCORIS)"),
    ("diff", "whole differences of weights (LyCORIS full)"),
    ("diff_b", "whole differences of weights (LyCORIS full)"),
    ("lora_embedding_A", "a LoRA of an embedding table (peft)"),
    ("lora_embedding_B", "a LoRA of an embedding table (peft)"),
    ("vera_*", "VeRA (peft)"),
];

/// Whether a name has the word `mark`.
fn has(name: &str, mark: &str) -> bool {
    name.split('.').any(|word| match mark.strip_suffix('*') {
        Some(start) => word.starts_with(start),
        None => word == mark,
    })
}

/// Starts and parts of names of networks that are not computed here, and what they are of.
const NETWORKS: [(&str, &str); 12] = [
    ("lora_te2_", "Stable Diffusion XL (a second text encoder)"),
    ("text_encoder_2.", "Stable Diffusion XL (a second text encoder)"),
    ("lora_unet_input_blocks_", "Stable Diffusion XL (names of its original code)"),
    ("lora_unet_output_blocks_", "Stable Diffusion XL (names of its original code)"),
    ("lora_unet_middle_block_", "Stable Diffusion XL (names of its original code)"),
    ("lora_unet_double_blocks_", "FLUX"),
    ("lora_unet_single_blocks_", "FLUX"),
    ("lora_unet_joint_blocks_", "Stable Diffusion 3"),
    ("lora_te3_", "FLUX or Stable Diffusion 3"),
    ("lora_transformer_", "a diffusion transformer, such as FLUX or Stable Diffusion 3"),
    ("transformer.", "a diffusion transformer, such as FLUX or Stable Diffusion 3"),
    ("diffusion_model.", "another model than Stable Diffusion 1 or 2, in names of its original code"),
];

/// The message about a file that says what it is, and is not computed here.
pub(super) fn refusal(file: &AdapterFile) -> Option<String> {
    let names = || file.tensors.keys().map(String::as_str);
    for (mark, kind) in KINDS {
        if let Some(name) = names().find(|name| has(name, mark)) {
            return Some(format!("it is {kind} (`{name}`), which this program does not compute: {MERGE_ELSEWHERE}"));
        }
    }
    for (start, network) in NETWORKS {
        if let Some(name) = names().find(|name| name.starts_with(start)) {
            return Some(format!(
                "it is a LoRA of {network} (`{name}`); this program runs Stable Diffusion 1 and 2: use a LoRA that was trained on the \
                 pipeline's own base"
            ));
        }
    }
    None
}

/// The message about a file of whole weights.
pub(super) fn whole_weights(name: &str) -> Option<String> {
    let is_whole = ["model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "state_dict."]
        .iter()
        .any(|start| name.starts_with(start))
        || (["down_blocks.", "up_blocks.", "conv_in.", "encoder.", "decoder."].iter().any(|start| name.starts_with(start))
            && (name.ends_with(".weight") || name.ends_with(".bias"))
            && !name.contains("lora"));
    is_whole.then(|| format!("it holds whole weights (`{name}`), not a LoRA: give it, or the folder it is of, to --pipeline"))
}

/// What is said of settings of peft that are not computed here.
pub(super) fn setting(key: &str, value: &str, kind: Option<&str>) -> String {
    let kind = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    format!("its `{key}` is {value}{kind}, which this program does not compute: {MERGE_ELSEWHERE}")
}
