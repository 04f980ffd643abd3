//! From the names of every tool to a network, a module and a role.

use crate::diffusion::Part;

/// The role of a tensor in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    A,
    B,
    Alpha,
}

/// The tool whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// kohya's sd-scripts, and what writes as they do.
    Kohya,
    Diffusers,
    Peft,
}

impl Tool {
    /// Its name for people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Kohya => "kohya's scripts",
            Self::Diffusers => "diffusers",
            Self::Peft => "peft",
        }
    }
}

/// The place of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tool: Tool,
    pub(super) part: Part,
    /// As the file has it: with `text_model.` if the file says it; of kohya's with `_` for every dot.
    pub(super) module: String,
    pub(super) role: Role,
}

/// Prefix of peft's names.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

/// Starts of the names of a U-Net's modules.
const OF_UNET: [&str; 7] =
    ["down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "conv_in.", "conv_norm_out.", "conv_out."];

/// CLIP's modules as files up to transformers 4 name them.
pub(super) const TEXT_MODEL: &str = "text_model.";

/// A module's name in transformers 5, of kohya's names too.
pub(super) fn plain(module: &str) -> &str {
    module.strip_prefix(TEXT_MODEL).or_else(|| module.strip_prefix("text_model_")).unwrap_or(module)
}

/// Where a tensor belongs; `None` for one that is not of a LoRA.
pub(super) fn place(name: &str) -> Option<Place> {
    kohya(name).or_else(|| dotted(name))
}

/// Whether a tensor is of a LoRA of a known tool.
pub(in crate::adapters) fn is_of_lora(name: &str) -> bool {
    place(name).is_some()
}

/// `lora_unet_MODULE.lora_down.weight`, dots of the module written as `_`; `lora_te1_` is what some tools write for the only text encoder.
fn kohya(name: &str) -> Option<Place> {
    const PARTS: [(&str, Part); 3] =
        [("lora_unet_", Part::Unet), ("lora_te_", Part::TextEncoder), ("lora_te1_", Part::TextEncoder)];
    let (part, rest) = PARTS.into_iter().find_map(|(start, part)| Some((part, name.strip_prefix(start)?)))?;
    let (module, end) = rest.split_once('.')?;
    let role = match end {
        "lora_down.weight" => Role::A,
        "lora_up.weight" => Role::B,
        "alpha" => Role::Alpha,
        _ => return None,
    };
    Some(Place { tool: Tool::Kohya, part, module: module.to_owned(), role })
}

/// Names of diffusers and peft.
fn dotted(name: &str) -> Option<Place> {
    let (tool, name) = match name.strip_prefix(PEFT_PREFIX) {
        Some(rest) => (Tool::Peft, rest),
        None => (Tool::Diffusers, name),
    };
    let prefixed = |part: Part| Some((part, name.strip_prefix(part.name())?.strip_prefix('.')?));
    let (part, rest) = match prefixed(Part::Unet).or_else(|| prefixed(Part::TextEncoder)) {
        Some(found) => found,
        None if OF_UNET.iter().any(|start| name.starts_with(start)) => (Part::Unet, name),
        None if tool == Tool::Peft || name.starts_with(TEXT_MODEL) => (Part::TextEncoder, name),
        None => return None,
    };
    let (module, role) = role(part, rest)?;
    Some(Place { tool, part, module, role })
}

/// Module and role of a tensor, by its name within a network.
fn role(part: Part, name: &str) -> Option<(String, Role)> {
    /// Endings of today's and earlier names (diffusers 0.42.1, `utils/state_dict_utils.py`).
    const ENDS: [(&str, Role); 9] = [
        (".lora_A.weight", Role::A),
        (".lora_B.weight", Role::B),
        (".lora_A.default.weight", Role::A),
        (".lora_B.default.weight", Role::B),
        (".lora.down.weight", Role::A),
        (".lora.up.weight", Role::B),
        (".lora_linear_layer.down.weight", Role::A),
        (".lora_linear_layer.up.weight", Role::B),
        (".alpha", Role::Alpha),
    ];
    if let Some((module, role)) = ENDS.into_iter().find_map(|(end, role)| Some((name.strip_suffix(end)?, role))) {
        return Some((module.to_owned(), role));
    }
    // The attention processors of 2023: `attn1.processor.to_q_lora.down.weight`, in text encoders `self_attn.to_q_lora.down.weight`.
    let (before, end) = name.split_once("_lora.")?;
    let (attention, projection) = before.rsplit_once('.')?;
    let attention = attention.strip_suffix(".processor").unwrap_or(attention);
    let projection = match (part, projection) {
        (Part::Unet, "to_q" | "to_k" | "to_v") => projection,
        (Part::Unet, "to_out") => "to_out.0",
        (_, "to_q") => "q_proj",
        (_, "to_k") => "k_proj",
        (_, "to_v") => "v_proj",
        (_, "to_out") => "out_proj",
        _ => return None,
    };
    let role = match end {
        "down.weight" => Role::A,
        "up.weight" => Role::B,
        _ => return None,
    };
    Some((format!("{attention}.{projection}"), role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_tool_and_age_are_read() {
        let (unet, text) = (Part::Unet, Part::TextEncoder);
        let attention = "mid_block.attentions.0.transformer_blocks.0.attn1";
        let q = format!("{attention}.to_q");
        let layer = "text_model.encoder.layers.0.self_attn";
        for (name, tool, part, module, role) in [
            (format!("unet.{q}.lora_A.weight"), Tool::Diffusers, unet, q.clone(), Role::A),
            (format!("unet.{q}.lora.up.weight"), Tool::Diffusers, unet, q.clone(), Role::B),
            (format!("unet.{q}.alpha"), Tool::Diffusers, unet, q.clone(), Role::Alpha),
            (format!("{q}.lora.up.weight"), Tool::Diffusers, unet, q.clone(), Role::B),
            (format!("{attention}.processor.to_q_lora.down.weight"), Tool::Diffusers, unet, q.clone(), Role::A),
            (
                format!("unet.{attention}.processor.to_out_lora.up.weight"),
                Tool::Diffusers,
                unet,
                format!("{attention}.to_out.0"),
                Role::B,
            ),
            (
                format!("text_encoder.{layer}.to_out_lora.up.weight"),
                Tool::Diffusers,
                text,
                format!("{layer}.out_proj"),
                Role::B,
            ),
            (
                format!("text_encoder.{layer}.q_proj.lora_linear_layer.down.weight"),
                Tool::Diffusers,
                text,
                format!("{layer}.q_proj"),
                Role::A,
            ),
            (format!("base_model.model.{q}.lora_A.default.weight"), Tool::Peft, unet, q.clone(), Role::A),
            (format!("base_model.model.{layer}.q_proj.lora_B.weight"), Tool::Peft, text, format!("{layer}.q_proj"), Role::B),
            ("lora_unet_mid_block_to_q.lora_down.weight".to_owned(), Tool::Kohya, unet, "mid_block_to_q".to_owned(), Role::A),
            ("lora_te1_text_model_fc1.alpha".to_owned(), Tool::Kohya, text, "text_model_fc1".to_owned(), Role::Alpha),
        ] {
            assert_eq!(place(&name), Some(Place { tool, part, module, role }), "{name}");
        }
        for name in
            ["unet.mid_block.to_q.weight", "lora_te2_fc1.lora_up.weight", "conv_in.weight", "<x>", "lora_unet_x.hada_w1_a"]
        {
            assert_eq!(place(name), None, "{name}");
        }
    }
}
