//! One run folder for every command: whatever changed between two starts is refused by name, and no other process writes
//! meanwhile.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use roentgen::config::RunConfig;
use roentgen::data;
use roentgen::run_folder::FolderLock;
use roentgen_augment::digest::Fingerprint;
use serde_json::{Value, json};

use crate::cli::{RUN, Study, succeeds};

/// One seed, and a text for each image.
fn study() -> Study {
    let study = Study::new();
    study.write_run(&RUN.replace("seeds = [1, 2]", "seeds = [1]"));
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let rows = table.lines().enumerate().map(|(at, line)| match at {
        0 => format!("{line},report\n"),
        at => format!("{line},Image number {at}.\n"),
    });
    std::fs::write(study.path("table.csv"), rows.collect::<String>()).unwrap();
    study
}

fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} has no {from}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

const TRAIN: [&str; 6] = ["train", "run.toml", "--out", "out", "--device", "cpu"];
const COMPARE: [&str; 7] = ["compare", "run.toml", "--out", "out", "--device", "cpu", "--json"];

#[test]
fn the_weights_of_one_seed_or_arm_never_pass_for_those_of_another() {
    let study = study();
    fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&TRAIN[..], more].concat()
    }
    succeeds(&study.roentgen(&train(&["--arm", "real", "--seed", "1"])));
    let weights = std::fs::read(study.path("out/model.safetensors")).unwrap();
    study.refuses(&train(&["--arm", "real", "--seed", "2"]), &["out holds another run", "seed: 1, now 2", "another --out"]);
    study
        .refuses(&train(&["--arm", "mixed", "--seed", "1"]), &["another run", "arm.name: \"real\", now \"mixed\"", "arm.mode"]);
    study.refuses(&COMPARE, &["another run", "command: train, now compare"]);
    edit(&study.path("run.toml"), "batch_size = 4", "batch_size = 5");
    study.refuses(&train(&["--seed", "1"]), &["another run", "training.batch_size: 4, now 5"]);
    edit(&study.path("run.toml"), "batch_size = 5", "batch_size = 4");
    study.refuses(
        &train(&["--seed", "18446744073709551615"]),
        &["'18446744073709551615' for '--seed <SEED>'", "9223372036854775807"],
    );
    // Texts change nothing, and nothing is trained again.
    edit(&study.path("run.toml"), "Tiny <study>", "Another title");
    succeeds(&study.roentgen(&train(&["--seed", "1"])));
    assert!(std::fs::read(study.path("out/model.safetensors")).unwrap() == weights);
    assert!(std::fs::read_to_string(study.path("out/config.toml")).unwrap().contains("Another title"));
}

#[test]
fn a_run_cut_short_is_not_continued_in_the_order_of_another_seed() {
    let study = study();
    edit(&study.path("run.toml"), "steps = 4", "steps = 400");
    let mut child = study.command(&[&TRAIN[..], &["--seed", "1"]].concat());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let saved = || std::fs::read_dir(study.path("out/checkpoints")).is_ok_and(|mut rounds| rounds.next().is_some());
    while !saved() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    study.refuses(&[&TRAIN[..], &["--seed", "2"]].concat(), &["seed: 1, now 2"]);
}

