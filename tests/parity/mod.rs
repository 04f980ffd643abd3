//! Numbers of the reference implementations, case by case.
//!
//! Walks every topic and case of the tree `$ROENTGEN_PARITY_DIR` (default `tests/parity/fixtures`), computes each with the
//! product's public code and judges it by the tolerances in its `cases.json`. With `$ROENTGEN_PARITY_OUT` set, the results are
//! also written there as `TOPIC.safetensors`. A case that this harness does not know fails, and so does one that panics; the others
//! continue. Topics and cases whose subject is not built yet are read and named on standard error, with or without
//! `--nocapture`.
//!
//!     cargo test --release parity -- --nocapture
//!
//! On another device than the CPU (`device`), with `--device`'s names and tolerances 8 times as wide:
//!
//!     ROENTGEN_PARITY_DEVICE=wgpu:0 cargo test --release parity
//!
//! Trees are of one layout but differ in seeds, sizes, folders and parameters, and may lack topics: cases are distinguished by
//! their parameters, inputs and outputs, and by their name only where nothing else differs.

mod agreement;
mod array;
mod brain;
mod case;
mod classifier;
pub mod device;
mod dinov2;
mod doctored;
pub mod feature_networks;
mod fullsize;
mod lora_files;
pub mod lpips;
mod metrics;
mod networks;
mod pipeline;
mod preprocess;
mod quality;
mod rule;
mod schedulers;
mod single_file;
mod text_encoders;
mod texts;
mod tokenizers;
mod training;
mod unet;
mod vae;
mod walk;

use std::io::Write;
use std::path::{Path, PathBuf};

pub use array::Array;
pub use case::{Case, Topic};
use device::Line;
use walk::walk;

/// Outputs of a case by name.
type Outputs = Vec<(String, Array)>;

/// Computes a case; `None` if it is of no known kind.
type Compute = fn(&Case) -> Option<Outputs>;

/// Topics that are built, and how their cases are computed.
const TOPICS: [(&str, Compute); 16] = [
    ("01_tokenizers", tokenizers::compute),
    ("02_text_encoders", text_encoders::compute),
    ("03_vae", vae::compute),
    ("04_unet", unet::compute),
    ("05_schedulers", schedulers::compute),
    ("06_pipeline", pipeline::compute),
    ("07_training", training::compute),
    ("08_classifier", classifier::compute),
    ("09_metrics", figures),
    ("10_preprocess", preprocess::compute),
    ("11_fullsize", fullsize::compute),
    ("12_dinov2", dinov2::compute),
    ("14_networks", networks::compute),
    ("15_lora_files", lora_files::compute),
    ("16_single_file", single_file::compute),
    ("17_quality", figures),
];

/// Topics of figures, whose cases several modules know.
fn figures(case: &Case) -> Option<Outputs> {
    let modules: [Compute; 5] = [lpips::compute, metrics::compute, quality::compute, agreement::compute, texts::compute];
    modules.into_iter().find_map(|compute| compute(case))
}

/// Topics that are built and that the repository's tree has no part of: their files are large for what they show, and tests make their own.
const TOPICS_ELSEWHERE: [&str; 3] = ["12_dinov2", "14_networks", "15_lora_files"];

/// Topics whose subject is not built yet.
const TOPICS_NOT_YET_BUILT: [&str; 1] = ["13_flow"];

/// Cases of built topics whose subject is not built yet, by the start of their names.
const CASES_NOT_YET_BUILT: [(&str, &[&str]); 0] = [];

/// The tree that the environment names, if it names one.
fn named_tree() -> Option<PathBuf> {
    std::env::var_os("ROENTGEN_PARITY_DIR").map(PathBuf::from)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures")
}

fn tree() -> PathBuf {
    named_tree().unwrap_or_else(fixtures)
}

