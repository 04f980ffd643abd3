//! The device a run trains on, chosen at run time.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

/// `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU if this build has CUDA and one answers, else the CPU.
    #[default]
    Auto,
    /// The CPU (burn-flex).
    Cpu,
    /// The GPU of that number (burn-cuda).
    Cuda(usize),
}

/// Why a device can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Not a device name.
    #[error("unknown device `{0}`, expected {names}", names = DeviceChoice::NAMES)]
    Unknown(String),
    /// The binary was built without CUDA.
    #[error("this build has no CUDA; build with `--features cuda`, or use --device cpu")]
    NoCuda,
    /// The driver or the card does not answer.
    #[error("CUDA device {index} can't be opened: {message}; check `nvidia-smi`, or use --device cpu")]
    Unavailable {
        /// Number of the card.
        index: usize,
        /// The driver's message.
        message: String,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| DeviceError::Unknown(other.to_owned())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// The names that [`parse`](str::parse) knows, for help and messages.
    pub const NAMES: &str = "auto, cpu, cuda or cuda:N";

    /// What a flag that takes a device says of itself.
    pub const HELP: &str = "auto, cpu, cuda or cuda:N; auto takes a GPU when one is there";

    /// Whether the host computes: no GPU is asked for, nor looked for in this build.
    #[must_use]
    pub fn is_host(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda(_) => false,
            Self::Auto => !cfg!(feature = "cuda"),
        }
    }

    /// Opens the device; the second value is its name for `--device`.
    ///
    /// # Errors
    /// [`DeviceError`] if a GPU was requested by name and is not available.
    pub fn open(self) -> Result<(Device, Self), DeviceError> {
        match self {
            Self::Cpu => Ok((Device::flex(), Self::Cpu)),
            Self::Cuda(index) => Ok((open_cuda(index)?, self)),
            Self::Auto => match open_cuda(0) {
                Ok(device) => Ok((device, Self::Cuda(0))),
                Err(_) => Ok((Device::flex(), Self::Cpu)),
            },
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(_: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NoCuda)
}

/// Opening a device without a driver panics inside cubecl: it is tried in a separate thread, silently.
#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Result<Device, DeviceError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::thread::spawn(move || {
        let device = Device::cuda(index);
        let _ = burn::tensor::Tensor::<1>::zeros([1], &device).into_data();
        device
    })
    .join();
    std::panic::set_hook(hook);
    opened.map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let message = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        DeviceError::Unavailable { index, message: message.unwrap_or_else(|| "no CUDA driver answers".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        for bad in ["gpu", "cuda:", "cuda:x", "CPU"] {
            assert!(bad.parse::<DeviceChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_always_opens() {
        DeviceChoice::Auto.open().unwrap();
    }
}
