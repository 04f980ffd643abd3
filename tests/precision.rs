//! Classifiers in brain floats, as a user asks for them: results, records, and every start that would mix them with 32-bit floats.

use roentgen::report::ComparisonReport;
use roentgen_classifier::training::Precision;
use roentgen_classifier::weights::read_card;

use crate::cli::{RUN, Study, succeeds};

/// A small study of one seed whose classifiers compute in `precision`.
fn study(precision: &str) -> Study {
    let study = Study::new();
    let run = RUN.replace("seeds = [1, 2]", "seeds = [1]");
    study.write_run(&run.replace("warmup_steps = 1", &format!("warmup_steps = 1\nprecision = \"{precision}\"")));
    study
}

const TRAIN: [&str; 6] = ["train", "run.toml", "--out", "out", "--device", "cpu"];
const COMPARE: [&str; 7] = ["compare", "run.toml", "--out", "out", "--device", "cpu", "--json"];

fn set(study: &Study, from: &str, to: &str) {
    let run = std::fs::read_to_string(study.path("run.toml")).unwrap();
    assert!(run.contains(from), "the run file has no {from}");
    study.write_run(&run.replacen(from, to, 1));
}

#[test]
fn brain_floats_are_recorded_and_predictions_come_back() {
    let study = study("bf16");
    let report: ComparisonReport = serde_json::from_str(&succeeds(&study.roentgen(&COMPARE))).unwrap();
    assert_eq!(report.protocol.precision, Precision::Bf16);
    assert!(std::fs::read_to_string(study.path("out/report.html")).unwrap().contains("bf16"));
    assert!(std::fs::read_to_string(study.path("out/config.toml")).unwrap().contains("precision = \"bf16\""));
    assert!(std::fs::read_to_string(study.path("out/run.json")).unwrap().contains("training.precision"));
    let weights = study.path("out/arms/real/seed-1/model.safetensors");
    assert_eq!(read_card(&weights).unwrap().precision, Precision::Bf16);
    // Weights on disk are of 32 bits, and predict in brain floats again: the scores of the test split are those of the comparison.
    let bytes = std::fs::read(&weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + header]).unwrap();
    assert!(header.contains("\"F32\"") && !header.contains("\"BF16\""), "{header}");
    let weights = weights.to_str().unwrap();
    succeeds(&study.roentgen(&["predict", "run.toml", "--weights", weights, "--out", "scores.csv", "--device", "cpu"]));
    let scores = |name: &str| {
        let text = std::fs::read_to_string(study.path(name)).unwrap();
        // Without the column of the seed.
        text.lines().map(|line| line.split_once(',').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(scores("scores.csv"), scores("out/arms/real/seed-1/predictions.csv"));
}

#[test]
fn runs_of_one_precision_do_not_go_on_in_another() {
    let brain = study("bf16");
    succeeds(&brain.roentgen(&TRAIN));
    let weights = std::fs::read(brain.path("out/model.safetensors")).unwrap();
    set(&brain, "\"bf16\"", "\"fp32\"");
    brain.refuses(&TRAIN, &["out holds another run", "training.precision: \"bf16\", now", "another --out"]);
    // Not named, it is fp32.
    set(&brain, "precision = \"fp32\"\n", "");
    brain.refuses(&TRAIN, &["out holds another run", "training.precision: \"bf16\", now"]);
    assert!(std::fs::read(brain.path("out/model.safetensors")).unwrap() == weights);
    brain.write_run(&std::fs::read_to_string(brain.path("run.toml")).unwrap());
    succeeds(&brain.roentgen(&["train", "run.toml", "--out", "wide", "--device", "cpu"]));
    assert!(std::fs::read(brain.path("wide/model.safetensors")).unwrap() != weights, "fp32 gives other weights");
    assert_eq!(read_card(&brain.path("wide/model.safetensors")).unwrap().precision, Precision::Fp32);

    let wide = study("fp32");
    succeeds(&wide.roentgen(&COMPARE));
    set(&wide, "\"fp32\"", "\"bf16\"");
    wide.refuses(&COMPARE, &["out holds another run", "training.precision", "now \"bf16\""]);
    // Named or not: one and the same run.
    set(&wide, "precision = \"bf16\"\n", "");
    succeeds(&wide.roentgen(&COMPARE));
}

#[test]
fn other_words_are_refused() {
    for word in ["fp16", "BF16", "float32", "half"] {
        let study = study(word);
        study.refuses(&TRAIN, &["run.toml", &format!("unknown variant `{word}`"), "`fp32`", "`bf16`"]);
    }
}