#[test]
fn data_that_changed_under_the_same_names_are_refused() {
    let study = study();
    succeeds(&study.roentgen(&COMPARE));
    let (image, table, run) = (study.path("phantoms/3.png"), study.path("table.csv"), study.path("run.toml"));
    let before = [&image, &table, &run].map(|path| (path.clone(), std::fs::read(path).unwrap()));
    let restore = || before.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    /// What is changed, how, and what the refusal says of it.
    type Change<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);
    let changes: [Change<'_>; 6] = [
        (
            "an image",
            &|| assert!(std::fs::copy(study.path("phantoms/4.png"), &image).is_ok()),
            &["1 image with other content: phantoms/3.png"],
        ),
        ("an age", &|| replace_cell(&table, 4, 2, "99"), &["1 image with another row: phantoms/3.png", "age 99"]),
        ("a view", &|| replace_cell(&table, 4, 4, "AP"), &["phantoms/3.png", "view Pa", "view Ap"]),
        ("a report", &|| edit(&table, "Image number 4.", "Another image."), &["phantoms/3.png", "report"]),
        ("the order", &|| reverse_rows(&table), &["order of the rows"]),
        (
            "the findings",
            &|| edit(&run, "labels = ", "findings = [\"Effusion\", \"Mass\"]\nlabels = "),
            &["data.findings: absent"],
        ),
    ];
    for (what, change, said) in changes {
        change();
        study.refuses(&COMPARE, &[&["out holds another run"], said].concat());
        restore();
        let again = study.roentgen(&COMPARE);
        assert!(again.status.success(), "after {what}: {}", String::from_utf8_lossy(&again.stderr));
    }
}

fn replace_cell(table: &Path, line: usize, column: usize, value: &str) {
    let text = std::fs::read_to_string(table).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut cells: Vec<&str> = lines[line].split(',').collect();
    cells[column] = value;
    lines[line] = cells.join(",");
    std::fs::write(table, lines.join("\n")).unwrap();
}

fn reverse_rows(table: &Path) {
    let text = std::fs::read_to_string(table).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    std::fs::write(table, lines.join("\n")).unwrap();
}

#[test]
fn starting_weights_and_phantoms_that_changed_are_refused() {
    let study = study();
    let train = |out: &str, seed: &str| succeeds(&study.roentgen(&["train", "run.toml", "--out", out, "--seed", seed]));
    train("one", "1");
    train("two", "2");
    std::fs::copy(study.path("one/model.safetensors"), study.path("start.safetensors")).unwrap();
    edit(&study.path("run.toml"), "architecture = \"small\"", "architecture = \"small\"\nweights = \"start.safetensors\"");
    succeeds(&study.roentgen(&COMPARE));
    std::fs::copy(study.path("two/model.safetensors"), study.path("start.safetensors")).unwrap();
    study.refuses(&COMPARE, &["another run", "file of network.weights: "]);
    edit(&study.path("run.toml"), "\nweights = \"start.safetensors\"", "");
    study.refuses(&COMPARE, &["file of network.weights: ", "now absent"]);

    let phantom = "format = \"phantom\"\nphantom = { train = 20, valid = 20, test = 20, seed = 1 }\n";
    let (head, tail) = RUN.split_once("format = \"table\"\n").unwrap();
    let tail = tail.split_once("seed = 5 }\n").unwrap().1;
    study.write_run(&format!("{head}{phantom}{tail}").replace("seeds = [1, 2]", "seeds = [1]"));
    let compare = ["compare", "run.toml", "--out", "phantom", "--json"];
    succeeds(&study.roentgen(&compare));
    edit(&study.path("run.toml"), "seed = 1 }", "seed = 2 }");
    study.refuses(&compare, &["data.phantom.seed: 1, now 2"]);
}

