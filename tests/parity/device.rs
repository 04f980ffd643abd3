//! The one place that says on which device cases are computed.

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use burn::tensor::{Device, FloatDType};
use roentgen::device::DeviceChoice;

use super::walk::Walked;

/// Names the device, as `--device` does; the CPU by default.
pub const DEVICE: &str = "ROENTGEN_PARITY_DEVICE";

/// A folder in which each topic leaves its line of the table of errors, as `TOPIC.json`.
pub const TABLE: &str = "ROENTGEN_PARITY_TABLE";

/// How many times wider tolerances are on other devices than the CPU.
///
/// Tolerances are 16 times the distance of the reference in 32-bit floats from the same in 64. On a GPU sums are cut into pieces
/// that depend on the device, products and sums are contracted into one rounding or not, and WebGPU lets exponentials, roots and
/// quotients be a few units in the last place off, where the CPU's are at most one.
const WIDER: f64 = 8.0;

/// Topics that no device takes part in: ids of tokens, figures in 64 bits, pixels of files.
const ON_THE_HOST: [&str; 3] = ["01_tokenizers", "09_metrics", "10_preprocess"];

fn opened() -> &'static (Device, DeviceChoice) {
    static OPENED: OnceLock<(Device, DeviceChoice)> = OnceLock::new();
    OPENED.get_or_init(|| match std::env::var(DEVICE) {
        Ok(name) => {
            name.parse::<DeviceChoice>().and_then(DeviceChoice::open).unwrap_or_else(|error| panic!("{DEVICE}: {error}"))
        }
        Err(_) => DeviceChoice::Cpu.open().expect("the CPU is always there"),
    })
}

/// The device that cases are computed on, without autodiff.
pub fn chosen_device() -> Device {
    opened().0.clone()
}

/// Its name.
pub fn name() -> String {
    opened().1.to_string()
}

/// The largest error over tolerance that passes.
pub fn allowed() -> f64 {
    if opened().1 == DeviceChoice::Cpu { 1.0 } else { WIDER }
}

/// Whether a topic is computed there: what is computed on the host is the same whatever the device.
pub fn computes(topic: &str) -> bool {
    opened().1 == DeviceChoice::Cpu || !ON_THE_HOST.contains(&topic)
}

/// Whether the device has brain floats.
pub fn has_brain_floats() -> bool {
    opened().0.supports_dtype(FloatDType::BF16)
}

/// A topic's line in the table of errors.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Line {
    pub topic: String,
    pub device: String,
    pub passed: usize,
    pub failed: usize,
    /// The largest error over the CPU's tolerance, and its case.
    pub worst: f64,
    pub case: String,
}

impl Line {
    pub fn of(topic: &str, walked: &Walked) -> Self {
        let worst = walked.passed.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let (case, worst) = worst.cloned().unwrap_or_default();
        Self { topic: topic.into(), device: name(), passed: walked.passed.len(), failed: walked.failed.len(), worst, case }
    }

    /// Leaves it where the environment asks for it.
    pub fn write(&self) {
        if let Some(folder) = std::env::var_os(TABLE).map(PathBuf::from) {
            let text = serde_json::to_string(self).unwrap();
            std::fs::write(folder.join(format!("{}.json", self.topic)), text).unwrap();
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, device, passed, failed, worst, case } = self;
        write!(f, "{topic:<18} {device:<8} {passed:>3} passed, {failed} failed, worst error / tolerance {worst:.3} ({case})")
    }
}
