//! The program as a user types it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use roentgen_augment::image::encode_png;
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};

/// Images in the table that the tests write.
pub const PHANTOMS: usize = 60;

/// A folder with a small data set in the project's own table, and a run file.
pub struct Study {
    folder: tempfile::TempDir,
}

impl Study {
    pub fn new() -> Self {
        let study = Self { folder: tempfile::tempdir().unwrap() };
        let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(PHANTOMS, 32, 7)).unwrap();
        let names: Vec<_> = phantoms.vocabulary().findings().iter().map(|finding| finding.name()).collect();
        let mut table = format!("image,patient_id,age,sex,view,{}\n", names.join(","));
        std::fs::create_dir(study.path("phantoms")).unwrap();
        for (i, record) in phantoms.records().iter().enumerate() {
            let image = format!("phantoms/{i}.png");
            std::fs::write(study.path(&image), encode_png(&phantoms.image(i))).unwrap();
            let labels: Vec<_> = record.labels.iter().map(|label| label.cell()).collect();
            let patient = record.patient_id.as_ref().unwrap();
            table.push_str(&format!("{image},{patient},{},M,PA,{}\n", record.age.unwrap(), labels.join(",")));
        }
        std::fs::write(study.path("table.csv"), table).unwrap();
        study.write_run(RUN);
        study
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write_run(&self, text: &str) {
        std::fs::write(self.path("run.toml"), text).unwrap();
    }

    /// The table with `from` replaced by `to` once.
    fn edit_table(&self, from: &str, to: &str) {
        let table = std::fs::read_to_string(self.path("table.csv")).unwrap();
        assert!(table.contains(from), "the table has no {from}");
        std::fs::write(self.path("table.csv"), table.replacen(from, to, 1)).unwrap();
    }

    pub fn edit_run(&self, from: &str, to: &str) {
        assert!(RUN.contains(from), "the run file has no {from}");
        self.write_run(&RUN.replacen(from, to, 1));
    }

    pub fn roentgen(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
        // Progress is a subject of its own, see `progress`.
        command.args(args).current_dir(self.folder.path()).env("RUST_BACKTRACE", "0").env("ROENTGEN_PROGRESS_SECONDS", "3600");
        command
    }

    /// Runs, and expects an explained failure: every part of `said` is in the message, and nothing panicked. The faults that
    /// `data check` finds are its result, and no error.
    pub fn refuses(&self, args: &[&str], said: &[&str]) {
        let output = self.roentgen(args);
        let checks = args.starts_with(&["data", "check"]);
        let results = if checks { String::from_utf8_lossy(&output.stdout) } else { "".into() };
        let message = format!("{}{results}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{args:?} succeeded");
        // What is doubtful about the input may have been noted before.
        let first = message.lines().find(|line| !line.starts_with("note: "));
        assert!(
            (checks || first.is_some_and(|line| line.starts_with("error: "))) && !message.contains("panicked"),
            "{args:?} said {message}"
        );
        for part in said {
            assert!(message.contains(part), "{args:?} said {message}\nexpected {part}");
        }
    }
}

pub const RUN: &str = r#"
title = "Tiny <study>"
seeds = [1, 2]

[data]
format = "table"
labels = "table.csv"
split = { by = "patient", valid = 0.3, test = 0.3, seed = 5 }

[preprocess]
size = 32

[network]
architecture = "small"

[training]
steps = 4
batch_size = 4
eval_every = 2
warmup_steps = 1

[generator]
kind = "shifted-phantom"

[bootstrap]
replicates = 50

[[arms]]
name = "real"

[[arms]]
name = "mixed"
mode = { add = { synthetic_per_real = 0.5 } }
"#;

pub fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn predictions(study: &Study, out: &str) -> Vec<Vec<u8>> {
    ["real", "mixed"].map(|arm| std::fs::read(study.path(out).join("arms").join(arm).join("predictions.csv")).unwrap()).to_vec()
}

