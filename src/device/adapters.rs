//! What is behind each interface to GPUs.

use std::fmt;
use std::path::Path;

use burn::tensor::{Device, FloatDType, Tensor};
use serde::Serialize;

use super::DeviceError;

/// An interface to GPUs; each is a feature of the build of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GpuApi {
    /// NVIDIA's (burn-cuda).
    Cuda,
    /// AMD's (burn-rocm).
    Rocm,
    /// Apple's, in its own shading language.
    Metal,
    /// Vulkan, with SPIR-V.
    Vulkan,
    /// Vulkan, Metal or DirectX 12, whichever the system has, in WebGPU's shading language.
    Wgpu,
}

/// A device behind an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adapter {
    /// Number for `--device`.
    pub index: usize,
    /// As it names itself.
    pub name: String,
    /// Whether it is no card: a program computes on the CPU in its place. `--device auto` never takes it.
    pub is_software: bool,
    /// The graphics interface that it is reached by, and its driver with the driver's version; told by wgpu alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The largest buffer that it gives, and so the largest tensor, in bytes; told by wgpu alone. burn tells of no device how much memory
    /// it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_buffer: Option<u64>,
    /// Whether it computes in half precision.
    pub f16: bool,
    /// Whether it computes in brain floats.
    pub bf16: bool,
}

impl fmt::Display for GpuApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cuda => "CUDA",
            Self::Rocm => "ROCm",
            Self::Metal => "Metal",
            Self::Vulkan => "Vulkan",
            Self::Wgpu => "wgpu",
        })
    }
}

impl GpuApi {
    /// All, in the order in which `--device auto` tries them.
    pub const ALL: [Self; 5] = [Self::Cuda, Self::Rocm, Self::Metal, Self::Vulkan, Self::Wgpu];

    /// Its name for `--device`, and that of the feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
        }
    }

    /// Whether this build has it.
    #[must_use]
    pub const fn is_built(self) -> bool {
        match self {
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Rocm => cfg!(feature = "rocm"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    /// What to look at if no device answers.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Cuda => "check `nvidia-smi`",
            Self::Rocm => "check `rocminfo`",
            Self::Metal => "Metal needs an Apple GPU",
            Self::Vulkan | Self::Wgpu => "check that a Vulkan driver is installed (`vulkaninfo --summary`)",
        }
    }

    /// The devices behind it.
    ///
    /// # Errors
    /// [`DeviceError::NotBuilt`], or [`DeviceError::NoDriver`] if listing them fails.
    pub fn adapters(self) -> Result<Vec<Adapter>, DeviceError> {
        let candidates = self.candidates()?;
        let listed = quietly(move || candidates.into_iter().enumerate().map(adapter).collect());
        listed.map_err(|message| DeviceError::NoDriver { api: self, message })
    }

    /// The numbers of the devices that are cards.
    pub(super) fn cards(self) -> Vec<usize> {
        if matches!(self, Self::Vulkan | Self::Wgpu) && cfg!(target_os = "linux") && !knows_a_card(Path::new("/dev")) {
            return Vec::new();
        }
        let candidates = self.candidates().unwrap_or_default();
        (0..).zip(candidates).filter(|(_, candidate)| !candidate.is_software).map(|(index, _)| index).collect()
    }

    /// Opens the device of that number, and computes with it once.
    ///
    /// # Errors
    /// [`DeviceError`] says why it can't be used.
    pub(super) fn open(self, index: usize) -> Result<Device, DeviceError> {
        let candidates = self.candidates()?;
        let found = match candidates.len() {
            0 => return Err(DeviceError::NoDriver { api: self, message: "no driver was found".to_owned() }),
            1 => format!("{self} has one device, {}:0", self.name()),
            count => format!("{self} has {count} devices, {name}:0 to {name}:{}", count - 1, name = self.name()),
        };
        let chosen = candidates.into_iter().nth(index).ok_or(DeviceError::NoSuchNumber { api: self, index, found })?;
        let opened = quietly(move || {
            let two = Tensor::<1>::ones([1], &chosen.device) + 1.0;
            (two.into_scalar::<f32>(), chosen.device)
        });
        match opened {
            Ok((2.0, device)) => Ok(device),
            Ok((other, _)) => Err(self.unavailable(index, format!("it computes 1 + 1 = {other}"))),
            Err(message) => Err(self.unavailable(index, message)),
        }
    }

    fn unavailable(self, index: usize, message: String) -> DeviceError {
        DeviceError::Unavailable { api: self, index, message }
    }

    fn candidates(self) -> Result<Vec<Candidate>, DeviceError> {
        quietly(move || candidates(self))
            .map_err(|message| DeviceError::NoDriver { api: self, message })?
            .ok_or(DeviceError::NotBuilt { api: self })
    }
}