#[test]
fn one_process_at_a_time_writes_a_folder() {
    let study = study();
    edit(&study.path("run.toml"), "steps = 4", "steps = 4000");
    let mut first = study.command(&COMPARE).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !study.path("out/arms").exists() {
        assert!(first.try_wait().unwrap().is_none(), "it ended before a second one came");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let holder = format!("another roentgen process (pid {}, `compare`) is writing out", first.id());
    study.refuses(&COMPARE, &[&holder, "another --out"]);
    study.refuses(&["fill", "run.toml", "--out", "out"], &[&holder]);
    first.kill().unwrap();
    first.wait().unwrap();
    // The system frees the folder of a killed process, whatever the lock file says.
    edit(&study.path("run.toml"), "steps = 4000", "steps = 4");
    study.refuses(&COMPARE, &["training.steps: 4000, now 4"]);

    // Every command takes the same lock, and `fill` shares it with itself alone.
    let held = FolderLock::exclusive(&study.path("held"), "test").unwrap();
    let finetune = "data = { format = \"phantom\" }\npreset = \"small\"\n";
    std::fs::write(study.path("finetune.toml"), finetune).unwrap();
    for command in [&["train", "run.toml"][..], &["compare", "run.toml"], &["fill", "run.toml"], &["finetune", "finetune.toml"]]
    {
        study.refuses(&[command, &["--out", "held"]].concat(), &["another roentgen process (pid", "`test`) is writing held"]);
    }
    drop(held);
    // A process that another test is about to start has copies of this one's handles for a moment, that of the lock among them.
    let shared = (0..200).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        FolderLock::shared(&study.path("held")).ok()
    });
    let shared = shared.expect("the folder is free");
    succeeds(&study.roentgen(&["fill", "run.toml", "--out", "held", "--shard", "1/2"]));
    study.refuses(&["compare", "run.toml", "--out", "held"], &["another roentgen process is writing held"]);
    drop(shared);
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "held", "--json"]));
}

#[test]
fn records_that_a_kill_or_a_hand_left_damaged_are_named() {
    let study = study();
    succeeds(&study.roentgen(&COMPARE));
    let record = study.path("out/run.json");
    let whole = std::fs::read(&record).unwrap();
    for torn in [&whole[..0], &whole[..whole.len() / 2], b"[]", b"{\"format\": 2}"] {
        std::fs::write(&record, torn).unwrap();
        study.refuses(&COMPARE, &["out/run.json", "the record of a run", "another --out"]);
    }
    std::fs::remove_file(&record).unwrap();
    study.refuses(&COMPARE, &["out holds results (arms) but no run.json", "another --out"]);
    std::fs::write(&record, &whole).unwrap();
    edit_json(&record, |record| record["format"] = json!(99));
    study.refuses(&COMPARE, &["a later version"]);
    std::fs::write(&record, &whole).unwrap();
    // Files that can be rebuilt from the rest: the remedy works.
    for name in ["config.toml", "data.csv"] {
        let path = study.path("out").join(name);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - text.len() / 3]).unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().write_all(b"\n\"[=").unwrap();
        study.refuses(&COMPARE, &[&format!("out/{name}"), "delete the file"]);
        std::fs::remove_file(&path).unwrap();
        succeeds(&study.roentgen(&COMPARE));
        assert!(path.exists());
    }
    // Without its rows a record still knows the data by their digest.
    std::fs::remove_file(study.path("out/data.csv")).unwrap();
    std::fs::copy(study.path("phantoms/4.png"), study.path("phantoms/3.png")).unwrap();
    study.refuses(&COMPARE, &["another run", "data: "]);
    // A lock file without content is no lock.
    std::fs::copy(study.path("phantoms/5.png"), study.path("phantoms/3.png")).unwrap();
    std::fs::write(study.path("out/.lock"), "").unwrap();
    study.refuses(&COMPARE, &["another run", "data: "]);
}

/// As version 0.1.0 wrote them: one digest of settings, one of names, patients, labels and splits.
fn make_old(study: &Study, out: &str) {
    let config = RunConfig::read(&study.path("run.toml")).unwrap();
    let (train, splits) = data::open(&config.data, config.preprocess).unwrap();
    let mut text = String::new();
    for (name, data) in [("train", train.data()), ("valid", splits.valid().data()), ("test", splits.test().data())] {
        for row in data.rows() {
            let labels: Vec<_> = row.record.labels.iter().map(|label| label.cell()).collect();
            let patient = row.record.patient_id.as_ref().unwrap();
            text.push_str(&format!("{name}\t{}\t{patient}\t{}\n", row.record.id, labels.join(",")));
        }
    }
    let record = study.path(out).join("run.json");
    let new: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let pools: serde_json::Map<String, Value> = new["claims"]
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, digest)| {
            Some((name.strip_prefix("synthetic images of arm `")?.split('`').next()?.to_owned(), digest.clone()))
        })
        .collect();
    std::fs::write(study.path(out).join("pools.json"), Value::Object(pools).to_string()).unwrap();
    let data = Fingerprint::of(&[text.as_bytes()]).to_string();
    std::fs::write(&record, json!({ "version": "0.1.0", "settings": "ab".repeat(32), "data": data }).to_string()).unwrap();
    std::fs::remove_file(study.path(out).join("data.csv")).unwrap();
}