#[test]
fn compare_trains_every_arm_and_leaves_a_whole_report() {
    let study = Study::new();
    let shown = succeeds(&study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]));
    assert!(shown.contains("mixed") && shown.contains("report.html"), "{shown}");
    let json = std::fs::read_to_string(study.path("out/report.json")).unwrap();
    let report: roentgen::report::ComparisonReport = serde_json::from_str(&json).unwrap();
    assert_eq!(report.arms.iter().map(|arm| arm.runs.len()).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(report.data.images.iter().sum::<usize>(), PHANTOMS);
    assert!(report.arms[0].difference.is_none());
    let page = std::fs::read_to_string(study.path("out/report.html")).unwrap();
    assert!(page.contains("Tiny &lt;study&gt;") && !page.contains("<study>"));
    assert!(std::fs::read_to_string(study.path("out/forest.svg")).unwrap().starts_with("<svg"));
    // Again: everything is found, nothing is trained, the output is the same.
    let before = predictions(&study, "out");
    let again = succeeds(&study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu", "--json"]));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&again).unwrap(),
        serde_json::from_str::<serde_json::Value>(&json).unwrap()
    );
    assert_eq!(predictions(&study, "out"), before);
}

#[test]
fn compare_measures_the_synthetic_images_beside_the_arms() {
    let study = Study::new();
    let run = RUN.replace("synthetic_per_real = 0.5", "synthetic_per_real = 1.0");
    let with = |table: &str| study.write_run(&format!("{run}\n[evaluation]\nleast_images = 12\n{table}"));
    // A network that isn't there is found before anything is trained.
    with("networks = [\"xrv:weights.pt\"]\n");
    study.refuses(&["compare", "run.toml", "--out", "out", "--device", "cpu"], &["weights.pt"]);
    assert!(!study.path("out/arms/real/seed-1/model.safetensors").exists());
    with("network = []\n");
    study.refuses(&["compare", "run.toml", "--out", "out"], &["network", "networks"]);
    with("");
    let shown = succeeds(&study.roentgen(&["compare", "run.toml", "--out", "new", "--device", "cpu"]));
    assert!(shown.contains("FID"), "{shown}");
    let read = |name: &str| std::fs::read_to_string(study.path("new").join(name)).unwrap();
    let report: roentgen::report::ComparisonReport = serde_json::from_str(&read("report.json")).unwrap();
    let found = report.evaluation.expect("the run file asks for it");
    // The features are those of the baseline's first classifier, which also judges: it saw real images alone.
    assert_eq!((found.fidelity.len(), found.correctness.len()), (1, 1));
    assert!(found.fidelity[0].weights.ends_with("arms/real/seed-1/model.safetensors"), "{}", found.fidelity[0].weights);
    assert!(found.fidelity[0].overall.fid.is_some_and(|fid| fid.value > 0.0 && fid.floor.is_some()));
    assert_eq!(found.memorisation.len(), 2, "in pixels and in features");
    assert!(read("report.html").contains("id=\"evaluation\""));
    for file in ["evaluation.json", "evaluation.html", "fidelity.csv", "pairs.csv", "closest.png"] {
        assert!(study.path("new").join(file).is_file(), "{file}");
    }
    // Again: the same figures.
    let before = read("report.json");
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "new", "--device", "cpu"]));
    assert_eq!(read("report.json"), before);
}

#[test]
fn arms_start_from_equal_weights_and_a_killed_comparison_ends_the_same() {
    let study = Study::new();
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "whole", "--json"]));
    // Killed as soon as the first run of the second arm has begun.
    let mut child = study
        .command(&["compare", "run.toml", "--out", "killed", "--json"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = study.path("killed/arms/mixed/seed-1");
    while !begun.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the comparison ended before it could be killed");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!study.path("killed/report.json").exists());
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "killed", "--json"]));
    assert_eq!(predictions(&study, "killed"), predictions(&study, "whole"));
}

