//! The device a run trains on, chosen at run time.

mod adapters;
#[cfg(feature = "wgpu")]
mod wgpu;

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

pub use adapters::{Adapter, GpuApi};

/// `auto`, `cpu`, or a GPU by its interface and number, such as `cuda:0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU that this build has an interface to, in the order of [`GpuApi::ALL`]; the CPU where there is none. A software device
    /// is never taken.
    #[default]
    Auto,
    /// The CPU (burn-flex).
    Cpu,
    /// The GPU of that number.
    Gpu(GpuApi, usize),
}

/// Why a device can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not a device name.
    #[error("unknown device `{0}`, expected {names}", names = DeviceChoice::NAMES)]
    Unknown(String),
    /// The binary was built without the interface.
    #[error("this build has no {api}; build with `--features {feature}`, or use --device cpu", feature = .api.name())]
    NotBuilt {
        /// The interface that was asked for.
        api: GpuApi,
    },
    /// No driver answers.
    #[error("no device answers through {api}: {message}; {remedy}, or use --device cpu", remedy = .api.remedy())]
    NoDriver {
        /// The interface that was asked for.
        api: GpuApi,
        /// The driver's message.
        message: String,
    },
    /// There are fewer devices.
    #[error("there is no {device}: {found}; `roentgen devices` lists them", device = DeviceChoice::Gpu(*.api, *.index))]
    NoSuchNumber {
        /// The interface that was asked for.
        api: GpuApi,
        /// Number of the device.
        index: usize,
        /// How many there are, in words.
        found: String,
    },
    /// The device is there and doesn't compute.
    #[error("{device} can't be opened: {message}; {remedy}, or use --device cpu", device = DeviceChoice::Gpu(*.api, *.index), remedy = .api.remedy())]
    Unavailable {
        /// The interface that was asked for.
        api: GpuApi,
        /// Number of the device.
        index: usize,
        /// The driver's message.
        message: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index)),
            None => (text, None),
        };
        match (name, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            _ => {
                let api = GpuApi::ALL.into_iter().find(|api| api.name() == name).ok_or_else(unknown)?;
                let index = index.map_or(Ok(0), |index| index.parse().map_err(|_| unknown()))?;
                Ok(Self::Gpu(api, index))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(api, index) => write!(f, "{}:{index}", api.name()),
        }
    }
}

impl DeviceChoice {
    /// The names that [`parse`](str::parse) knows, for help and messages.
    pub const NAMES: &str = "auto, cpu, or cuda, rocm, metal, vulkan or wgpu with or without a number, such as cuda:1";

    /// What a flag that takes a device says of itself.
    pub const HELP: &str = "auto, cpu, or cuda, rocm, metal, vulkan or wgpu with or without a number, such as cuda:1; auto takes a GPU when one is there, `roentgen devices` lists them";

    /// Whether the host computes: no GPU is asked for, nor looked for in this build. What [`open`](Self::open) makes of `auto` knows more.
    #[must_use]
    pub fn is_host(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Gpu(..) => false,
            Self::Auto => !GpuApi::ALL.into_iter().any(GpuApi::is_built),
        }
    }

    /// Opens the device; the second value is its name for `--device`.
    ///
    /// # Errors
    /// [`DeviceError`] if a GPU was requested by name and is not available.
    pub fn open(self) -> Result<(Device, Self), DeviceError> {
        match self {
            Self::Cpu => Ok((Device::flex(), Self::Cpu)),
            Self::Gpu(api, index) => Ok((api.open(index)?, self)),
            Self::Auto => Ok(GpuApi::ALL.into_iter().find_map(first_card).unwrap_or_else(|| (Device::flex(), Self::Cpu))),
        }
    }
}

/// The first device behind an interface that is a card and computes.
fn first_card(api: GpuApi) -> Option<(Device, DeviceChoice)> {
    api.cards().into_iter().find_map(|index| Some((api.open(index).ok()?, DeviceChoice::Gpu(api, index))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "rocm:0", "metal:0", "vulkan:1", "wgpu:2"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Gpu(GpuApi::Cuda, 0));
        assert_eq!("wgpu".parse::<DeviceChoice>().unwrap(), DeviceChoice::Gpu(GpuApi::Wgpu, 0));
        for bad in ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "cpu:0", "auto:0", "wgpu:0:1", "", ":0"] {
            let error = bad.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains(DeviceChoice::NAMES), "{bad}: {error}");
        }
    }

    #[test]
    fn every_interface_is_among_the_names() {
        for api in GpuApi::ALL {
            assert!(DeviceChoice::NAMES.contains(api.name()), "{api}");
        }
    }

    #[test]
    fn auto_always_opens() {
        DeviceChoice::Auto.open().unwrap();
    }

    #[test]
    fn what_was_not_built_is_refused_with_its_feature() {
        for api in GpuApi::ALL.into_iter().filter(|api| !api.is_built()) {
            let error = DeviceChoice::Gpu(api, 0).open().unwrap_err().to_string();
            assert!(error.contains(&format!("--features {}", api.name())) && error.contains("--device cpu"), "{error}");
        }
    }
}