/// Names of the topics in a tree: its folders with a list of cases.
fn topics(tree: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(tree).unwrap_or_else(|error| panic!("{}: {error}", tree.display()));
    let folders = entries.map(|entry| entry.unwrap()).filter(|entry| entry.path().join("cases.json").is_file());
    let mut names: Vec<String> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A line that is seen whether the test passes or fails: libtest keeps what `println!` prints of one that passes.
fn announce(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs every case of one topic; panics with all failures at once.
fn run(name: &str) {
    let folder = tree().join(name);
    if !folder.join("cases.json").is_file() {
        println!("{} has no {name}", tree().display());
        return;
    }
    if !device::computes(name) {
        announce(&format!("not run on {}: {name} is computed on the host", device::name()));
        return;
    }
    let (_, compute) = TOPICS.into_iter().find(|(topic, _)| *topic == name).expect("the topic is listed");
    let not_built = CASES_NOT_YET_BUILT.into_iter().find(|(topic, _)| *topic == name).map_or(&[][..], |(_, cases)| cases);
    let out = std::env::var_os("ROENTGEN_PARITY_OUT").map(PathBuf::from);
    let walked = walk(&folder, compute, not_built, out.as_deref());

    let line = Line::of(name, &walked);
    line.write();
    announce(&line.to_string());
    for (case, ratio) in &walked.passed {
        println!("ok  {name}/{case}  worst error / tolerance {ratio:.3}");
    }
    if !walked.not_built.is_empty() {
        announce(&format!("not built yet: {} cases of {name}: {}", walked.not_built.len(), walked.not_built.join(", ")));
    }
    let failures: Vec<String> = walked.failed.iter().map(|(case, message)| format!("{name}/{case}: {message}")).collect();
    let cases = walked.passed.len() + failures.len();
    assert!(failures.is_empty(), "{} of {cases} cases failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_topic_of_the_tree_is_known() {
    let found = topics(&tree());
    let known: Vec<&str> = TOPICS.iter().map(|(name, _)| *name).chain(TOPICS_NOT_YET_BUILT).collect();
    let unknown: Vec<&String> = found.iter().filter(|name| !known.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "unknown topics {unknown:?}");
    assert!(!found.is_empty(), "{} has no topic: a folder with a cases.json", tree().display());
    if named_tree().is_none() {
        let kept = TOPICS.map(|(name, _)| name).into_iter().filter(|name| !TOPICS_ELSEWHERE.contains(name));
        assert_eq!(found, kept.collect::<Vec<_>>(), "the repository's tree has every topic that is built");
    }
}

/// Also where another tree is walked in its place.
#[test]
fn the_tree_of_the_repository_can_be_read() {
    for name in topics(&fixtures()) {
        let topic = Topic::read(&fixtures().join(&name)).unwrap();
        let unreadable: Vec<_> =
            topic.cases.iter().filter_map(|entry| Some((&entry.name, entry.case.as_ref().err()?))).collect();
        assert!(!topic.cases.is_empty() && unreadable.is_empty(), "{name}: {unreadable:?}");
    }
}

/// They are not skipped silently: their cases are read and counted.
#[test]
fn topics_that_are_not_built_yet_are_read_and_named() {
    for name in TOPICS_NOT_YET_BUILT {
        let folder = tree().join(name);
        if !folder.join("cases.json").is_file() {
            continue;
        }
        let topic = Topic::read(&folder).unwrap();
        let unreadable: Vec<_> =
            topic.cases.iter().filter_map(|entry| Some((&entry.name, entry.case.as_ref().err()?))).collect();
        assert!(unreadable.is_empty(), "{name}: {unreadable:?}");
        announce(&format!("not built yet: {name} ({} cases)", topic.cases.len()));
    }
}

#[test]
fn tokenizers_topic() {
    run("01_tokenizers");
}

#[test]
fn text_encoders_topic() {
    run("02_text_encoders");
}

#[test]
fn vae_topic() {
    run("03_vae");
}

#[test]
fn unet_topic() {
    run("04_unet");
}

#[test]
fn schedulers_topic() {
    run("05_schedulers");
}

#[test]
fn pipeline_topic() {
    run("06_pipeline");
}

#[test]
fn training_topic() {
    run("07_training");
}

#[test]
fn classifier_topic() {
    run("08_classifier");
}

#[test]
fn metrics_topic() {
    run("09_metrics");
}

#[test]
fn preprocess_topic() {
    run("10_preprocess");
}

#[test]
fn fullsize_topic() {
    run("11_fullsize");
}

#[test]
fn dinov2_topic() {
    run("12_dinov2");
}

#[test]
fn networks_topic() {
    run("14_networks");
}

#[test]
fn lora_files_topic() {
    run("15_lora_files");
}

#[test]
fn quality_topic() {
    run("17_quality");
}

#[test]
fn single_file_topic() {
    run("16_single_file");
}
