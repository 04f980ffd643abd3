//! Adapters from the files of diffusers and peft.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use roentgen_classifier::weights::{SafetensorsFile, StoredTensor, open_safetensors};
use serde_json::{Map, Value};

use super::adapters::{Adapter, Lora, plain};
use super::{CONFIG_FILE, DIFFUSERS_FILE, METADATA, PEFT_FILE, PEFT_PREFIX};
use crate::diffusion::DiffusionError;
use crate::finetune::{FinetuneError, Part};

/// What a tensor of a file is.
#[derive(Debug, PartialEq)]
enum Role {
    A,
    B,
    Alpha,
}

impl Lora {
    /// Reads `pytorch_lora_weights.safetensors` of diffusers, by itself or in its folder, or a folder of peft.
    ///
    /// In a file of diffusers, names end in `lora.down.weight` / `lora.up.weight` or `lora_A.weight` / `lora_B.weight`; alpha is what
    /// its metadata or a tensor `….alpha` say, else what [`Lora::with_alpha`] is told, else the rank. A folder of peft has `adapter_config.json` beside
    /// `adapter_model.safetensors`; which network it is for is seen from the names.
    ///
    /// # Errors
    /// [`FinetuneError::Lora`] for files of other tools and for variants of LoRA that are not computed here;
    /// [`FinetuneError::Diffusion`] where a file can't be read.
    pub fn read(path: &Path) -> Result<Self, FinetuneError> {
        let reader = Reader { path };
        if !path.is_dir() {
            return reader.diffusers(path);
        }
        let (diffusers, peft) = (path.join(DIFFUSERS_FILE), path.join(PEFT_FILE));
        if peft.is_file() {
            return reader.peft(&peft, &path.join(CONFIG_FILE));
        }
        if diffusers.is_file() {
            return reader.diffusers(&diffusers);
        }
        Err(reader.refuse(format!("it has neither {DIFFUSERS_FILE} nor {PEFT_FILE}")))
    }
}

/// A safetensors file.
struct Parsed {
    tensors: Vec<(String, TensorData)>,
    /// Of its header.
    notes: BTreeMap<String, String>,
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn refuse(&self, message: String) -> FinetuneError {
        FinetuneError::Lora { path: self.path.to_owned(), message }
    }

    fn diffusers(&self, file: &Path) -> Result<Lora, FinetuneError> {
        let Parsed { tensors, notes } = self.parse(file)?;
        let metadata: Map<String, Value> = notes
            .get(METADATA)
            .map(|text| serde_json::from_str(text))
            .transpose()
            .map_err(|source| DiffusionError::NotJson { path: file.to_owned(), source })?
            .unwrap_or_default();
        for part in [Part::Unet, Part::TextEncoder] {
            let prefix = format!("{part}.");
            let of_part = metadata.iter().filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
            self.check_config(&of_part.collect())?;
        }
        let alpha = |part: Part| metadata.get(&format!("{part}.lora_alpha")).and_then(Value::as_f64);
        self.assemble(&tensors, alpha, |name| {
            [Part::Unet, Part::TextEncoder].into_iter().find_map(|part| {
                let rest = name.strip_prefix(part.name())?.strip_prefix('.')?;
                Some((part, rest.to_owned()))
            })
        })
    }

    fn peft(&self, file: &Path, config: &Path) -> Result<Lora, FinetuneError> {
        let config: Map<String, Value> = serde_json::from_slice(&read(config)?)
            .map_err(|source| DiffusionError::NotJson { path: config.to_owned(), source })?;
        self.check_config(&config.iter().map(|(key, value)| (key.as_str(), value)).collect())?;
        let alpha = config.get("lora_alpha").and_then(Value::as_f64);
        let Parsed { tensors, .. } = self.parse(file)?;
        self.assemble(
            &tensors,
            |_| alpha,
            |name| {
                let name = name.strip_prefix(PEFT_PREFIX)?;
                const OF_UNET: [&str; 7] =
                    ["down_blocks.", "mid_block.", "up_blocks.", "time_embedding.", "conv_in.", "conv_norm_out.", "conv_out."];
                let part = if OF_UNET.iter().any(|start| name.starts_with(start)) { Part::Unet } else { Part::TextEncoder };
                Some((part, name.to_owned()))
            },
        )
    }

