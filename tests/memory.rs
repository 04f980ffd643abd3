//! Peak memory of the program, which must not grow with the number of images that are evaluated, and of one image.
//!
//! The program's peak is `VmHWM` of Linux's `/proc`, read while the program runs; on other systems this module is left out.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use roentgen_augment::image::{Geometry, GrayImage, Preprocess, encode_png};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};

/// Pixels per side.
const SIDE: usize = 96;

/// Bytes of an image in the network's input, in three channels of 32 bits.
const IMAGE: usize = 3 * SIDE * SIDE * 4;

const FEW: usize = 200;
const MANY: usize = 1_000;

/// Allowed growth of the peak. Names and predictions take less than 1 MB, and a growth of 3 to 4 MB was seen; the images take 84 MB
/// when they are held whole.
const MARGIN: usize = 32 << 20;

const RUN: &str = r#"
title = "Memory"
seeds = [1]

[data]
format = "table"
labels = "table.csv"
cache_mib = 0

[preprocess]
size = 96

[network]
architecture = "small"
input = "imagenet"

[training]
steps = 1
batch_size = 4
eval_every = 1
warmup_steps = 0

[bootstrap]
replicates = 10

[[arms]]
name = "real"
"#;

/// A study with `held_out` images in the split of that name and 20 in the others.
fn study(folder: &Path, split: &str, held_out: usize) {
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(8, SIDE, 3)).unwrap();
    let pngs: Vec<Vec<u8>> = (0..8).map(|i| encode_png(&phantoms.image(i))).collect();
    let mut table = "image,patient_id,split,Mass,Edema\n".to_owned();
    for other in ["train", "valid", "test"] {
        for i in 0..if other == split { held_out } else { 20 } {
            let image = format!("{other}-{i}.png");
            std::fs::write(folder.join(&image), &pngs[i % 8]).unwrap();
            table.push_str(&format!("{image},{other}{i},{other},{},{}\n", i % 2, i / 2 % 2));
        }
    }
    std::fs::write(folder.join("table.csv"), table).unwrap();
    std::fs::write(folder.join("run.toml"), RUN).unwrap();
}

/// Runs the program and returns its largest resident set, in bytes.
pub fn peak(folder: &Path, args: &[&str]) -> usize {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
    command.args(args).current_dir(folder).stdout(Stdio::null());
    let mut running = command.stderr(Stdio::inherit()).spawn().unwrap();
    let status = format!("/proc/{}/status", running.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        peak = kib.map_or(peak, |kib| kib << 10);
        if let Some(status) = running.try_wait().unwrap() {
            assert!(status.success(), "{args:?}: {status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares the peaks of `args` with few and with many images in a split.
fn does_not_grow(split: &str, prepare: &[&[&str]], args: &[&str]) {
    let peaks = [FEW, MANY].map(|images| {
        let folder = tempfile::tempdir().unwrap();
        study(folder.path(), split, images);
        for args in prepare {
            peak(folder.path(), args);
        }
        peak(folder.path(), args)
    });
    let [few, many] = peaks.map(|bytes| bytes >> 20);
    let whole = ((MANY - FEW) * IMAGE) >> 20;
    println!("{split}, {}: {few} MiB with {FEW} images, {many} MiB with {MANY}, whose pixels take {whole} MiB more", args[0]);
    assert!(peaks[0] > 0, "no peak was read");
    assert!(peaks[1] < peaks[0] + MARGIN, "{few} MiB with {FEW} images, {many} MiB with {MANY}");
}

#[test]
fn the_test_set_of_a_comparison_is_streamed() {
    does_not_grow("test", &[], &["compare", "run.toml", "--out", "out", "--device", "cpu"]);
}

#[test]
fn validation_in_training_is_streamed() {
    does_not_grow("valid", &[], &["train", "run.toml", "--out", "out", "--device", "cpu"]);
}

#[test]
fn images_to_predict_are_streamed() {
    let train = ["train", "run.toml", "--out", "one", "--device", "cpu"];
    let predict = ["predict", "run.toml", "--weights", "one/model.safetensors", "--out", "all.csv", "--device", "cpu"];
    does_not_grow("test", &[&train], &predict);
}

/// Rows of MIMIC-CXR-JPG, and the memory that a table of them may take.
const ROWS: usize = 377_110;
const TABLE_PEAK: usize = 300 << 20;

#[test]
fn a_table_of_the_largest_data_set_is_small_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let findings = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Fracture", "Pneumonia", "Pneumothorax"].join(",");
    let row = |row: usize| {
        let (patient, study) = (10_000_032 + row / 6, 50_000_000 + row / 2);
        let image =
            format!("files/p{}/p{patient}/s{study}/{row:08x}-bde0afdd-112c0b34-7bc16630-4e384014.jpg", patient / 1_000_000);
        format!("{image},{patient}.0,PA,{},1.0,0.0,,,-1.0,,\n", ["train", "validate", "test"][patient % 3])
    };
    let rows: String = (0..ROWS).map(row).collect();
    std::fs::write(folder.path().join("table.csv"), format!("image,patient_id,view,split,{findings}\n{rows}")).unwrap();
    std::fs::write(folder.path().join("run.toml"), RUN).unwrap();
    let peak = peak(folder.path(), &["data", "summary", "run.toml"]);
    println!("{ROWS} rows: {} MiB", peak >> 20);
    assert!(peak > 0 && peak < TABLE_PEAK, "{} MiB for {ROWS} rows", peak >> 20);
}

/// The most bytes that `work` has at once; its decoders are Rust's, so all of them are counted.
fn most_bytes<T>(work: impl FnOnce() -> T) -> usize {
    allocation_counter::measure(|| drop(work())).bytes_max as usize
}

#[test]
fn an_image_becomes_a_picture_in_at_most_twice_its_bytes() {
    let (width, height) = (5_000, 4_000);
    let noise = |index: usize| (index as u32).wrapping_mul(2_654_435_761) >> 16;
    let deep = GrayImage::from_u16(width, height, (0..width * height).map(|i| noise(i) as u16).collect::<Vec<_>>());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.png");
    std::fs::write(&path, encode_png(&deep)).unwrap();
    let bytes = deep.byte_len();
    drop(deep);
    for geometry in [Geometry::CenterCrop, Geometry::Pad, Geometry::Squash] {
        for size in [224, 1024] {
            let preprocess = Preprocess { geometry, ..Preprocess::new(size) };
            let most = most_bytes(|| preprocess.apply(&GrayImage::open(&path).unwrap()));
            println!(
                "{width}x{height}, 16 bit, {geometry:?} to {size}: {:.2} times its {bytes} bytes",
                most as f64 / bytes as f64
            );
            assert!(most <= 2 * bytes, "{geometry:?} to {size}: {most} bytes for an image of {bytes}");
        }
    }
}

#[test]
fn a_strip_is_padded_in_the_memory_of_its_rows() {
    let strip = GrayImage::from_u8(60_000, 8, vec![200u8; 480_000]);
    let pad = Preprocess { geometry: Geometry::Pad, ..Preprocess::new(224) };
    let most = most_bytes(|| pad.apply(&strip));
    // Four rows of floats, and the weights of 60,000 samples along both axes; the square would take 14 GB.
    assert!(most < 16 << 20, "{most} bytes");
}