#[test]
fn train_then_predict() {
    let study = Study::new();
    let trained = succeeds(&study.roentgen(&["train", "run.toml", "--arm", "mixed", "--seed", "3", "--out", "one", "--json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&trained).unwrap()["run"]["seed"], 3);
    let args = ["predict", "run.toml", "--weights", "one/model.safetensors", "--split", "all", "--out", "all.csv"];
    let shown = succeeds(&study.roentgen(&args));
    assert!(shown.contains(&format!("{PHANTOMS} images")), "{shown}");
    assert_eq!(std::fs::read_to_string(study.path("all.csv")).unwrap().lines().count(), PHANTOMS + 1);
}

#[test]
fn data_is_counted_and_checked() {
    let study = Study::new();
    let summary = succeeds(&study.roentgen(&["data", "summary", "run.toml", "--json"]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&summary).unwrap()["images"], PHANTOMS);
    succeeds(&study.roentgen(&["data", "check", "run.toml"]));
    // Two damaged images: both are listed, and the exit code is 1.
    for phantom in ["3", "4"] {
        let path = study.path(&format!("phantoms/{phantom}.png"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let checked = study.roentgen(&["data", "check", "run.toml"]);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success() && said.contains("2 unreadable") && said.contains("4.png"), "{said}");
}

#[test]
fn a_run_file_at_fault_is_explained() {
    let study = Study::new();
    let compare = ["compare", "run.toml", "--out", "out"];
    for (from, to, said) in [
        ("batch_size = 4", "batchsize = 4", &["run.toml", "line 18", "unknown field `batchsize`", "batch_size"][..]),
        (
            "synthetic_per_real = 0.5",
            "synthetic_per_real = -1",
            &["arms.mixed.mode.synthetic_per_real is -1", "from 0 to 10000"],
        ),
        ("batch_size = 4", "batch_size = 0", &["training.batch_size is 0", "at least 1"]),
        ("warmup_steps = 1", "warmup_steps = 1\nlearning_rate = 1e3", &["training.learning_rate is 1000"]),
        ("name = \"mixed\"", "name = \"real\"", &["arms.name is real", "differ"]),
        ("name = \"mixed\"", "name = \"Real\"", &["arms.name is Real", "differ", "case"]),
        ("[generator]\nkind = \"shifted-phantom\"\n", "", &["arms.mixed", "[generator]"]),
        ("valid = 0.3, test = 0.3", "valid = 0.9, test = 0.3", &["0.9", "0.3"]),
        ("valid = 0.3, test = 0.3", "valid = 0.0, test = 0.3", &["table.csv", "valid", "no real image"]),
        ("size = 32", "size = 4", &["preprocess.size is 4"]),
        ("labels = \"table.csv\"", "labels = \"absent.csv\"", &["absent.csv"]),
        ("format = \"table\"", "format = \"tabel\"", &["tabel", "table"]),
        (
            "labels = \"table.csv\"",
            "labels = \"table.csv\"\nfindings = [\"Cardiomegally\"]",
            &["Cardiomegally", "did you mean `Cardiomegaly`"],
        ),
        ("labels = \"table.csv\"", "labels = \"table.csv\"\nfindings = [\"Hernia\"]", &["Hernia", "Effusion"]),
        ("architecture = \"small\"", "architecture = \"small\"\nweights = \"table.csv\"", &["table.csv"]),
    ] {
        study.edit_run(from, to);
        study.refuses(&compare, said);
    }
    assert!(!study.path("out/arms").exists(), "nothing was trained");
}

#[test]
fn a_table_at_fault_is_explained_with_its_row() {
    let faults: [(&str, &str, &[&str]); 4] = [
        (",PA,", ",UP,", &["table.csv", "row 2", "view", "UP"]),
        ("Effusion", "Efusion", &["table.csv", "Efusion", "Effusion"]),
        ("phantoms/5.png", "phantoms/none.png", &["table.csv", "row 7", "phantoms/none.png"]),
        ("phantoms/5.png", "phantoms/4.png", &["phantoms/4.png", "row 7"]),
    ];
    for (from, to, said) in faults {
        let study = Study::new();
        study.edit_table(from, to);
        study.refuses(&["compare", "run.toml", "--out", "out"], said);
    }
    let study = Study::new();
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
    lines[3] = format!("{},7", lines[3].rsplit_once(',').unwrap().0);
    std::fs::write(study.path("table.csv"), lines.join("\n")).unwrap();
    study.refuses(&["compare", "run.toml", "--out", "out"], &["table.csv", "row 4", "`7`", "-1"]);
    std::fs::write(study.path("table.csv"), [table.as_bytes(), b"phantoms/0.png,\xff\xfe,,,,,,,,,,,,"].concat()).unwrap();
    study.refuses(&["data", "summary", "run.toml"], &["table.csv", "UTF-8"]);
}

#[test]
fn a_damaged_image_stops_training_with_its_name() {
    let study = Study::new();
    for phantom in 0..PHANTOMS {
        std::fs::write(study.path(&format!("phantoms/{phantom}.png")), b"\x89PNG\r\n\x1a\nno more").unwrap();
    }
    study.refuses(&["compare", "run.toml", "--out", "out"], &["phantoms/", ".png"]);
}

#[test]
fn a_folder_of_another_run_is_refused() {
    let study = Study::new();
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out", "--json"]));
    study.edit_run("batch_size = 4", "batch_size = 5");
    study.refuses(&["train", "run.toml", "--out", "out"], &["out", "another run", "training.batch_size: 4, now 5"]);
    study.write_run(RUN);
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out", "--json"]));
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let shorter: Vec<_> = table.lines().take(PHANTOMS - 3).collect();
    std::fs::write(study.path("table.csv"), shorter.join("\n")).unwrap();
    study.refuses(&["train", "run.toml", "--out", "out"], &["another run", "images gone"]);
}

#[test]
fn an_output_that_cannot_be_a_folder_is_explained() {
    let study = Study::new();
    study.refuses(&["compare", "run.toml", "--out", "table.csv/out"], &["table.csv/out"]);
}

#[test]
fn damaged_cache_entries_are_made_again_and_reported() {
    let study = Study::new();
    let one_seed = RUN.replace("seeds = [1, 2]", "seeds = [1]");
    study.write_run(&one_seed.replace("kind = \"shifted-phantom\"", "kind = \"shifted-phantom\"\ncache = \"samples\""));
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "first", "--json"]));
    for path in pngs(&study.path("samples")) {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() - 30;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let shown = succeeds(&study.roentgen(&["compare", "run.toml", "--out", "second", "--json"]));
    assert!(shown.contains("damaged sample(s) in the cache were made again"), "{shown}");
    assert_eq!(predictions(&study, "second"), predictions(&study, "first"));
}

fn pngs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(pngs(&path));
        } else if path.extension().is_some_and(|extension| extension == "png") {
            found.push(path);
        }
    }
    found
}