#[test]
fn folders_of_the_version_before_are_read_as_far_as_they_say_what_they_hold() {
    let study = study();
    succeeds(&study.roentgen(&COMPARE));
    let report = std::fs::read(study.path("out/report.json")).unwrap();
    make_old(&study, "out");
    // What it recorded is compared.
    edit(&study.path("run.toml"), "batch_size = 4", "batch_size = 5");
    study.refuses(&COMPARE, &["training.batch_size: 4, now 5"]);
    edit(&study.path("run.toml"), "batch_size = 5", "batch_size = 4");
    let table = std::fs::read(study.path("table.csv")).unwrap();
    replace_cell(&study.path("table.csv"), 4, 1, "somebody");
    study.refuses(&COMPARE, &["names, patients, labels and splits of the data"]);
    std::fs::write(study.path("table.csv"), table).unwrap();
    let pools = study.path("out/pools.json");
    let known = std::fs::read(&pools).unwrap();
    edit_json(&pools, |pools| pools["mixed"] = json!("cd".repeat(32)));
    // A note comes first.
    let refused = study.roentgen(&COMPARE);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("synthetic images of arm `mixed`"), "{message}");
    make_old(&study, "out");
    std::fs::write(&pools, known).unwrap();
    // What it did not record is stated, once.
    let output = study.roentgen(&COMPARE);
    succeeds(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("version 0.1.0") && said.contains("images") && said.contains("can't be checked"), "{said}");
    assert!(std::fs::read(study.path("out/report.json")).unwrap() == report, "nothing was trained again");
    assert!(study.roentgen(&COMPARE).stderr.is_empty());
    // Of one run of `train` it did not record the seed.
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "one"]));
    std::fs::copy(study.path("out/run.json"), study.path("one/run.json")).unwrap();
    study.refuses(&["train", "run.toml", "--out", "one"], &["command: compare, now train"]);
    std::fs::write(study.path("one/run.json"), json!({ "version": "0.1.0", "settings": "", "data": "" }).to_string()).unwrap();
    for command in ["train", "compare"] {
        study.refuses(&[command, "run.toml", "--out", "one"], &["one was written by version 0.1.0", "seed", "another --out"]);
    }
}

/// A limit on the size of files stands in for a full disk: every file is complete or absent.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_whole_files_or_none() {
    let study = study();
    let program = env!("CARGO_BIN_EXE_roentgen");
    let run = |blocks: usize| -> Output {
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec {program} {}", COMPARE.join(" "));
        std::process::Command::new("sh").args(["-c", &limited]).current_dir(study.path("")).output().unwrap()
    };
    for blocks in [0, 1, 4, 16, 64] {
        let output = run(blocks);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !message.contains("panicked"), "{blocks} blocks: {message}");
        assert!(message.contains("out"), "{blocks} blocks: {message}");
        for file in std::fs::read_dir(study.path("out")).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.starts_with(".tmp"), "{blocks} blocks left {name}");
            match name.as_str() {
                "run.json" => drop(serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap()),
                "config.toml" => drop(toml::from_str::<toml::Table>(&std::fs::read_to_string(&file).unwrap()).unwrap()),
                "data.csv" => assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 1 + crate::cli::PHANTOMS),
                _ => {}
            }
        }
    }
    succeeds(&study.roentgen(&COMPARE));
}
