//! `roentgen data convert` and `data vocab` as a user types them, and several data sets in one run file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use roentgen_augment::image::{GrayImage, encode_png};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};

use crate::cli::{Study, succeeds};

/// NIH's table with `count` images of 96 x 80 pixels.
fn nih(folder: &Path, count: usize) {
    fs::create_dir_all(folder.join("images")).unwrap();
    let mut table = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n".to_owned();
    for i in 0..count {
        let labels = ["No Finding", "Mass|Effusion", "Effusion"][i % 3];
        table += &format!("{i:03}.png,{labels},0,{i},50,M,PA\n");
        let samples: Vec<u8> = (0..96 * 80).map(|at| ((at * (i + 3) + at / 96 * i) % 251) as u8).collect();
        fs::write(folder.join(format!("images/{i:03}.png")), encode_png(&GrayImage::from_u8(96, 80, samples))).unwrap();
    }
    fs::write(folder.join("Data_Entry_2017_v2020.csv"), table).unwrap();
}

/// Every file in a folder, by its path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_converted_is_read_as_what_is_printed() {
    let study = Study::new();
    nih(&study.path("nih"), 40);
    fs::write(study.path("nih/images/004.png"), "no image").unwrap();
    let output = study.roentgen(&["data", "convert", "nih", "--out", "small", "--size", "32"]);
    let said = succeeds(&output);
    for part in
        ["small: 39 images", "1 left out, see small", "row 6: 004.png: ", "format = \"table\"", "labels = \"small/labels.csv\""]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    let data = &said[said.find("[data]").unwrap()..];
    fs::write(study.path("run.toml"), data).unwrap();
    let output = study.roentgen(&["data", "check", "run.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&succeeds(&output)).unwrap();
    assert_eq!(report["images"], 39);
    let image = GrayImage::open(&study.path("small/images/000.png")).unwrap();
    assert_eq!((image.width(), image.height()), (32, 32));
    // Labels, ages and patients are those of the source.
    let [own, source] = ["run.toml", "nih"].map(|data| {
        let output = study.roentgen(&["data", "summary", data, "--json"]);
        serde_json::from_str::<serde_json::Value>(&succeeds(&output)).unwrap()
    });
    assert_eq!(
        own["ages"],
        serde_json::json!({ "known": 39, "min": 50.0, "lower": 50.0, "median": 50.0, "upper": 50.0, "max": 50.0 })
    );
    let positives = |summary: &serde_json::Value, name: &str| {
        let findings = summary["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["finding"] == name).unwrap()["all"]["positive"].clone()
    };
    assert_eq!((positives(&own, "Mass"), positives(&source, "Mass")), (12.into(), 13.into()));
}

#[test]
fn a_conversion_that_is_killed_ends_as_an_undisturbed_one() {
    let study = Study::new();
    nih(&study.path("nih"), 60);
    let commands = [
        ("table", vec!["data", "convert", "nih", "--size", "48", "--json", "--out"]),
        ("shards", vec!["data", "convert", "nih", "--full-size", "--shards", "7", "--json", "--out"]),
    ];
    for (name, arguments) in commands {
        let with = |out: &'static str| arguments.iter().copied().chain([out]).collect::<Vec<_>>();
        let started = std::time::Instant::now();
        succeeds(&study.roentgen(&with("whole")));
        let takes = started.elapsed();
        let mut kills = 0;
        for at in 0..20u32 {
            let mut child = study.command(&with("killed")).stdout(std::process::Stdio::null()).spawn().unwrap();
            // From before the first file to after the last.
            std::thread::sleep(takes * (at * 7 % 20) / 20 + Duration::from_millis(1));
            if child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                kills += 1;
            }
            child.wait().unwrap();
        }
        assert!(kills > 0, "every start ended before it could be killed");
        succeeds(&study.roentgen(&with("killed")));
        assert_eq!(files(&study.path("killed")), files(&study.path("whole")), "{name}");
        for folder in ["whole", "killed"] {
            fs::remove_dir_all(study.path(folder)).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_converted_says_why() {
    let study = Study::new();
    nih(&study.path("nih"), 3);
    let refused = |arguments: &[&str]| {
        let output = study.roentgen(&[&["data", "convert"], arguments].concat());
        assert!(!output.status.success());
        text(&output.stderr)
    };
    assert!(refused(&["nih", "--out", "x", "--shards", "2"]).contains("--full-size: shards hold their images"));
    assert!(refused(&["nih", "--out", "nih", "--size", "8"]).contains("holds other files"));
    assert!(refused(&["nih", "--out", "x", "--size", "0"]).contains("1 to 8192 pixels"));
    fs::write(study.path("phantom.toml"), "[data]\nformat = \"phantom\"\n").unwrap();
    assert!(refused(&["phantom.toml", "--out", "x", "--size", "8"]).contains("could be taken for radiographs"));
    succeeds(&study.roentgen(&["data", "convert", "nih", "--out", "x", "--size", "8"]));
    assert!(refused(&["nih", "--out", "x", "--size", "9"]).contains("by other settings"));
}

#[test]
fn the_vocabulary_is_shown_with_what_the_data_have() {
    let study = Study::new();
    nih(&study.path("nih"), 3);
    let known = succeeds(&study.roentgen(&["data", "vocab"]));
    let line = known.lines().find(|line| line.trim_start().starts_with("Effusion")).unwrap();
    assert!(line.contains("Pleural Effusion") && line.contains("NIH, CheXpert and MIMIC-CXR, torchxrayvision"), "{line}");
    let output = study.roentgen(&["data", "vocab", "nih", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&succeeds(&output)).unwrap();
    let in_data = |name: &str| {
        json["findings"].as_array().unwrap().iter().find(|entry| entry["finding"] == name).unwrap()["in_data"].clone()
    };
    assert_eq!((in_data("Hernia"), in_data("Fracture")), (true.into(), false.into()));
}

/// A run file of two sets: NIH's table, and the project's own with other findings and the same patients' numbers.
const TWO_SETS: &str = r#"
seeds = [1]
[data]
format = "nih"
name = "nih"
labels = "nih/Data_Entry_2017_v2020.csv"
split = { by = "patient", valid = 0.3, test = 0.3 }
[[data.also]]
format = "table"
name = "own"
labels = "own/table.csv"
[preprocess]
size = 32
[network]
architecture = "small"
[training]
steps = 2
batch_size = 4
eval_every = 2
[[arms]]
name = "real"
"#;

fn two_sets(study: &Study) {
    nih(&study.path("nih"), 30);
    fs::create_dir_all(study.path("own")).unwrap();
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(9, 32, 7)).unwrap();
    let mut table = "image,patient_id,split,Fracture,Effusion\n".to_owned();
    for i in 0..9 {
        fs::write(study.path(&format!("own/{i:03}.png")), encode_png(&phantoms.image(i))).unwrap();
        table += &format!("{i:03}.png,{i},{},{},{}\n", ["train", "valid", "test"][i % 3], i / 3 % 2, (i / 3 + 1) % 2);
    }
    fs::write(study.path("own/table.csv"), table).unwrap();
    fs::write(study.path("run.toml"), TWO_SETS).unwrap();
}

#[test]
fn several_sets_are_one_with_absent_findings_masked() {
    let study = Study::new();
    two_sets(&study);
    let output = study.roentgen(&["data", "summary", "run.toml", "--json"]);
    let summary: serde_json::Value = serde_json::from_str(&succeeds(&output)).unwrap();
    assert_eq!((&summary["images"], &summary["patients"]), (&39.into(), &39.into()));
    let finding = |name: &str| {
        let findings = summary["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["finding"] == name).unwrap()["all"].clone()
    };
    // Of 30 images of NIH nobody knows whether a bone is broken.
    assert_eq!((finding("Fracture")["missing"].clone(), finding("Fracture")["positive"].clone()), (30.into(), 3.into()));
    assert_eq!((finding("Mass")["missing"].clone(), finding("Mass")["positive"].clone()), (9.into(), 10.into()));
    assert_eq!(finding("Effusion")["missing"], 0);
    let output = study.roentgen(&["compare", "run.toml", "--out", "run", "--device", "cpu", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&succeeds(&output)).unwrap();
    assert!(report.to_string().contains("nih + own"), "{report}");
    // Converted, they are one table of the same rows.
    succeeds(&study.roentgen(&["data", "convert", "run.toml", "--out", "one", "--size", "32"]));
    let table = fs::read_to_string(study.path("one/labels.csv")).unwrap();
    assert_eq!(table.lines().count(), 40);
    assert!(table.contains("images/nih/004.png,nih/4,") && table.contains("images/own/004.png,own/4,"), "{table}");
}

#[test]
fn sets_that_cannot_be_told_apart_are_refused() {
    let study = Study::new();
    two_sets(&study);
    let refused = |from: &str, to: &str| {
        assert!(TWO_SETS.contains(from));
        fs::write(study.path("run.toml"), TWO_SETS.replace(from, to)).unwrap();
        let output = study.roentgen(&["data", "summary", "run.toml"]);
        assert!(!output.status.success(), "{to}");
        text(&output.stderr)
    };
    assert!(refused("name = \"own\"", "name = \"nih\"").contains("another `name` for each set"));
    assert!(refused("name = \"own\"", "policy = { blank = \"zero\" }").contains("data.policy is that of all sets"));
    assert!(
        refused("format = \"table\"\nname = \"own\"\nlabels = \"own/table.csv\"", "format = \"phantom\"").contains("phantom")
    );
    assert!(refused("labels = \"own/table.csv\"", "labels = \"own/gone.csv\"").contains("gone.csv"));
}