#[test]
fn on_demand_and_cached_runs_are_the_same() {
    let study = Study::new();
    let mut found = Vec::new();
    for supply in ["cache-then-generate", "cached", "on-demand"] {
        let kind = "kind = \"shifted-phantom\"";
        study.edit_run(kind, &format!("{kind}\ncache = \"samples\"\nsupply = \"{supply}\""));
        succeeds(&study.roentgen(&["compare", "run.toml", "--out", supply, "--json"]));
        // So few steps do not draw every sample of a pool.
        succeeds(&study.roentgen(&["fill", "run.toml", "--out", supply, "--json"]));
        found.push(predictions(&study, supply));
    }
    assert!(found.iter().all(|same| *same == found[0]));
    std::fs::remove_dir_all(study.path("samples")).unwrap();
    study.edit_run("kind = \"shifted-phantom\"", "kind = \"shifted-phantom\"\ncache = \"samples\"\nsupply = \"cached\"");
    study.refuses(&["compare", "run.toml", "--out", "empty"], &["not in the cache", "samples", "cache-then-generate"]);
}

#[test]
fn weights_of_another_model_are_refused() {
    let study = Study::new();
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "one", "--json"]));
    study.edit_run("architecture = \"small\"", "architecture = \"densenet121\"\nweights = \"one/model.safetensors\"");
    study.refuses(&["train", "run.toml", "--out", "two"], &["one/model.safetensors", "features."]);
}

/// Tensors of a classifier's file: whether they belong to the head, and their bytes.
fn tensors(study: &Study, folder: &str) -> Vec<(bool, Vec<u8>)> {
    let bytes = std::fs::read(study.path(folder).join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut names = file.names();
    names.sort_unstable();
    names.iter().map(|name| (name.starts_with("classifier."), file.tensor(name).unwrap().data().to_vec())).collect()
}

#[test]
fn a_head_learns_on_the_features_of_weights() {
    let study = Study::new();
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "whole", "--json"]));
    study.edit_run(
        "architecture = \"small\"",
        "architecture = \"small\"\nweights = \"whole/model.safetensors\"\ntrain = \"head\"",
    );
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "head", "--json"]));
    for ((is_head, before), (_, after)) in tensors(&study, "whole").iter().zip(&tensors(&study, "head")) {
        assert_eq!(*is_head, before != after);
    }
    study.edit_run("architecture = \"small\"", "architecture = \"small\"\ntrain = \"head\"");
    study.refuses(&["train", "run.toml", "--out", "random"], &["network.train", "network.weights"]);
}

