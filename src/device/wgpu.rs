//! The devices that wgpu reaches, found without opening one: a look at what is there neither takes memory of a card nor starts a software
//! device.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use burn::backend::wgpu::wgpu::{Adapter, AdapterInfo, Backends, DeviceType, Instance, InstanceDescriptor};
use burn::backend::{WgpuBackend, WgpuDevice, WgpuDeviceKind};
use burn::tensor::Device;

use super::adapters::Candidate;

/// The interfaces of systems, each with what burn calls it. OpenGL is left out: it is there wherever a screen is, computes with less than
/// the others, and its library writes to standard error where no screen is.
const INTERFACES: [(Backends, WgpuBackend); 3] =
    [(Backends::METAL, WgpuBackend::Metal), (Backends::VULKAN, WgpuBackend::Vulkan), (Backends::DX12, WgpuBackend::Dx12)];

/// The devices of the first interface that has a card; without any card, those of the first that has a software device.
pub(super) fn candidates() -> Vec<Candidate> {
    let mut software = Vec::new();
    for (backends, interface) in INTERFACES {
        let found = behind(backends, interface);
        if found.iter().any(|candidate| !candidate.is_software) {
            return found;
        }
        if software.is_empty() {
            software = found;
        }
    }
    software
}

fn behind(backends: Backends, interface: WgpuBackend) -> Vec<Candidate> {
    // Of each kind; burn numbers the devices of a kind as they are found.
    let mut numbers = [0; 3];
    let named = |adapter: Adapter| {
        let info = adapter.get_info();
        let mut next = |kind: usize| {
            numbers[kind] += 1;
            numbers[kind] - 1
        };
        let kind = match info.device_type {
            DeviceType::DiscreteGpu => WgpuDeviceKind::DiscreteGpu(next(0)),
            DeviceType::IntegratedGpu => WgpuDeviceKind::IntegratedGpu(next(1)),
            DeviceType::VirtualGpu => WgpuDeviceKind::VirtualGpu(next(2)),
            DeviceType::Cpu => WgpuDeviceKind::Cpu,
            // burn has no name for it.
            DeviceType::Other => return None,
        };
        Some(Candidate {
            device: Device::new(WgpuDevice::new(kind).on(interface)),
            is_software: info.device_type == DeviceType::Cpu,
            driver: Some(driver(&info)),
            largest_buffer: Some(adapter.limits().max_buffer_size),
            name: info.name,
        })
    };
    adapters(backends).into_iter().filter_map(named).collect()
}

fn adapters(backends: Backends) -> Vec<Adapter> {
    let instance = Instance::new(InstanceDescriptor { backends, ..InstanceDescriptor::new_without_display_handle() });
    // Outside of browsers the list is there at once.
    match pin!(instance.enumerate_adapters(backends)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(adapters) => adapters,
        Poll::Pending => Vec::new(),
    }
}

/// The interface, and the driver's name and version.
fn driver(info: &AdapterInfo) -> String {
    let parts = [format!("{:?}", info.backend), info.driver.clone(), info.driver_info.clone()];
    let words: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    words.join(", ")
}
