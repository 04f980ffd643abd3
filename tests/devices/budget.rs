//! How many kernels a step launches, and how often the host waits for the device.
//!
//! Counted from what wgpu says that it was asked to do, in a process of its own, on Stable Diffusion 1.4's networks with few channels:
//! every block, layer and operation is there. A wait is a tensor that the host reads.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use log::{LevelFilter, Log, Metadata, Record};
use roentgen::device::DeviceChoice;
use roentgen::diffusion::pipeline::{
    Checkpoint, ImageRequest, OpenOptions, RandomSize, StableDiffusion, Start, write_random_pipeline,
};
use roentgen::diffusion::text::Encoded;
use roentgen::diffusion::unet::UNetConfig;
use roentgen::diffusion::weights::{draw, init_with, save};
use roentgen::finetune::{Denoising, Latents, Strategy, TextCondition, TrainBatch, Trainee, TraineeSettings, Tuning};
use roentgen_classifier::training::EmaConfig;
use serde::{Deserialize, Serialize};

use super::Software;

/// What the device was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Counts {
    launches: f64,
    uploads: f64,
    submissions: f64,
    waits: f64,
}

/// Counts a process's requests to wgpu.
struct Counter {
    counts: [AtomicU64; 4],
}

static COUNTER: Counter = Counter { counts: [const { AtomicU64::new(0) }; 4] };

/// How the log lines of [`Counts`]' requests begin.
const REQUESTS: [&str; 4] = ["ComputePass::dispatch", "Queue::write_buffer", "Queue::submit returned", "Buffer::map_async"];

impl Log for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = record.args().to_string();
            if let Some(i) = REQUESTS.iter().position(|start| line.starts_with(start)) {
                self.counts[i].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {}
}

/// The requests that one step more makes: those of `few + 2` steps less those of `few`, after everything was compiled.
fn each_step(device: &Device, few: usize, mut run: impl FnMut(usize)) -> Counts {
    let mut counted = |steps| {
        device.sync().unwrap();
        let before = COUNTER.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        run(steps);
        device.sync().unwrap();
        let after = COUNTER.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        [0, 1, 2, 3].map(|i| (after[i] - before[i]) as f64)
    };
    counted(few + 2);
    let (fewer, more) = (counted(few), counted(few + 2));
    let [launches, uploads, submissions, waits] = [0, 1, 2, 3].map(|i| (more[i] - fewer[i]) / 2.0);
    Counts { launches, uploads, submissions, waits }
}

/// A pipeline of Stable Diffusion 1.4's structure: the tiny one with two layers a block in the U-Net.
fn write_pipeline(folder: &Path) {
    write_random_pipeline(folder, RandomSize::Tiny, 1, FloatDType::F32, |_| ()).unwrap();
    let path = folder.join("unet/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["layers_per_block"] = 2.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let config = UNetConfig::read(&path).unwrap();
    let keys = config.keys();
    let unet = init_with(config.init(&Device::flex()), &keys, FloatDType::F32, |key, shape| Ok(draw(key, shape, 1))).unwrap();
    save(&unet, &folder.join("unet/diffusion_pytorch_model.safetensors"), &keys, FloatDType::F32).unwrap();
}

fn sampling(folder: &Path, device: &Device) -> Counts {
    let pipeline = StableDiffusion::open(folder, &OpenOptions::new(device), |_| ()).unwrap();
    let request = |seed| ImageRequest { prompt: "effusion".into(), negative_prompt: String::new(), seed };
    each_step(device, 4, |steps| {
        let settings = roentgen::diffusion::pipeline::Settings { steps, ..pipeline.settings() };
        pipeline.latents(&[request(1), request(2)], &settings, &Start::Noise, &mut |_| ControlFlow::Continue(())).unwrap();
    })
}

fn training(folder: &Path, device: &Device) -> Counts {
    let strategy = Strategy::Denoise { unet: Tuning::Full, text_encoder: Tuning::Full, text_projection: false };
    let settings = TraineeSettings { ema: Some(EmaConfig::default()), ..TraineeSettings::new(strategy) };
    let mut trainee = Trainee::new(Checkpoint::read(folder).unwrap(), &settings, device).unwrap();
    let noise = Tensor::<4>::random([2, 4, 8, 8], Distribution::Normal(0.0, 1.0), device);
    let tokens = Encoded {
        max_length: 77,
        input_ids: vec![(0..77).collect(); 2],
        attention_mask: vec![vec![true; 77]; 2],
        token_type_ids: vec![vec![0; 77]; 2],
        untruncated_length: vec![77; 2],
    };
    each_step(device, 2, |steps| {
        for _ in 0..steps {
            let batch = TrainBatch::Denoise(Denoising {
                latents: Latents::Drawn(noise.clone()),
                noise: noise.clone(),
                offset_noise: None,
                timesteps: vec![10, 500],
                text: TextCondition::Tokens(tokens.clone()),
            });
            trainee.accumulate_unread(&batch, 1.0).unwrap();
            trainee.step(1.0).unwrap();
        }
    })
}

/// Where the process that counts leaves its figures; without it nothing is counted.
const COUNTS: &str = "ROENTGEN_COUNTS";

#[test]
fn count() {
    let Some(path) = std::env::var_os(COUNTS) else { return };
    log::set_logger(&COUNTER).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let (device, _) = DeviceChoice::open("wgpu:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_pipeline(folder.path());
    let counts =
        BTreeMap::from([("sampling", sampling(folder.path(), &device)), ("training", training(folder.path(), &device))]);
    std::fs::write(path, serde_json::to_vec(&counts).unwrap()).unwrap();
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn launches_and_waits_are_within_their_budget() {
    let Some(software) = Software::find("counting") else { return };
    let folder = tempfile::tempdir().unwrap();
    for fused in [false, true] {
        let path = folder.path().join(format!("{fused}.json"));
        let output = software.tests(&["devices::budget::count", "--exact"], fused, &[(COUNTS, &path)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let counts: BTreeMap<String, Counts> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (step, counts) in &counts {
            let _ = writeln!(std::io::stderr(), "{step}, fused: {fused}: {counts:?}");
            // Losses and norms of gradients are read together; nothing is read between two sampling steps. Launches were counted one by
            // one, 2,386 and 25,323; fusion must not make more.
            let [launches, waits] = if step == "training" { [26_000.0, 1.0] } else { [2_500.0, 0.0] };
            assert!(counts.launches <= launches && counts.waits <= waits, "{step}: {counts:?}");
        }
    }
}