#[test]
fn a_resnet_is_trained_and_predicts() {
    let study = Study::new();
    let one_step = RUN.replacen("steps = 4", "steps = 1", 1).replacen("eval_every = 2", "eval_every = 1", 1);
    study.write_run(&one_step.replacen("\"small\"", "\"resnet50\"", 1));
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "one", "--json"]));
    let shown = succeeds(&study.roentgen(&[
        "predict",
        "run.toml",
        "--weights",
        "one/model.safetensors",
        "--out",
        "scores.csv",
        "--json",
    ]));
    assert!(shown.contains("macro_auroc"), "{shown}");
    study.edit_run("architecture = \"small\"", "architecture = \"convnext-tiny\"\nweights = \"one/model.safetensors\"");
    study.refuses(&["train", "run.toml", "--out", "two"], &["one/model.safetensors", "holds a ResNet", "ConvNeXt"]);
}

/// All of it in one step: a network of 87 million weights takes a while and 1.4 GB of disk.
#[test]
fn a_vision_transformer_is_trained_and_predicts() {
    let study = Study::new();
    let run = RUN.replacen("\"small\"", "\"vit-b14\"", 1);
    study.write_run(&run);
    let refused = ["run.toml, line 11", "preprocess.size is 32", "a multiple of 14", "such as 42"];
    study.refuses(&["train", "run.toml", "--out", "one"], &refused);
    let run = run.replacen("steps = 4", "steps = 1", 1).replacen("eval_every = 2", "eval_every = 1", 1);
    study.write_run(&run.replacen("size = 32", "size = 42", 1));
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "one", "--json"]));
    // Whatever the run file says of networks, the weights' own counts.
    study.write_run(RUN);
    let weights = ["--weights", "one/model.safetensors"];
    let shown =
        succeeds(&study.roentgen(&[&["predict", "run.toml"], &weights[..], &["--out", "scores.csv", "--json"]].concat()));
    assert!(shown.contains("macro_auroc"), "{shown}");
    study.edit_run("architecture = \"small\"", "architecture = \"resnet50\"\nweights = \"one/model.safetensors\"");
    study.refuses(&["train", "run.toml", "--out", "two"], &["one/model.safetensors", "holds a DINOv2", "ResNet"]);
}

#[test]
fn help_teaches_and_unknown_devices_are_refused() {
    let study = Study::new();
    let help = succeeds(&study.roentgen(&["--help"]));
    assert!(help.contains("roentgen demo") && help.contains("compare"), "{help}");
    let output = study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "gpu"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("auto, cpu, or cuda, rocm, metal, vulkan or wgpu"), "{said}");
}

#[test]
fn devices_are_listed() {
    let study = Study::new();
    let shown = succeeds(&study.roentgen(&["devices"]));
    assert!(shown.contains("cpu") && shown.contains("threads"), "{shown}");
    let listed: serde_json::Value = serde_json::from_str(&succeeds(&study.roentgen(&["devices", "--json"]))).unwrap();
    assert!(listed["cpu"]["threads"].as_u64().unwrap() >= 1, "{listed}");
    let interfaces = listed["interfaces"].as_array().unwrap();
    let names: Vec<_> = interfaces.iter().map(|api| api["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cuda", "rocm", "metal", "vulkan", "wgpu"], "in the order of auto");
    // What `auto` takes is listed, too.
    let auto = listed["auto"].as_str().unwrap();
    assert!(auto == "cpu" || interfaces.iter().any(|api| api["adapters"].as_array().is_some_and(|all| !all.is_empty())));
    for api in interfaces.iter().filter(|api| api["built"] == false) {
        let name = api["name"].as_str().unwrap();
        study.refuses(&["compare", "run.toml", "--out", "out", "--device", name], &[name, "--features", "--device cpu"]);
    }
}

#[test]
fn example_run_files_parse() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        // Those of `finetune` have a form of their own, and a test beside it.
        if name.ends_with(".toml") && !name.starts_with("finetune-") {
            roentgen::config::RunConfig::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
