//! Every case of the parity tree on the device.

use std::io::Write;
use std::process::Output;

use super::Software;
use crate::parity::device::{Line, TABLE};

/// Topics with cases that a device computes.
const TOPICS: usize = 10;

fn table(output: &Output, folder: &std::path::Path) -> Vec<Line> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap()
    };
    let mut lines: Vec<Line> = std::fs::read_dir(folder).unwrap().map(read).collect();
    lines.sort_by(|a, b| a.topic.cmp(&b.topic));
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    lines
}

fn agree(fused: bool) {
    let Some(software) = Software::find("parity") else { return };
    let folder = tempfile::tempdir().unwrap();
    // What the harness does with doctored trees is not the device's.
    let output = software.tests(&["parity::", "--skip", "doctored"], fused, &[(TABLE, folder.path())]);
    let lines = table(&output, folder.path());
    let kind = if fused { "fused" } else { "one by one" };
    for line in &lines {
        let _ = writeln!(std::io::stderr(), "{line}, kernels {kind}");
        assert_eq!((line.device.as_str(), line.failed), ("wgpu:0", 0), "{line}");
    }
    assert_eq!(lines.len(), TOPICS, "{lines:?}");
    assert!(lines.iter().all(|line| line.passed > 0), "{lines:?}");
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn kernels_one_by_one_agree_with_the_references() {
    agree(false);
}

#[test]
#[ignore = "minutes: cargo test --release --test tests devices:: -- --include-ignored"]
fn fused_kernels_agree_with_the_references() {
    agree(true);
}
