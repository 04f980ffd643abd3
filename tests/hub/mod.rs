//! Models by their names on the hub: found in the cache, downloaded from a hub on this machine, and every way in which that fails.

mod cached;
#[cfg(feature = "hub")]
mod commands;
#[cfg(feature = "hub")]
mod downloads;
#[cfg(feature = "hub")]
mod named;
#[cfg(feature = "hub")]
mod server;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// A tiny pipeline with random weights, made once.
fn tiny() -> &'static Path {
    static TINY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = TINY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
        let command = command.args(["dev", "random-pipeline", "--out", "tiny", "--seed", "3"]).current_dir(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder
    });
    static PATH: OnceLock<std::path::PathBuf> = OnceLock::new();
    PATH.get_or_init(|| folder.path().join("tiny"))
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
