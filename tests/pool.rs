//! Synthetic images that exist already: rows of a study's own table, and images made elsewhere.

use std::process::Output;

use roentgen::report::ComparisonReport;

use crate::cli::{PHANTOMS, RUN, Study, succeeds};
use crate::finetune::Bench;

/// Rows that are synthetic, each with an image of its own: copies of radiographs, so that training on them would change a network.
fn add_synthetic_rows(study: &Study, rows: usize) {
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let mut lines = table.lines();
    let mut text = format!("{},origin,seed,prompt,model\n", lines.next().unwrap());
    let real: Vec<&str> = lines.collect();
    real.iter().for_each(|line| text.push_str(&format!("{line},real,,,\n")));
    std::fs::create_dir_all(study.path("made")).unwrap();
    for (i, line) in real.iter().cycle().take(rows).enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        std::fs::copy(study.path(cells[0]), study.path(&format!("made/{i}.png"))).unwrap();
        text.push_str(&format!("made/{i}.png,,{},synthetic,{i},An image.,painter\n", cells[2..].join(",")));
    }
    std::fs::write(study.path("table.csv"), text).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn report(study: &Study, out: &str) -> ComparisonReport {
    serde_json::from_slice(&std::fs::read(study.path(out).join("report.json")).unwrap()).unwrap()
}

#[test]
fn synthetic_rows_of_a_table_are_no_radiographs() {
    let study = Study::new();
    study.write_run(&RUN.replace("seeds = [1, 2]", "seeds = [1]").replace("[data]\n", "[data]\ntrain_images = 20\n"));
    let compare = |out| study.roentgen(&["compare", "run.toml", "--out", out, "--device", "cpu"]);
    succeeds(&compare("without"));
    add_synthetic_rows(&study, 25);
    let output = compare("with");
    succeeds(&output);
    let note = "25 synthetic rows of table.csv are left out";
    assert!(said(&output).contains(&format!("note: {note}")), "{}", said(&output));

    // Every count is that of the radiographs, and so is every weight, of the loss and of the networks.
    let (without, with) = (report(&study, "without"), report(&study, "with"));
    assert_eq!(with.data.images, without.data.images);
    assert_eq!(with.data.images[0], 20);
    let counts = |report: &ComparisonReport| {
        report.arms.iter().map(|arm| (arm.real_per_epoch, arm.synthetic_per_epoch)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&with), [(20, 0), (20, 10)]);
    assert_eq!(counts(&with), counts(&without));
    assert!(with.warnings.iter().any(|warning| warning.contains(note)), "{:?}", with.warnings);
    for arm in ["real", "mixed"] {
        let scores = |out: &str| std::fs::read(study.path(&format!("{out}/arms/{arm}/predictions.csv"))).unwrap();
        assert!(scores("with") == scores("without"), "arm {arm} trained on something else");
    }

    let summary = succeeds(&study.roentgen(&["data", "summary", "run.toml"]));
    assert!(summary.contains("synthetic 25"), "{summary}");
    let predict = |split| {
        let weights = "without/arms/real/seed-1/model.safetensors";
        let args = ["predict", "run.toml", "--weights", weights, "--out", "scores.csv", "--device", "cpu", "--split", split];
        study.roentgen(&args)
    };
    let all = predict("all");
    assert!(succeeds(&all).contains(&format!("{PHANTOMS} images")) && said(&all).contains("--split synthetic"), "{all:?}");
    assert!(succeeds(&predict("synthetic")).contains("25 images"));
}

#[test]
fn a_generator_learns_from_synthetic_rows_if_it_is_told_to() {
    let bench = Bench::new();
    let table = std::fs::read_to_string(bench.path("table.csv")).unwrap();
    let mut lines = table.lines();
    let header = lines.next().unwrap();
    let mut text = format!("{header},origin,seed,prompt,model\n");
    lines.clone().for_each(|line| text.push_str(&format!("{line},,,,\n")));
    for (i, patient) in ["p0", ""].into_iter().enumerate() {
        let blanks = ",".repeat(header.split(',').count() - 3);
        std::fs::copy(bench.path("phantoms/0.png"), bench.path(&format!("made{i}.png"))).unwrap();
        text.push_str(&format!("made{i}.png,{patient},train{blanks},synthetic,{i},A painted mass {i}.,painter\n"));
    }
    bench.write("table.csv", &text);
    bench.edit("run.toml", "steps = 8", "steps = 2");
    let pairs = |out: &str| std::fs::read_to_string(bench.path(out).join("data.csv")).unwrap();
    let without = bench.finishes("without", &[]);
    assert!(said(&without).contains("2 synthetic rows of table.csv are left out"), "{}", said(&without));
    assert!(!pairs("without").contains("painted"));
    let with = bench.finishes("with", &["--set", "include_synthetic=true"]);
    assert!(!said(&with).contains("left out"), "{}", said(&with));
    assert!(pairs("with").contains("A painted mass 0.") && pairs("with").contains("A painted mass 1."));
    assert_eq!(pairs("with").lines().count(), pairs("without").lines().count() + 2);
    // The last patient of the table is in the test split.
    bench.edit("table.csv", "made0.png,p0,", "made0.png,p21,");
    bench.refuses("held-out", &["--set", "include_synthetic=true"], &["made0.png", "p21", "held out", "leave it out"]);
}
