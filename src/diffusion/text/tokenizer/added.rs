//! New tokens in the files of a tokenizer's folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::diffusion::DiffusionError;

/// Lists `tokens` with their ids in the files of a tokenizer (path in `folder` and content), where transformers and
/// [`Tokenizer::open`](super::Tokenizer::open) look for them: `added_tokens_decoder` of the configuration, or else `added_tokens.json`, and
/// `tokenizer.json`. Its other files are left as they are.
///
/// # Errors
/// [`DiffusionError::NotJson`] for a file that is no JSON object.
pub(in crate::diffusion) fn list_tokens(
    files: &mut Vec<(PathBuf, Vec<u8>)>,
    folder: &Path,
    tokens: &[(String, u32)],
) -> Result<(), DiffusionError> {
    let entry = |token: &str| json!({ "content": token, "lstrip": false, "normalized": true, "rstrip": false, "single_word": false, "special": false });
    let mut is_listed = false;
    edit(files, &folder.join("tokenizer_config.json"), |config| {
        if let Some(Value::Object(decoder)) = config.get_mut("added_tokens_decoder") {
            decoder.extend(tokens.iter().map(|(token, id)| (id.to_string(), entry(token))));
            is_listed = true;
        }
    })?;
    if !is_listed {
        let path = folder.join("added_tokens.json");
        if !files.iter().any(|(file, _)| *file == path) {
            files.push((path.clone(), b"{}".to_vec()));
        }
        edit(files, &path, |ids| ids.extend(tokens.iter().map(|(token, id)| (token.clone(), json!(id)))))?;
    }
    edit(files, &folder.join("tokenizer.json"), |saved| {
        let added = saved.entry("added_tokens").or_insert_with(|| json!([]));
        if let Value::Array(added) = added {
            added.extend(tokens.iter().map(|(token, id)| {
                let mut entry = entry(token);
                entry["id"] = json!(id);
                entry
            }));
        }
    })
}

/// Changes a JSON file among `files`, if it is there.
pub(in crate::diffusion) fn edit(
    files: &mut [(PathBuf, Vec<u8>)],
    path: &Path,
    change: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), DiffusionError> {
    let Some((_, text)) = files.iter_mut().find(|(file, _)| file == path) else { return Ok(()) };
    let mut value: Map<String, Value> =
        serde_json::from_slice(text).map_err(|source| DiffusionError::NotJson { path: path.to_owned(), source })?;
    change(&mut value);
    *text = serde_json::to_vec_pretty(&value).expect("JSON values can be written");
    text.push(b'\n');
    Ok(())
}
