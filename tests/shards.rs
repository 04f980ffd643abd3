//! `roentgen generate` in parts that are merged to the whole.

use std::process::{Command, Output};

use burn::tensor::FloatDType;
use roentgen::diffusion::pipeline::{RandomSize, write_random_pipeline};

/// Runs `roentgen generate` on a table of two prompts, three images each.
fn generate(folder: &tempfile::TempDir, out: &str, more: &[&str]) -> Output {
    let base = ["generate", "--prompts", "prompts.csv", "--count", "3", "--out", out, "--device", "cpu"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
    command.args(base).args(more).current_dir(folder.path()).output().unwrap()
}

const MAKE: [&str; 4] = ["--pipeline", "tiny", "--steps", "2"];

fn makes(folder: &tempfile::TempDir, out: &str, more: &[&str]) {
    let output = generate(folder, out, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refuses_to_merge(folder: &tempfile::TempDir, said: &[&str]) {
    let output = generate(folder, "parts", &["--merge"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "merged");
    assert!(said.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn shards_of_a_set_merge_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    write_random_pipeline(&folder.path().join("tiny"), RandomSize::Tiny, 3, FloatDType::F32, |_| ()).unwrap();
    let table = "prompt,Effusion,patient_id,source_id\na,1,p1,a.png\nb,0,p2,b.png\n";
    std::fs::write(folder.path().join("prompts.csv"), table).unwrap();

    makes(&folder, "whole", &MAKE);
    for shard in ["3/4", "1/4", "2/4", "3/4"] {
        makes(&folder, "parts", &[&MAKE[..], &["--shard", shard]].concat());
    }
    let parts = folder.path().join("parts");
    assert!(!parts.join("manifest.csv").exists());
    refuses_to_merge(&folder, &["1 of 6 images", "000003.png"]);
    makes(&folder, "parts", &[&MAKE[..], &["--shard", "4/4"]].concat());
    makes(&folder, "parts", &["--merge"]);
    for file in ["manifest.csv", "000000.png", "000003.png", "000005.png"] {
        assert!(std::fs::read(folder.path().join("whole").join(file)).unwrap() == std::fs::read(parts.join(file)).unwrap());
    }

    let merged = generate(&folder, "parts", &["--merge", "--json"]);
    let merged: serde_json::Value = serde_json::from_slice(&merged.stdout).unwrap();
    assert_eq!(merged, serde_json::json!({ "images": 6, "manifest": "parts/manifest.csv" }));

    // A part made with other settings is refused, and one that comes from elsewhere is found.
    std::fs::remove_file(parts.join("000002.png")).unwrap();
    let other = ["--pipeline", "tiny", "--steps", "3", "--shard", "3/6"];
    let refused = generate(&folder, "parts", &other);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("steps: 2, now 3"));
    makes(&folder, "other", &other);
    std::fs::copy(folder.path().join("other/000002.png"), parts.join("000002.png")).unwrap();
    refuses_to_merge(&folder, &["000002.png", "another run", "steps: 3, now 2"]);
}
