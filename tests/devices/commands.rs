//! Commands on the device, as a user types them.

use std::path::Path;

use roentgen_augment::image::GrayDepth;
use roentgen_augment::supply::decode_sample;
use roentgen_classifier::training::{Metric, read_metrics};
use serde_json::Value;

use super::{Software, refuses, roentgen};
use crate::cli::{RUN, Study, succeeds};
use crate::{finetune, generate};

const TRAIN: [&str; 4] = ["train", "run.toml", "--out", "out"];

fn listed(output: &std::process::Output) -> Value {
    serde_json::from_str(&succeeds(output)).unwrap()
}

/// What `devices` says of wgpu.
fn wgpu(list: &Value) -> &Value {
    list["interfaces"].as_array().unwrap().iter().find(|interface| interface["name"] == "wgpu").unwrap()
}

#[test]
fn a_software_device_is_listed_and_never_taken_by_itself() {
    let Some(software) = Software::find("devices") else { return };
    let here = Path::new(".");
    let list = listed(&software.roentgen(here, &["devices", "--json"]));
    let [adapter] = &wgpu(&list)["adapters"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&adapter["index"], &adapter["is_software"]), (&0.into(), &true.into()), "{adapter}");
    assert!(adapter["driver"].as_str().unwrap().starts_with("Vulkan, "), "{adapter}");
    assert!(adapter["largest_buffer"].as_u64().unwrap() > 1 << 20, "{adapter}");
    assert_eq!(list["auto"], "cpu");

    let text = succeeds(&software.roentgen(here, &["devices"]));
    for part in ["wgpu:0", "never taken by auto", "`--device auto` takes cpu"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn without_a_driver_the_cpu_computes_and_a_gpu_is_refused() {
    let study = Study::new();
    let without = |args: &[&str]| study.command(args).env("VK_ICD_FILENAMES", "/nonexistent/icd.json").output().unwrap();
    let list = listed(&without(&["devices", "--json"]));
    assert_eq!(list["auto"], "cpu");
    succeeds(&without(&[&TRAIN[..], &["--device", "auto"]].concat()));
    let record = std::fs::read_to_string(study.path("out/run.json")).unwrap();
    assert!(record.contains("cpu"), "{record}");
    if cfg!(feature = "wgpu") {
        let said = ["wgpu", "vulkaninfo", "--device cpu"];
        let before = std::fs::read_dir(study.path("")).unwrap().count();
        refuses(&without(&["train", "run.toml", "--out", "other", "--device", "wgpu"]), &said);
        assert_eq!(std::fs::read_dir(study.path("")).unwrap().count(), before, "nothing was begun");
    }
}

#[test]
fn numbers_that_are_too_high_are_refused() {
    let Some(software) = Software::find("device numbers") else { return };
    let study = Study::new();
    let output = software.with(&mut study.command(&[&TRAIN[..], &["--device", "wgpu:7"]].concat()));
    refuses(&output, &["there is no wgpu:7", "one device, wgpu:0", "roentgen devices"]);
    assert!(!study.path("out").exists());
}

#[test]
fn half_precision_that_the_device_lacks_is_refused_before_any_work() {
    let Some(software) = Software::find("half precision") else { return };
    let list = listed(&software.roentgen(Path::new("."), &["devices", "--json"]));
    let adapter = &wgpu(&list)["adapters"][0];
    let lacking: Vec<&str> = ["f16", "bf16"].into_iter().filter(|dtype| adapter[*dtype] == false).collect();
    assert!(lacking.contains(&"bf16"), "WebGPU's language has no brain floats: {adapter}");

    let bench = generate::Bench::new();
    let base = ["generate", "--pipeline", "tiny", "--prompt", "x", "--out", "made", "--device", "wgpu:0", "--dtype"];
    for dtype in &lacking {
        let output = software.roentgen(bench.folder.path(), &[&base[..], &[dtype]].concat());
        refuses(&output, &["--dtype", &format!("does not compute in {dtype}"), "roentgen devices"]);
    }
    let study = Study::new();
    let evaluate =
        ["evaluate", "--real", "table.csv", "--synthetic", "table.csv", "--out", "eval", "--network", "inception:x.pth"];
    let output = software.with(&mut study.command(&[&evaluate[..], &["--device", "wgpu:0", "--dtype", "bf16"]].concat()));
    refuses(&output, &["--dtype", "does not compute in bf16"]);
    study.write_run(&RUN.replace("warmup_steps = 1", "warmup_steps = 1\nprecision = \"bf16\""));
    for command in ["train", "compare", "fill"] {
        let output = software.with(&mut study.command(&[command, "run.toml", "--out", "out", "--device", "wgpu:0"]));
        refuses(&output, &["training.precision", "no brain floats"]);
    }
    study.write_run(&format!("{RUN}\n[evaluation]\ndtype = \"bf16\"\n"));
    let output = software.with(&mut study.command(&["compare", "run.toml", "--out", "out", "--device", "wgpu:0"]));
    refuses(&output, &["evaluation.dtype", "does not compute in bf16"]);
    let table = "kind = \"diffusion\"\n[generator.diffusion]\npipeline = \"sd\"\ndevice = \"wgpu:0\"\ndtype = \"bf16\"";
    study.write_run(&RUN.replace("kind = \"shifted-phantom\"", table));
    let output = software.with(&mut study.command(&["compare", "run.toml", "--out", "out", "--device", "cpu"]));
    refuses(&output, &["generator.diffusion.dtype", "does not compute in bf16"]);
    assert!(!study.path("out").exists(), "nothing was begun");

    let bench = finetune::Bench::new();
    bench.edit("run.toml", "seed = 3\n", "seed = 3\nprecision = \"bf16\"\n");
    let output = software.with(&mut bench.command_on("wgpu:0", "run", &[]));
    refuses(&output, &["precision", "no brain floats"]);
    assert!(!bench.path("run").exists(), "nothing was begun");
}

/// The scores of a table of predictions.
fn scores(path: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(path).unwrap();
    let cells = text.lines().skip(1).flat_map(|line| line.split(',')).filter_map(|cell| cell.parse::<f64>().ok());
    cells.collect()
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn a_classifier_trains_and_predicts_as_on_the_cpu() {
    let Some(software) = Software::find("training a classifier") else { return };
    let study = Study::new();
    for (out, device) in [("out", "cpu"), ("gpu", "wgpu:0")] {
        succeeds(&software.with(&mut study.command(&["train", "run.toml", "--out", out, "--device", device])));
        let weights = format!("{out}/model.safetensors");
        let csv = format!("{out}.csv");
        let predict = ["predict", "run.toml", "--weights", &weights, "--out", &csv, "--device", device];
        succeeds(&software.with(&mut study.command(&predict)));
    }
    let [cpu, gpu] = ["out.csv", "gpu.csv"].map(|name| scores(&study.path(name)));
    assert_eq!(cpu.len(), gpu.len());
    let largest = cpu.iter().zip(&gpu).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    // Four steps of AdamW: sums in another order, and steps of nearly one size whatever the size of the gradient.
    assert!(largest > 0.0 && largest < 1e-2, "{largest}");
    // A folder of one kind of device is none of another.
    refuses(&study.roentgen(&["train", "run.toml", "--out", "gpu", "--device", "cpu"]), &["wgpu"]);
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn images_are_those_of_the_cpu() {
    let Some(software) = Software::find("generating") else { return };
    let bench = generate::Bench::new();
    let images = ["cpu", "wgpu:0"].map(|device| {
        let out = device.replace(':', "-");
        let args =
            ["generate", "--pipeline", "tiny", "--out", &out, "--prompt", "Big right-sided pleural effusion", "--count", "2"];
        let more = ["--seed", "40", "--steps", "3", "--bits", "16", "--device", device, "--json"];
        let summary = listed(&software.roentgen(bench.folder.path(), &[&args[..], &more[..]].concat()));
        assert_eq!(summary["device"], device);
        let entries = std::fs::read_dir(bench.path(&out).join("images")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| decode_sample(&std::fs::read(file).unwrap()).unwrap().0).collect::<Vec<_>>()
    });
    let [cpu, gpu] = images;
    assert_eq!((cpu.len(), gpu.len()), (2, 2));
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        let (GrayDepth::U16(cpu), GrayDepth::U16(gpu)) = (cpu.depth(), gpu.depth()) else { panic!("of 16 bits") };
        let largest = cpu.iter().zip(gpu.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        // A thousandth of the range, where 8 bits would show nothing.
        assert!(largest <= 64, "{largest} of 65535");
    }
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn a_generator_learns_as_on_the_cpu() {
    let Some(software) = Software::find("fine-tuning") else { return };
    let bench = finetune::Bench::new();
    let losses = ["cpu", "wgpu:0"].map(|device| {
        let out = device.replace(':', "-");
        succeeds(&software.with(&mut bench.command_on(device, &out, &[])));
        let metrics = read_metrics(&bench.path(&out).join("metrics.jsonl")).unwrap();
        let loss = |metric| if let Metric::Train(metric) = metric { Some(metric.loss) } else { None };
        metrics.into_iter().filter_map(loss).collect::<Vec<_>>()
    });
    let [cpu, gpu] = losses;
    assert_eq!((cpu.len(), gpu.len()), (8, 8));
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        assert!((cpu - gpu).abs() < 1e-3 * cpu, "{cpu} on the CPU, {gpu} on the device");
    }
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn the_quick_demo_runs_to_its_end() {
    let Some(software) = Software::find("demo") else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = software.with(&mut roentgen(folder.path(), &["demo", "--quick", "--json", "--device", "wgpu:0"]));
    let report = listed(&output);
    assert_eq!(report["adherence"]["images"], 32);
    let record = std::fs::read_to_string(folder.path().join("runs/demo/run.json")).unwrap();
    assert!(record.contains("wgpu"), "{record}");
}
