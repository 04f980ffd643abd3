//! Everything that computes, on a software device: a Vulkan driver that computes on the CPU (Mesa's lavapipe), reached through the
//! feature `wgpu`. The kernels are burn's, compiled for a GPU: the same code as on a card, and no measure of its speed.
//!
//! Without the driver these tests say that they did not run; with `ROENTGEN_SOFTWARE_DEVICE=required` they fail.
//!
//! | module | what it holds |
//! |---|---|
//! | `budget` | how many kernels a step launches, and how often the host waits |
//! | `commands` | commands as a user types them, on the device, and every device that can't be used |
//! | `numbers` | every case of the parity tree, with kernels fused and one by one |

mod budget;
mod commands;
mod numbers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::parity::device::DEVICE;

/// A driver that computes on the CPU.
#[derive(Clone, Debug)]
pub struct Software {
    /// Its manifest, as Vulkan's loader reads it.
    manifest: PathBuf,
}

impl Software {
    /// The driver; `None` where there is none, which is said, or where it isn't the turn of these tests: inside a process of their own
    /// making.
    pub fn find(test: &str) -> Option<Self> {
        if std::env::var_os(DEVICE).is_some() {
            return None;
        }
        let found = cfg!(feature = "wgpu").then(manifest).flatten();
        if found.is_none() {
            let why = format!(
                "not run: {test}: there is no software Vulkan driver (Debian's mesa-vulkan-drivers), or no feature `wgpu`"
            );
            let required = std::env::var("ROENTGEN_SOFTWARE_DEVICE").is_ok_and(|value| value == "required");
            assert!(!required, "{why}");
            let _ = writeln!(std::io::stderr(), "{why}");
        }
        found.map(|manifest| Self { manifest })
    }

    /// `command` with this driver and no other.
    pub fn with(&self, command: &mut Command) -> Output {
        command.env("VK_ICD_FILENAMES", &self.manifest).output().unwrap()
    }

    /// A command of the program in `folder`.
    pub fn roentgen(&self, folder: &Path, args: &[&str]) -> Output {
        self.with(&mut roentgen(folder, args))
    }

    /// Tests of this binary in a process of their own, which computes on the device; `fused` tells whether kernels are.
    pub fn tests(&self, args: &[&str], fused: bool, settings: &[(&str, &Path)]) -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(args).args(["--nocapture"]).env(DEVICE, "wgpu:0").envs(settings.iter().copied());
        command.env_remove("ROENTGEN_PARITY_DIR").env_remove("ROENTGEN_PARITY_OUT").env("RUST_BACKTRACE", "0");
        if !fused {
            // No stream of operations is looked at for what could be fused.
            command.env("BURN_FUSION_MAX_EXPLORATIONS", "0");
        }
        self.with(&mut command)
    }
}

fn manifest() -> Option<PathBuf> {
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let files = folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut found = files.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("lvp_icd") && name.ends_with(".json") && name.contains(std::env::consts::ARCH)
    });
    found.next()
}

fn roentgen(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
    command.args(args).current_dir(folder).env("RUST_BACKTRACE", "0").env("ROENTGEN_PROGRESS_SECONDS", "3600");
    command
}

/// Expects an explained failure; every part of `said` is in the message, and nothing panicked.
fn refuses(output: &Output, said: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it succeeded: {message}");
    assert!(message.contains("error: ") && !message.contains("panicked"), "{message}");
    for part in said {
        assert!(message.contains(part), "{message}\nexpected {part}");
    }
}
