//! Textual inversion (Gal et al. 2022, arXiv 2208.01618): vectors that new tokens have in the text encoder's table.
//!
//! Reference: diffusers 0.42.1, `loaders/textual_inversion.py`. Files of diffusers (`learned_embeds.safetensors` and `.bin`: one tensor under its
//! token) and of AUTOMATIC1111 (`.pt`: `string_to_param` and `name`; `.safetensors`: `emb_params`, without a name).
//!
//! A file of several vectors gives the tokens `<x>`, `<x>_1`, `<x>_2`, …, and `<x>` in a prompt stands for all of them. Ids follow the
//! vocabulary in the order of loading. Tokens are found after the text was made lower case, and within words.

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use roentgen_classifier::weights::pytorch_text;

use super::AdapterError;
use super::file::AdapterFile;
use super::lora::Lora;
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::text::TextEncoder;

/// The key of AUTOMATIC1111's safetensors.
const NAMELESS: &str = "emb_params";
/// The entry of AUTOMATIC1111's and the original code's PyTorch files.
const PARAMETERS: &str = "string_to_param";
/// Most characters of a token.
const MOST_CHARACTERS: usize = 200;

/// Vectors of a new token.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The first token; the others count on from `_1`.
    pub token: String,
    /// `[vectors, width]`, 32-bit floats.
    pub vectors: TensorData,
    /// The file.
    pub path: PathBuf,
}

impl Embedding {
    /// Reads a file; `token` stands for the one in the file.
    ///
    /// # Errors
    /// [`AdapterError::Unusable`] for files of something else, of Stable Diffusion XL, or without a token where none is given;
    /// [`AdapterError::Diffusion`] where the file can't be read.
    pub fn read(path: &Path, token: Option<&str>) -> Result<Self, AdapterError> {
        let file = AdapterFile::open(path)?;
        file.refuse_eight_bits()?;
        let Found { name, token: own } = find(&file)?;
        let Some(token) = token.map(str::to_owned).or(own) else {
            return Err(
                file.unusable("it does not name its token: write TOKEN=FILE, such as <x>=FILE, and <x> into the prompts")
            );
        };
        if token.trim() != token || token.is_empty() || token.chars().count() > MOST_CHARACTERS {
            return Err(file.unusable(format!(
                "its token is {token:?}, expected up to {MOST_CHARACTERS} characters without blanks around them: write TOKEN=FILE"
            )));
        }
        let shape = shape(&file, &name)?;
        let (bytes, _, dtype) = file.floats(&name)?.into_parts();
        Ok(Self { token, vectors: TensorData::from_bytes(bytes, shape, dtype), path: file.path })
    }

    /// Token, number of vectors and width, without reading a vector.
    pub(super) fn facts(file: &AdapterFile) -> Result<(Option<String>, usize, usize), AdapterError> {
        file.refuse_eight_bits()?;
        let Found { name, token } = find(file)?;
        let [count, width] = shape(file, &name)?;
        Ok((token, count, width))
    }

    /// Number of its vectors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.vectors.shape()[0]
    }

    /// Width of each.
    #[must_use]
    pub fn width(&self) -> usize {
        self.vectors.shape()[1]
    }

    /// `pipeline` with the tokens in its vocabulary and the vectors in its text encoder.
    ///
    /// # Errors
    /// [`AdapterError::Unusable`] if the vectors are of another width, more than a prompt has room for, or if a token is in the
    /// vocabulary already.
    pub fn add(&self, pipeline: StableDiffusion) -> Result<StableDiffusion, AdapterError> {
        let expected = pipeline.text_encoder().width();
        if self.width() != expected {
            let of = match self.width() {
                768 => " (Stable Diffusion 1)",
                1024 => " (Stable Diffusion 2)",
                1280 => " (Stable Diffusion XL)",
                _ => "",
            };
            return Err(self.unusable(format!(
                "its vectors are {} wide{of}, the text encoder of {} has {expected}: use an embedding that was trained on this pipeline's base",
                self.width(),
                pipeline.folder().display()
            )));
        }
        let room = pipeline.prompt_tokens();
        if self.count() > room {
            return Err(self.unusable(format!("it has {} vectors, a prompt has room for {room} tokens", self.count())));
        }
        let tokens: Vec<String> = std::iter::once(self.token.clone())
            .chain((1..self.count()).map(|number| format!("{}_{number}", self.token)))
            .collect();
        // One more than there are: the file before may have had more vectors.
        let next = format!("{}_{}", self.token, self.count());
        if let Some(known) = tokens.iter().chain([&next]).find(|token| pipeline.tokenizer().id(token).is_some()) {
            return Err(self.unusable(format!("the vocabulary has `{known}` already: give its token another name, TOKEN=FILE")));
        }
        Ok(pipeline.with_tokens(&tokens, &self.vectors)?)
    }

    fn unusable(&self, message: String) -> AdapterError {
        AdapterError::unusable(&self.path, message)
    }
}

