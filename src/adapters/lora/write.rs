//! Adapters into the files of diffusers and peft.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use burn::tensor::TensorData;
use roentgen_augment::atomic::write_atomic;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::merge::{Adapter, Lora};
use super::names::{PEFT_PREFIX, TEXT_MODEL};
use super::read::METADATA;
use crate::adapters::file::{DIFFUSERS_FILES, LORA_CONFIG, PEFT_FILES};
use crate::diffusion::{DiffusionError, Part};

impl Lora {
    /// Writes `pytorch_lora_weights.safetensors` into `folder`: what `load_lora_weights` of diffusers reads, alpha included.
    ///
    /// # Errors
    /// [`DiffusionError::Io`] if it can't be written.
    pub fn save_diffusers(&self, folder: &Path) -> Result<(), DiffusionError> {
        let name = |part: Part, module: &str| match part {
            // transformers 4 has the prefix, and diffusers takes it off for 5.
            Part::TextEncoder if self.is_clip() => format!("{part}.{TEXT_MODEL}{module}"),
            _ => format!("{part}.{module}"),
        };
        let mut notes = serde_json::Map::new();
        for part in self.parts() {
            for (key, value) in self.config(part) {
                notes.insert(format!("{part}.{key}"), value);
            }
        }
        let notes = (METADATA.to_owned(), Value::Object(notes).to_string());
        let adapters = self.adapters.iter().map(|((part, module), adapter)| (name(*part, module), adapter));
        write_tensors(&folder.join(DIFFUSERS_FILES[0]), adapters, &[notes])
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` for one part into `folder`: what `PeftModel.from_pretrained` reads.
    ///
    /// # Errors
    /// [`DiffusionError::Io`] if one can't be written.
    pub fn save_peft(&self, part: Part, folder: &Path) -> Result<(), DiffusionError> {
        let adapters = self.adapters.iter().filter(|((other, _), _)| *other == part);
        let adapters = adapters.map(|((_, module), adapter)| (format!("{PEFT_PREFIX}{module}"), adapter));
        write_tensors(&folder.join(PEFT_FILES[0]), adapters, &[])?;
        let mut config = json!({
            "base_model_name_or_path": null,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "lora_dropout": 0.0,
            "peft_type": "LORA",
            "task_type": null,
            "use_dora": false,
            "use_rslora": false,
        });
        let object = config.as_object_mut().expect("the literal is an object");
        object.extend(self.config(part));
        write(&folder.join(LORA_CONFIG), format!("{config:#}\n").as_bytes())
    }

    /// Arguments of peft's `LoraConfig`. Modules are named whole: a name is matched as an end, so that CLIP's are found with and
    /// without the prefix.
    fn config(&self, part: Part) -> Vec<(String, Value)> {
        let of_part = || self.adapters.iter().filter(move |((other, _), _)| *other == part);
        let (mut rank, mut alpha) = (0, 0.0);
        if let Some((_, first)) = of_part().next() {
            (rank, alpha) = (first.rank(), first.alpha());
        }
        let (mut ranks, mut alphas) = (BTreeMap::new(), BTreeMap::new());
        for ((_, module), adapter) in of_part() {
            if adapter.rank() != rank {
                ranks.insert(module, adapter.rank());
            }
            if adapter.alpha() != alpha {
                alphas.insert(module, adapter.alpha());
            }
        }
        let modules: Vec<&String> = of_part().map(|((_, module), _)| module).collect();
        [
            ("r", json!(rank)),
            ("lora_alpha", json!(alpha)),
            ("target_modules", json!(modules)),
            ("rank_pattern", json!(ranks)),
            ("alpha_pattern", json!(alphas)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Whether the text encoder's modules are CLIP's.
    fn is_clip(&self) -> bool {
        self.adapters.keys().any(|(part, module)| *part == Part::TextEncoder && module.starts_with("encoder.layers."))
    }
}

fn write_tensors<'a>(
    path: &Path,
    adapters: impl Iterator<Item = (String, &'a Adapter)>,
    notes: &[(String, String)],
) -> Result<(), DiffusionError> {
    let factors = adapters.flat_map(|(module, Adapter { a, b, .. })| {
        [(format!("{module}.lora_A.weight"), view(a)), (format!("{module}.lora_B.weight"), view(b))]
    });
    let mut metadata: HashMap<String, String> = notes.iter().cloned().collect();
    metadata.insert("format".to_owned(), "pt".to_owned());
    let bytes = safetensors::serialize(factors, Some(metadata)).expect("names are distinct and shapes fit their values");
    write(path, &bytes)
}

fn view(data: &TensorData) -> TensorView<'_> {
    TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes()).expect("adapters are of 32-bit floats")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DiffusionError> {
    let path = path.to_owned();
    write_atomic(&path, |out| out.write_all(bytes)).map_err(|source| DiffusionError::Io { action: "write", path, source })
}
