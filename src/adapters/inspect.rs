//! What an adapter's file is, without a pipeline.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::embedding::{self, Embedding};
use super::file::{AdapterFile, known_files};
use super::lora::{Lora, is_of_lora};
use super::{AdapterError, foreign};

/// A file of adapters or of textual inversion.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum AdapterInspection {
    /// Low-rank adapters.
    Lora {
        /// The file.
        file: PathBuf,
        /// The tool whose names it has.
        tool: &'static str,
        /// The base that its header names.
        base: Option<String>,
        /// The networks that it changes.
        parts: Vec<LoraPart>,
    },
    /// Textual inversion.
    Embedding {
        /// The file.
        file: PathBuf,
        /// `None` if it does not name one.
        token: Option<String>,
        /// Number of its vectors.
        vectors: usize,
        /// Of each.
        width: usize,
    },
}

/// The adapters of one network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoraPart {
    /// `unet` or `text_encoder`.
    pub part: &'static str,
    /// Modules with an adapter.
    pub modules: usize,
    /// Smallest and largest rank.
    pub ranks: [usize; 2],
    /// Smallest and largest factor of a product, `alpha / rank`.
    pub factors: [f64; 2],
}

/// What the file at `path` is, or that of diffusers or peft in the folder; `None` if it is neither a LoRA nor an embedding.
///
/// # Errors
/// [`AdapterError`] for one that is not computed here, by its name, as `--lora` and `--embedding` would say it.
pub fn inspect(path: &Path) -> Result<Option<AdapterInspection>, AdapterError> {
    let is_known = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["safetensors", "bin", "pt"].contains(&extension)
    };
    let in_folder = known_files().any(|name| path.join(name).is_file());
    if !(in_folder || path.is_file() && is_known(path)) {
        return Ok(None);
    }
    let file = AdapterFile::open(path)?;
    if let Some(message) = foreign::refusal(&file) {
        return Err(file.unusable(message));
    }
    if file.tensors.keys().any(|name| is_of_lora(name)) {
        let lora = Lora::of_file(&file)?;
        let (tool, base) = lora.origin();
        return Ok(Some(AdapterInspection::Lora { file: file.path, tool, base, parts: lora.facts() }));
    }
    if embedding::token_of(&file).is_none() {
        return Ok(None);
    }
    let (token, vectors, width) = Embedding::facts(&file)?;
    Ok(Some(AdapterInspection::Embedding { file: file.path, token, vectors, width }))
}

impl fmt::Display for AdapterInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lora { file, tool, base, parts } => {
                let base = base.as_ref().map(|base| format!(", trained on {base}")).unwrap_or_default();
                writeln!(f, "{}: LoRA of {tool}{base}\n", file.display())?;
                for LoraPart { part, modules, ranks, factors } in parts {
                    writeln!(f, "{part:<13} {modules} modules, rank {}, alpha / rank {}", range(ranks), range(factors))?;
                }
                write!(f, "\nroentgen generate --pipeline BASE --lora {}", file.display())
            }
            Self::Embedding { file, token, vectors, width } => {
                let (named, flag) = match token {
                    Some(token) => (format!("token {token}"), file.display().to_string()),
                    None => ("no token".to_owned(), format!("'<x>={}'", file.display())),
                };
                writeln!(f, "{}: textual inversion, {named}, {vectors} x {width}\n", file.display())?;
                write!(f, "roentgen generate --pipeline BASE --embedding {flag}")
            }
        }
    }
}

fn range<T: PartialEq + fmt::Display>([least, most]: &[T; 2]) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}