/// The tensor of a file and the token that the file names.
struct Found {
    name: String,
    token: Option<String>,
}

/// Number and width of the vectors in a tensor.
fn shape(file: &AdapterFile, name: &str) -> Result<[usize; 2], AdapterError> {
    match file.tensors[name].shape().as_slice() {
        [width] if *width > 0 => Ok([1, *width]),
        [count, width] if *count > 0 && *width > 0 => Ok([*count, *width]),
        other => Err(file.unusable(format!("`{name}` is of shape {other:?}, expected [width] or [vectors, width]"))),
    }
}

fn find(file: &AdapterFile) -> Result<Found, AdapterError> {
    let names: Vec<&String> = file.tensors.keys().collect();
    if names.iter().any(|name| matches!(name.as_str(), "clip_g" | "clip_l")) {
        return Err(file.unusable(
            "it is a textual inversion for Stable Diffusion XL (`clip_l`, `clip_g`); this program runs Stable Diffusion 1 and 2",
        ));
    }
    if let Some(found) = of_file(file)? {
        return Ok(found);
    }
    let message = match Lora::of_file(file) {
        Ok(_) => "it is a LoRA, not a textual inversion: give it to --lora".to_owned(),
        Err(_) if names.len() > 1 => format!(
            "it holds {} tensors (`{}`, …), expected one, under its token: a file of textual inversion (learned_embeds.bin)",
            names.len(),
            names[0]
        ),
        Err(_) => "it holds no tensor that could be a token's".to_owned(),
    };
    Err(file.unusable(message))
}

/// The vectors of a textual inversion, if the file is one.
fn of_file(file: &AdapterFile) -> Result<Option<Found>, AdapterError> {
    let parameters = || file.tensors.keys().filter(|name| name.starts_with(PARAMETERS));
    if let Some(name) = parameters().next().filter(|_| parameters().count() == 1) {
        let token = if file.is_pickle { pytorch_text(&file.path, "name").map_err(DiffusionError::from)? } else { None };
        return Ok(Some(Found { name: name.clone(), token }));
    }
    let mut names = file.tensors.keys();
    match (names.next(), names.next()) {
        (Some(name), None) if file.tensors[name].shape().len() <= 2 && !is_of_network(name) => {
            let token = (name != NAMELESS && !name.is_empty()).then(|| name.clone());
            Ok(Some(Found { name: name.clone(), token }))
        }
        _ => Ok(None),
    }
}

/// Whether a name is that of a network's weight or adapter, not a token.
fn is_of_network(name: &str) -> bool {
    [".weight", ".bias", ".alpha"].iter().any(|end| name.ends_with(end)) || name.starts_with("lora_")
}

/// What a message says of a file that is a textual inversion; `None` for another.
pub(super) fn token_of(file: &AdapterFile) -> Option<String> {
    if file.tensors.contains_key("clip_g") || file.tensors.contains_key("clip_l") {
        return Some("for Stable Diffusion XL".to_owned());
    }
    let found = of_file(file).ok().flatten()?;
    Some(found.token.map_or_else(|| "without the name of its token".to_owned(), |token| format!("token {token}")))
}
