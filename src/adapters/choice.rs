//! Files that change a pipeline, as command lines and run files name them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use roentgen_augment::supply::{AdapterCard, AdapterKind};
use roentgen_classifier::training::file_digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::AdapterError;
use super::embedding::Embedding;
use super::file::AdapterFile;
use super::lora::Lora;
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::StableDiffusion;
use crate::hub::{Asked, Place, Want};

/// `FILE` or `FILE:SCALE`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraChoice {
    /// File or folder, or a name on the hub.
    pub place: Place,
    /// Factor of its adapters.
    pub scale: f64,
}

impl FromStr for LoraChoice {
    type Err = String;

    /// A last part that is not a number belongs to the name.
    fn from_str(text: &str) -> Result<Self, String> {
        let scaled = text.rsplit_once(':').and_then(|(path, scale)| Some((path, scale.parse::<f64>().ok()?)));
        match scaled.unwrap_or((text, 1.0)) {
            ("", _) => Err("expected a file, or FILE:SCALE".to_owned()),
            (_, scale) if !scale.is_finite() => Err(format!("the scale {scale} is not a finite number")),
            (path, scale) => Ok(Self { place: path.into(), scale }),
        }
    }
}

impl LoraChoice {
    /// The same where the file is told apart from a name on the hub; a relative path is one of the working folder.
    #[must_use]
    pub fn resolved_here(self) -> Self {
        Self { place: self.place.resolved(Path::to_owned), ..self }
    }
}

impl EmbeddingChoice {
    /// As [`LoraChoice::resolved_here`].
    #[must_use]
    pub fn resolved_here(self) -> Self {
        Self { place: self.place.resolved(Path::to_owned), ..self }
    }
}

impl fmt::Display for LoraChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Always with its scale: the name alone could end in a number.
        write!(f, "{}:{}", self.place, self.scale)
    }
}

/// `FILE` or `TOKEN=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingChoice {
    /// Stands for the token in the file.
    pub token: Option<String>,
    /// The file, or a name on the hub.
    pub place: Place,
}

impl FromStr for EmbeddingChoice {
    type Err = String;

    /// What comes before the first `=` is the token, unless it has a slash.
    fn from_str(text: &str) -> Result<Self, String> {
        let (token, path) = match text.split_once('=') {
            Some((token, path)) if !token.contains(['/', '\\']) => (Some(token), path),
            _ => (None, text),
        };
        if path.is_empty() || token.is_some_and(|token| token.trim().is_empty()) {
            return Err("expected a file, or TOKEN=FILE".to_owned());
        }
        Ok(Self { token: token.map(str::to_owned), place: path.into() })
    }
}

impl fmt::Display for EmbeddingChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(token) = &self.token {
            write!(f, "{token}=")?;
        }
        write!(f, "{}", self.place)
    }
}

/// Both are texts in run files.
macro_rules! as_text {
    ($choice:ty) => {
        impl Serialize for $choice {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $choice {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(LoraChoice);
as_text!(EmbeddingChoice);

/// `pipeline` with the adapters merged into its weights and the tokens added, in their order; it lists them from then on.
///
/// # Errors
/// [`AdapterError`] names the file, and what to do.
pub fn add_all(
    mut pipeline: StableDiffusion,
    loras: &[LoraChoice],
    embeddings: &[EmbeddingChoice],
) -> Result<StableDiffusion, AdapterError> {
    for LoraChoice { place, scale } in loras {
        let path = place.path();
        let file = AdapterFile::open(&path)?;
        pipeline = Lora::of_file(&file)?.merge(pipeline, *scale, &path)?;
        pipeline.adapters.push(card(AdapterKind::Lora, &file.path, place, Some(*scale), None)?);
    }
    for EmbeddingChoice { token, place } in embeddings {
        let embedding = Embedding::read(&place.path(), token.as_deref())?;
        pipeline = embedding.add(pipeline)?;
        pipeline.adapters.push(card(AdapterKind::Embedding, &embedding.path, place, None, Some(embedding.token))?);
    }
    Ok(pipeline)
}

/// The places of adapters, under the names of flags and keys after `prefix`.
pub fn adapter_places<'a>(
    prefix: &str,
    loras: &'a mut [LoraChoice],
    embeddings: &'a mut [EmbeddingChoice],
) -> impl Iterator<Item = Asked<'a>> {
    let (lora, embedding) = (format!("{prefix}lora"), format!("{prefix}embedding"));
    let loras = loras.iter_mut().map(move |choice| Asked::new(&lora, &mut choice.place, Want::Lora));
    loras.chain(embeddings.iter_mut().map(move |choice| Asked::new(&embedding, &mut choice.place, Want::Embedding)))
}

/// The entry of a file in a generator's card; `named` is what the user wrote, whose last part says more than `pytorch_lora_weights`.
fn card(
    kind: AdapterKind,
    file: &Path,
    named: &Place,
    scale: Option<f64>,
    token: Option<String>,
) -> Result<AdapterCard, AdapterError> {
    let digest = file_digest(file).map_err(|source| DiffusionError::Io { action: "read", path: file.to_owned(), source })?;
    // Not the file behind a link: caches of the hub name that by its digest.
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = match named {
        Place::Path(path) => last(path).or_else(|| last(&path.canonicalize().ok()?)),
        Place::Hub { .. } => None,
    };
    Ok(AdapterCard { kind, name: name.unwrap_or_else(|| named.to_string()), digest, scale, token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_at_the_end_is_the_scale() {
        let read = |text: &str| text.parse::<LoraChoice>().map(|choice| (choice.place.to_string(), choice.scale));
        assert_eq!(read("chest.safetensors"), Ok(("chest.safetensors".to_owned(), 1.0)));
        assert_eq!(read("runs/chest:0.5"), Ok(("runs/chest".to_owned(), 0.5)));
        assert_eq!(read("C:\\chest"), Ok(("C:\\chest".to_owned(), 1.0)));
        assert_eq!(read("owner/name:chest.safetensors:0.5"), Ok(("owner/name:chest.safetensors".to_owned(), 0.5)));
        assert!(read("chest:inf").is_err() && read(":2").is_err() && read("").is_err());
    }

    #[test]
    fn what_stands_before_an_equals_sign_is_the_token() {
        let read = |text: &str| text.parse::<EmbeddingChoice>().map(|choice| (choice.token, choice.place.to_string()));
        assert_eq!(read("x.bin"), Ok((None, "x.bin".to_owned())));
        assert_eq!(read("<x>=a=b.bin"), Ok((Some("<x>".to_owned()), "a=b.bin".to_owned())));
        assert_eq!(read("runs/a=b/x.bin"), Ok((None, "runs/a=b/x.bin".to_owned())));
        assert!(read("=x.bin").is_err() && read("<x>=").is_err() && read("").is_err());
    }

    #[test]
    fn choices_come_back_from_their_text() {
        for text in ["a:0.5", "a:b", "a:1:2", "<x>=f", "f"] {
            let (lora, embedding): (LoraChoice, EmbeddingChoice) = (text.parse().unwrap(), text.parse().unwrap());
            assert_eq!(lora.to_string().parse::<LoraChoice>().unwrap(), lora);
            assert_eq!(embedding.to_string().parse::<EmbeddingChoice>().unwrap(), embedding);
        }
    }
}
