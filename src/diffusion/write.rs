//! Writing the small files of a checkpoint's folder, completely or not at all.

use std::io::Write;
use std::path::Path;

use roentgen_augment::atomic::write_atomic;
use serde_json::Value;

use super::DiffusionError;

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), DiffusionError> {
    let path = path.to_owned();
    write_atomic(&path, |out| out.write_all(bytes)).map_err(|source| DiffusionError::Io { action: "write", path, source })
}

pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), DiffusionError> {
    write(path, format!("{value:#}\n").as_bytes())
}