/// A device that was found and may not be open yet.
pub(super) struct Candidate {
    pub(super) device: Device,
    pub(super) name: String,
    pub(super) is_software: bool,
    pub(super) driver: Option<String>,
    pub(super) largest_buffer: Option<u64>,
}

/// The devices behind an interface, `None` if this build doesn't have it.
fn candidates(api: GpuApi) -> Option<Vec<Candidate>> {
    #[cfg(any(feature = "cuda", feature = "rocm", feature = "metal", feature = "vulkan"))]
    use burn::tensor::DeviceType;
    match api {
        #[cfg(feature = "cuda")]
        GpuApi::Cuda => Some(opened(DeviceType::Cuda)),
        #[cfg(feature = "rocm")]
        GpuApi::Rocm => Some(opened(DeviceType::Rocm)),
        #[cfg(feature = "metal")]
        GpuApi::Metal => Some(opened(DeviceType::Metal)),
        #[cfg(feature = "vulkan")]
        GpuApi::Vulkan => Some(opened(DeviceType::Vulkan)),
        #[cfg(feature = "wgpu")]
        GpuApi::Wgpu => Some(super::wgpu::candidates()),
        #[allow(unreachable_patterns, reason = "with every feature there is nothing left")]
        _ => None,
    }
}

/// The devices of a kind that only burn can list, which opens them.
#[cfg(any(feature = "cuda", feature = "rocm", feature = "metal", feature = "vulkan"))]
fn opened(kind: burn::tensor::DeviceType) -> Vec<Candidate> {
    let candidate = |device: Device| {
        let (name, is_software) = match device.identity() {
            Some(identity) => (identity.name, identity.physical.is_none()),
            None => (format!("{device:?}"), false),
        };
        Candidate { device, name, is_software, driver: None, largest_buffer: None }
    };
    Device::enumerate(kind).into_iter().map(candidate).collect()
}

/// Opens the device to ask for its types.
fn adapter((index, candidate): (usize, Candidate)) -> Adapter {
    let Candidate { device, name, is_software, driver, largest_buffer } = candidate;
    let supports = |dtype: FloatDType| device.supports_dtype(dtype);
    let (f16, bf16) = (supports(FloatDType::F16), supports(FloatDType::BF16));
    Adapter { index, name, is_software, driver, largest_buffer, f16, bf16 }
}

/// Calls `f` in a thread of its own, as drivers that are missing panic inside cubecl; the message of a panic is the error.
fn quietly<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::thread::spawn(f).join();
    std::panic::set_hook(hook);
    result.map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        let message = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        message.unwrap_or_else(|| "no driver answers".to_owned())
    })
}

/// Whether Linux knows of a card, by its files of devices. Without one `auto` need not ask Vulkan, which takes time to look for drivers, and of
/// which a layer of Mesa's writes to standard error where no screen is (`XDG_RUNTIME_DIR is invalid`).
fn knows_a_card(devices: &Path) -> bool {
    /// NVIDIA's, also of small boards; Windows' in its subsystem for Linux; Mali's and Adreno's.
    const FILES: [&str; 6] = ["nvidiactl", "nvhost-gpu", "nvgpu", "dxg", "mali0", "kgsl-3d0"];
    // All others.
    let renders = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("renderD"))
    };
    FILES.iter().any(|file| devices.join(file).exists())
        || std::fs::read_dir(devices.join("dri")).is_ok_and(|mut entries| entries.any(renders))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_known_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!knows_a_card(folder.path()));
        std::fs::create_dir(folder.path().join("dri")).unwrap();
        // A display without a renderer.
        std::fs::write(folder.path().join("dri/card0"), "").unwrap();
        assert!(!knows_a_card(folder.path()));
        std::fs::write(folder.path().join("dri/renderD128"), "").unwrap();
        assert!(knows_a_card(folder.path()));
        std::fs::remove_dir_all(folder.path().join("dri")).unwrap();
        std::fs::write(folder.path().join("nvidiactl"), "").unwrap();
        assert!(knows_a_card(folder.path()));
    }
}