    /// Refuses settings that change what is computed.
    fn check_config(&self, config: &BTreeMap<&str, &Value>) -> Result<(), FinetuneError> {
        let neutral = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(pairs) => pairs.is_empty(),
            Value::String(text) => text == "none" || text == "LORA",
            _ => false,
        };
        /// Variants, and alphas or layers that are not the same throughout.
        const VARIANTS: [&str; 9] = [
            "use_dora",
            "use_rslora",
            "use_qalora",
            "use_bdlora",
            "lora_bias",
            "bias",
            "alpha_pattern",
            "fan_in_fan_out",
            "modules_to_save",
        ];
        let other = config.iter().find(|(key, value)| (VARIANTS.contains(key) || **key == "peft_type") && !neutral(value));
        match other {
            Some((key, value)) => {
                Err(self.refuse(format!("its `{key}` is {value}: this program computes plain LoRA of one alpha alone")))
            }
            None => Ok(()),
        }
    }

    fn assemble(
        &self,
        tensors: &[(String, TensorData)],
        alpha: impl Fn(Part) -> Option<f64>,
        locate: impl Fn(&str) -> Option<(Part, String)>,
    ) -> Result<Lora, FinetuneError> {
        let mut found: BTreeMap<(Part, String), [Option<TensorData>; 3]> = BTreeMap::new();
        for (name, data) in tensors {
            let located = locate(name).and_then(|(part, rest)| role(&rest).map(|(module, role)| (part, module, role)));
            let Some((part, module, role)) = located else {
                return Err(self.refuse(unknown(name)));
            };
            let place = &mut found.entry((part, plain(&module).to_owned())).or_default()[role as usize];
            if place.replace(data.clone()).is_some() {
                return Err(self.refuse(format!("`{name}` comes twice, under names of different ages: write the file again")));
            }
        }
        let mut lora = Lora::default();
        for ((part, module), factors) in found {
            let [Some(a), Some(b), own_alpha] = factors else {
                return Err(self.refuse(format!("{part}.{module} has one factor of two: the file is cut short or edited")));
            };
            match (a.shape().as_slice(), b.shape().as_slice()) {
                ([rank, _, ..], [_, other, ..]) if rank == other && *rank > 0 => {}
                (a, b) => {
                    return Err(self.refuse(format!(
                        "the factors of {part}.{module} are {a:?} and {b:?}, expected [rank, inputs] and [outputs, rank]: their ranks \
                         differ, or are none"
                    )));
                }
            }
            let own_alpha = match own_alpha {
                None => None,
                Some(data) if data.num_elements() == 1 => data.iter::<f64>().next(),
                Some(data) => {
                    let shape = data.shape();
                    return Err(self.refuse(format!("the alpha of {part}.{module} is of shape {shape:?}, expected one number")));
                }
            };
            let alpha = own_alpha.or_else(|| alpha(part));
            lora.adapters.insert((part, module), Adapter { a, b, alpha });
        }
        match lora.adapters.is_empty() {
            true => Err(self.refuse("it holds no adapter".to_owned())),
            false => Ok(lora),
        }
    }

    /// Every tensor as 32-bit floats, and the header's notes.
    fn parse(&self, file: &Path) -> Result<Parsed, FinetuneError> {
        let SafetensorsFile { tensors, notes } = open_safetensors(file).map_err(DiffusionError::from)?;
        let floats = |(name, stored): (String, StoredTensor)| match stored.finite_floats(file, &name) {
            Ok(data) => Ok((name, data)),
            Err(error) => Err(DiffusionError::from(error).into()),
        };
        Ok(Parsed { tensors: tensors.into_iter().map(floats).collect::<Result<_, FinetuneError>>()?, notes })
    }
}

/// Module and role of a tensor, by its name within a network.
fn role(name: &str) -> Option<(String, Role)> {
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
    // The attention processors of 2023: `attn1.processor.to_q_lora.down.weight`.
    let (attention, rest) = name.split_once(".processor.")?;
    let (module, end) = rest.split_once("_lora.")?;
    let module = if module == "to_out" { "to_out.0" } else { module };
    let role = match end {
        "down.weight" => Role::A,
        "up.weight" => Role::B,
        _ => return None,
    };
    Some((format!("{attention}.{module}"), role))
}

fn unknown(name: &str) -> String {
    if name.starts_with("lora_unet_") || name.starts_with("lora_te_") {
        return format!(
            "`{name}` is a name of kohya's scripts: load the file in diffusers and write it again with save_lora_weights"
        );
    }
    if name.contains("lora_magnitude_vector") || name.contains("dora_scale") {
        return format!("`{name}` is of DoRA, which this program does not compute");
    }
    format!("`{name}` is no tensor of a LoRA for a U-Net or a text encoder (`unet.MODULE.lora_A.weight` and the like)")
}

fn read(path: &Path) -> Result<Vec<u8>, DiffusionError> {
    let path: PathBuf = path.to_owned();
    std::fs::read(&path).map_err(|source| DiffusionError::Io { action: "read", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_age_are_read() {
        let read = |name: &str| role(name);
        let q = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q".to_owned();
        let attention = "mid_block.attentions.0.transformer_blocks.0.attn1";
        assert_eq!(read(&format!("{q}.lora_A.weight")), Some((q.clone(), Role::A)));
        assert_eq!(read(&format!("{q}.lora.up.weight")), Some((q.clone(), Role::B)));
        assert_eq!(read(&format!("{attention}.processor.to_q_lora.down.weight")), Some((q, Role::A)));
        assert_eq!(
            read(&format!("{attention}.processor.to_out_lora.up.weight")),
            Some((format!("{attention}.to_out.0"), Role::B))
        );
        assert_eq!(
            read("encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight"),
            Some(("encoder.layers.0.mlp.fc1".to_owned(), Role::A))
        );
        assert_eq!(read(&format!("{attention}.to_q.weight")), None);
    }

    #[test]
    fn other_tools_are_named() {
        assert!(unknown("lora_unet_mid_block_attentions_0.lora_down.weight").contains("kohya"));
        assert!(unknown("unet.mid_block.to_q.lora_magnitude_vector").contains("DoRA"));
    }
}
