//! `finetune` as a user types it, on a tiny pipeline with random weights and phantom images.

mod overfit;
mod recovery;
mod refusals;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use roentgen_augment::image::encode_png;
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_classifier::training::{Metric, read_metrics};

/// Images in the table: the first in training, then validation, then test.
const PHANTOMS: [usize; 3] = [14, 4, 4];

const RUN: &str = r#"
seed = 3
batch_size = 4
accumulation = 2

[data]
format = "table"
labels = "table.csv"

[preprocess]
size = 32

[prompts.cleaning]
min_tokens = 1

[model]
base = "sd"

[optimizer]
learning_rate = 1e-3

[schedule]
steps = 8
warmup_steps = 2
shape = "cosine"

[ema]
decay = 0.9

[validation]
every = 3
images = 4
bins = 2

[samples]
every = 0

[checkpoints]
every = 1
keep = 100
"#;

/// A folder with a tiny pipeline in `sd`, a data set in `table.csv`, and a run file.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
        let made = MADE.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            write_data(folder.path());
            let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
            let command = command.args(["dev", "random-pipeline", "--out", "sd", "--seed", "3"]).current_dir(folder.path());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            folder
        });
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        copy(made.path(), bench.folder.path());
        bench.write("run.toml", RUN);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        self.write(name, &text.replacen(from, to, 1));
    }

    pub fn command(&self, out: &str, more: &[&str]) -> Command {
        self.command_on("cpu", out, more)
    }

    pub fn command_on(&self, device: &str, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
        command.args(["finetune", "run.toml", "--device", device, "--json", "--out", out]).args(more);
        command.current_dir(self.folder.path()).env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs to the end.
    pub fn finishes(&self, out: &str, more: &[&str]) -> Output {
        let output = self.command(out, more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs, and expects an explained failure: every part of `said` is in the message, and nothing panicked.
    pub fn refuses(&self, out: &str, more: &[&str], said: &[&str]) {
        let output = self.command(out, more).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{more:?} succeeded");
        assert!(!message.contains("panicked"), "{message}");
        said.iter().for_each(|part| assert!(message.contains(part), "no `{part}` in: {message}"));
    }

    /// Everything that a finished run has learnt: the last checkpoint's weights, moments and averages, the exported U-Net, and what was
    /// measured on the way, times left out.
    pub fn learnt(&self, out: &str) -> Learnt {
        let folder = self.path(out);
        let mut checkpoints: Vec<_> =
            std::fs::read_dir(folder.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
        checkpoints.sort();
        let state = checkpoints.last().expect("a finished run has a checkpoint").join("state.safetensors");
        Learnt {
            state: std::fs::read(state).unwrap(),
            unet: std::fs::read(folder.join("pipeline/unet/diffusion_pytorch_model.safetensors")).unwrap(),
            measured: read_metrics(&folder.join("metrics.jsonl")).unwrap().into_iter().map(without_times).collect(),
        }
    }
}

/// What a run has learnt.
#[derive(PartialEq)]
pub struct Learnt {
    state: Vec<u8>,
    unet: Vec<u8>,
    pub measured: Vec<Metric>,
}

impl Learnt {
    /// Compares without printing megabytes.
    pub fn assert_is(&self, expected: &Self, what: &str) {
        assert_eq!(self.measured, expected.measured, "{what}");
        assert!(self.state == expected.state, "{what}: another state");
        assert!(self.unet == expected.unet, "{what}: another U-Net");
    }

    /// The weights alone.
    pub fn assert_same_weights(&self, expected: &Self, what: &str) {
        assert!(self.state == expected.state && self.unet == expected.unet, "{what}: other weights");
    }
}

fn without_times(metric: Metric) -> Metric {
    match metric {
        Metric::Train(mut metric) => {
            (metric.images_per_second, metric.waited, metric.memory_mib) = (0.0, 0.0, None);
            Metric::Train(metric)
        }
        valid => valid,
    }
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Images of one patient each, with a line of text that names the image.
fn write_data(folder: &Path) {
    let count = PHANTOMS.iter().sum();
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(count, 32, 7)).unwrap();
    let names: Vec<_> = phantoms.vocabulary().findings().iter().map(|finding| finding.name()).collect();
    let mut table = format!("image,patient_id,split,report,{}\n", names.join(","));
    std::fs::create_dir(folder.join("phantoms")).unwrap();
    for (i, record) in phantoms.records().iter().enumerate() {
        let split = match i {
            i if i < PHANTOMS[0] => "train",
            i if i < PHANTOMS[0] + PHANTOMS[1] => "valid",
            _ => "test",
        };
        let image = format!("phantoms/{i}.png");
        std::fs::write(folder.join(&image), encode_png(&phantoms.image(i))).unwrap();
        let labels: Vec<_> = record.labels.iter().map(|label| label.cell()).collect();
        table.push_str(&format!("{image},p{i},{split},Phantom image number {i}.,{}\n", labels.join(",")));
    }
    std::fs::write(folder.join("table.csv"), table).unwrap();
}

#[test]
fn a_run_leaves_its_folder() {
    let bench = Bench::new();
    let output = bench.finishes("out", &["--set", "samples.every=8", "--set", "samples.steps=2", "--set", "samples.count=2"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((summary["steps"].as_u64(), summary["interrupted"].as_bool()), (Some(8), Some(false)));
    assert_eq!(summary["prompts"]["reports"], PHANTOMS[0]);
    for file in [
        "config.toml",
        "run.json",
        "data.csv",
        "metrics.jsonl",
        "loss.svg",
        "samples/step-00000000.png",
        "samples/step-00000008.png",
        "samples/prompts.txt",
        "pipeline/model_index.json",
    ] {
        assert!(bench.path("out").join(file).is_file(), "no {file}");
    }
    assert!(std::fs::read_dir(bench.path("out/tensorboard")).unwrap().count() == 1);
    let learnt = bench.learnt("out");
    // Steps 1 to 8; validation at 0, 3, 6 and 8.
    assert_eq!(learnt.measured.iter().filter(|metric| matches!(metric, Metric::Train(_))).count(), 8);
    assert_eq!(learnt.measured.iter().filter(|metric| matches!(metric, Metric::Valid(_))).count(), 4);
    let text = std::fs::read_to_string(bench.path("out/config.toml")).unwrap();
    assert!(text.contains("caption_dropout = 0.1"), "defaults are written out: {text}");
    // The folder is a pipeline like any other.
    let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
    let args = [
        "generate",
        "--pipeline",
        "out/pipeline",
        "--prompt",
        "An image.",
        "--steps",
        "2",
        "--out",
        "images",
        "--device",
        "cpu",
    ];
    let output = command.args(args).args(["--size", "32"]).current_dir(bench.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn weights_move_and_the_average_lags_behind() {
    let bench = Bench::new();
    bench.finishes("out", &[]);
    let exported = bench.learnt("out").unet;
    let start = std::fs::read(bench.path("sd/unet/diffusion_pytorch_model.safetensors")).unwrap();
    bench.finishes("live", &["--set", "ema.decay=0.0"]);
    let live = bench.learnt("live").unet;
    assert!(exported != start && live != start && exported != live);
}

#[test]
fn no_image_of_another_split_is_read_for_training() {
    let bench = Bench::new();
    bench.finishes("whole", &["--set", "validation.every=0"]);
    for phantom in PHANTOMS[0]..PHANTOMS.iter().sum() {
        bench.write(&format!("phantoms/{phantom}.png"), "no image");
    }
    bench.finishes("broken", &["--set", "validation.every=0"]);
    bench.learnt("broken").assert_is(&bench.learnt("whole"), "held-out phantoms are broken");
    let data = std::fs::read_to_string(bench.path("whole/data.csv")).unwrap();
    assert_eq!(data.lines().filter(|line| line.starts_with("train,")).count(), PHANTOMS[0]);
    assert!(!data.contains("test,") && !data.contains("valid,"), "{data}");
    // And validation is of the validation split.
    bench.refuses("valid", &[], &["phantoms/14.png"]);
}

#[test]
fn the_cache_changes_nothing() {
    let bench = Bench::new();
    bench.finishes("cached", &["--set", "cache.folder=\"codes\""]);
    let expected = bench.learnt("cached");
    bench.finishes("uncached", &["--set", "cache.mib=0"]);
    bench.learnt("uncached").assert_is(&expected, "no cache");
    let mut damaged = 0;
    for shard in std::fs::read_dir(bench.path("codes")).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&file, bytes).unwrap();
            damaged += 1;
        }
    }
    // 14 + 4 images, as many texts and the empty one, if a text was used at least once.
    assert!(damaged > 30, "{damaged} files");
    bench.finishes("damaged", &["--set", "cache.folder=\"codes\""]);
    bench.learnt("damaged").assert_is(&expected, "a damaged cache");
}

#[test]
fn two_devices_give_the_bits_of_two_micro_batches() {
    let bench = Bench::new();
    bench.finishes("one", &[]);
    let two = ["--set", "devices=[\"cpu\", \"cpu\"]"];
    bench.finishes("two", &two);
    bench.learnt("two").assert_is(&bench.learnt("one"), "two devices");
    // A run may also switch in the middle.
    std::fs::remove_dir_all(bench.path("two/checkpoints/00000008")).unwrap();
    bench.finishes("two", &[]);
    bench.learnt("two").assert_is(&bench.learnt("one"), "two devices, then one");
}

#[test]
fn every_strategy_runs() {
    let bench = Bench::new();
    bench.edit("run.toml", "steps = 8", "steps = 3");
    let text_encoder = "strategy={ denoise = { unet = \"frozen\", text_encoder = \"full\", text_projection = true } }";
    let both = "strategy={ denoise = { unet = \"full\", text_encoder = \"full\", text_projection = true } }";
    let lora = "strategy={ denoise = { unet = { lora = { rank = 2, alpha = 2.0 } }, text_encoder = \"frozen\", text_projection = false } }";
    let vae = "strategy={ reconstruct = { encoder = true, decoder = true } }";
    for (name, strategy) in [("text", text_encoder), ("both", both), ("lora", lora), ("vae", vae)] {
        bench.finishes(name, &["--set", strategy]);
        let changed = |part: &str| {
            let read = |folder: &str| std::fs::read(bench.path(folder).join(part)).unwrap();
            read("sd") != read(&format!("{name}/pipeline"))
        };
        let changed = [
            "unet/diffusion_pytorch_model.safetensors",
            "text_encoder/model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]
        .map(changed);
        let expected = match name {
            "text" => [false, true, false],
            "both" => [true, true, false],
            "lora" => [true, false, false],
            _ => [false, false, true],
        };
        assert_eq!(changed, expected, "{name}");
        // Adapters are written once, beside the pipeline that has them merged.
        let there = |file: &str| bench.path(&format!("{name}/{file}")).exists();
        assert_eq!(there("adapters/pytorch_lora_weights.safetensors"), name == "lora");
        assert_eq!(there("adapters/unet/adapter_model.safetensors"), name == "lora");
        assert!(!there("pipeline/lora"));
    }
}
