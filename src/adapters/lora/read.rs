//! Adapters from files.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use super::definition::{Definition, Setting};
use super::merge::{Adapter, Lora};
use super::names::{Place, Tool, place, plain};
use crate::adapters::file::{AdapterFile, LORA_CONFIG};
use crate::adapters::{AdapterError, embedding, foreign};
use crate::diffusion::{DiffusionError, Part};

/// Key of a header of diffusers for the arguments of peft's `LoraConfig`.
pub(super) const METADATA: &str = "lora_adapter_metadata";

/// The largest alpha of a file; the usual ones are between 1 and a few hundred.
const MOST_ALPHA: f64 = 1e6;

impl Lora {
    /// Reads a file of kohya's scripts, diffusers or peft, or the one in a folder of diffusers or peft; safetensors or PyTorch's, which is
    /// read as data and never executed.
    ///
    /// The factor of each module's product is what the file says of that module. A file of diffusers without metadata states no
    /// alpha: it is what [`Lora::with_alpha`] is told, else the rank.
    ///
    /// # Errors
    /// [`AdapterError::Unusable`] for other kinds of adapters, by their name, and for files of something else;
    /// [`AdapterError::Diffusion`] where a file can't be read.
    pub fn read(path: &Path) -> Result<Self, AdapterError> {
        Self::of_file(&AdapterFile::open(path)?)
    }

    pub(in crate::adapters) fn of_file(file: &AdapterFile) -> Result<Self, AdapterError> {
        if let Some(message) = foreign::refusal(file) {
            return Err(file.unusable(message));
        }
        file.refuse_eight_bits()?;
        let mut found: BTreeMap<(Part, String), Factors> = BTreeMap::new();
        let mut tool = None;
        for name in file.tensors.keys() {
            let Some(place) = place(name) else { return Err(file.unusable(unknown(file, name))) };
            let Place { part, module, role, .. } = place;
            if *tool.get_or_insert(place.tool) != place.tool {
                return Err(
                    file.unusable(format!("`{name}` is a name of another tool than the file's first: write the file again"))
                );
            }
            let factors = found.entry((part, plain(&module).to_owned())).or_insert_with(|| Factors::new(module));
            if factors.tensors[role as usize].replace(name).is_some() {
                return Err(file.unusable(format!("`{name}` comes twice, under names of different ages: write the file again")));
            }
        }
        let Some(tool) = tool else { return Err(file.unusable("it holds no adapter")) };
        let definitions = definitions(file, tool)?;
        let mut adapters = BTreeMap::new();
        for ((part, module), factors) in found {
            let adapter = factors.adapter(file, part, definitions.get(&part))?;
            adapters.insert((part, module), adapter);
        }
        Ok(Self { adapters, tool: Some(tool), base: file.notes.get("ss_base_model_version").cloned() })
    }
}

/// The tensors of a module by their roles.
struct Factors<'a> {
    /// As the file has it.
    module: String,
    tensors: [Option<&'a String>; 3],
}

impl<'a> Factors<'a> {
    fn new(module: String) -> Self {
        Self { module, tensors: [None; 3] }
    }

    fn adapter(&self, file: &AdapterFile, part: Part, definition: Option<&Definition>) -> Result<Adapter, AdapterError> {
        let name = format!("{part}.{}", self.module);
        let [Some(a), Some(b), own] = self.tensors else {
            return Err(file.unusable(format!("{name} has one factor of two: the file is truncated or edited")));
        };
        let (a, b) = (file.floats(a)?, file.floats(b)?);
        let rank = match (a.shape().as_slice(), b.shape().as_slice()) {
            ([rank, _, ..], [_, other, ..]) if rank == other && *rank > 0 => *rank,
            (a, b) => {
                return Err(file.unusable(format!(
                    "the factors of {name} are {a:?} and {b:?}, expected [rank, inputs] and [outputs, rank]: their ranks differ, or are \
                     none"
                )));
            }
        };
        let own = own.map(|alpha| self.own_alpha(file, &name, alpha)).transpose()?;
        let stated = definition.map(|definition| definition.alpha(&self.module, rank)).transpose();
        let alpha = own.or(stated.map_err(|message| file.unusable(message))?.flatten());
        match alpha.filter(|alpha| !(*alpha > 0.0 && *alpha <= MOST_ALPHA)) {
            Some(alpha) => {
                Err(file
                    .unusable(format!("the alpha of {name} is {alpha}, expected a number above 0 and at most {MOST_ALPHA}")))
            }
            None => Ok(Adapter { a, b, alpha }),
        }
    }

    /// The number in a tensor `….alpha`.
    fn own_alpha(&self, file: &AdapterFile, name: &str, tensor: &str) -> Result<f64, AdapterError> {
        let data: TensorData = file.floats(tensor)?;
        let value = data.iter::<f64>().next().filter(|_| data.num_elements() == 1);
        value.ok_or_else(|| file.unusable(format!("the alpha of {name} is of shape {:?}, expected one number", data.shape())))
    }
}

/// What settings beside the tensors say of each network.
fn definitions(file: &AdapterFile, tool: Tool) -> Result<BTreeMap<Part, Definition>, AdapterError> {
    const PARTS: [Part; 2] = [Part::Unet, Part::TextEncoder];
    let new = |settings: &BTreeMap<&str, &Setting>| Definition::new(settings).map_err(|message| file.unusable(message));
    match tool {
        Tool::Kohya => Ok(BTreeMap::new()),
        Tool::Peft => {
            let path = file.path.with_file_name(LORA_CONFIG);
            if !path.is_file() {
                return Err(file.unusable(format!(
                    "it is of peft and has no {LORA_CONFIG} beside it, which says how strong it is: put the two into one folder"
                )));
            }
            let settings = settings(&std::fs::read(&path).map_err(|source| io(&path, source))?, &path)?;
            let settings = settings.iter().map(|(key, setting)| (key.as_str(), setting)).collect();
            PARTS.into_iter().map(|part| Ok((part, new(&settings)?))).collect()
        }
        Tool::Diffusers => {
            let Some(text) = file.notes.get(METADATA) else { return Ok(BTreeMap::new()) };
            let settings = settings(text.as_bytes(), &file.path)?;
            let of_part = |part: Part| {
                let prefix = format!("{part}.");
                let own = settings.iter().filter_map(|(key, setting)| Some((key.strip_prefix(&prefix)?, setting))).collect();
                Ok((part, new(&own)?))
            };
            PARTS.into_iter().map(of_part).collect()
        }
    }
}

fn settings(text: &[u8], path: &Path) -> Result<BTreeMap<String, Setting>, DiffusionError> {
    serde_json::from_slice(text).map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })
}

fn io(path: &Path, source: std::io::Error) -> DiffusionError {
    DiffusionError::Io { action: "read", path: path.to_owned(), source }
}

/// What is said of a tensor that is not of a LoRA.
fn unknown(file: &AdapterFile, name: &str) -> String {
    if let Some(token) = embedding::token_of(file) {
        return format!("it is a textual inversion ({token}), not a LoRA: give it to --embedding");
    }
    foreign::whole_weights(name).unwrap_or_else(|| {
        format!(
            "`{name}` is not a tensor of a LoRA for a U-Net or a text encoder (`unet.MODULE.lora_A.weight`, \
             `lora_unet_MODULE.lora_down.weight` and the like)"
        )
    })
}
