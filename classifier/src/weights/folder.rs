//! A folder of transformers: weights beside a `config.json`, which says what no tensor does.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ClassifierError;
use crate::networks::vit::HEAD;

/// Files of weights, the first that is there.
const FILES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The file of weights at `path`: itself, or that of a folder as transformers writes it, whose `config.json` must be of a DINOv2 that is
/// computed here.
///
/// # Errors
/// [`ClassifierError::NotWeights`] says what the folder is instead; [`ClassifierError::Io`].
pub fn weights_file(path: &Path) -> Result<PathBuf, ClassifierError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let refuse = |looks_like: String| ClassifierError::NotWeights { path: path.to_owned(), looks_like };
    let config = path.join("config.json");
    if !config.is_file() {
        return Err(refuse("a folder without config.json: give the file of weights itself".to_owned()));
    }
    let text = std::fs::read_to_string(&config).map_err(ClassifierError::io("read", &config))?;
    let config: Value =
        serde_json::from_str(&text).map_err(|error| refuse(format!("a folder whose config.json is no JSON ({error})")))?;
    check(&config).map_err(refuse)?;
    let file = FILES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    file.ok_or_else(|| refuse(format!("a folder without {}", FILES.join(" and "))))
}

/// What the tensors of a DINOv2 do not say; absent keys have the values of transformers' `Dinov2Config` (5.23.0).
fn check(config: &Value) -> Result<(), String> {
    match config["model_type"].as_str() {
        Some("dinov2") => {}
        Some(other) => return Err(format!("a folder of a `{other}`, of folders those of `dinov2` are read")),
        None => return Err("a folder whose config.json has no model_type, of folders those of `dinov2` are read".to_owned()),
    }
    let count = |key: &str, default: u64| config.get(key).map_or(Some(default), Value::as_u64);
    let (width, heads) = (count("hidden_size", 768), count("num_attention_heads", 12));
    if width.is_none() || heads.and_then(|heads| heads.checked_mul(HEAD as u64)) != width {
        let [width, heads] = ["hidden_size", "num_attention_heads"].map(|key| config.get(key).unwrap_or(&Value::Null));
        return Err(format!(
            "a DINOv2 with hidden_size {width} and num_attention_heads {heads}, expected heads of {HEAD} channels"
        ));
    }
    let act = config.get("hidden_act").map_or(Some("gelu"), Value::as_str);
    if act != Some("gelu") {
        return Err(format!("a DINOv2 with hidden_act {}, expected \"gelu\"", config["hidden_act"]));
    }
    let epsilon = config.get("layer_norm_eps").map_or(Some(1e-6), Value::as_f64);
    if epsilon != Some(1e-6) {
        return Err(format!("a DINOv2 with layer_norm_eps {}, expected 1e-6", config["layer_norm_eps"]));
    }
    Ok(())
}
