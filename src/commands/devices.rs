//! `roentgen devices`.

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use roentgen::device::{Adapter, DeviceChoice, GpuApi};
use roentgen::memory::machine_bytes;
use roentgen_kernels::{brain_instructions, float_instructions};
use serde::Serialize;

use super::print;
use crate::cli::DevicesArgs;

/// What this build can compute on.
#[derive(Serialize)]
struct Listed {
    cpu: Cpu,
    interfaces: Vec<Interface>,
    /// What `--device auto` takes.
    auto: String,
}

#[derive(Serialize)]
struct Cpu {
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    /// Instructions that 32-bit floats are computed with.
    fp32: &'static str,
    /// And what multiplies matrices of brain floats.
    bf16: &'static str,
}

#[derive(Serialize)]
struct Interface {
    name: &'static str,
    built: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapters: Option<Vec<Adapter>>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn run(args: &DevicesArgs) -> Result<ExitCode> {
    let cpu = Cpu {
        threads: rayon::current_num_threads(),
        memory_bytes: machine_bytes(),
        fp32: float_instructions(),
        bf16: brain_instructions(),
    };
    let interfaces = GpuApi::ALL.map(|api| {
        let listed = api.is_built().then(|| api.adapters());
        let (adapters, error) = match listed {
            Some(Ok(adapters)) => (Some(adapters), None),
            Some(Err(error)) => (None, Some(error.to_string())),
            None => (None, None),
        };
        Interface { name: api.name(), built: api.is_built(), adapters, error }
    });
    let (_, auto) = DeviceChoice::Auto.open()?;
    let listed = Listed { cpu, interfaces: interfaces.into(), auto: auto.to_string() };
    if args.json {
        print(serde_json::to_string_pretty(&listed)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    print(table(&listed).to_string())?;
    let (built, others): (Vec<_>, Vec<_>) = listed.interfaces.iter().partition(|interface| interface.built);
    for interface in built {
        match (&interface.error, &interface.adapters) {
            (Some(error), _) => print(error)?,
            (None, Some(adapters)) if adapters.is_empty() => print(format!("{}: no device answers", interface.name))?,
            _ => {}
        }
    }
    let others: Vec<_> = others.iter().map(|interface| interface.name).collect();
    if !others.is_empty() {
        print(format!("Not in this build: {} (`cargo build --release --features NAME`, see docs/gpu.md).", others.join(", ")))?;
    }
    print(format!("`--device auto` takes {}.", listed.auto))?;
    Ok(ExitCode::SUCCESS)
}

fn table(listed: &Listed) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["device", "what it is", "half precision"]);
    let Cpu { threads, memory_bytes, fp32, bf16 } = &listed.cpu;
    let memory = memory_bytes.map_or(String::new(), |bytes| format!(", {}", gib(bytes)));
    table.add_row(["cpu".to_owned(), format!("{threads} threads{memory}, {fp32}"), format!("bf16 by {bf16}")]);
    for interface in &listed.interfaces {
        for adapter in interface.adapters.iter().flatten() {
            let kind = if adapter.is_software { ", computed on the CPU; never taken by auto" } else { "" };
            let halves = match (adapter.f16, adapter.bf16) {
                (true, true) => "f16, bf16",
                (true, false) => "f16",
                (false, true) => "bf16",
                (false, false) => "none",
            };
            let driver = adapter.driver.as_ref().map_or(String::new(), |driver| format!("; {driver}"));
            let buffer = adapter.largest_buffer.map_or(String::new(), |bytes| format!("; tensors of up to {}", gib(bytes)));
            table.add_row([
                format!("{}:{}", interface.name, adapter.index),
                format!("{}{kind}{driver}{buffer}", adapter.name),
                halves.to_owned(),
            ]);
        }
    }
    table
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}
